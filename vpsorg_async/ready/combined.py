"""Checks of checks: all of them, any of them, several times in a row, with another time limit."""

from __future__ import annotations

import asyncio

from ..config import check_seconds
from ..errors import ConfigurationError
from ..lifecycle.readiness import (
    Check,
    Hopeless,
    NotReady,
    ReadyCheck,
    ask,
    check_check,
    least_of,
    name_of,
    time_of,
)
from ..records import Server
from ..shielding import apart, result_of
from .addresses import MARGIN

__all__ = ["all_of", "any_of", "limited", "stable"]


def all_of(*checks: ReadyCheck) -> Check:
    """Return a check that passes if all of these pass. They are called in this order, up to the first that does not.

    Args:
        *checks: Checks, or functions that are called with the server.

    Raises:
        ConfigurationError: One of them cannot be called, or none was given.

    Example:
        ``ready.all_of(ready.ssh(), ready.command("cloud-init status --wait", known_hosts="hosts", pin=True))``
    """
    _check_all(checks)

    async def call(server: Server) -> bool:
        for check in checks:
            reason = await _asked(check, server)
            if reason:
                raise NotReady(reason)
        return True

    return Check(
        _name("all_of", checks), sum(map(time_of, checks)) + MARGIN, call, sum(map(least_of, checks))
    )


def any_of(*checks: ReadyCheck) -> Check:
    """Return a check that passes as soon as any of these passes. They are called side by side.

    It says never only if all of them do.

    Args:
        *checks: Checks, or functions that are called with the server.

    Raises:
        ConfigurationError: One of them cannot be called, or none was given.

    Example:
        ``ready.any_of(ready.tcp(22), ready.tcp(2222))``
    """
    _check_all(checks)

    async def call(server: Server) -> bool:
        tasks = [apart(_asked(check, server)) for check in checks]
        waiting, reasons, hopeless = set(tasks), list[str](), 0
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    try:
                        reason = result_of(task)
                    except Hopeless as never:
                        hopeless += 1
                        reason = str(never)
                    if not reason:
                        return True
                    reasons.append(reason)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        raise (Hopeless if hopeless == len(checks) else NotReady)("; ".join(reasons))

    return Check(
        _name("any_of", checks), max(map(time_of, checks)) + MARGIN, call, max(map(least_of, checks))
    )


def stable(check: ReadyCheck, *, times: int = 3, within: float = 10.0) -> Check:
    """Return a check that passes if this one passes several times in a row, for a service that comes and goes.

    All of these calls are one check of the server: they see the same record, and count once for the number of checks
    at the same time.

    Args:
        check: The check that is repeated.
        times: The number of times, from 2.
        within: Seconds from the first to the last of them.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        ``ready.stable(ready.http("/healthz"), times=3, within=10)``
    """
    _check_all((check,))
    check_seconds(within, "within")
    if isinstance(times, bool) or not isinstance(times, int) or times < 2:
        raise ConfigurationError(f"times is a number of checks from 2, not {times!r}")

    async def call(server: Server) -> bool:
        for passed in range(times):
            if passed:
                await asyncio.sleep(within / (times - 1))
            reason = await _asked(check, server)
            if reason:
                raise NotReady(f"passed {passed} of {times} times, then {reason}")
        return True

    name = f"stable({name_of(check)}, times={times}, within={within:g})"
    return Check(name, times * time_of(check) + within + MARGIN, call, times * least_of(check) + within)


def limited(check: ReadyCheck, timeout: float) -> Check:
    """Return the same check with another time limit: a function has 30 s for each call.

    Args:
        check: The check, or a function that is called with the server.
        timeout: Seconds for each call.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        ``ready.limited(database_answers, 120)``
    """
    _check_all((check,))
    seconds = check_seconds(timeout, "timeout")

    async def call(server: Server) -> bool:
        reason = await ask(check, server, seconds)
        if reason:
            raise NotReady(reason)
        return True

    return Check(name_of(check), seconds + MARGIN, call, least_of(check))


def _check_all(checks: tuple[ReadyCheck, ...]) -> None:
    for check in checks:
        check_check(check, "what is combined")
    if not checks:
        raise ConfigurationError("at least one check is wanted here")


def _name(word: str, checks: tuple[ReadyCheck, ...]) -> str:
    return f"{word}({', '.join(map(name_of, checks))})"


async def _asked(check: ReadyCheck, server: Server) -> str:
    """Call one of the checks; returns why it did not pass, with its name. Raises `Hopeless`, with its name."""
    try:
        reason = await ask(check, server, time_of(check))
    except Hopeless as never:
        raise Hopeless(f"{name_of(check)}: {never}") from never
    return f"{name_of(check)}: {reason}" if reason else ""
