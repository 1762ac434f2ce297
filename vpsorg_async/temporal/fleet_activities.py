"""The activities of fleet workflows: a plan, a chunk of servers, one reboot. Their data is plain JSON.

Theory of operation of a chunk. Each attempt knows the receipts of the earlier ones, from their last beat that the
engine answered. Those servers are only waited for. Of all others a create may have left: an attempt that is not the
first one searches for them by name for ``settle`` seconds, and only then creates what is missing. The earlier attempt
can send nothing meanwhile, because its lease had ended before the engine gave the chunk away (see `lease`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from temporalio import activity

from ..client import Client
from ..config import check_seconds
from ..errors import (
    ConfigurationError,
    OutcomeUnknownError,
    RequestError,
    Sent,
    WaitError,
)
from ..lifecycle.receipts import Receipt
from ..listing import by_id
from ..plain import from_plain, to_plain
from ..records import Server, ServerId
from ..shared_client import SharedClient
from ..specs import ServerSpec, check_id, id_text
from .account_activities import INTENT, receipt_of
from .chunk_run import ChunkRun, check_chunk
from .convert import application_error, read_as
from .lease import Lease
from .messages import FleetRequest, RollingRequest
from .passwords import PasswordKeeper

__all__ = ["FleetActivities"]


class FleetActivities:
    """What fleet workflows call."""

    def __init__(self, shared: SharedClient[Client], passwords: PasswordKeeper) -> None:
        self._shared = shared
        self._passwords = passwords

    def named(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the functions of the activities by their names."""
        return {
            "vpsorg.plan_fleet": self.plan_fleet,
            "vpsorg.plan_rolling": self.plan_rolling,
            "vpsorg.create_chunk": self.create_chunk,
            "vpsorg.act_chunk": self.act_chunk,
            "vpsorg.reboot_once": self.reboot_once,
        }

    async def plan_fleet(self, operation: str, request: Any) -> dict[str, Any]:
        """Check a request, before anything is sent, and return its settings and the servers that are skipped."""
        wanted: FleetRequest = read_as(request, FleetRequest)
        deletes = operation == "delete"
        if bool(wanted.ids) is not deletes or bool(wanted.specs) is deletes:
            needs, other = ("ids", "specs") if deletes else ("specs", "ids")
            raise ConfigurationError(f"{operation} of a fleet takes {needs}, at least one, and no {other}")
        rows: list[dict[str, Any]] = []
        ids: list[ServerId] = []
        async with self._shared as vps:
            if operation == "create":
                await vps.fleet.create(wanted.specs, dry_run=True)
            elif operation == "ensure":
                await vps.fleet.ensure(wanted.specs, dry_run=True)
            else:
                known = await _known(vps, wanted.ids)
                ids = [_as_shown(server_id, known) for server_id in wanted.ids]
                rows = [_absent(server_id) for server_id in ids if id_text(server_id) not in known]
        return {
            "timeout": wanted.timeout,
            "settle": wanted.settle,
            "chunk": wanted.chunk,
            "heartbeat_timeout": wanted.heartbeat_timeout,
            "rows": rows,
            "ids": ids,
        }

    async def plan_rolling(self, request: Any) -> dict[str, Any]:
        """Check a request, and return its settings, the locations of its servers, and those that are skipped."""
        wanted: RollingRequest = read_as(request, RollingRequest)
        async with self._shared as vps:
            known = await _known(vps, wanted.ids)
        rows, locations = [], []
        ids = [_as_shown(server_id, known) for server_id in wanted.ids]
        for server_id in ids:
            server = known.get(id_text(server_id))
            if server is None:
                rows.append(_absent(server_id))
            elif server.status != "active":
                reason = f"it is {server.status}, not active"
                rows.append({"key": server_id, "outcome": "skipped", "message": reason})
            else:
                locations.append([server_id, server.location or ""])
        settings = {
            name: getattr(wanted, name)
            for name in (
                "timeout",
                "max_unavailable",
                "max_failures",
                "canary",
                "health",
                "warm_up",
                "health_retries",
                "health_timeout",
                "health_interval",
                "heartbeat_timeout",
            )
        }
        return {**settings, "rows": rows, "locations": locations, "ids": ids}

    async def create_chunk(self, chunk: Any) -> dict[str, Any]:
        """Create or ensure the servers of a chunk, and return their rows; also what is open if it was told to end."""
        check_chunk(
            chunk,
            {"operation": str, "specs": list, "timeout": object, "settle": object},
            receipts=dict,
            again=bool,
        )
        if chunk["operation"] not in ("create", "ensure"):
            raise ConfigurationError(f"$.operation: expected create or ensure, not {chunk['operation']!r}")
        specs = [read_as(spec, ServerSpec) for spec in chunk["specs"]]
        wanted = FleetRequest(specs=specs, timeout=chunk["timeout"], settle=chunk["settle"])
        receipts = {name: to_plain(read_as(one, Receipt)) for name, one in chunk.get("receipts", {}).items()}
        run = ChunkRun([spec.name for spec in wanted.specs], self._passwords, receipts)
        again = chunk.get("again", False) or activity.info().attempt > 1

        async def work(vps: Client) -> object:
            options: dict[str, Any] = {"settle": wanted.settle, "on_event": run.on_event}
            receipts = run.read_receipts()
            if receipts or again:
                options |= {"receipts": receipts, "settle_first": wanted.settle if again else 0.0}
            if chunk["operation"] == "ensure":
                return await vps.fleet.ensure(wanted.specs, timeout=wanted.timeout, **options)
            if again:
                # the plan has found none of the names: whatever has one of them now was created since
                options["before"] = ()
            return await vps.fleet.create(wanted.specs, timeout=wanted.timeout, **options)

        async with self._shared as vps:
            done = await run.do(vps, work)
        return {**done, "doubt": again or run.has_doubts()}

    async def act_chunk(self, chunk: Any) -> dict[str, Any]:
        """Delete the servers of a chunk, and return their rows."""
        check_chunk(chunk, {"ids": list, "timeout": object})
        wanted = FleetRequest(ids=chunk["ids"], timeout=chunk["timeout"])
        run = ChunkRun([*wanted.ids], self._passwords, deletes=True)

        async def work(vps: Client) -> object:
            return await vps.fleet.delete(run.open_keys(), timeout=wanted.timeout, on_event=run.on_event)

        async with self._shared as vps:
            return await run.do(vps, work)

    async def reboot_once(self, server_id: Any, timeout: Any) -> Server:
        """Reboot a server, and wait until it is active again.

        The intent is durable before the reboot leaves, and its receipt after it was acknowledged. An attempt that finds
        an intent without a receipt does not send: only the user can say whether the server was rebooted.
        """
        check_id(server_id)
        check_seconds(timeout, "timeout")
        state: dict[str, Any] = next(iter(activity.info().heartbeat_details), {})
        if state.get("intent") and "receipt" not in state:
            unknown = f"an earlier attempt may have sent the reboot of {server_id!r}"
            raise OutcomeUnknownError(unknown, subject=server_id)

        async def reboot(vps: Client, lease: Lease) -> Server:
            if "receipt" not in state:
                # the evidence for the reboot: what the server was before
                await vps.servers.get(server_id)
                state["intent"] = INTENT
                await lease.beat()
                try:
                    await vps.with_options(not_after=lease.until).servers.reboot(server_id)
                except RequestError as error:
                    if error.sent is not Sent.MAYBE:
                        # nothing was rebooted: the next attempt may send it
                        state.clear()
                        await lease.beat()
                    raise
                state["receipt"] = to_plain(receipt_of(vps, server_id, "reboot"))
                await lease.beat()
            try:
                return await vps.wait_until(from_plain(state["receipt"]), "active", timeout=timeout)
            except WaitError as error:
                raise application_error(error, final=True) from None

        async with self._shared as vps, Lease(lambda: state) as lease:
            return await lease.run(reboot(vps, lease))


async def _known(vps: Client, ids: Iterable[ServerId]) -> dict[str, Server]:
    """Return the servers of the account by id, in the form of `id_text`."""
    return await by_id(await vps.servers.list(), ids, vps.servers.get)


def _as_shown(server_id: ServerId, known: Mapping[str, Server]) -> ServerId:
    """Return an id as the service writes it, which may answer 404 to one in another case."""
    server = known.get(id_text(server_id))
    return server_id if server is None or str(server.id) == str(server_id) else server.id


def _absent(server_id: ServerId) -> dict[str, Any]:
    return {"key": server_id, "outcome": "skipped", "message": "it is not in the account"}
