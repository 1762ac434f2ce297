"""`vpsorg wait`: wait until servers reach a status."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from ..client import Client
from ..errors import ConfigurationError
from ..lifecycle.calls import WaitOutcome
from ..lifecycle.contract import MOVING, SETTLED, Target
from ..records import ServerId
from ..specs import check_id
from .exits import Exit
from .live import Tally, showing
from .output import OUTPUT, Output, columns, plain
from .settings import ACCOUNT, Account
from .specs import ident

__all__ = ["wait"]


def wait(
    ids: Annotated[tuple[str, ...], Parameter(help="Ids of the servers.", show_default=False)],
    /,
    *,
    target: Annotated[
        list[str] | None,
        Parameter(
            name="--for",
            help="A status word, settled, or gone (default: active); can be repeated.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[float, Parameter(help="Maximum seconds of each wait.")] = 600.0,
    account: Account = ACCOUNT,
    output: Output = OUTPUT,
) -> int:
    """Wait until servers reach a status, by default active.

    All waits share one poll of the account. The exit code says whether all servers reached the status.
    """
    words = target or ["active"]
    known = [*sorted(SETTLED | MOVING), "settled", "gone"]
    for word in words:
        if word not in known:
            raise ConfigurationError(f"--for: {word!r} is not a known status; known are {', '.join(known)}")
    wanted = list(dict.fromkeys(check_id(ident(text)) for text in ids))
    if not wanted:
        raise ConfigurationError("give at least one id")
    tally = Tally("wait", wanted, timeout=timeout)
    outcomes: dict[ServerId, WaitOutcome] = {}
    reported = False

    def show_once() -> None:
        nonlocal reported
        if not reported:
            reported = True
            _show([outcomes[key] for key in wanted if key in outcomes], output)

    async def work(vps: Client) -> None:
        try:
            async with showing(vps, tally, quiet=output.quiet, watched=wanted):
                async for outcome in vps.wait_until_all(wanted, Target.of(words), timeout=timeout):
                    outcomes[outcome.server_id] = outcome
                    tally.settled(outcome.server_id, _word(outcome))
        finally:
            show_once()

    account.settings().run(work, on_event=tally.heard, last_words=show_once)
    errors = [outcome.error for outcome in outcomes.values() if outcome.error is not None]
    return Exit.of_all(errors, len(wanted))


def _word(outcome: WaitOutcome) -> str:
    return "failed" if outcome.server is None else str(outcome.server.status)


def _show(outcomes: list[WaitOutcome], output: Output) -> None:
    rows = []
    for outcome in outcomes:
        server = outcome.server or getattr(outcome.error, "last_seen", None)
        known = (server.name, server.status, server.address) if server is not None else (None, None, None)
        rows.append((outcome.server_id, *known, f"{outcome.seconds:.1f}"))
    lines = columns(("ID", "NAME", "STATUS", "IP", "SECONDS"), rows) if rows else []
    lines += [str(outcome.error) for outcome in outcomes if outcome.error is not None]
    output.show([_row(outcome) for outcome in outcomes], lines)


def _row(outcome: WaitOutcome) -> dict[str, Any]:
    error = outcome.error
    return {
        "id": outcome.server_id,
        "reached": error is None,
        "seconds": round(outcome.seconds, 3),
        "evidence": outcome.evidence,
        "timeline": [str(seen) for seen in outcome.timeline],
        "server": None if outcome.server is None else plain(outcome.server),
        "error": None if error is None else type(error).__name__,
        "message": None if error is None else str(error),
    }
