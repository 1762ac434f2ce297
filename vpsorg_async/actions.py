"""What the provider's own packages can do with a server beyond the nine endpoints: ``vps.actions``."""

from __future__ import annotations

from .endpoints import Endpoints
from .errors import ConfigurationError
from .records import ActionAccepted, Server, ServerId
from .specs import id_of

__all__ = ["Actions"]


class Actions:
    """``vps.actions``; only in the provider dialect, otherwise its calls raise `ConfigurationError`.

    No page describes these requests. Each is sent once. Its answer says that it was accepted, not that it is done.

    Raises:
        ConfigurationError: The dialect has no such request, or bad input; nothing was sent.
        APIError: The API refused, or failed.
        OutcomeUnknownError: The answer was lost, and the request may have been applied.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    async def hard_stop(self, server: ServerId | Server) -> ActionAccepted:
        """Switch a server off without shutting its system down, as by pulling the plug: unsaved data is lost.

        A server that a graceful stop did not stop can be stopped so. It has a receipt, as a stop has.

        Args:
            server: An id, or the server.

        Example:
            ``await vps.actions.hard_stop(server)``, then ``await vps.wait_until(server, "stopped", timeout=60)``
        """
        return await self._endpoints.begin().hard_stop(id_of(server))

    async def snapshot(self, server: ServerId | Server, *, label: str | None = None) -> ActionAccepted:
        """Take a snapshot of a server.

        The answer names no snapshot, and no request that lists snapshots is known: when it is done cannot be seen here.

        Args:
            server: An id, or the server.
            label: A name for the snapshot; None for none.

        Example:
            ``await vps.actions.snapshot(server, label="before-upgrade")``
        """
        if label is not None and (not isinstance(label, str) or not label.strip()):
            raise ConfigurationError(f"label is a non-empty string, not {label!r}")
        return await self._endpoints.begin().snapshot(id_of(server), label)

    async def backup(self, server: ServerId | Server) -> ActionAccepted:
        """Back a server up. When the backup is done cannot be seen here, as with `snapshot`.

        Args:
            server: An id, or the server.

        Example:
            ``await vps.actions.backup(server)``
        """
        return await self._endpoints.begin().backup(id_of(server))
