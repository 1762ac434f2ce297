"""`vpsorg fleet`: commands for many servers, with one outcome for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from ..client import Client
from ..config import check_seconds
from ..fleet import Report
from ..fleet.inputs import SETTLE
from ..fleet.planning import FleetPlan
from ..records import ServerId
from ..specs import ServerSpec
from .ages import seconds_text
from .durable_fleet import run_durably
from .earlier_runs import Recording, take_up
from .engine_options import LOCAL, DurableOptions
from .filters import FILTERS, Filters
from .journal_options import JOURNAL, JournalOptions
from .output import Yes
from .passwords import Passwords, PasswordsFile
from .planned_creates import ask_to_create, create_durably, show_plan
from .readiness_options import READINESS, Readiness, ReadyRequest
from .reports import Call, Hook, run_and_report
from .selecting import ask, is_sole, select
from .server_names import check_names
from .server_tables import REPORTED, UNASKED_REPORT, ReportOutput, UnaskedReport
from .settings import ACCOUNT, Account
from .specs import SELECTION, SPECIFICATION, Selection, Servers, Specification
from .stuck_options import AS_THEY_ARE, Stuck
from .time_options import Seconds, Settle, Timeout

__all__ = ["app"]

app: App = App(name="fleet", help="Many servers at once, with one outcome for each.", help_epilogue="")
for _name, _help in (
    ("status", "Show how far a fleet on Temporal is, or how it ended."),
    ("pause", "Let a fleet on Temporal send nothing more, until it is resumed."),
    ("resume", "Let a paused fleet on Temporal go on."),
):
    app.command(f"{__package__}.durable_fleet:{_name}", name=_name, help=_help)

# each module is imported only when its command is used
for _name, _home, _help in (
    ("plan", "converge:plan", "Print what apply would do, and what that costs."),
    ("apply", "converge:apply", "Bring the account to what the fleets of a file say."),
    ("scale", "converge:scale", "Bring one fleet of a file to another number of servers."),
    ("diff", "converge:diff", "Print where the account differs from the fleets of a file."),
    ("sweep", "sweep_command:sweep", "Delete old servers whose names fit a pattern."),
    ("rolling-reboot", "rolling_command:rolling_reboot", "Reboot servers a few at a time."),
):
    app.command(f"{__package__}.{_home}", name=_name, help=_help)

NoWait = Annotated[bool, Parameter(help="Return when the commands are acknowledged.", show_default=False)]
DryRun = Annotated[
    bool, Parameter(help="Print what would be done and what it costs, without doing it.", show_default=False)
]
StopOnFailure = Annotated[
    bool, Parameter(help="Send no further command after a failure.", show_default=False)
]


@app.command
def create(
    *,
    dry_run: DryRun = False,
    timeout: Timeout = 900.0,
    no_wait: NoWait = False,
    stop_on_failure: StopOnFailure = False,
    settle: Settle = SETTLE,
    passwords: PasswordsFile = None,
    yes: Yes = False,
    servers: Specification = SPECIFICATION,
    readiness: Readiness = READINESS,
    stuck: Stuck = AS_THEY_ARE,
    record: JournalOptions = JOURNAL,
    durable: DurableOptions = LOCAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Create servers, and wait until all are active. A name that already exists is refused before anything is sent.

    New servers cost money at once, so the command first shows the price, if it is known, and asks for confirmation.
    """
    request = readiness.request(unless=_unless(no_wait), new=True)
    replacing = stuck.options(wait=not no_wait)
    specs, settings = servers.specs(), account.settings()
    check_seconds(timeout, "--timeout")
    durable.check(no_wait=no_wait, **_local(stop_on_failure, readiness, stuck, passwords, record))
    if durable.on and not dry_run:
        return create_durably(durable, settings, "create", specs, timeout, settle, yes, output)
    recording = Recording.creating(record.file(settings), settings, specs, settle, waited=not no_wait)
    if dry_run or not yes:

        async def planned(vps: Client) -> FleetPlan:
            async with recording.file.opened(new=False) as journal:
                _, taken_up = await take_up(vps, recording, journal, "create")
            # names that an earlier run has created are no longer free
            return await (vps.fleet.ensure if taken_up else vps.fleet.create)(specs, dry_run=True)

        plan = settings.run(planned)
        if dry_run:
            return show_plan(plan, settings, output)
        ask_to_create(plan, specs, yes=yes)

    async def call(vps: Client, hook: Hook, journal: Path | None) -> Report:
        report: Report = await vps.fleet.create(
            specs,
            timeout=timeout,
            wait=not no_wait,
            dry_run=False,
            ready=request.check,
            ready_timeout=request.timeout,
            on_failure=_on_failure(stop_on_failure),
            on_event=hook,
            settle=settle,
            journal=journal,
            **replacing,
        )
        return report

    with Passwords(passwords) as safe:
        return run_and_report(settings, "create", _names(specs), call, output, safe, request, recording)


@app.command
def ensure(
    *,
    dry_run: DryRun = False,
    timeout: Timeout = 900.0,
    stop_on_failure: StopOnFailure = False,
    settle: Settle = SETTLE,
    passwords: PasswordsFile = None,
    yes: Yes = False,
    servers: Specification = SPECIFICATION,
    readiness: Readiness = READINESS,
    stuck: Stuck = AS_THEY_ARE,
    record: JournalOptions = JOURNAL,
    durable: DurableOptions = LOCAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Make sure that these servers exist and are active.

    Existing names are kept, missing ones are created, and stopped ones are started. If you run the command again, it
    completes what an earlier run left undone. With --ready, the servers that exist already are checked as well.
    """
    request, replacing = readiness.request(new=True), stuck.options()
    specs, settings = servers.specs(), account.settings()
    check_seconds(timeout, "--timeout")
    durable.check(**_local(stop_on_failure, readiness, stuck, passwords, record))
    if durable.on and not dry_run:
        return create_durably(durable, settings, "ensure", specs, timeout, settle, yes, output)
    recording = Recording.creating(record.file(settings), settings, specs, settle)
    if dry_run or not yes:
        plan = settings.run(lambda vps: vps.fleet.ensure(specs, dry_run=True))
        if dry_run:
            return show_plan(plan, settings, output)
        ask_to_create(plan, specs, yes=yes)

    async def call(vps: Client, hook: Hook, journal: Path | None) -> Report:
        report: Report = await vps.fleet.ensure(
            specs,
            timeout=timeout,
            ready=request.check,
            ready_timeout=request.timeout,
            on_failure=_on_failure(stop_on_failure),
            on_event=hook,
            settle=settle,
            journal=journal,
            **replacing,
        )
        return report

    with Passwords(passwords) as safe:
        return run_and_report(settings, "ensure", _names(specs), call, output, safe, request, recording)


@app.command
def start(
    ids: Servers = (),
    /,
    *,
    timeout: Timeout = 300.0,
    no_wait: NoWait = False,
    stop_on_failure: StopOnFailure = False,
    servers: Selection = SELECTION,
    filters: Filters = FILTERS,
    readiness: Readiness = READINESS,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: UnaskedReport = UNASKED_REPORT,
) -> int:
    """Start servers, and wait until all are active."""
    request = readiness.request(unless=_unless(no_wait))
    settings = account.settings()
    found = select(settings, ids, servers, output, filters)
    call = _acts("start", found, timeout, no_wait, stop_on_failure, request)
    recording = Recording.acting(record.file(settings), found, timeout, waited=not no_wait)
    return run_and_report(settings, "start", found, call, output, request=request, recording=recording)


@app.command
def stop(
    ids: Servers = (),
    /,
    *,
    timeout: Timeout = 300.0,
    no_wait: NoWait = False,
    stop_on_failure: StopOnFailure = False,
    then: Annotated[
        Literal["hard-stop"] | None,
        Parameter(help="Switch off what has not stopped after --after; provider dialect only."),
    ] = None,
    after: Annotated[Seconds, Parameter(help="Time from the stop of a server to its hard stop.")] = 60.0,
    yes: Yes = False,
    servers: Selection = SELECTION,
    filters: Filters = FILTERS,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Stop servers, and wait until all are stopped. Stopped servers are charged until they are deleted."""
    settings = account.settings()
    found = select(settings, ids, servers, output, filters, named=not yes)
    more: dict[str, Any] = {} if then is None else {"then": "hard_stop", "after": after}
    how = "" if then is None else f", and switch off what runs {seconds_text(after)} later"
    ask("Stop", found, how, yes=yes or is_sole(found, ids, servers))
    call = _acts("stop", found, timeout, no_wait, stop_on_failure, **more)
    recording = Recording.acting(record.file(settings), found, timeout, waited=not no_wait)
    return run_and_report(settings, "stop", found, call, output, recording=recording)


@app.command
def reboot(
    ids: Servers = (),
    /,
    *,
    timeout: Timeout = 300.0,
    no_wait: NoWait = False,
    stop_on_failure: StopOnFailure = False,
    yes: Yes = False,
    servers: Selection = SELECTION,
    filters: Filters = FILTERS,
    readiness: Readiness = READINESS,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Reboot servers, all at the same time, and wait until they are active again."""
    request = readiness.request(unless=_unless(no_wait))
    settings = account.settings()
    found = select(settings, ids, servers, output, filters, named=not yes)
    ask("Reboot", found, " at the same time", yes=yes or is_sole(found, ids, servers))
    call = _acts("reboot", found, timeout, no_wait, stop_on_failure, request)
    recording = Recording.acting(record.file(settings), found, timeout, waited=not no_wait)
    return run_and_report(settings, "reboot", found, call, output, request=request, recording=recording)


@app.command(name=("delete", "rm"))
def delete(
    ids: Servers = (),
    /,
    *,
    timeout: Timeout = 300.0,
    no_wait: NoWait = False,
    stop_on_failure: StopOnFailure = False,
    stop_first: Annotated[
        bool,
        Parameter(help="Stop each server first; one that does not stop is not deleted.", show_default=False),
    ] = False,
    yes: Yes = False,
    servers: Selection = SELECTION,
    filters: Filters = FILTERS,
    record: JournalOptions = JOURNAL,
    durable: DurableOptions = LOCAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Delete servers permanently, and wait until they are gone. Names that are not in the account are ignored."""
    durable.check(
        no_wait=no_wait, stop_on_failure=stop_on_failure, stop_first=stop_first, journal=record.journal
    )
    settings = account.settings()
    found = select(settings, ids, servers, output, filters, named=not yes, deletes=True)

    def confirmed() -> None:
        ask("Delete", found, " permanently", yes=yes)
        check_names(settings, found)

    if durable.on and found:
        request = {"ids": [*found], "timeout": timeout}
        return run_durably(durable, settings, "FleetDelete", request, output, confirmed)
    confirmed()
    call = _acts("delete", found, timeout, no_wait, stop_on_failure, stop_first=stop_first)
    recording = Recording.acting(record.file(settings), found, timeout, waited=not no_wait)
    return run_and_report(settings, "delete", found, call, output, recording=recording)


def _local(
    stop: bool, readiness: Readiness, stuck: Stuck, passwords: object, record: JournalOptions
) -> dict[str, object]:
    """Return the options that only a run in this process has."""
    return {
        "stop_on_failure": stop,
        "ready": readiness.ready,
        "on_stuck": stuck.asked,
        "passwords": passwords,
        "journal": record.journal,
    }


def _unless(no_wait: bool) -> str:
    return "is checked once a server is active, so it does not go with --no-wait" if no_wait else ""


def _on_failure(stop: bool) -> Any:
    return "stop" if stop else "continue"


def _acts(
    operation: str,
    found: dict[ServerId, str],
    timeout: float,
    no_wait: bool,
    stop_on_failure: bool,
    request: ReadyRequest | None = None,
    **more: object,
) -> Call:
    if request is not None:
        more |= {"ready": request.check, "ready_timeout": request.timeout}

    async def call(vps: Client, hook: Hook, journal: Path | None) -> Report:
        act = getattr(vps.fleet, operation)
        report: Report = await act(
            [*found],
            timeout=timeout,
            wait=not no_wait,
            on_failure=_on_failure(stop_on_failure),
            on_event=hook,
            journal=journal,
            **more,
        )
        return report

    return call


def _names(specs: Sequence[ServerSpec]) -> dict[ServerId, str]:
    return {spec.name: spec.name for spec in specs}
