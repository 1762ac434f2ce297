"""`vpsorg fleet sweep`: delete old servers whose names fit a pattern."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..client import Client
from ..config import check_seconds
from ..fleet import Report
from ..lifecycle.commands import GONE
from ..timing import SystemClock
from .ages import read_span
from .earlier_runs import Recording
from .exits import Exit
from .journal_options import JOURNAL, JournalOptions
from .output import View, Yes, columns
from .reports import Hook, run_and_report
from .selecting import ask
from .server_names import check_names
from .server_tables import REPORTED, ReportOutput, ReportRow
from .settings import ACCOUNT, Account
from .specs import number_or_share
from .stdio import note
from .sweep import MOST, Sweep, SweepPlan
from .time_options import Timeout

__all__ = ["sweep"]


def sweep(
    *,
    name: Annotated[str, Parameter(help="Pattern of the names, such as 'ci-*'; ? is any one character.")],
    older_than: Annotated[str, Parameter(help="Age from which servers are deleted: 6h, 1h30m, 2d.")],
    protect: Annotated[
        tuple[str, ...], Parameter(help="Name of a server that is kept; can be repeated.", show_default=False)
    ] = (),
    max_deletes: Annotated[
        str, Parameter(help="The most deletes: a number, or a share such as 50% of the servers that fit.")
    ] = str(MOST),
    dry_run: Annotated[
        bool, Parameter(help="Print what would be deleted, without doing it.", show_default=False)
    ] = False,
    timeout: Timeout = 300.0,
    yes: Yes = False,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Delete old servers whose names fit a pattern, and wait until they are gone.

    A server that shows no time of creation is kept. After a delete that failed no other one is sent.
    """
    wanted = Sweep(
        pattern=name,
        older_than=read_span(older_than, "--older-than"),
        protect=protect,
        max_deletes=number_or_share(max_deletes, "--max-deletes"),
    )
    check_seconds(timeout, "--timeout")
    settings = account.settings()
    plan = settings.run(lambda vps: _plan(vps, wanted))
    if dry_run or not plan.deletes:
        output.show_view(_view(plan))
        return Exit.REFUSED if plan.refusal else Exit.OK
    if plan.refusal:
        note("\n".join(_lines(plan)))
        return Exit.REFUSED
    for line in _lines(plan):
        output.note(line)
    found = {server.id: server.name for server in plan.deletes}
    ask("Delete", found, " permanently", yes=yes)
    check_names(settings, found)

    async def call(vps: Client, hook: Hook, journal: Path | None) -> Report:
        return await vps.fleet.delete(
            [*found], timeout=timeout, on_failure="stop", on_event=hook, journal=journal
        )

    recording = Recording.acting(record.file(settings), found, timeout)
    return run_and_report(settings, "delete", found, call, output, recording=recording)


async def _plan(vps: Client, wanted: Sweep) -> SweepPlan:
    listing = await vps.listing()
    listing.check_whole("a sweep needs all of it")
    present = [server for server in listing.servers if server.status != GONE]
    # the times of creation are those of the service: a clock of this machine that is ahead must not make servers older
    now = SystemClock().wall()
    return wanted.plan(present, min(now, listing.date or now), listing.name_of)


def _lines(plan: SweepPlan) -> list[str]:
    if not plan.rows:
        return ["no server has such a name"]
    rows = [
        ("delete" if row.deleted else "keep", row.server.name, row.server.id, row.server.status, row.reason)
        for row in plan.rows
    ]
    lines = columns(("STEP", "NAME", "ID", "STATUS", "REASON"), rows)
    if plan.refusal:
        lines.append(f"refused: {plan.refusal}; nothing was sent")
    return lines


def _view(plan: SweepPlan) -> View[ReportRow]:
    rows = [
        ReportRow(
            key=row.server.id,
            name=row.server.name,
            id=row.server.id,
            outcome="delete" if row.deleted else "keep",
            status=row.server.status,
            address=row.server.address,
            reason=row.reason,
        )
        for row in plan.rows
    ]
    return View(document=_document(plan), rows=rows, place="servers", text=_lines(plan))


def _document(plan: SweepPlan) -> dict[str, Any]:
    rows = [
        {
            "step": "delete" if row.deleted else "keep",
            "id": row.server.id,
            "name": row.server.name,
            "status": row.server.status,
            "created_at": row.server.created_at,
            "reason": row.reason,
        }
        for row in plan.rows
    ]
    return {"delete": len(plan.deletes), "refusal": plan.refusal, "servers": rows}
