"""How the methods of async classes become those of classes for code that is not async.

Each wrapper has the parameters of the async method, for type checkers as well: what it does not change, nobody has to
write twice.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio
import anyio.to_thread

from ..lifecycle.readiness import Check, ReadyCheck
from ..records import Server
from .portal import Portal

__all__ = ["Face", "blocking", "called", "described", "iterating", "wrapped_as"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., Any])

CHECKS = ("ready", "health")
"""The arguments that are ready checks."""


class Face:
    """An object of the async client, for other threads than the client's."""

    def __init__(self, portal: Portal, find: Callable[[], Any]) -> None:
        """``find`` returns the async object; it is called in the client's thread."""
        self._portal = portal
        self._find = find


def blocking(
    method: Callable[Concatenate[Any, P], Awaitable[R]],
) -> Callable[Concatenate[Any, P], R]:
    """Return the method that waits for what a coroutine method returns."""

    def call(self: Face, /, *args: P.args, **kwargs: P.kwargs) -> R:
        _check_in_threads(kwargs)
        return self._portal.run(lambda: method(self._find(), *args, **kwargs))

    return described(call, method)


def called(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Return the method that calls a plain method in the client's thread."""
    return wrapped_as(_same, method)


def wrapped_as(
    made: Callable[[Portal, R], S], method: Callable[Concatenate[Any, P], R]
) -> Callable[Concatenate[Any, P], S]:
    """Return the method that calls a plain method in the client's thread, and returns its result wrapped."""

    def call(self: Face, /, *args: P.args, **kwargs: P.kwargs) -> S:
        _check_in_threads(kwargs)

        async def inside() -> R:
            return method(self._find(), *args, **kwargs)

        return made(self._portal, self._portal.run(inside))

    return described(call, method)


def iterating(
    method: Callable[Concatenate[Any, P], AsyncGenerator[R, None]],
) -> Callable[Concatenate[Any, P], Generator[R, None, None]]:
    """Return the method that returns a generator instead of an async one. Its arguments are checked at once."""
    return wrapped_as(Portal.iterate, method)


def _same(_: Portal, result: R) -> R:
    return result


def described(call: F, method: Callable[..., Any]) -> F:
    """Give a wrapper the name, the signature and the docstring of its method, without what is async in them."""
    call.__name__, call.__qualname__ = method.__name__, method.__qualname__
    text = re.sub(
        r"\bawait |\basync (?=with|for|with)|(?<=contextlib\.)a(?=closing)", "", method.__doc__ or ""
    )
    call.__doc__ = re.sub(r"\b([Aa])n async\b", r"\1", text)
    call.__annotations__ = {}  # its own are parameters of types, which the signature has replaced
    call.__signature__ = inspect.signature(method, eval_str=True)  # type: ignore[attr-defined]
    return call


def _check_in_threads(options: dict[str, Any]) -> None:
    """Let checks that are plain functions run in threads: one that waits for an answer must not stop the client."""
    for name in CHECKS:
        check: ReadyCheck | None = options.get(name)
        if callable(check) and not isinstance(check, Check) and not inspect.iscoroutinefunction(check):
            options[name] = _in_a_thread(check)


def _in_a_thread(check: ReadyCheck) -> ReadyCheck:
    @functools.wraps(check)
    async def call(server: Server) -> bool:
        # the number of checks is limited elsewhere, and one that was given up must not keep others from running
        limiter = anyio.CapacityLimiter(math.inf)
        said = await anyio.to_thread.run_sync(check, server, abandon_on_cancel=True, limiter=limiter)
        return await said if inspect.isawaitable(said) else said

    return call
