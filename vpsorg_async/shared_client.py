"""One open client for each account on an event loop, shared by tasks that do not know of each other."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from .client import Client, account_key
from .errors import ConfigurationError

__all__ = ["SharedClient"]

C = TypeVar("C", bound=Client)

_Key = tuple[asyncio.AbstractEventLoop, Hashable]


class _Lease:
    """The open client of one account on one loop, and the number of its users. Only that loop's thread changes it."""

    def __init__(self, key: _Key) -> None:
        self._key = key
        self._users = 0
        self._opening = asyncio.Lock()
        self._client: Client | None = None

    async def enter(self, client: Client) -> Client:
        """Return the client that is open, or open this one."""
        self._users += 1
        try:
            # an opening that fails or is cancelled ends here for its caller alone: the next one opens its own client
            async with self._opening:
                if self._client is None:
                    self._client = await client.__aenter__()
                return self._client
        except BaseException:
            await self.leave()
            raise

    async def leave(self) -> None:
        """Close the client if no one else uses it. Closing runs to its end, as that of every client."""
        self._users -= 1
        if self._users:
            return
        # who comes from now on opens another client, and need not wait for the end of this one
        del _leases[self._key]
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__(None, None, None)


# Loops of several threads use it at the same time. Each operation on it is one of a dict, so it needs no lock.
_leases: dict[_Key, _Lease] = {}


def _lease(client: Client) -> _Lease:
    for key in list(_leases):
        if key[0].is_closed():
            # a loop that ended in the middle of a block; its connections are gone
            _leases.pop(key, None)
    key = (asyncio.get_running_loop(), account_key(client))
    return _leases.setdefault(key, _Lease(key))


class SharedClient(Generic[C]):
    """The open client of an account, shared by all tasks of the event loop that enter it.

    Tasks that share a client share its connections, its limits and its polls: a hundred waits cost as much as one. The
    first task that enters opens the client, and the last one that leaves closes it. Another event loop, and so another
    thread, has a client of its own.

    Clients are of the same account if their token, base URL, dialect and class are equal; those with other ``limits``
    are not shared either, so that no task gets a client that may do more than its own. The factory is called each time,
    so that a new token is noticed: it leads to another client, and tasks that entered before keep theirs. While a
    client is open, the other options are those with which it was created. For options of single tasks, use
    `Client.with_options`.

    Args:
        factory: A function without arguments that returns a new client, such as ``Client.from_env``.

    Raises:
        ConfigurationError: The factory is not such a function, or returned something else. Errors of the factory
            itself, and of opening the client, are raised as they are.

    Example::

        async with SharedClient(Client.from_env) as vps:
            server = await vps.wait_until(12345, "active", timeout=600)
    """

    def __init__(self, factory: Callable[[], C]) -> None:
        if not callable(factory) or inspect.iscoroutinefunction(factory):
            raise ConfigurationError(f"factory is a function that is called, not awaited, not {factory!r}")
        self._factory = factory
        self._entered: dict[asyncio.AbstractEventLoop, list[tuple[object, _Lease]]] = {}

    async def __aenter__(self) -> C:
        client: Any = self._factory()
        if not isinstance(client, Client):
            if inspect.iscoroutine(client):
                client.close()
            raise ConfigurationError(f"the factory returns a Client, not {type(client).__name__}")
        lease = _lease(client)
        shared: Any = await lease.enter(client)
        entered = self._entered.setdefault(asyncio.get_running_loop(), [])
        entered.append((asyncio.current_task(), lease))
        return shared  # type: ignore[no-any-return]

    async def __aexit__(self, *_: object) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        entered = self._entered.get(loop)
        if not entered:
            raise ConfigurationError("this event loop has not entered the shared client")
        # the block that the task entered last, or, if another task entered for this one, the last of all
        place = max(range(len(entered)), key=lambda n: (entered[n][0] is task, n))
        lease = entered.pop(place)[1]
        if not entered:
            del self._entered[loop]
        await lease.leave()
