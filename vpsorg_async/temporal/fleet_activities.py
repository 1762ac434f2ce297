"""The activities of fleet workflows: a plan, a chunk of servers, one reboot. Their data is plain JSON.

Theory of operation of a chunk. Each attempt knows the receipts of the earlier ones, from their last beat that the
engine answered. Those servers are only waited for. Of all others a create may have left: an attempt that is not the
first one searches for them by name for ``settle`` seconds, and only then creates what is missing. The earlier attempt
can send nothing meanwhile, because its lease had ended before the engine gave the chunk away (see `lease`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from temporalio import activity

from ..client import Client
from ..errors import (
    ConfigurationError,
    OutcomeUnknownError,
    RequestError,
    RequestTimeoutError,
    Sent,
    VpsOrgError,
    WaitError,
    is_absence,
)
from ..events import CommandAnswered, CommandSent, FleetEvent, ServerAdopted, ServerSettled
from ..fleet import Failed, Outcome, Skipped, Succeeded
from ..lifecycle.receipts import Receipt
from ..listing import by_id
from ..plain import from_plain, to_plain
from ..records import Server, ServerId
from ..shared_client import SharedClient
from ..specs import ServerSpec, id_text
from .account_activities import INTENT, receipt_of
from .convert import application_error, read_as
from .lease import Lease, attempt_ended
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

    async def create_chunk(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Create or ensure the servers of a chunk, and return their rows; also what is open if it was told to end."""
        specs = [read_as(spec, ServerSpec) for spec in chunk["specs"]]
        wanted = FleetRequest(specs=specs, timeout=chunk["timeout"], settle=chunk["settle"])
        run = _ChunkRun([spec.name for spec in wanted.specs], self._passwords, chunk.get("receipts", {}))
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

    async def act_chunk(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Delete the servers of a chunk, and return their rows."""
        run = _ChunkRun(chunk["ids"], self._passwords)

        async def work(vps: Client) -> object:
            return await vps.fleet.delete(run.open_keys(), timeout=chunk["timeout"], on_event=run.on_event)

        async with self._shared as vps:
            return await run.do(vps, work)

    async def reboot_once(self, server_id: ServerId, timeout: float) -> Server:
        """Reboot a server, and wait until it is active again.

        The intent is durable before the reboot leaves, and its receipt after it was acknowledged. An attempt that finds
        an intent without a receipt does not send: only the user can say whether the server was rebooted.
        """
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


class _ChunkRun:
    """One attempt of a chunk: what its events say, and what of it the next attempt must know."""

    def __init__(
        self,
        keys: list[ServerId],
        passwords: PasswordKeeper,
        receipts: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        """``receipts`` are those that the workflow knows; None for commands that have none, whose rows last instead."""
        earlier: dict[str, Any] = next(iter(activity.info().heartbeat_details), {})
        self._keys = keys
        self._passwords = passwords
        self._keeps_rows = receipts is None
        self._receipts: dict[str, dict[str, Any]] = {**(receipts or {}), **earlier.get("receipts", {})}
        self._rows: dict[ServerId, dict[str, Any]] = {row["key"]: row for row in earlier.get("rows", ())}
        self._sent: set[ServerId] = set()
        self._handed_over: set[asyncio.Task[None]] = set()
        self._out_of_time = False
        self._lease = Lease(self._details)

    def read_receipts(self) -> dict[str, Receipt]:
        """Return the receipts of earlier attempts by name."""
        return {name: from_plain(receipt) for name, receipt in self._receipts.items()}

    def open_keys(self) -> list[ServerId]:
        """Return the keys that have no row."""
        return [key for key in self._keys if key not in self._rows]

    def has_doubts(self) -> bool:
        """Return whether the create of an open server was sent, and nothing is known of it."""
        return any(key in self._sent and str(key) not in self._receipts for key in self.open_keys())

    async def do(self, vps: Client, work: Callable[[Client], Coroutine[Any, Any, object]]) -> dict[str, Any]:
        """Do the work while the lease lasts, and return the rows, the receipts, and the keys that are open."""
        async with self._lease as lease:
            try:
                await lease.run(work(vps.with_options(not_after=lease.until)))
            except asyncio.CancelledError:
                pass  # the workflow pauses or ends: the rest is open
            except VpsOrgError as error:
                if not error.final:
                    raise
                for key in self.open_keys():
                    self._rows[key] = self._failed(key, error)
            else:
                if self._out_of_time:
                    raise attempt_ended("its lease ended before everything was sent")
            finally:
                if self._handed_over:
                    await asyncio.wait(self._handed_over)
        done = {str(row["key"]) for row in self._rows.values() if row["outcome"] == "succeeded"}
        receipts = {name: receipt for name, receipt in self._receipts.items() if name not in done}
        return {"rows": [*self._rows.values()], "receipts": receipts, "open": self.open_keys()}

    def on_event(self, event: FleetEvent) -> None:
        """Take a receipt or an outcome from an event of the fleet call."""
        if isinstance(event, CommandSent):
            self._sent.add(event.key)
        if isinstance(event, CommandAnswered):
            # no later answer has it, and this process can die while the server boots
            self._hand_over(event.server)
        if isinstance(event, CommandAnswered | ServerAdopted):
            if event.receipt is not None and event.receipt.operation == "create":
                self._receipts[str(event.key)] = to_plain(event.receipt)
                self._lease.note()
        elif isinstance(event, ServerSettled):
            self._settled(event.outcome)

    def _hand_over(self, server: Server | None) -> None:
        if server is not None and server.password is not None:
            self._handed_over.add(asyncio.create_task(self._passwords.keep(server)))

    def _settled(self, outcome: Outcome) -> None:
        if isinstance(outcome.error, RequestTimeoutError) and outcome.error.not_after is not None:
            self._out_of_time = True
        elif isinstance(outcome, Succeeded) or not self._lease.ending:
            # what the end of this attempt has cut off is not the outcome of a server
            self._rows[outcome.key] = self._row(outcome)

    def _row(self, outcome: Outcome) -> dict[str, Any]:
        if isinstance(outcome, Skipped):
            return {"key": outcome.key, "outcome": "skipped", "message": outcome.reason}
        if isinstance(outcome, Failed):
            if (
                is_absence(outcome.error)
                and outcome.server_id is not None
                and outcome.key == outcome.server_id
            ):
                # it was there when the plan was made: it is gone, whoever deleted it
                return {
                    "key": outcome.key,
                    "outcome": "succeeded",
                    "server_id": outcome.key,
                    "how": "deleted",
                }
            row = self._failed(outcome.key, outcome.error)
            row |= {} if outcome.server_id is None else {"server_id": outcome.server_id}
        else:
            row = {"key": outcome.key, "outcome": "succeeded", "how": outcome.how}
        server = outcome.server
        if server is not None:
            row |= {"server_id": server.id, "status": str(server.status)}
            row |= {"ip_address": server.ip_address} if server.ip_address else {}
        return row | {"seconds": round(outcome.seconds, 3)}

    def _failed(self, key: ServerId, error: VpsOrgError) -> dict[str, Any]:
        row = {"key": key, "outcome": "failed", "error": type(error).__name__, "message": str(error)}
        receipt = self._receipts.get(str(key))
        return row if receipt is None else row | {"server_id": receipt["server_id"]}

    def _details(self) -> object:
        return {"rows": [*self._rows.values()]} if self._keeps_rows else {"receipts": self._receipts}


async def _known(vps: Client, ids: Iterable[ServerId]) -> dict[str, Server]:
    """Return the servers of the account by id, in the form of `id_text`."""
    return await by_id(await vps.servers.list(), ids, vps.servers.get)


def _as_shown(server_id: ServerId, known: Mapping[str, Server]) -> ServerId:
    """Return an id as the service writes it, which may answer 404 to one in another case."""
    server = known.get(id_text(server_id))
    return server_id if server is None or str(server.id) == str(server_id) else server.id


def _absent(server_id: ServerId) -> dict[str, Any]:
    return {"key": server_id, "outcome": "skipped", "message": "it is not in the account"}
