"""`vpsorg servers delete`, `start`, `stop` and `reboot`: one server, or several as a fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from ..client import Client
from ..records import ServerId
from .earlier_runs import Recording
from .exits import Exit
from .following import follow, wait_for
from .journal_options import JOURNAL, JournalOptions
from .live import Tally
from .output import Yes, confirm
from .readiness_options import NO_CHECK, READINESS, Readiness, ReadyRequest
from .server_names import check_names, is_pattern, read_all, resolve, resolve_one
from .server_tables import REPORTED, UNASKED_REPORT, ReportOutput, UnaskedReport
from .settings import ACCOUNT, Account, Settings
from .single_command import acting
from .specs import Servers
from .time_options import WaitTimeout

__all__ = ["delete", "reboot", "start", "stop"]

Wait = Annotated[bool, Parameter(help="Wait until the command is done.", show_default=False)]


def delete(
    servers: Servers,
    /,
    *,
    wait: Wait = False,
    timeout: WaitTimeout = 300.0,
    yes: Yes = False,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Delete servers permanently."""
    if _several(servers):
        from .fleet import delete as delete_all

        return delete_all(
            servers,
            timeout=timeout,
            no_wait=not wait,
            yes=yes,
            record=record,
            account=account,
            output=output,
        )
    settings = account.settings()
    found = resolve(settings, read_all(servers), output)
    names = found.names
    ((server_id, server),) = found.servers.items()
    if not yes:
        server = server or settings.run(lambda vps: vps.servers.get(server_id))
        address = f", {server.address}" if server.address else ""
        confirm(f"Delete {server.name} ({server.id}, {server.status}{address}) permanently?", yes=yes)
        names[server_id] = server.name
    check_names(settings, names)
    return _act(settings, record, "delete", server_id, output, wait, timeout)


def start(
    servers: Servers,
    /,
    *,
    wait: Wait = False,
    timeout: WaitTimeout = 300.0,
    readiness: Readiness = READINESS,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: UnaskedReport = UNASKED_REPORT,
) -> int:
    """Start stopped servers."""
    request = readiness.request(unless=_unless(wait))
    if _several(servers):
        from .fleet import start as start_all

        return start_all(
            servers,
            timeout=timeout,
            no_wait=not wait,
            readiness=readiness,
            record=record,
            account=account,
            output=output,
        )
    settings = account.settings()
    server_id = resolve_one(settings, servers[0], output)
    return _act(settings, record, "start", server_id, output, wait, timeout, request)


def stop(
    servers: Servers,
    /,
    *,
    wait: Wait = False,
    timeout: WaitTimeout = 300.0,
    yes: Yes = False,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Stop running servers. A stopped server is charged until it is deleted. Several are asked for."""
    if _several(servers):
        from .fleet import stop as stop_all

        return stop_all(
            servers,
            timeout=timeout,
            no_wait=not wait,
            yes=yes,
            record=record,
            account=account,
            output=output,
        )
    settings = account.settings()
    server_id = resolve_one(settings, servers[0], output)
    return _act(settings, record, "stop", server_id, output, wait, timeout)


def reboot(
    servers: Servers,
    /,
    *,
    wait: Wait = False,
    timeout: WaitTimeout = 300.0,
    yes: Yes = False,
    readiness: Readiness = READINESS,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Reboot running servers. Several are asked for."""
    request = readiness.request(unless=_unless(wait))
    if _several(servers):
        from .fleet import reboot as reboot_all

        return reboot_all(
            servers,
            timeout=timeout,
            no_wait=not wait,
            yes=yes,
            readiness=readiness,
            record=record,
            account=account,
            output=output,
        )
    settings = account.settings()
    server_id = resolve_one(settings, servers[0], output)
    return _act(settings, record, "reboot", server_id, output, wait, timeout, request)


def _several(servers: Sequence[str]) -> bool:
    """Return whether the servers are a fleet, with a report. It depends on what is written, not on the account."""
    return len(servers) > 1 or any(map(is_pattern, servers))


def _unless(wait: bool) -> str:
    return "" if wait else "is checked once the server is active: add --wait"


def _act(
    settings: Settings,
    record: JournalOptions,
    operation: str,
    server_id: ServerId,
    output: ReportOutput,
    wait: bool,
    timeout: float,
    request: ReadyRequest = NO_CHECK,
) -> int:
    recording = Recording.acting(record.file(settings), [server_id], timeout, waited=wait)
    options = f"{recording.file.written}{settings.options}"

    async def command(vps: Client, tally: Tally, results: list[Any]) -> None:
        async with acting(vps, recording, operation, server_id, output) as accepted:
            if not wait:
                results.append(accepted.answer)
                return
            tally.commanded(operation, server_id)
            await wait_for(
                vps, operation, accepted.subject, server_id, tally, results, timeout, request, options
            )

    follow(settings, operation, server_id, command, output, wait, timeout, request)
    return Exit.OK
