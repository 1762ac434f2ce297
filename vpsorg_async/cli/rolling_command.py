"""`vpsorg fleet rolling-reboot`: reboot servers a few at a time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import attrs
from cyclopts import Parameter

from ..client import Client
from ..errors import ConfigurationError
from ..fleet import Report
from ..fleet.inputs import RollingOptions, health_policy
from ..fleet.rollout import Rollout
from ..journal.journal import KEEP
from .durable_fleet import run_durably
from .earlier_runs import Recording
from .engine_options import LOCAL, DurableOptions
from .filters import FILTERS, Filters
from .journal_options import JOURNAL, JournalOptions
from .output import Yes
from .readiness_options import READINESS, Readiness, ReadyRequest
from .reports import Hook, run_and_report
from .selecting import ask, is_sole, select
from .server_tables import REPORTED, ReportOutput
from .settings import ACCOUNT, Account
from .specs import SELECTION, Selection, Servers, number_or_share
from .time_options import OptionalSeconds, Timeout

__all__ = ["rolling_reboot"]

CONTINUED = 86_400.0
"""Seconds for which a rolling operation that did not complete is continued: people look into failures first."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Pace:
    """How many servers are rebooted at a time, and how each is checked before the next."""

    max_unavailable: Annotated[
        str,
        Parameter(
            help="Servers that may be unavailable at once: a number, or a share of all such as 10%. Those that are "
            "not active already count."
        ),
    ] = "1"
    max_failures: Annotated[int, Parameter(help="Failures after which no further server is rebooted.")] = 1
    canary: Annotated[int, Parameter(help="Servers that go first, one by one.")] = 1
    port: Annotated[int | None, Parameter(help="The same as --ready tcp:PORT.")] = None
    warm_up: Annotated[
        OptionalSeconds, Parameter(help="Time from active until the first check; 0 by default.")
    ] = None
    health_retries: Annotated[
        int | None,
        Parameter(help="Maximum number of checks of a server, 5 s apart, instead of --ready-timeout."),
    ] = None

    def limits(self) -> dict[str, Any]:
        """Return how many servers go at a time. Raises `ConfigurationError`."""
        limit = number_or_share(self.max_unavailable, "--max-unavailable")
        limits: dict[str, Any] = {
            "max_unavailable": limit,
            "max_failures": self.max_failures,
            "canary": self.canary,
        }
        Rollout({}, **limits)
        return limits

    def checks(self, readiness: Readiness) -> tuple[ReadyRequest, dict[str, Any]]:
        """Return the check of a server that came back, and how it is repeated. Raises `ConfigurationError`."""
        if self.port is not None:
            readiness = attrs.evolve(readiness, ready=(*readiness.ready, f"tcp:{self.port}"))
        request = readiness.request()
        for name, value in (("--warm-up", self.warm_up), ("--health-retries", self.health_retries)):
            if value is not None and request.check is None:
                raise ConfigurationError(f"{name} goes with --ready")
        if self.health_retries is None:
            repeated: RollingOptions = {"ready_timeout": request.timeout}
        elif readiness.ready_timeout is None:
            repeated = {"health_retries": self.health_retries}
        else:
            raise ConfigurationError("give --health-retries or --ready-timeout, not both")
        repeated["warm_up"] = self.warm_up or 0.0
        health_policy(repeated)
        return request, {"health": request.check, **repeated}


PACE = Pace()
"""The default: no option was given."""


def rolling_reboot(
    ids: Servers = (),
    /,
    *,
    pace: Pace = PACE,
    resume: Annotated[
        bool,
        Parameter(
            help="Only continue an earlier run of these servers, however long ago it was.", show_default=False
        ),
    ] = False,
    timeout: Timeout = 600.0,
    yes: Yes = False,
    servers: Selection = SELECTION,
    filters: Filters = FILTERS,
    readiness: Readiness = READINESS,
    record: JournalOptions = JOURNAL,
    durable: DurableOptions = LOCAL,
    account: Account = ACCOUNT,
    output: ReportOutput = REPORTED,
) -> int:
    """Reboot servers a few at a time, the first one alone.

    Servers that are not active are skipped, and count as unavailable. With --ready, the next server is rebooted when
    the checks of one have passed. The same command after an interruption or a failure continues, for a day: servers
    that were rebooted are not rebooted again.
    """
    durable.check(ready=readiness.ready, port=pace.port, journal=record.journal, resume=resume)
    limits = {**pace.limits(), "timeout": timeout}
    request, health = pace.checks(readiness)
    settings = account.settings()
    file = record.file(settings)
    if resume and file.path is None:
        raise ConfigurationError("--resume needs a journal")
    found = select(settings, ids, servers, output, filters, named=not yes)
    verb = "Continue the rolling reboot of" if resume else "Reboot"
    how = f", at most {pace.max_unavailable} unavailable at a time"
    confirmed = partial(ask, verb, found, how, yes=yes or is_sole(found, ids, servers))
    if durable.on and found:
        return run_durably(durable, settings, "RollingReboot", {"ids": [*found], **limits}, output, confirmed)
    confirmed()

    async def call(vps: Client, hook: Hook, journal: Path | None) -> Report:
        options = {**limits, **health, "on_event": hook, "journal": journal, "resume": resume}
        return await vps.fleet.rolling_reboot([*found], **options)

    recording = Recording.acting(file, found, KEEP if resume else max(timeout, CONTINUED))
    return run_and_report(
        settings, "rolling reboot", found, call, output, request=request, recording=recording
    )
