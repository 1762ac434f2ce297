"""The tables of servers, and of what became of them: their columns, and the output options of their commands."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
from cyclopts import Group, Parameter

from ..records import Server, ServerId
from .output import TableOutput, View, Yes, plain, sheet
from .server_names import as_written
from .tables import Column, Columns

__all__ = [
    "REPORTED",
    "SERVERS",
    "UNASKED_REPORT",
    "UNASKED_SERVER",
    "WAITED",
    "ReportOutput",
    "ReportRow",
    "ServerOutput",
    "WaitOutput",
    "of_server",
    "report_columns",
    "wait_columns",
]

SERVER_COLUMNS: Columns[Server] = Columns(
    (
        Column("ID", lambda one: one.id, rank=2),
        Column("NAME", lambda one: one.name, rank=0),
        Column("STATUS", lambda one: one.status, rank=1),
        Column("IP", lambda one: one.address, rank=3),
        Column("LOCATION", lambda one: one.location, rank=4),
        Column("PLAN", lambda one: one.plan and one.plan.name, rank=5),
        Column("OS", lambda one: one.os and one.os.name, rank=6),
        Column("HOSTNAME", lambda one: one.hostname, wide=True),
        Column("IPV4", lambda one: one.ip_address, wide=True),
        Column("IPV6", lambda one: one.ipv6_address, wide=True),
        Column("VCPUS", lambda one: one.plan and one.plan.vcpus, wide=True),
        Column("MEMORY", lambda one: one.plan and one.plan.memory, wide=True),
        Column("STORAGE", lambda one: one.plan and one.plan.storage, wide=True),
        Column("BACKUPS", lambda one: one.backups_enabled, wide=True),
        Column("CREATED", lambda one: one.created_at, wide=True),
        Column("UPDATED", lambda one: one.updated_at, wide=True),
    ),
    id=lambda one: one.id,
    name=lambda one: as_written(one.name),
)


class ServerOutput(TableOutput):
    """The output options of a command that shows servers."""

    COLUMNS: ClassVar[Columns[Any]] = SERVER_COLUMNS


SERVERS = ServerOutput()


def of_server(server: Server) -> View[Server]:
    """Return the view of one server: a sheet."""
    return View(document=server, rows=(server,), text=sheet(plain(server)))


@attrs.frozen(kw_only=True)
class ReportRow:
    """What became of one server. ``key``: by what it was named; ``stage``: how far it came, if it was checked."""

    key: ServerId
    outcome: str
    name: str | None = None
    id: ServerId | None = None
    status: str | None = None
    stage: str | None = None
    address: str | None = None
    seconds: float | None = None
    reason: str = ""

    @property
    def label(self) -> ServerId:
        """Its name, if that is known."""
        return self.name or self.key

    @property
    def written(self) -> ServerId | None:
        """What commands take for the server; None if it does not exist, as far as is known."""
        return as_written(self.name) if self.name else self.id


_STATUS = Column[ReportRow]("STATUS", lambda row: row.status, rank=2)
_STAGE = Column[ReportRow]("STAGE", lambda row: row.stage, rank=2)
_ID = Column[ReportRow]("ID", lambda row: row.id, rank=3)
_ADDRESS = Column[ReportRow]("IP", lambda row: row.address, rank=4)
_SECONDS = Column[ReportRow](
    "SECONDS", lambda row: None if row.seconds is None else round(row.seconds, 1), rank=5
)
_REASON = Column[ReportRow]("REASON", lambda row: row.reason, wide=True)
_WIDE_STAGE = attrs.evolve(_STAGE, wide=True)


def report_columns(*, checked: bool) -> list[Column[ReportRow]]:
    """Return the usual columns of a report. ``checked``: with ready checks the stage says more than the status."""
    server = Column[ReportRow]("SERVER", lambda row: row.label, rank=0)
    outcome = Column[ReportRow]("OUTCOME", lambda row: row.outcome, rank=1)
    return [server, outcome, _ID, _STAGE if checked else _STATUS, _ADDRESS, _SECONDS]


def wait_columns(*, checked: bool) -> list[Column[ReportRow]]:
    """Return the usual columns of a wait. ``checked``: as above."""
    name = Column[ReportRow]("NAME", lambda row: row.name, rank=0)
    return [_ID, name, _STAGE if checked else _STATUS, _ADDRESS, _SECONDS]


class ReportOutput(TableOutput):
    """The output options of a command that reports what became of servers."""

    COLUMNS: ClassVar[Columns[Any]] = Columns(
        (*report_columns(checked=False), _WIDE_STAGE, _REASON),
        id=lambda row: row.id,
        name=lambda row: row.written,
    )


class WaitOutput(TableOutput):
    """The output options of a command that waits for servers."""

    COLUMNS: ClassVar[Columns[Any]] = Columns(
        (
            *wait_columns(checked=False),
            _WIDE_STAGE,
            Column[ReportRow]("REACHED", lambda row: row.outcome == "reached", wide=True),
            _REASON,
        ),
        id=lambda row: row.id,
        name=lambda row: row.written,
    )


@Parameter(name="*", group=Group("Output", sort_key=3))
@attrs.frozen(kw_only=True)
class UnaskedServer(ServerOutput):
    """The output options of a command that changes a server and asks nothing: it accepts --yes as the others do."""

    yes: Yes = False


@Parameter(name="*", group=Group("Output", sort_key=3))
@attrs.frozen(kw_only=True)
class UnaskedReport(ReportOutput):
    """The same of a command with a report."""

    yes: Yes = False


REPORTED = ReportOutput()
UNASKED_SERVER = UnaskedServer()
UNASKED_REPORT = UnaskedReport()
WAITED = WaitOutput()
