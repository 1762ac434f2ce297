"""`vpsorg servers`: the nine endpoints, each as a command."""

from __future__ import annotations

from typing import Annotated, Any, cast

from cyclopts import App, Parameter

from ..client import Client
from ..config import check_seconds
from ..dialects import make_dialect
from ..errors import ConfigurationError, VpsOrgError
from ..fleet.inputs import SETTLE
from ..http.events import ListIncomplete
from ..records import Server, ServerId
from ..servers import ServerFields
from ..shielding import side_by_side
from ..specs import ServerSpec
from .earlier_runs import Recording
from .exits import Exit
from .filters import FILTERS, Filters, words
from .following import follow, wait_for
from .journal_options import JOURNAL, JournalOptions
from .live import Tally
from .output import View, Yes, confirm, plain, sheet, unanswered
from .passwords import Passwords, PasswordsFile
from .prices import cost
from .readiness_options import READINESS, Readiness
from .server_names import fits, is_one, read_all, read_pattern, resolve, resolve_one
from .server_tables import (
    REPORTED,
    SERVERS,
    UNASKED_SERVER,
    ReportOutput,
    ServerOutput,
    UnaskedServer,
    of_server,
)
from .settings import ACCOUNT, Account
from .single_command import creating
from .specs import OsId, PlanId, Servers, ident
from .stdio import note
from .time_options import WaitTimeout

__all__ = ["app"]

app: App = App(
    name="servers", help="The servers of the account: list, create, change, delete.", help_epilogue=""
)

# each module is imported only when its command is used
for _name, _alias, _help in (
    ("delete", ("rm",), "Delete servers permanently."),
    ("start", (), "Start stopped servers."),
    (
        "stop",
        (),
        "Stop running servers. A stopped server is charged until it is deleted. Several are asked for.",
    ),
    ("reboot", (), "Reboot running servers. Several are asked for."),
):
    app.command(f"{__package__}.server_commands:{_name}", name=(_name, *_alias), help=_help)

Id = Annotated[str, Parameter(help="Id or name of the server.")]
Wait = Annotated[bool, Parameter(help="Wait until the command is done.", show_default=False)]
Backups = Annotated[
    bool | None,
    Parameter(name="--backups", negative="--no-backups", help="Automatic backups.", show_default=False),
]


@app.command(name=("list", "ls"))
def list_(
    *,
    name: Annotated[
        str | None, Parameter(help="Only servers whose names fit: 'web-*', or several such as 'web-*,db-?'.")
    ] = None,
    filters: Filters = FILTERS,
    account: Account = ACCOUNT,
    output: ServerOutput = SERVERS,
) -> int:
    """List the servers of the account."""
    patterns = [read_pattern(pattern, "--name").text for pattern in words(name, "--name")]
    settings = account.settings()
    name_of = make_dialect(settings.dialect).name_of
    short: list[str] = []

    def heard(event: object) -> None:
        if isinstance(event, ListIncomplete):
            short.append(event.reason)

    async def read(vps: Client) -> list[Server]:
        # the API filters by one word
        asked = [None if len(given) != 1 else given[0] for given in (filters.statuses, filters.locations)]
        rest = Filters(
            status=None if asked[0] else filters.status, location=None if asked[1] else filters.location
        )
        servers = [server for server in await vps.servers.list(*asked) if rest.fits(server)]
        if not patterns:
            return servers
        return [one for one in servers if any(fits(pattern, name_of(one)) for pattern in patterns)]

    servers = settings.run(read, on_event=heard)
    output.show_view(View(document=servers, rows=servers, place=""))
    for reason in short:
        output.note(f"the list lacks servers: {reason}")
    # the words were sent nevertheless: the page documents the filter's words only in translation
    for sentence in [] if servers else filters.unknown():
        output.note(sentence)
    return Exit.OK


@app.command(name=("get", "describe"))
def get(
    servers: Servers,
    /,
    *,
    account: Account = ACCOUNT,
    output: ServerOutput = SERVERS,
) -> int:
    """Show servers in detail."""
    wanted, settings = read_all(servers), account.settings()
    found = resolve(settings, wanted, output, sure=False)
    shown: dict[ServerId, Server] = {}
    errors: dict[ServerId, VpsOrgError] = {}

    async def read(vps: Client, server_id: ServerId) -> None:
        try:
            shown[server_id] = await vps.servers.get(server_id)
        except VpsOrgError as error:
            errors[server_id] = error

    settings.run(lambda vps: side_by_side(read(vps, server_id) for server_id in found.servers))
    records = [shown[server_id] for server_id in found.servers if server_id in shown]
    if is_one(wanted):
        for error in errors.values():
            raise error
        output.show_view(of_server(records[0]))
        return Exit.OK
    sheets = [[*([""] if number else []), *sheet(plain(one))] for number, one in enumerate(records)]
    text = [line for lines in sheets for line in lines]
    output.show_view(View(document=records, rows=records, place="", text=text))
    for problem in dict.fromkeys(map(str, errors.values())):
        note(f"vpsorg: {problem}")
    return Exit.of_all([*errors.values()], len(found.servers))


@app.command
def create(
    name: Annotated[str, Parameter(help="Name: letters, digits and hyphens.")],
    *,
    plan_id: PlanId,
    os_id: OsId,
    location: Annotated[str, Parameter(help="Datacenter code, such as us-west.")],
    hostname: Annotated[str | None, Parameter(help="Fully qualified host name.")] = None,
    ssh_key_id: Annotated[str | None, Parameter(help="Id of the SSH key to install.")] = None,
    backups: Backups = None,
    wait: Wait = False,
    timeout: WaitTimeout = 900.0,
    passwords: PasswordsFile = None,
    yes: Yes = False,
    readiness: Readiness = READINESS,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
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
    options = f"{recording.file.written}{settings.options}"
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
                    await wait_for(
                        vps, "create", accepted.subject, name, tally, results, timeout, request, options
                    )

        follow(settings, "create", name, order, output, wait, timeout, request)
    return Exit.OK


@app.command
def update(
    server: Id,
    /,
    *,
    name: Annotated[str | None, Parameter(help="The new name.")] = None,
    hostname: Annotated[str | None, Parameter(help="The new host name.")] = None,
    backups: Backups = None,
    account: Account = ACCOUNT,
    output: UnaskedServer = UNASKED_SERVER,
) -> int:
    """Change one or more of name, host name and backups (PATCH)."""
    given = {"name": name, "hostname": hostname, "backups_enabled": backups}
    fields = cast(ServerFields, {key: value for key, value in given.items() if value is not None})
    if not fields:
        raise ConfigurationError("give at least one of --name, --hostname, --backups, --no-backups")

    settings = account.settings()
    server_id = resolve_one(settings, server, output)

    async def patch(vps: Client) -> None:
        with unanswered(f"the update of {server_id}"):
            changed = await vps.servers.update(server_id, **fields)
        output.report_view(of_server(changed))

    settings.run(patch)
    return Exit.OK


@app.command
def replace(
    server: Id,
    /,
    *,
    name: Annotated[str, Parameter(help="The name.")],
    hostname: Annotated[str, Parameter(help="The host name.")],
    backups: Annotated[bool, Parameter(negative="--no-backups", help="Automatic backups.")],
    account: Account = ACCOUNT,
    output: UnaskedServer = UNASKED_SERVER,
) -> int:
    """Set name, host name and backups, all three (PUT)."""

    settings = account.settings()
    server_id = resolve_one(settings, server, output)

    async def put(vps: Client) -> None:
        with unanswered(f"the update of {server_id}"):
            changed = await vps.servers.replace(
                server_id, name=name, hostname=hostname, backups_enabled=backups
            )
        output.report_view(of_server(changed))

    settings.run(put)
    return Exit.OK


def _unless(wait: bool) -> str:
    return "" if wait else "is checked once the server is active: add --wait"
