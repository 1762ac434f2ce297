"""`vpsorg servers`: the nine endpoints, each as a command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, cast

from cyclopts import App, Parameter

from ..client import Client
from ..config import check_seconds
from ..errors import ConfigurationError, WaitError
from ..fleet.inputs import SETTLE
from ..http.events import ListIncomplete
from ..lifecycle.commands import COMMANDS, MOVING, SETTLED
from ..lifecycle.contract import Target
from ..lifecycle.receipts import Receipt
from ..records import Server, ServerId
from ..servers import ServerFields
from ..specs import ServerSpec, check_id
from .chart import READY
from .earlier_runs import Recording
from .exits import Exit
from .journal_options import JOURNAL, JournalOptions
from .live import Tally, showing
from .output import OUTPUT, Output, Yes, confirm, plain, server_rows, sheet, unanswered
from .passwords import Passwords, PasswordsFile
from .prices import cost
from .readiness_options import NO_CHECK, READINESS, Readiness, ReadyRequest
from .reports import to_continue
from .settings import ACCOUNT, Account, Settings
from .single_command import acting, creating
from .specs import ident
from .stdio import note

__all__ = ["app"]

app: App = App(name="servers", help="The servers of the account, one at a time.", help_epilogue="")

Id = Annotated[str, Parameter(help="Id of the server.")]
Wait = Annotated[bool, Parameter(help="Wait until the command is done.", show_default=False)]
Seconds = Annotated[float, Parameter(name="--timeout", help="Maximum seconds of the wait.")]
Backups = Annotated[
    bool | None,
    Parameter(name="--backups", negative="--no-backups", help="Automatic backups.", show_default=False),
]


@app.command(name="list")
def list_(
    *,
    status: Annotated[str | None, Parameter(help="Only servers with this status.")] = None,
    location: Annotated[str | None, Parameter(help="Only servers at this location.")] = None,
    account: Account = ACCOUNT,
    output: Output = OUTPUT,
) -> int:
    """List the servers of the account."""
    short: list[str] = []

    def heard(event: object) -> None:
        if isinstance(event, ListIncomplete):
            short.append(event.reason)

    servers = account.settings().run(lambda vps: vps.servers.list(status, location), on_event=heard)
    output.show(servers, server_rows(servers))
    for reason in short:
        output.note(f"the list lacks servers: {reason}")
    if status is not None and not servers and status not in SETTLED | MOVING:
        # the word was sent nevertheless: the page documents the filter's words only in translation
        output.note(f"{status!r} is not a known status; known are {', '.join(sorted(SETTLED | MOVING))}")
    return Exit.OK


@app.command
def get(server_id: Id, /, *, account: Account = ACCOUNT, output: Output = OUTPUT) -> int:
    """Show one server in detail."""
    server = account.settings().run(lambda vps: vps.servers.get(ident(server_id)))
    output.show(server, sheet(plain(server)))
    return Exit.OK


@app.command
def create(
    name: Annotated[str, Parameter(help="Name: letters, digits and hyphens.")],
    /,
    *,
    plan_id: Annotated[str, Parameter(help="Id of the plan.")],
    os_id: Annotated[str, Parameter(help="Id of the operating system.")],
    location: Annotated[str, Parameter(help="Datacenter code, such as us-west.")],
    hostname: Annotated[str | None, Parameter(help="Fully qualified host name.")] = None,
    ssh_key_id: Annotated[str | None, Parameter(help="Id of the SSH key to install.")] = None,
    backups: Backups = None,
    wait: Wait = False,
    timeout: Seconds = 900.0,
    passwords: PasswordsFile = None,
    yes: Yes = False,
    readiness: Readiness = READINESS,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: Output = OUTPUT,
) -> int:
    """Create a server. The command first shows the price, if it is known, and asks for confirmation."""
    request = readiness.request(unless=_unless(wait), new=True)
    spec = ServerSpec(
        name=name,
        plan_id=ident(plan_id),
        os_id=ident(os_id),
        location=location,
        hostname=hostname,
        ssh_key_id=None if ssh_key_id is None else ident(ssh_key_id),
        backups_enabled=backups,
    )
    check_seconds(timeout, "--timeout")
    settings = account.settings()
    recording = Recording.creating(record.file(settings), settings, [spec], SETTLE, waited=wait)
    hint = recording.file.written
    if not yes:
        confirm(f"Create {name}? {settings.run(lambda vps: cost(vps, [spec]))}", yes=yes)
    with Passwords(passwords) as safe:

        async def order(vps: Client, tally: Tally, results: list[Any]) -> None:
            async with creating(vps, recording, spec, timeout, output) as accepted:
                made = cast(Server, accepted.answer)
                # reported even if the wait fails: the server exists and costs money
                results.append(made)
                safe.keep([made])
                if wait:
                    output.note(f"{made.name} is created as {made.id}")
                    tally.commanded("create", name)
                    await _wait(vps, "create", accepted.subject, name, tally, results, timeout, request, hint)

        _follow(settings, "create", name, order, output, wait, timeout, request)
    return Exit.OK


@app.command
def update(
    server_id: Id,
    /,
    *,
    name: Annotated[str | None, Parameter(help="The new name.")] = None,
    hostname: Annotated[str | None, Parameter(help="The new host name.")] = None,
    backups: Backups = None,
    account: Account = ACCOUNT,
    output: Output = OUTPUT,
) -> int:
    """Change one or more of name, host name and backups (PATCH)."""
    given = {"name": name, "hostname": hostname, "backups_enabled": backups}
    fields = cast(ServerFields, {key: value for key, value in given.items() if value is not None})
    if not fields:
        raise ConfigurationError("give at least one of --name, --hostname, --backups, --no-backups")

    async def patch(vps: Client) -> None:
        with unanswered(f"the update of {server_id}"):
            changed = await vps.servers.update(ident(server_id), **fields)
        output.report(changed, sheet(plain(changed)))

    account.settings().run(patch)
    return Exit.OK


@app.command
def replace(
    server_id: Id,
    /,
    *,
    name: Annotated[str, Parameter(help="The name.")],
    hostname: Annotated[str, Parameter(help="The host name.")],
    backups: Annotated[bool, Parameter(negative="--no-backups", help="Automatic backups.")],
    account: Account = ACCOUNT,
    output: Output = OUTPUT,
) -> int:
    """Set name, host name and backups, all three (PUT)."""

    async def put(vps: Client) -> None:
        with unanswered(f"the update of {server_id}"):
            changed = await vps.servers.replace(
                ident(server_id), name=name, hostname=hostname, backups_enabled=backups
            )
        output.report(changed, sheet(plain(changed)))

    account.settings().run(put)
    return Exit.OK


@app.command
def delete(
    server_id: Id,
    /,
    *,
    wait: Wait = False,
    timeout: Seconds = 300.0,
    yes: Yes = False,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: Output = OUTPUT,
) -> int:
    """Delete a server permanently."""
    settings = account.settings()
    if not yes:
        server = settings.run(lambda vps: vps.servers.get(ident(server_id)))
        address = f", {server.address}" if server.address else ""
        confirm(f"Delete {server.name} ({server.id}, {server.status}{address}) permanently?", yes=yes)
    return _act(settings, record, "delete", server_id, output, wait, timeout)


@app.command
def start(
    server_id: Id,
    /,
    *,
    wait: Wait = False,
    timeout: Seconds = 300.0,
    readiness: Readiness = READINESS,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: Output = OUTPUT,
) -> int:
    """Start a stopped server."""
    request = readiness.request(unless=_unless(wait))
    return _act(account.settings(), record, "start", server_id, output, wait, timeout, request)


@app.command
def stop(
    server_id: Id,
    /,
    *,
    wait: Wait = False,
    timeout: Seconds = 300.0,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: Output = OUTPUT,
) -> int:
    """Stop a running server. A stopped server is charged until it is deleted."""
    return _act(account.settings(), record, "stop", server_id, output, wait, timeout)


@app.command
def reboot(
    server_id: Id,
    /,
    *,
    wait: Wait = False,
    timeout: Seconds = 300.0,
    readiness: Readiness = READINESS,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: Output = OUTPUT,
) -> int:
    """Reboot a running server."""
    request = readiness.request(unless=_unless(wait))
    return _act(account.settings(), record, "reboot", server_id, output, wait, timeout, request)


def _unless(wait: bool) -> str:
    return "" if wait else "is checked once the server is active: add --wait"


def _act(
    settings: Settings,
    record: JournalOptions,
    operation: str,
    given: str,
    output: Output,
    wait: bool,
    timeout: float,
    request: ReadyRequest = NO_CHECK,
) -> int:
    server_id = ident(given)
    recording = Recording.acting(record.file(settings), [check_id(server_id)], timeout, waited=wait)
    hint = recording.file.written

    async def command(vps: Client, tally: Tally, results: list[Any]) -> None:
        async with acting(vps, recording, operation, server_id, output) as accepted:
            if not wait:
                results.append(accepted.answer)
                return
            tally.commanded(operation, server_id)
            await _wait(vps, operation, accepted.subject, server_id, tally, results, timeout, request, hint)

    _follow(settings, operation, server_id, command, output, wait, timeout, request)
    return Exit.OK


async def _wait(
    vps: Client,
    operation: str,
    subject: ServerId | Receipt,
    key: ServerId,
    tally: Tally,
    results: list[Any],
    timeout: float,
    request: ReadyRequest,
    hint: str,
) -> None:
    """Wait for a command that was acknowledged; appends the last that is known of the server, however that ends.

    ``hint``: the options of the journal, for the command that continues the wait.
    """
    server_id = subject.server_id if isinstance(subject, Receipt) else subject
    target = COMMANDS[operation].target
    seen: list[Server] = []

    def heard(server: Server, reason: str) -> None:
        seen[:] = [server]
        tally.checked(key, reason)

    check = request.watched(heard)
    try:
        results.append(
            await vps.wait_until(
                subject, Target.of(target), timeout=timeout, ready=check, ready_timeout=request.timeout
            )
        )
    except WaitError as error:
        results += [] if error.last_seen is None else [error.last_seen]
        raise
    except asyncio.CancelledError:
        results += seen
        done = tally.state(key) if tally.stage(key) else "is in progress"
        left = f"the {operation} of {key} was acknowledged; {done}"
        note(f"{left}; {to_continue([server_id], [target], request, hint)}", needed=True)
        raise


def _follow(
    settings: Settings,
    operation: str,
    key: ServerId,
    work: Callable[[Client, Tally, list[Any]], Awaitable[None]],
    output: Output,
    wait: bool,
    timeout: float,
    request: ReadyRequest,
) -> None:
    """Run the work, show its progress, and print the last of its results, however it ends."""
    tally = Tally(operation, [key], timeout=timeout, ready=request)

    async def followed(vps: Client) -> None:
        results: list[Any] = []
        try:
            async with showing(vps, tally, quiet=output.quiet or not wait):
                await work(vps, tally, results)
                word = str(getattr(results[-1], "status", "") or "done")
                tally.settled(key, READY if wait and request.check is not None else word)
        finally:
            for result in results[-1:]:
                _report(result, operation, key, output)

    settings.run(followed, on_event=tally.heard)


def _report(result: Any, operation: str, key: ServerId, output: Output) -> None:
    if isinstance(result, Server):
        output.report(result, sheet(plain(result)))
    elif result is None:
        output.report({"server_id": key, "status": "deleted"}, [f"{key} is deleted"])
    else:
        said = result.message or f"the {operation} was accepted"
        output.report(result, [f"{result.server_name or result.server_id}: {said}"])
