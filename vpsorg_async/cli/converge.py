"""`vpsorg fleet plan`, `apply`, `scale` and `diff`: bring the account to what a file of fleets says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import attrs
from cyclopts import Group, Parameter
from cyclopts.validators import Number

from ..client import Client
from ..config import check_seconds
from ..counting import counted
from ..errors import ConfigurationError
from ..fleet import Report
from ..fleet.inputs import SETTLE
from ..fleet_plan import FleetPlan, Step, StepKind
from ..fleet_spec import FleetSpec
from ..fleet_tables import load_fleets
from ..records import ServerId
from .durable_fleet import run_durably
from .earlier_runs import Recording
from .engine_options import LOCAL, DurableOptions
from .exits import Exit
from .journal_options import JOURNAL, NO_JOURNAL, JournalFile, JournalOptions
from .output import TableOutput, View, Yes, confirm, printable
from .passwords import Passwords, PasswordsFile
from .planned_creates import plan_view
from .prices import price
from .readiness_options import READINESS, Readiness, ReadyRequest
from .reports import Hook, number, run_and_report, some
from .server_names import as_written
from .server_tables import REPORTED, ReportOutput
from .settings import ACCOUNT, Account, Settings
from .specs import number_or_share
from .stdio import note
from .stuck_options import AS_THEY_ARE, Stuck
from .swap_options import SWAPPING, Swapping
from .tables import Column, Columns
from .time_options import Settle, Timeout

__all__ = ["apply", "diff", "plan", "scale"]

MOST = 10_000
"""The most servers of one fleet."""
File = Annotated[
    Path,
    Parameter(name=("--file", "-f"), help="A TOML file of fleets: [[fleet]] with name, count and so on."),
]
_GUARDS = Group("Guards of deletes", sort_key=1)


@Parameter(name="*", group=_GUARDS)
@attrs.frozen(kw_only=True)
class Removal:
    """Which servers of a fleet may go, and which go first."""

    protect: Annotated[
        tuple[str, ...], Parameter(help="Name of a server that is kept; can be repeated.", show_default=False)
    ] = ()
    remove: Annotated[
        Literal["highest", "newest"], Parameter(help="Which go first: the highest numbers, or the newest.")
    ] = "highest"
    allow_empty: Annotated[
        bool, Parameter(help="Permit a count of 0 to delete a whole fleet.", show_default=False)
    ] = False

    def options(self) -> dict[str, Any]:
        """Return the options of `Fleet.plan`."""
        return {"protect": self.protect, "remove": self.remove, "allow_empty": self.allow_empty}


@Parameter(name="*", group=_GUARDS)
@attrs.frozen(kw_only=True)
class Pruning(Removal):
    """Whether servers are deleted at all, and how many."""

    prune: Annotated[
        bool, Parameter(help="Delete the servers that are more than a fleet's count.", show_default=False)
    ] = False
    max_deletes: Annotated[
        str | None,
        Parameter(help="The most deletes: a number, or a share of each fleet such as 50%; 10% by default."),
    ] = None

    def options(self) -> dict[str, Any]:
        """Return the options of `Fleet.plan`. Raises `ConfigurationError`."""
        most = None if self.max_deletes is None else number_or_share(self.max_deletes, "--max-deletes")
        return {
            **super().options(),
            "prune": self.prune,
            **({} if most is None else {"max_deletes": most}),
        }


class DiffOutput(TableOutput):
    """The output options of a command that shows differences."""

    COLUMNS: ClassVar[Columns[Any]] = Columns[Step](
        (
            Column("NAME", lambda step: step.name, rank=0),
            Column("DIFFERENCE", lambda step: _difference(step), rank=1),
            Column("ID", lambda step: step.server and step.server.id, rank=3),
            Column("STATUS", lambda step: step.server and step.server.status, rank=2),
        ),
        id=lambda step: step.server and step.server.id,
        name=lambda step: as_written(step.name),
    )


REMOVAL = Removal()
PRUNING = Pruning()
DIFFERENCES = DiffOutput()


def plan(
    file: File,
    *,
    check: Annotated[bool, Parameter(help="Exit with 10 if there are changes.", show_default=False)] = False,
    pruning: Pruning = PRUNING,
    swapping: Swapping = SWAPPING,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Print what apply would do, and what that costs. Nothing but reads is sent."""
    settings = account.settings()
    options = pruning.options() | swapping.options()
    made = _planned(settings, load_fleets(file), options, record.file(settings))
    output.show_view(plan_view(made, json.loads(made.to_json()), settings.limited))
    if made.refusals or made.over_limits:
        return Exit.REFUSED
    if check and made.changes:
        return Exit.CHANGES
    return Exit.PARTIAL if _refused(made) else Exit.OK


def apply(
    file: File,
    *,
    timeout: Timeout = 900.0,
    settle: Settle = SETTLE,
    passwords: PasswordsFile = None,
    yes: Yes = False,
    pruning: Pruning = PRUNING,
    swapping: Swapping = SWAPPING,
    readiness: Readiness = READINESS,
    stuck: Stuck = AS_THEY_ARE,
    record: JournalOptions = JOURNAL,
    durable: DurableOptions = LOCAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Bring the account to what the fleets of a file say, and wait for it.

    Missing servers are created and stopped ones are started; with --prune those that are too many are deleted. The
    command first shows the plan and asks. It applies that plan, and nothing if the account has changed meanwhile. With
    --replace rolling, servers that differ are replaced: the old one is deleted when the new one is ready.
    """
    replacing = stuck.options()
    durable.check(ready=readiness.ready, passwords=passwords, journal=record.journal, on_stuck=stuck.asked)
    settings = account.settings()
    if durable.on:
        asked = {"fleets": load_fleets(file), "timeout": timeout, "settle": settle, **pruning.options()}
        if swapping.options() != SWAPPING.options():
            raise ConfigurationError("--on temporal replaces no servers with fleet apply")
        return _apply_durably(durable, settings, asked, output, yes=yes)
    request, recorded = readiness.request(new=True), record.file(settings)
    check_seconds(timeout, "--timeout")
    check_seconds(settle, "--settle", zero=True)
    options = pruning.options() | swapping.options()
    made = _planned(settings, load_fleets(file), options, recorded)
    return _applied(
        settings, made, timeout, settle, passwords, request, recorded, output, yes=yes, replacing=replacing
    )


def scale(
    *,
    file: File,
    to: Annotated[int, Parameter(help="The number of servers.", validator=Number(gte=0, lte=MOST))],
    fleet: Annotated[
        str | None, Parameter(help="The name pattern of the fleet, if the file has several.")
    ] = None,
    timeout: Timeout = 900.0,
    settle: Settle = SETTLE,
    passwords: PasswordsFile = None,
    yes: Yes = False,
    removal: Removal = REMOVAL,
    readiness: Readiness = READINESS,
    stuck: Stuck = AS_THEY_ARE,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Bring one fleet of a file to another number of servers, and wait for it.

    The number is the permission to delete as many as are too many, and no more. The command first shows the plan and
    asks, as apply does.
    """
    settings = account.settings()
    request, recorded, replacing = readiness.request(new=True), record.file(settings), stuck.options()
    check_seconds(timeout, "--timeout")
    check_seconds(settle, "--settle", zero=True)
    wanted = _one(load_fleets(file), fleet)

    async def planned(vps: Client) -> FleetPlan:
        scaled: FleetPlan = await vps.fleet.scale(wanted, to, dry_run=True, **removal.options())
        return scaled

    made = settings.run(planned)
    return _applied(
        settings,
        made,
        timeout,
        settle,
        passwords,
        request,
        recorded,
        output,
        yes=yes,
        operation="scale",
        replacing=replacing,
    )


def diff(file: File, *, account: Account = ACCOUNT, output: DiffOutput = DIFFERENCES) -> int:
    """Print where the account differs from the fleets of a file. Exit with 10 if it does.

    What a list does not show is no difference. A server on its way to active is none either.
    """
    made = _planned(account.settings(), load_fleets(file), {})
    differing = [step for step in made.steps if _differs(step)]
    document = json.loads(attrs.evolve(made, steps=tuple(differing)).to_json())["steps"]
    view = View(document=document, rows=differing, place="")
    output.show_view(view if differing else attrs.evolve(view, text=()))
    verb = "differs" if len(differing) == 1 else "differ"
    output.note(f"{len(differing)} of {counted(len(made.steps), 'server')} {verb}")
    return Exit.CHANGES if differing else Exit.OK


def _differs(step: Step) -> bool:
    return step.kind not in (StepKind.KEEP, StepKind.WAIT) or step.surplus or bool(step.differences)


def _difference(step: Step) -> str:
    """Return in what a server differs from its fleet."""
    found = ["missing"] if step.kind is StepKind.CREATE else []
    if step.surplus:
        found.append("more than the count")
    elif step.kind is StepKind.REFUSE:
        found.append(step.reason)
    elif step.kind is StepKind.START:
        found.append("not active")
    if step.kind is StepKind.REPLACE:
        found.append(step.reason)
    return "; ".join([*found, *step.differences])


def _refused(made: FleetPlan) -> bool:
    return any(step.kind is StepKind.REFUSE for step in made.steps)


def _one(fleets: Sequence[FleetSpec], name: str | None) -> FleetSpec:
    """Return the fleet of this name pattern, or the only one. Raises `ConfigurationError`."""
    found = [fleet for fleet in fleets if name in (None, fleet.name)]
    if len(found) != 1:
        known = ", ".join(fleet.name for fleet in fleets) or "none"
        what = f"the file has {len(fleets)} fleets" if name is None else f"the file has no fleet {name!r}"
        raise ConfigurationError(f"{what}: pass as --fleet one of {known}")
    return found[0]


def _planned(
    settings: Settings,
    fleets: Sequence[FleetSpec],
    options: dict[str, Any],
    recorded: JournalFile = NO_JOURNAL,
) -> FleetPlan:
    async def planned(vps: Client) -> FleetPlan:
        return await vps.fleet.plan(fleets, journal=recorded.path, **options)

    return settings.run(planned)


def _applied(
    settings: Settings,
    made: FleetPlan,
    timeout: float,
    settle: float,
    passwords: Path | None,
    request: ReadyRequest,
    recorded: JournalFile,
    output: ReportOutput,
    *,
    yes: bool,
    operation: str = "apply",
    replacing: dict[str, Any],
) -> int:
    """Show the plan, ask if it changes anything, apply it, and print the report."""
    if made.refusals or made.over_limits:
        note("\n".join([*_changing(made), "nothing was sent"]))
        return Exit.REFUSED
    _ask(made, output, yes=yes)

    async def call(vps: Client, hook: Hook, journal: Path | None) -> Report:
        report = await vps.fleet.apply(
            made,
            timeout=timeout,
            settle=settle,
            ready=request.check,
            ready_timeout=request.timeout,
            on_event=hook,
            journal=journal,
            **replacing,
        )
        return attrs.evolve(report, operation=operation)

    recording = Recording.creating(recorded, settings, [step.spec for step in made.steps], settle)
    names: dict[ServerId, str] = {step.name: step.name for step in made.steps}
    with Passwords(passwords) as safe:
        return run_and_report(settings, operation, names, call, output, safe, request, recording)


def _ask(made: FleetPlan, output: ReportOutput, *, yes: bool) -> None:
    """Show what a plan changes, and ask. Raises as `confirm` does."""
    if made.changes:
        output.note("\n".join(_changing(made)))
        confirm(_question(made), yes=yes)


def _apply_durably(
    durable: DurableOptions, settings: Settings, request: dict[str, Any], output: ReportOutput, *, yes: bool
) -> int:
    """Apply fleets on Temporal. The workflow waits for the answer to the question, unless ``yes`` answers it."""
    approve = None if yes else partial(_ask, output=output, yes=False)
    request["wait_for_approval"] = not yes
    return run_durably(durable, settings, "FleetApply", request, output, None, approve)


def _changing(made: FleetPlan) -> list[str]:
    """Return the lines of the plan without the servers to which nothing happens."""
    kept = {str(step) for step in made.steps if not _differs(step)}
    return [printable(line) for line in str(made).splitlines() if line not in kept]


def _question(made: FleetPlan) -> str:
    parts = [
        f"{verb} {number(names)} ({some(names)})"
        for verb, kind in (
            ("create", StepKind.CREATE),
            ("start", StepKind.START),
            ("change", StepKind.UPDATE),
            ("delete permanently", StepKind.DELETE),
        )
        if (names := [step.name for step in made.steps if step.kind is kind])
    ]
    if made.replaces:
        pairs = [f"{step.server.name} by {step.name}" for step in made.replaces if step.server is not None]
        parts.append(f"replace {number(pairs)}, whose old ones are deleted permanently ({some(pairs)})")
    asked = "; ".join(parts)
    paid = made.creates or made.replaces
    return f"{asked[:1].upper()}{asked[1:]}?{' ' + price(made) if paid else ''}"
