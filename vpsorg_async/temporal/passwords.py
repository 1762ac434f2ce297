"""Root passwords: handed to the user's function, and stored nowhere else."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable

import attrs

from ..errors import ConfigurationError
from ..hooks import FAILURES
from ..records import Server

__all__ = ["OnPassword", "PasswordKeeper"]

log: logging.Logger = logging.getLogger("vpsorg_async.temporal")

OnPassword = Callable[[Server], Awaitable[None]]
"""Called with the `Server` of a create, whose ``password`` no later answer has."""


class PasswordKeeper:
    """Hands each password over, before the activity that created the server returns."""

    def __init__(self, on_password: OnPassword | None) -> None:
        if on_password is not None and not inspect.iscoroutinefunction(on_password):
            raise ConfigurationError(f"on_password is an async function, not {on_password!r}")
        self._on_password = on_password

    async def keep(self, server: Server | None) -> None:
        """Hand over the password of a server, if it has one. A failure is logged without its text."""
        if server is None or server.password is None:
            return
        if self._on_password is None:
            log.warning("the root password of server %s is lost: the plugin has no on_password", server.id)
            return
        try:
            await self._on_password(attrs.evolve(server))
        except FAILURES as error:
            # not its text or traceback, which can show the password
            log.error("on_password failed on server %s: %s", server.id, type(error).__name__)
