"""What the provider's own packages can do with a server beyond the nine endpoints: ``vps.actions``."""

from __future__ import annotations

from .admission import AdmissionControl
from .endpoints import Endpoints
from .errors import ConfigurationError
from .records import ActionAccepted, PlanOffer, Server, ServerId
from .specs import id_of

__all__ = ["Actions", "check_label"]


class Actions:
    """``vps.actions``; only in the provider dialect, otherwise its calls raise `ConfigurationError`.

    No page describes these requests. Each is sent once. Its answer says that it was accepted, not that it is done.

    Raises:
        ConfigurationError: The dialect has no such request, or bad input; nothing was sent.
        APIError: The API refused, or failed.
        OutcomeUnknownError: The answer was lost, and the request may have been applied.
    """

    def __init__(self, endpoints: Endpoints, admissions: AdmissionControl) -> None:
        self._endpoints = endpoints
        self._admissions = admissions

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
        check_label(label)
        return await self._endpoints.begin().snapshot(id_of(server), label=label)

    async def resize(self, server: ServerId | Server, plan: ServerId | PlanOffer) -> ActionAccepted:
        """Give a server another plan; the service may restart it. It has a receipt, as a stop has.

        The plans are read first. If the answer to the resize is lost, the plan that the server shows decides what
        became of it; where that is not the new one, `OutcomeUnknownError` is raised, and nothing is sent again.

        Args:
            server: An id, or the server.
            plan: The id of a plan, or one of ``vps.plans.list()``. What it costs more than the present one counts for
                ``Limits(max_hourly=)``.

        Raises:
            LimitError: A limit of the client forbids it; nothing was sent.

        Example:
            ``await vps.actions.resize(server, plan)``, then
            ``await vps.wait_until(server, "settled", timeout=600)``
        """
        server_id, endpoints = id_of(server), self._endpoints.begin()
        offer, admission = await self._admissions.admit_resizes(endpoints, [server_id], plan)
        try:
            return await admission.resize(server_id, endpoints.resize(server_id, offer=offer))
        finally:
            admission.close()

    async def backup(self, server: ServerId | Server) -> ActionAccepted:
        """Back a server up. When the backup is done cannot be seen here, as with `snapshot`.

        Args:
            server: An id, or the server.

        Example:
            ``await vps.actions.backup(server)``
        """
        return await self._endpoints.begin().backup(id_of(server))


def check_label(label: object) -> None:
    """Raise `ConfigurationError` for what is no label of a snapshot; None is one."""
    if label is not None and (not isinstance(label, str) or not label.strip()):
        raise ConfigurationError(f"label is a non-empty string, not {label!r}")
