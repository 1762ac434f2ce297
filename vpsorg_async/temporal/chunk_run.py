"""One attempt of a chunk: its lease, what its events say, and what of that the next attempt must know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from temporalio import activity

from ..client import Client
from ..errors import ConfigurationError, NotFoundError, RequestTimeoutError, VpsOrgError, is_absence
from ..events import CommandAnswered, CommandSent, FleetEvent, ServerAdopted, ServerSettled
from ..fleet import Failed, Outcome, Skipped, Succeeded
from ..lifecycle.receipts import Receipt
from ..listing import by_id
from ..plain import from_plain, to_plain
from ..records import Server, ServerId
from ..specs import id_text
from .lease import Lease, attempt_ended
from .passwords import PasswordKeeper

__all__ = ["ChunkRun", "check_chunk", "found"]


def check_chunk(chunk: object, needed: Mapping[str, type], **further: type) -> None:
    """Check the argument of an activity: what it must have, and what it may have. Raises `ConfigurationError`."""
    if not isinstance(chunk, dict):
        raise ConfigurationError(f"$: expected an object, not {type(chunk).__name__}")
    missing = sorted(needed.keys() - chunk.keys())
    if missing:
        raise ConfigurationError(f"$.{missing[0]}: missing")
    known = {**needed, **further}
    for key, value in chunk.items():
        if key not in known:
            raise ConfigurationError(f"$.{key}: unknown; known are {', '.join(known)}")
        if not isinstance(value, known[key]):
            raise ConfigurationError(f"$.{key}: expected {_NAMES[known[key]]}, not {type(value).__name__}")


async def found(vps: Client, server_id: ServerId) -> Server | None:
    """Return a server; None if it is gone. One answer proves no absence, so a list has to agree."""
    try:
        return await vps.servers.get(server_id)
    except NotFoundError as error:
        if not is_absence(error):
            raise
    known = await by_id(await vps.servers.list(), [server_id], vps.servers.get)
    return known.get(id_text(server_id))


_NAMES = {str: "a string", list: "a list", dict: "an object", bool: "true or false"}


class ChunkRun:
    """One attempt of a chunk: what its events say, and what of it the next attempt must know."""

    def __init__(
        self,
        keys: list[ServerId],
        passwords: PasswordKeeper,
        receipts: Mapping[str, dict[str, Any]] | None = None,
        *,
        deletes: bool = False,
    ) -> None:
        """Begin an attempt.

        Args:
            keys: What it has a row for.
            passwords: Where root passwords go.
            receipts: Those that the workflow knows; None for commands that have none, whose rows last instead.
            deletes: Whether the servers are deleted, so that one which is gone is done.
        """
        earlier: dict[str, Any] = next(iter(activity.info().heartbeat_details), {})
        self._keys = keys
        self._passwords = passwords
        self._keeps_rows = receipts is None
        self._deletes = deletes
        self._receipts: dict[str, dict[str, Any]] = {**(receipts or {}), **earlier.get("receipts", {})}
        self._rows: dict[ServerId, dict[str, Any]] = {row["key"]: row for row in earlier.get("rows", ())}
        self._sent: set[ServerId] = set()
        self._created: set[ServerId] = set()
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
            if event.command == "create":
                self._created.add(event.key)
            # no later answer has it, and this process can die while the server boots
            self._hand_over(event.server)
        if isinstance(event, CommandAnswered | ServerAdopted):
            if event.receipt is not None and event.receipt.operation == "create":
                self._receipts[str(event.key)] = to_plain(event.receipt)
                self._lease.note()
        elif isinstance(event, ServerSettled):
            self._settled(event.outcome)

    def deleted(self, key: ServerId, server_id: ServerId) -> None:
        """Record that a server is gone already."""
        self._rows[key] = _deleted(key, server_id)
        self._lease.note()

    def skipped(self, key: ServerId, why: str) -> None:
        """Record that nothing is sent for a server."""
        self._rows[key] = {"key": key, "outcome": "skipped", "message": why}

    def failed(self, key: ServerId, error: VpsOrgError) -> None:
        """Record that a server has failed."""
        self._rows[key] = self._failed(key, error)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The rows of the servers that have failed so far, also in earlier attempts."""
        return [row for row in self._rows.values() if row["outcome"] == "failed"]

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
            if self._deletes and is_absence(outcome.error) and outcome.server_id is not None:
                # it was there when the plan was made: it is gone, whoever deleted it
                return _deleted(outcome.key, outcome.server_id)
            row = self._failed(outcome.key, outcome.error)
            row |= {} if outcome.server_id is None else {"server_id": outcome.server_id}
            # created for sure, and not found by its name
            row |= {"how": "created"} if outcome.key in self._created else {}
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


def _deleted(key: ServerId, server_id: ServerId) -> dict[str, Any]:
    return {"key": key, "outcome": "succeeded", "server_id": server_id, "how": "deleted"}
