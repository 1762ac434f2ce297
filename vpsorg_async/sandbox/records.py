"""A server as the provider stores it, and the shapes in which the API page shows it.

The page (https://www.vps.org/api/v1/docs/servers/) shows four views of one server: list item, answer to a create,
detail, and the short form inside an action. Each function below has exactly the fields of one of them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeAlias

from attrs import field, frozen

from .boots import BootPlan
from .catalogue import LOCATIONS, OperatingSystem, Plan, ipv6

Json: TypeAlias = dict[str, Any]
ServerId: TypeAlias = int | str
"""A number in the documented dialect, a UUID in the provider's."""


@frozen(kw_only=True)
class Server:
    """One state of one server, from `since` on. A change creates a new record; the old one stays valid for its time."""

    id: ServerId
    number: int
    """The number of the server, whatever its id looks like; in the documented dialect it is the id."""
    name: str
    hostname: str | None
    status: str
    location: str
    plan: Plan
    os: OperatingSystem
    backups_enabled: bool
    created_at: float
    """POSIX seconds."""
    updated_at: float
    """POSIX seconds."""
    since: float
    """The beginning of this state, in seconds of the world's clock."""
    until: float | None = None
    """The end of this state, in seconds of the world's clock; None if it stays."""
    then: str | None = None
    """The status that follows at `until`."""
    address: str
    """The IPv4 address, also while reads do not show it yet."""
    active_since: float | None = None
    """The beginning of the present boot, in seconds of the world's clock; None if the server is not active."""
    boots: int = 0
    """The number of times that the server has become active."""
    boot: BootPlan = field(default=BootPlan(), repr=False)
    """What happens when it boots."""
    public_keys: tuple[str, ...] = field(default=(), repr=False)
    """The SSH keys that it was created with."""
    host_key: int = 1
    """The number of its present SSH host key."""

    @property
    def ip_address(self) -> str | None:
        """None while provisioning, as in the page's answer to a create."""
        return None if self.status == "provisioning" else self.address

    @property
    def ipv6_address(self) -> str | None:
        """None while provisioning; an assumption, because the page shows it for an active server only.

        None for a server that listens on this machine, too: there is only one IPv6 loopback address.
        """
        hidden = self.status == "provisioning" or self.address.startswith("127.")
        return None if hidden else ipv6(self.number)

    @cached_property
    def list_json(self) -> bytes:
        """The list item as JSON text, encoded once per state, so that long lists only need joining."""
        return encode(list_item(self))


def encode(document: object) -> bytes:
    """Encode JSON, all ASCII."""
    return json.dumps(document).encode()


def timestamp(posix: float) -> str:
    """Format whole seconds in UTC, the form of every timestamp on the page."""
    return datetime.fromtimestamp(int(posix), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def list_item(server: Server) -> Json:
    """Return an entry of `results`."""
    return {**_identity(server), "plan": _plan(server.plan), "os": _os(server.os), **_times(server)}


def created(server: Server) -> Json:
    """Return the answer to POST /servers/."""
    return {
        **_identity(server),
        "plan": _plan(server.plan),
        "os": _os(server.os),
        "backups_enabled": server.backups_enabled,
        **_times(server),
        "message": "Server is being provisioned. This may take 2-5 minutes.",
    }


def detail(server: Server) -> Json:
    """Return the answer to GET /servers/{server_id}/."""
    identity = _identity(server)
    location = identity.pop("location")
    return {
        **identity,
        "ipv6_address": server.ipv6_address,
        "location": location,
        "plan": {**_plan(server.plan), "bandwidth": server.plan.bandwidth},
        "os": _os(server.os),
        "backups_enabled": server.backups_enabled,
        "resource_usage": _usage(server),
        **_times(server),
    }


def plan_item(plan: Plan) -> Json:
    """Return an entry of `results` of GET /plans/ (https://www.vps.org/api/plans/)."""
    return {
        "id": plan.id,
        "name": plan.name,
        "slug": plan.name.partition(" ")[0].lower(),
        "vcpus": plan.vcpus,
        "memory": plan.memory,
        "storage": plan.storage,
        "bandwidth": plan.bandwidth,
        "price_monthly": plan.price_monthly,
        "price_hourly": plan.price_hourly,
        "available": True,
        "locations": list(LOCATIONS),
        "description": f"{plan.vcpus} vCPUs, {plan.memory // 1024} GB of memory, {plan.storage} GB of storage",
    }


def action(server: Server) -> Json:
    """Return the answer to start, stop and reboot; its top-level `status` is not the server's."""
    return {
        "status": "success",
        "message": f"Server is {server.status}",
        "server": {"id": server.id, "name": server.name, "status": server.status},
    }


def _identity(server: Server) -> Json:
    return {
        "id": server.id,
        "name": server.name,
        # Null for a server created without one: the page does not say what the answer has then.
        "hostname": server.hostname,
        "status": server.status,
        "ip_address": server.ip_address,
        "location": server.location,
    }


def _plan(plan: Plan) -> Json:
    return {
        "id": plan.id,
        "name": plan.name,
        "vcpus": plan.vcpus,
        "memory": plan.memory,
        "storage": plan.storage,
    }


def _os(system: OperatingSystem) -> Json:
    return {"id": system.id, "name": system.name}


def _times(server: Server) -> Json:
    return {"created_at": timestamp(server.created_at), "updated_at": timestamp(server.updated_at)}


def _usage(server: Server) -> Json:
    """Return invented figures, constant for each server; the page does not say what a stopped server reports."""
    busy = server.status == "active"
    return {
        "cpu_percent": (server.number * 37 % 800 + 5) / 10 if busy else 0.0,
        "memory_used": server.plan.memory // 2 if busy else 0,
        "disk_used": server.plan.storage * 7 // 16,
        "bandwidth_used": server.number * 13 % server.plan.bandwidth,
    }
