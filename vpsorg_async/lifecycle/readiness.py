"""What a ready check is, what it says, and how it is repeated. `ready_checks` repeats it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence

import attrs

from ..config import check_seconds
from ..counting import counted
from ..errors import ConfigurationError, VpsOrgError, WaitError, WaitTimeoutError
from ..hooks import FAILURES
from ..records import Seen, Server

__all__ = [
    "HEALTHY",
    "LAST_CHECK",
    "READY_TIMEOUT",
    "Check",
    "Hopeless",
    "NotReady",
    "ReadyCheck",
    "ReadyPolicy",
    "ask",
    "check_check",
    "check_ready",
    "least_of",
    "name_of",
    "time_of",
    "word_of",
]

HEALTHY = "healthy"
"""The target of a health check, which is tried a number of times."""
READY_TIMEOUT = 300.0
"""Seconds from the status until the check must have passed, unless the caller says otherwise."""

LAST_CHECK = 5.0
"""Seconds for a check that begins at the deadline, or that is repeated because the process was suspended."""

STOOD_STILL = 1.0
"""Seconds by which a check goes past its time where the process was suspended, or its loop blocked."""

TIME_OF_FUNCTION = 30.0
"""Seconds for a check that is a function of the user, which says nothing about its own time."""

ReadyCheck = Callable[[Server], Awaitable[bool] | bool]
"""Returns whether the server can be used; async, or quick.

An exception counts as False, with that reason. `NotReady` is an exception whose text alone is the reason, and
`Hopeless` ends the wait."""


class NotReady(VpsOrgError):
    """A check raises this to say no, with a reason. The server is checked again."""


class Hopeless(VpsOrgError):
    """A check raises this to say never, with a reason: the server has failed for good, and its wait ends at once."""


@attrs.frozen(eq=False, repr=False)
class Check:
    """A check with a name and a time limit of its own. Its repr is its name."""

    name: str
    """What the check is, as it was written: ``tcp(22)``."""
    timeout: float
    """The most seconds that one call takes. It is interrupted then."""
    call: Callable[[Server], Awaitable[bool]]
    least: float = math.inf
    """The seconds that one call has although other checks wait for its place; infinite for all of its time."""

    def __call__(self, server: Server) -> Awaitable[bool]:
        """Check the server once. Raises `NotReady` or `Hopeless`, with the reason."""
        return self.call(server)

    def __repr__(self) -> str:
        return self.name


def name_of(check: ReadyCheck) -> str:
    """Return the name of a check, for reasons."""
    return (
        check.name if isinstance(check, Check) else getattr(check, "__qualname__", type(check).__qualname__)
    )


def word_of(check: ReadyCheck) -> str:
    """Return the sort of a check, without its arguments: they can be secret, and different for each server."""
    return check.name.partition("(")[0] if isinstance(check, Check) else "function"


def time_of(check: ReadyCheck) -> float:
    """Return the most seconds that one call of the check takes."""
    return check.timeout if isinstance(check, Check) else TIME_OF_FUNCTION


def least_of(check: ReadyCheck) -> float:
    """Return the seconds that one call of the check has although others wait for its place."""
    return check.least if isinstance(check, Check) else math.inf


@attrs.frozen(kw_only=True)
class ReadyPolicy:
    """How a check is repeated until it passes. All durations are in seconds."""

    warm_up: float = 0.0
    """The pause before the first check."""
    interval: float | None = None
    """The pause between two checks; None for a share of the time that the server has had, see `ready_schedule`."""
    timeout: float = math.inf
    """The time for all checks together."""
    check_timeout: float = math.inf
    """The time for one check; a check may have a shorter one of its own."""
    tries: int | None = None
    """The most checks; None for no limit."""

    def time_for_check(self, check: ReadyCheck, left: float) -> float:
        """Return the seconds for a check that begins that long before the deadline."""
        own = time_of(check) if math.isinf(self.check_timeout) else self.check_timeout
        return min(own, left if left > 0 else LAST_CHECK)

    def failure(self, server: Server, tries: int, reason: str, timeline: Sequence[Seen]) -> WaitError:
        """Return the error for a server whose check did not pass."""
        times = counted(tries, "try", "tries")
        if self.tries is None:
            return WaitTimeoutError(
                f"server {server.id} is {server.status}, but not ready after {self.timeout:g} s: "
                f"its check did not pass in {times}, last: {reason}",
                server_id=server.id,
                target="ready",
                last_seen=server,
                timeline=timeline,
                reason=reason,
            )
        return WaitError(
            f"server {server.id} is {server.status}, but its health check did not pass in {times}, "
            f"last: {reason}",
            server_id=server.id,
            target=HEALTHY,
            last_seen=server,
            timeline=timeline,
            reason=reason,
        )


def check_ready(check: object, timeout: object) -> ReadyPolicy | None:
    """Return how a check is repeated that ``ready=`` and ``ready_timeout=`` of a call ask for; None without a check.

    Raises:
        ConfigurationError: One of them is wrong.
    """
    seconds = check_seconds(timeout, "ready_timeout")
    if check is None:
        if seconds != READY_TIMEOUT:
            raise ConfigurationError("ready_timeout is the time of a ready check: give ready as well")
        return None
    check_check(check, "ready")
    return ReadyPolicy(timeout=seconds)


def check_check(check: object, what: str) -> None:
    """Raise `ConfigurationError` for what can't be a check, and for a function that makes one but was not called."""
    if not callable(check):
        raise ConfigurationError(f"{what} is a check that is called with the server, not {check!r}")
    if getattr(check, "__annotations__", {}).get("return") in (Check, "Check"):
        made = f"ready.{getattr(check, '__name__', '')}"
        raise ConfigurationError(f"{what} is a check, and {made} makes one: call it, such as {made}(...)")


async def ask(check: ReadyCheck, server: Server, timeout: float, last: float = 0.0) -> str:
    """Call a check with a server; returns why it did not pass, empty if it did.

    Args:
        check: The check. What it raises is a reason, and so is a `CancelledError` of its own.
        server: The server.
        timeout: Seconds for the check.
        last: Seconds at least for a second try, which is made if the process was suspended during the first.

    Raises:
        Hopeless: The check raised it, or can never pass because it is written wrongly.
    """
    now = asyncio.get_running_loop().time
    began = now()
    with _cancellable():
        reason = await _asked(check, server, timeout)
    if reason and now() > began + timeout + STOOD_STILL:
        with _cancellable():
            reason = await _asked(check, server, max(timeout, last))
    return reason


@contextlib.contextmanager
def _cancellable() -> Iterator[None]:
    """Raise the `CancelledError` of a cancellation that the user's code caught and kept to itself."""
    task = asyncio.current_task()
    cancelled = 0 if task is None else task.cancelling()
    try:
        yield
    except FAILURES:
        if task is None or task.cancelling() <= cancelled:
            raise
    if task is not None and task.cancelling() > cancelled:
        raise asyncio.CancelledError


async def _asked(check: ReadyCheck, server: Server, timeout: float) -> str:
    task = asyncio.current_task()
    # the caller may have been cancelled before, and call this while it cleans up
    cancelled = 0 if task is None else task.cancelling()
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            said = check(server)
            # a plain function does as well: a server has been rebooted for its answer
            said = await said if inspect.isawaitable(said) else said
            passed = bool(said)
    except Hopeless:
        raise
    except NotReady as no:
        return str(no) or type(no).__name__
    except ConfigurationError as mistake:
        raise Hopeless(str(mistake)) from mistake
    except FAILURES as failure:
        if isinstance(failure, asyncio.CancelledError) and task is not None and task.cancelling() > cancelled:
            raise
        if isinstance(failure, TimeoutError) and limit.expired():
            return f"it did not answer within {timeout:.3g} s"
        return f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
    # what returns nothing would be asked until the time is up, and never says yes
    if said is None or _always_true(said):
        raise Hopeless(f"{name_of(check)} returned {said!r} instead of True or False")
    return "" if passed else "it said no"


def _always_true(said: object) -> bool:
    """Return whether this is true whatever the check found, so that the wait would end on it.

    That is a check that was not called, one that was not awaited or iterated, and ``False, "a reason"``.
    """
    if inspect.iscoroutine(said):
        said.close()  # it would warn later, of something else
        return True
    return (
        callable(said)
        or inspect.isawaitable(said)
        or inspect.isgenerator(said)
        or inspect.isasyncgen(said)
        or isinstance(said, tuple)
    )
