"""The activities for workflows of one's own: one call of the account each.

================================  =====================================================================================
activity                          arguments and result
================================  =====================================================================================
``vpsorg.list_servers``           status word or None, location or None: a list of `Server`
``vpsorg.get_server``             id: `Server`
``vpsorg.create_server``          `ServerSpec`: `Server`
``vpsorg.find_created``           `ServerSpec`, ids before, seconds to settle: `Server` or None
``vpsorg.replace_server``         id, object with all of name, hostname, backups_enabled: `Server`
``vpsorg.update_server``          id, object with some of these: `Server`
``vpsorg.delete_server``          id: None
``vpsorg.start_server``           id: `Receipt`; also ``vpsorg.stop_server``, ``vpsorg.reboot_server``
``vpsorg.wait_until``             id, `Server` or `Receipt`, status word, timeout in seconds: `Server`
``vpsorg.wait_until_all``         a list of these, status word, timeout in seconds: a list of `WaitOutcome`
================================  =====================================================================================

A create and a reboot are sent once, whatever the retry policy: the intent is durable before they leave, and a further
attempt that finds it fails with ``OutcomeUnknownError``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from temporalio import activity

from ..client import Client
from ..errors import (
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    OutcomeUnknownError,
    RequestError,
    Sent,
    WaitError,
    is_absence,
)
from ..lifecycle.calls import WaitOutcome
from ..lifecycle.commands import COMMANDS
from ..lifecycle.contract import Target
from ..lifecycle.receipts import Receipt
from ..records import Server, ServerId
from ..servers import ServerFields
from ..shared_client import SharedClient
from ..specs import ServerSpec, check_id
from ..timing import SystemClock
from .convert import application_error, read_as
from .lease import Lease
from .passwords import PasswordKeeper

__all__ = ["INTENT", "AccountActivities", "receipt_of", "send_once"]

T = TypeVar("T")

INTENT = "sending"


class AccountActivities:
    """One call of the account each. All activities of a worker share one open client, and so its polls."""

    def __init__(self, shared: SharedClient[Client], passwords: PasswordKeeper) -> None:
        self._shared = shared
        self._passwords = passwords

    def named(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the functions of the activities by their names."""
        return {
            f"vpsorg.{method.__name__}": method
            for method in (
                self.list_servers,
                self.get_server,
                self.create_server,
                self.find_created,
                self.replace_server,
                self.update_server,
                self.delete_server,
                self.start_server,
                self.stop_server,
                self.reboot_server,
                self.wait_until,
                self.wait_until_all,
            )
        }

    async def list_servers(self, status: Any = None, location: Any = None) -> list[Server]:
        """Return all servers, filtered by the API where asked."""
        async with self._shared as vps:
            return list(await vps.servers.list(status, location))

    async def get_server(self, server: Any) -> Server:
        """Return one server."""
        async with self._shared as vps:
            return await vps.servers.get(_id(server))

    async def create_server(self, spec: Any) -> Server:
        """Create one server, once, and return it while it is provisioning."""
        wanted: ServerSpec = read_as(spec, ServerSpec)

        async def create(vps: Client) -> Server:
            return await vps.servers.create(wanted)

        async with self._shared as vps:
            server = await send_once(vps, create, "create", wanted.name)
            await self._passwords.keep(server)
            return server

    async def find_created(self, spec: Any, before: Any = (), settle: Any = 30.0) -> Server | None:
        """Return the server of a create whose answer was lost; None if there is none."""
        wanted: ServerSpec = read_as(spec, ServerSpec)
        if not isinstance(before, list | tuple):
            raise ConfigurationError("before is a list of ids")
        async with self._shared as vps:
            return await _beating(vps.fleet.find_created(wanted, before=before, settle=settle))

    async def replace_server(self, server: Any, fields: Any) -> Server:
        """Set all fields of a server that can be changed."""
        wanted = _fields(fields)
        if set(wanted) != {"name", "hostname", "backups_enabled"}:
            raise ConfigurationError(
                "replace_server needs name, hostname and backups_enabled, and nothing else"
            )
        async with self._shared as vps:
            return await vps.servers.replace(_id(server), **wanted)

    async def update_server(self, server: Any, fields: Any) -> Server:
        """Set some fields of a server."""
        async with self._shared as vps:
            return await vps.servers.update(_id(server), **_fields(fields))

    async def delete_server(self, server: Any) -> None:
        """Delete a server for good."""
        async with self._shared as vps:
            try:
                await vps.servers.delete(_id(server))
            except NotFoundError as error:
                # an earlier attempt has deleted it, and its result was lost
                if activity.info().attempt == 1 or not is_absence(error):
                    raise
            except OutcomeUnknownError as error:
                raise application_error(error, final=False) from None  # it may be sent twice

    async def start_server(self, server: Any) -> Receipt:
        """Start a stopped server."""
        return await self._act("start", _id(server))

    async def stop_server(self, server: Any) -> Receipt:
        """Stop a running server."""
        return await self._act("stop", _id(server))

    async def reboot_server(self, server: Any) -> Receipt:
        """Reboot a running server, once."""
        server_id = _id(server)

        async def reboot(vps: Client) -> Receipt:
            await vps.servers.reboot(server_id)
            return receipt_of(vps, server_id, "reboot")

        async with self._shared as vps:
            return await send_once(vps, reboot, "reboot", server_id)

    async def _act(self, command: str, server_id: ServerId) -> Receipt:
        """Send a command whose effect the server shows, so that it can be sent by each attempt."""
        async with self._shared as vps:
            try:
                await (vps.servers.start if command == "start" else vps.servers.stop)(server_id)
            except BadRequestError:
                accepted = COMMANDS[command].shows_accepted
                if activity.info().attempt == 1 or (await vps.servers.get(server_id)).status not in accepted:
                    raise
            except OutcomeUnknownError as error:
                raise application_error(error, final=False) from None  # it may be sent twice
            return receipt_of(vps, server_id, command)

    async def wait_until(self, server: Any, target: Any, timeout: Any) -> Server:
        """Wait until a server is in a status. A timeout fails the activity for good: it is as long as was asked for."""
        wanted, awaited = Target.of(target), _awaited(server)
        async with self._shared as vps:
            try:
                return await _beating(vps.wait_until(awaited, wanted, timeout=timeout))
            except WaitError as error:
                raise application_error(error, final=True) from None

    async def wait_until_all(self, servers: Any, target: Any, timeout: Any) -> list[WaitOutcome]:
        """Wait for several servers; a wait that fails is an outcome with an error."""
        if not isinstance(servers, list | tuple):
            raise ConfigurationError("wait_until_all takes a list of servers")
        wanted, awaited = Target.of(target), [_awaited(server) for server in servers]
        async with self._shared as vps:

            async def outcomes() -> list[WaitOutcome]:
                return [outcome async for outcome in vps.wait_until_all(awaited, wanted, timeout=timeout)]

            return await _beating(outcomes())


async def send_once(
    vps: Client, send: Callable[[Client], Coroutine[Any, Any, T]], command: str, subject: ServerId
) -> T:
    """Send a change that must not be sent twice, after its intent is durable.

    Raises:
        OutcomeUnknownError: An earlier attempt of this activity may have sent it.
    """
    state = [INTENT] if activity.info().heartbeat_details == [[INTENT]] else []
    if state:
        raise OutcomeUnknownError(
            f"{command} of {subject!r}: an earlier attempt may have sent it", subject=subject
        )
    async with Lease(lambda: state) as lease:
        state.append(INTENT)
        await lease.beat()
        try:
            return await lease.run(send(vps.with_options(not_after=lease.until)))
        except RequestError as error:
            if error.sent is not Sent.MAYBE:
                state.clear()
                await lease.beat()
            raise


async def _beating(work: Coroutine[Any, Any, T]) -> T:
    async with Lease(list) as lease:
        return await lease.run(work)


def _id(server: object) -> ServerId:
    return server.id if isinstance(server, Server) else check_id(server)


def _awaited(server: object) -> ServerId | Receipt:
    """Return what is waited for. A server that is provisioning was created just now, and lists may not show it yet."""
    if isinstance(server, Receipt):
        return server
    if isinstance(server, Server):
        return Receipt.of(server, "create") if server.status == "provisioning" else server.id
    if isinstance(server, dict):
        kind = Receipt if "server_id" in server or server.get("type") == "Receipt" else Server
        return _awaited(read_as(server, kind))
    return check_id(server)


def _fields(fields: object) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise ConfigurationError(f"the fields to change are an object, not {type(fields).__name__}")
    unknown = sorted(fields.keys() - ServerFields.__annotations__)
    if unknown:
        raise ConfigurationError(f"unknown fields to change: {', '.join(unknown)}")
    return fields


def receipt_of(vps: Client, server_id: ServerId, operation: str) -> Receipt:
    """Return the receipt of a command; one of its own where a wait of another task has seen it done already."""
    known = vps.receipt(server_id)
    if known is not None and known.operation == operation:
        return known
    return Receipt(server_id=server_id, operation=operation, acknowledged_at=SystemClock().wall())
