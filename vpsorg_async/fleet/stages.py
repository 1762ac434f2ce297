"""Fleet calls of two stages: a stop before a hard stop, and before a delete. Each stage is a run of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from ..errors import ConfigurationError, UnexpectedStatusError, WaitTimeoutError
from ..lifecycle.commands import COMMANDS
from ..listing import by_id
from ..records import ServerId
from ..specs import id_text
from .events import FleetEvent, ServerSettled
from .jobs import Options, RunContext
from .launch import Launcher
from .outcomes import Failed, Outcome, Report, Skipped, Succeeded
from .retry_failed import merged
from .stream import finish

__all__ = ["delete_stopped", "stop_hard"]

AT_REST = frozenset({"stopped", "suspended", "provisioning"})
"""The statuses in which there is nothing to stop before a delete."""


async def stop_hard(launcher: Launcher, ids: Sequence[ServerId], options: Options, after: float) -> Report:
    """Stop servers, and switch those off that are not stopped that many seconds after their command."""
    gently = _stage(options, "stop", _is_late, timeout=after)
    # one that is stopping, or stopped, refuses its stop: what it does shows then
    report = await finish(launcher.acting("stop", ids, gently, wait=True, echo=True))
    late = [outcome.key for outcome in report.outcomes if _is_late(outcome)]
    if not late:
        return report
    hard = _stage(options, "stop", timeout=options.timeout - after)
    # it holds all of them: once these are stopped as well, the journal has nothing left of the others either
    run = launcher.acting("hard_stop", late, hard, wait=True, holds=ids)
    return merged(report, await finish(run))


async def delete_stopped(
    context: RunContext, launcher: Launcher, ids: Sequence[ServerId], options: Options, *, wait: bool
) -> Report:
    """Stop servers, then delete those that are stopped. One that does not stop is not deleted."""
    context.admissions.check_change("delete")
    endpoints = context.endpoints.begin()
    known = await by_id((await endpoints.listing()).servers, ids, endpoints.get)
    running = [key for key in ids if (server := known.get(id_text(key))) and server.status not in AT_REST]
    began = context.clock.now()
    gently = _stage(options, "delete", _goes_on)
    # one that has stopped since it was listed refuses its stop
    stopped = await finish(launcher.acting("stop", running, gently, wait=True, echo=True))
    kept: dict[ServerId, Outcome] = {
        outcome.key: outcome for outcome in stopped.outcomes if not _goes_on(outcome)
    }
    rest = [key for key in ids if key not in kept]
    if kept and options.on_failure == "stop":
        why = f"not deleted, because {next(iter(kept))} did not stop"
        deleted: dict[ServerId, Outcome] = {key: Skipped(key, why) for key in rest}
    else:
        report = await finish(launcher.acting("delete", rest, options, wait=wait))
        deleted = {outcome.key: outcome for outcome in report.outcomes}
    return Report(
        operation="delete",
        outcomes=tuple((kept | deleted)[key] for key in ids),
        seconds=context.clock.now() - began,
        again=_not_again,
    )


def _is_late(outcome: Outcome) -> bool:
    """Whether a server was told to stop, by this call or before, and has not stopped."""
    if not isinstance(outcome, Failed):
        return False
    stops = outcome.server is not None and outcome.server.status == COMMANDS["stop"].moving
    told = outcome.acknowledged and isinstance(outcome.error, WaitTimeoutError | UnexpectedStatusError)
    return told or stops


def _goes_on(outcome: Outcome) -> bool:
    return isinstance(outcome, Succeeded)


def _stage(
    options: Options,
    operation: str,
    goes_on: Callable[[Outcome], bool] = lambda _: False,
    timeout: float | None = None,
) -> Options:
    """Return the options of one stage: its events are those of the call, and a server that goes on is not settled."""
    on_event = options.on_event

    def hook(event: FleetEvent) -> None:
        assert on_event is not None
        if not (isinstance(event, ServerSettled) and goes_on(event.outcome)):
            on_event(attrs.evolve(event, operation=operation))

    return attrs.evolve(
        options,
        on_event=None if on_event is None else hook,
        timeout=options.timeout if timeout is None else timeout,
    )


async def _not_again(report: Report) -> Report:
    raise ConfigurationError(
        "what was not stopped or deleted is not tried again by itself: pass the keys of report.failed to another call"
    )
