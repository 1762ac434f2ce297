"""The token in use, and its renewal after a 401: one renewal for all calls whose token was refused."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
import attrs

from ..config import TOKEN_TIMEOUT, TokenSource, check_token
from ..errors import ConfigurationError
from ..hooks import FAILURES
from ..shielding import apart, is_cancellation, result_of
from ..virtual_time import outside_future

__all__ = ["Credentials", "Held", "token_from"]

log: logging.Logger = logging.getLogger("vpsorg_async.http")


@attrs.frozen(eq=False)
class Held:
    """A token since its last renewal. Each renewal makes another one, even if the token is the same."""

    token: str = attrs.field(repr=False)
    problem: str = ""
    """Why the renewal brought no token; empty if it did."""


class Credentials:
    """Holds the token, and asks its source for another one when it was refused."""

    def __init__(self, token: str, source: TokenSource, on_new: Callable[[str], None]) -> None:
        """``on_new`` is called with each token that differs from the one before."""
        self.held: Held = Held(token)
        self._source = source
        self._on_new = on_new
        self._renewal: asyncio.Task[None] | None = None

    async def renew(self, refused: Held) -> Held:
        """Return what is held after a renewal that began since a token was refused.

        It is the same renewal for all callers, and goes on if one of them is cancelled.

        Args:
            refused: What was held when the request left that was answered by 401.
        """
        if self.held is refused:
            if self._renewal is None:
                self._renewal = apart(self._renew())
            renewal = self._renewal
            await asyncio.wait((renewal,))
            if not renewal.cancelled():
                result_of(renewal)
        return self.held

    def close(self) -> None:
        """End a renewal in progress."""
        if self._renewal is not None:
            self._renewal.cancel()

    async def _renew(self) -> None:
        token, problem = self.held.token, ""
        try:
            token = await token_from(self._source)
        except ConfigurationError as error:
            problem = str(error)
            log.warning("the token was refused, and there is no other one: %s", problem)
        finally:
            self._renewal = None
        if token != self.held.token:
            log.info("the token was refused, and another one is used from now on")
            self._on_new(token)
        self.held = Held(token, problem)


async def token_from(source: TokenSource) -> str:
    """Return the token that a function returns; one that is not a coroutine function runs in a thread.

    Raises:
        ConfigurationError: It raised an exception, took too long, or returned no token.
    """
    limit = asyncio.timeout(TOKEN_TIMEOUT)
    try:
        async with limit:
            if inspect.iscoroutinefunction(source):
                token = await source()
            else:
                token = await _in_a_thread(source)
                token = await token if inspect.isawaitable(token) else token
    except ConfigurationError:
        raise
    except FAILURES as failure:
        if is_cancellation(failure):
            raise
        if isinstance(failure, TimeoutError) and limit.expired():
            raise ConfigurationError(
                f"the function for the token did not return within {TOKEN_TIMEOUT:g} s"
            ) from None
        what = f"the function for the token raised {type(failure).__name__}: {failure}"
        raise ConfigurationError(what) from failure
    if not isinstance(token, str) or not token.strip():
        what = "an empty text" if isinstance(token, str) else type(token).__name__
        raise ConfigurationError(f"the function for the token returned {what}, not a token")
    return check_token(token)


async def _in_a_thread(source: TokenSource) -> str | Awaitable[str]:
    working = outside_future()
    try:
        return await anyio.to_thread.run_sync(source, abandon_on_cancel=True)
    finally:
        working.set_result(None)
