"""The nine endpoints, one method each: no waiting, no bulk work, nothing that the API does not have.

Source: https://www.vps.org/api/v1/docs/servers/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, Unpack

from .admission import AdmissionControl
from .endpoints import Endpoints
from .errors import ConfigurationError
from .records import ActionAccepted, Server, ServerId
from .specs import ServerSpec, check_bool, check_hostname, check_name, id_of

__all__ = ["ServerFields", "Servers"]

_FIELDS: dict[str, Callable[[object], Any]] = {
    "name": check_name,
    "hostname": check_hostname,
    "backups_enabled": lambda value: check_bool(value, "backups_enabled"),
}


class ServerFields(TypedDict, total=False):
    """The fields of a server that can be changed."""

    name: str
    """Letters, digits and hyphens."""
    hostname: str
    """A fully qualified domain name."""
    backups_enabled: bool
    """Whether the provider backs the server up."""


class Servers:
    """The servers of the account: ``vps.servers``.

    Every method takes a `Server` wherever it takes an id. Reads, PUT and DELETE are retried where that is safe. A
    create or a reboot is sent once.

    Raises:
        ConfigurationError: Bad input; nothing was sent. Every method can raise this and the errors below.
        APIError: The API refused, or failed; the class says which status.
        TransportError: No usable answer came; ``.sent`` says whether the request may have been applied.
        DecodeError: The answer does not fit.
        OutcomeUnknownError: A change may have been applied; check the account before sending it again.
        LimitError: The client is read-only, and this is a change; nothing was sent.

    Source: https://www.vps.org/api/v1/docs/servers/
    """

    def __init__(self, endpoints: Endpoints, admissions: AdmissionControl) -> None:
        self._endpoints = endpoints
        self._admissions = admissions

    async def list(self, status: str | None = None, location: str | None = None) -> tuple[Server, ...]:
        """Return all servers, filtered by the API where asked.

        Rows of the documented list have no ``ipv6_address``, ``backups_enabled``, ``resource_usage`` and
        ``plan.bandwidth``: they are None there, and `get` returns them.

        Args:
            status: A status word. The page documents the words of the filter in translation only; the word is sent
                as it is given.
            location: A datacenter code such as ``"us-west"``.

        Raises:
            DecodeError: No row of the list could be read.

        Example:
            ``for server in await vps.servers.list(status="active"): ...``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        for name, value in (("status", status), ("location", location)):
            if value is not None and not (isinstance(value, str) and value.strip() and value.isprintable()):
                raise ConfigurationError(f"{name} is a word to filter by, not {value!r}")
        return await self._endpoints.begin().list(status, location)

    async def create(self, spec: ServerSpec) -> Server:
        """Create one server, and return it while it is provisioning: documented to take 2 to 5 minutes.

        The request is sent once. Use `Client.wait_until` to wait until the server is active.

        Args:
            spec: The name, plan, operating system and location of the server.

        Raises:
            OutcomeUnknownError: The answer was lost, and the server may exist: check the account before trying again.
            PaymentRequiredError: The account has not enough credit.
            LimitError: A limit of the client forbids it; nothing was sent.

        Example:
            ``server = await vps.servers.create(ServerSpec(name="web-1", plan_id=1, os_id=5, location="us-west"))``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        if not isinstance(spec, ServerSpec):
            raise ConfigurationError(f"create takes a ServerSpec, not {type(spec).__name__}")
        self._admissions.check_change(f"create of {spec.name!r}")
        if spec.alternatives:
            raise ConfigurationError(
                "create sends one create: alternatives are for vps.fleet.create and ensure"
            )
        endpoints = self._endpoints.begin()
        admission = await self._admissions.admit(endpoints, [spec])
        return await admission.create(spec, endpoints.create(spec))

    async def get(self, server: ServerId | Server) -> Server:
        """Return one server as it is now.

        Args:
            server: An id, or the server as it was read before.

        Raises:
            NotFoundError: No such server exists.

        Example:
            ``server = await vps.servers.get(12345)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        return await self._endpoints.begin().get(id_of(server))

    async def replace(
        self, server: ServerId | Server, *, name: str, hostname: str, backups_enabled: bool
    ) -> Server:
        """Set all three fields of a server (PUT), and return it as it is afterwards.

        The answer is not documented. Where it does not show the server, the server is read again.

        Args:
            server: An id, or the server.
            name: Letters, digits and hyphens.
            hostname: A fully qualified domain name.
            backups_enabled: Whether the provider backs the server up.

        Raises:
            NotFoundError: No such server exists.
            OutcomeUnknownError: The change may have been applied.

        Example:
            ``await vps.servers.replace(12345, name="web-1", hostname="web-1.example.com", backups_enabled=True)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        server_id = id_of(server)
        fields = _checked({"name": name, "hostname": hostname, "backups_enabled": backups_enabled})
        return await self._endpoints.begin().replace(server_id, fields)

    async def update(self, server: ServerId | Server, **fields: Unpack[ServerFields]) -> Server:
        """Set some fields of a server (PATCH), and return it as it is afterwards.

        The answer is not documented. Where it does not show the server, the server is read again. When the answer
        was lost, the server is read and compared.

        Args:
            server: An id, or the server.
            **fields: One or more of ``name``, ``hostname`` and ``backups_enabled``.

        Raises:
            NotFoundError: No such server exists.
            OutcomeUnknownError: The answer was lost, and the server does not show the change.

        Example:
            ``await vps.servers.update(12345, backups_enabled=True)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        server_id, wanted = id_of(server), _checked(fields)
        if not wanted:
            raise ConfigurationError("update needs at least one of name, hostname, backups_enabled")
        return await self._endpoints.begin().update(server_id, wanted)

    async def delete(self, server: ServerId | Server) -> None:
        """Delete one server for good.

        Args:
            server: An id, or the server.

        Raises:
            NotFoundError: The server did not exist before the first attempt.
            OutcomeUnknownError: The server may have been deleted.

        Example:
            ``await vps.servers.delete(12345)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        await self._endpoints.begin().delete(id_of(server))

    async def start(self, server: ServerId | Server) -> ActionAccepted:
        """Start a stopped server. The command is accepted when this returns, not yet executed.

        Args:
            server: An id, or the server.

        Raises:
            BadRequestError: The server is running.
            OutcomeUnknownError: The command may have been accepted.

        Example:
            ``await vps.servers.start(12345)``, then ``await vps.wait_until(12345, "active", timeout=300)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        return await self._endpoints.begin().start(id_of(server))

    async def stop(self, server: ServerId | Server) -> ActionAccepted:
        """Stop a running server gracefully. The command is accepted when this returns, not yet executed.

        A stopped server is charged until it is deleted.

        Args:
            server: An id, or the server.

        Raises:
            BadRequestError: The server is not running.
            OutcomeUnknownError: The command may have been accepted.

        Example:
            ``await vps.servers.stop(12345)``, then ``await vps.wait_until(12345, "stopped", timeout=300)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        return await self._endpoints.begin().stop(id_of(server))

    async def reboot(self, server: ServerId | Server) -> ActionAccepted:
        """Reboot a running server gracefully. The command is accepted when this returns, not yet executed.

        The request is sent once, because a second one would reboot the server twice.

        Args:
            server: An id, or the server.

        Raises:
            BadRequestError: The server is not running.
            OutcomeUnknownError: The answer was lost, and the server may reboot.

        Example:
            ``await vps.servers.reboot(12345)``, then ``await vps.wait_until(12345, "active", timeout=300)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        return await self._endpoints.begin().reboot(id_of(server))


def _checked(fields: ServerFields) -> dict[str, Any]:
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown:
        raise ConfigurationError(f"can't set {', '.join(unknown)}: only {', '.join(_FIELDS)} can be changed")
    return {name: _FIELDS[name](value) for name, value in fields.items()}
