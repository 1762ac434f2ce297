"""Checks that a server can be used, which may follow a wait for its status.

`wait_until_ready` is the one way to wait for a check: ``wait_until(ready=)`` repeats it until a deadline, a rolling
operation for a number of times.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable

import attrs

from ..errors import (
    ConfigurationError,
    NeverReadyError,
    ServerGoneError,
    VpsOrgError,
    WaitError,
    WaitTimeoutError,
    is_absence,
)
from ..hooks import FAILURES
from ..records import Seen, Server, ServerId
from ..timing import Backoff, Clock
from .commands import GONE

__all__ = [
    "Check",
    "Hopeless",
    "NotReady",
    "ReadyCheck",
    "ReadyPolicy",
    "ask",
    "name_of",
    "time_of",
    "wait_until_ready",
]

PAUSES = Backoff(initial=0.5, maximum=5.0)
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


def time_of(check: ReadyCheck) -> float:
    """Return the most seconds that one call of the check takes."""
    return check.timeout if isinstance(check, Check) else TIME_OF_FUNCTION


@attrs.frozen(kw_only=True)
class ReadyPolicy:
    """How a check is repeated until it passes. All durations are in seconds."""

    warm_up: float = 0.0
    """The pause before the first check."""
    pauses: Backoff = PAUSES
    """The pauses between two checks, without jitter."""
    timeout: float = math.inf
    """The time for all checks together."""
    check_timeout: float | None = None
    """The time for one check; None for what is left of ``timeout``."""
    tries: int | None = None
    """The most checks; None for no limit."""

    def time_for_check(self, left: float) -> float:
        """Return the seconds for a check that begins that long before the deadline."""
        if self.check_timeout is not None:
            return self.check_timeout
        return left if left > 0 else LAST_CHECK

    def failure(self, server: Server, tries: int, reason: str, timeline: tuple[Seen, ...]) -> WaitError:
        """Return the error for a server whose check did not pass."""
        if self.tries is None:
            return WaitTimeoutError(
                f"server {server.id} is {server.status}, but not ready after {self.timeout:g} s: "
                f"its check was asked {tries} times, last: {reason}",
                server_id=server.id,
                target="ready",
                last_seen=server,
                timeline=timeline,
                reason=reason,
            )
        return WaitError(
            f"server {server.id} is {server.status}, but its health check did not pass in {tries} tries, "
            f"last: {reason}",
            server_id=server.id,
            target="healthy",
            last_seen=server,
            timeline=timeline,
            reason=reason,
        )


async def wait_until_ready(
    check: ReadyCheck,
    server: Server,
    policy: ReadyPolicy,
    *,
    clock: Clock,
    read: Callable[[ServerId], Awaitable[tuple[float, Server]]],
    timeline: tuple[Seen, ...] = (),
) -> Server:
    """Repeat a check until it passes, and return the server as it was then.

    After each pause the server is read again, so that no check sees an old record.

    Args:
        check: The check.
        server: The server, just read.
        policy: How often and how long the check is repeated.
        clock: The client's clock.
        read: Reads a server by id; returns when its request left, and the server.
        timeline: What the wait for the status saw, for the error.

    Raises:
        WaitTimeoutError: The check did not pass within ``policy.timeout``.
        NeverReadyError: The check raised `Hopeless`.
        WaitError: The check did not pass in ``policy.tries`` tries.
        ServerGoneError: The server does not exist any more.
    """
    ends = clock.now() + policy.timeout
    tries, pause = 0, policy.warm_up
    while True:
        if tries or pause:
            await clock.sleep(pause)
            server = await _read_again(read, server)
        tries += 1
        try:
            reason = await ask(check, server, policy.time_for_check(ends - clock.now()), LAST_CHECK)
        except Hopeless as never:
            raise NeverReadyError(
                f"server {server.id} is {server.status}, but never gets ready: {never}",
                server_id=server.id,
                target="ready",
                last_seen=server,
                timeline=timeline,
                reason=str(never),
            ) from never
        if not reason:
            return server
        left = ends - clock.now()
        if left <= 0 or tries == policy.tries:
            raise policy.failure(server, tries, reason, timeline)
        pause = min(policy.pauses.ceiling(tries), left)


async def _read_again(read: Callable[[ServerId], Awaitable[tuple[float, Server]]], server: Server) -> Server:
    """Return the server read again, or as it was if that fails. Raises `ServerGoneError` if it does not exist."""
    gone: VpsOrgError | None = None
    try:
        now = (await read(server.id))[1]
        if now.status != GONE:
            return now
    except VpsOrgError as failure:
        if not is_absence(failure):
            return server
        gone = failure
    raise ServerGoneError(
        f"server {server.id} does not exist any more", server_id=server.id, last_seen=server
    ) from gone


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
    reason = await _asked(check, server, timeout)
    if reason and now() > began + timeout + STOOD_STILL:
        reason = await _asked(check, server, max(timeout, last))
    return reason


async def _asked(check: ReadyCheck, server: Server, timeout: float) -> str:
    task = asyncio.current_task()
    # the caller may have been cancelled before, and call this while it cleans up
    cancelled = 0 if task is None else task.cancelling()
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            said = check(server)
            # a plain function does as well: a server has been rebooted for its answer
            passed = await said if inspect.isawaitable(said) else said
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
            return f"it did not answer within {timeout:g} s"
        return f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
    if callable(passed):
        # a check that was not called is true, and the wait would end on it
        raise Hopeless(f"{name_of(check)} returned {passed!r} instead of True or False")
    return "" if passed else "it said no"
