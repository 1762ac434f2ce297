"""The provider's dialect: the other form of the API, used by the packages that VPS.org publishes itself.

No page documents it. What the code of `vps-mcp` 0.1.0 and `vpsdotorg` 0.1.0 sends, and which fields it reads, is known;
this module has these, and no more. The following is assumed:

- status words and what they permit: as documented; `hard_stop` is accepted unless the server is off or provisioning
- pages: one beyond the last is 404, a `page_size` over 100 is 100, one that is no number is 20; no filters. A page is
  cut from the list as it is at that moment: changes between two pages shift the second one
- servers and SSH keys come in pages; plans, locations and operating systems come as bare lists, as "some lists" do
- addresses are lists, empty while provisioning, and `deployed` is true after that; prices are texts
- 202 to power, backup, snapshot and resize. A resize takes effect at once; the other two leave only an entry in the
  ledger
- the root password is in the answer to the create and nowhere else
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, ClassVar, Final, cast
from urllib.parse import parse_qs

from attrs import frozen

from . import forms, pagination
from .api import Answer, Api, Call, Route, Routes, answer, document, paths
from .catalogue import PLANS, SYSTEMS, OperatingSystem, Plan, uuid
from .errors import Refused
from .keys import KEY_CHANGES, SshKey
from .ledger import Command
from .records import Json, Server, encode, timestamp
from .statuses import POWER

_PAGE_SIZE: Final = 20
_MAX_PAGE_SIZE: Final = 100
_WORK: Final = (*POWER, "backup", "snapshot", "resize")


@frozen
class Location:
    """A location for servers; the world identifies it by `code`."""

    code: str
    name: str
    country_name: str
    country_code: str
    is_active: bool = True


_LOCATIONS: Final = MappingProxyType(
    {
        1: Location("us-west", "US West", "United States", "US"),
        2: Location("us-east", "US East", "United States", "US"),
        3: Location("eu-central", "EU Central", "Germany", "DE"),
        4: Location("ap-south", "Asia South", "India", "IN", is_active=False),
    }
)
_LOCATION_NAMES: Final = {place.code: place.name for place in _LOCATIONS.values()}
_PLANS: Final = {uuid("plan", plan.id): plan for plan in PLANS.values()}
_VERSIONS: Final = {uuid("os-version", system.id): system for system in SYSTEMS.values()}
_ACTIONS: Final = {"start": "start", "stop": "stop", "restart": "reboot", "hard_stop": "hard_stop"}


class Provider(Api):
    """The endpoints over one world, for one token."""

    routes: ClassVar[Routes] = paths(
        {
            "servers/": {"GET": "list", "POST": "create"},
            "servers/<server>/": {"GET": "get", "DELETE": "delete"},
            # The body selects the action; see `operation`.
            "servers/<server>/power/": {"POST": "power"},
            "servers/<server>/backup/": {"POST": "backup"},
            "servers/<server>/snapshot/": {"POST": "snapshot"},
            "servers/<server>/resize/": {"POST": "resize"},
            "plans/": {"GET": "plans"},
            "locations/": {"GET": "locations"},
            "operating-systems/": {"GET": "operating_systems"},
            "ssh-keys/": {"GET": "ssh_keys", "POST": "add_ssh_key"},
            "ssh-keys/<key>/": {"DELETE": "delete_ssh_key"},
            "account/me/": {"GET": "account"},
        },
        any_id="[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    )

    @staticmethod
    def identify(number: int) -> str:
        return uuid("server", number)

    @staticmethod
    def read_id(text: str) -> str:
        return text

    def operation(self, call: Call) -> str | None:
        asked = super().operation(call)
        if asked == "power":
            with suppress(Refused):
                return str(_power(document(call))["action"])
        return asked

    def fields(self, asked: str, found: Route, call: Call) -> Mapping[str, Any]:
        if asked in ("list", "ssh_keys"):
            return {"window": _window(call)}
        if asked == "delete_ssh_key":
            return {"uuid": found.key}
        form = self._creation if asked == "create" else _FORMS.get(asked)
        # A snapshot's label is optional, and without it there may be no body.
        return form(document(call) if call.body else {}) if form else {}

    def perform(self, command: Command, now: float, request: int | None) -> Answer:
        world, operation, server_id = self._world, command.operation, command.server_id
        if operation in _LOOKUPS:
            return answer(200, _LOOKUPS[operation])
        if operation == "list":
            return answer(200, pagination.page(command.fields["window"], world.servers(now), _row))
        if operation == "ssh_keys":
            return answer(200, pagination.page(command.fields["window"], world.at(now).keys.all, _key))
        if operation == "get" and server_id is not None:
            return answer(200, _detail(world.find(server_id, now)))
        if operation in KEY_CHANGES:
            key = world.apply_key(command, now, request)
            return answer(201, _key(key)) if operation == "add_ssh_key" else Answer(204, headers={})
        server = world.apply(command, now, request)
        if operation == "create":
            body = {**_detail(server), "password": self._password(server)}
            return Answer(201, encode(body), server_id=server.id)
        if operation in _WORK:
            return answer(202, {"detail": "Accepted."})
        return Answer(204, headers={})

    def _creation(self, body: object) -> dict[str, Any]:
        table = {**_CREATE, "ssh_keys": self._ssh_keys}
        given = forms.read(body, table, required=set(_CREATE))
        return {
            "name": given["hostname"],
            "hostname": given["hostname"],
            "location": given["location"],
            "plan": given["plan"],
            "os": given["os_version"],
            "backups_enabled": False,
            "public_keys": tuple(self._world.keys[name].public_key for name in given.get("ssh_keys", ())),
        }

    def _ssh_keys(self, value: object) -> list[str]:
        if not isinstance(value, list):
            raise ValueError("Must be a list.")
        names = [forms.text(name) for name in cast("list[object]", value)]
        for name in names:
            if name not in self._world.keys:
                raise ValueError(f"Unknown SSH key {name!r}.")
        return names

    def _password(self, server: Server) -> str:
        # Shown once and not stored, so that nothing else in the sandbox can show it.
        return hmac.digest(self._token, str(server.id).encode(), "sha256").hex()[:20]


def _action(value: object) -> str:
    if (word := forms.text(value)) not in _ACTIONS:
        raise ValueError(f"Unknown action, not one of {', '.join(_ACTIONS)}.")
    return _ACTIONS[word]


def _location(value: object) -> str:
    place = _LOCATIONS.get(forms.integer(value))
    if place is None or not place.is_active:
        raise ValueError("No location with this id, or none that is active.")
    return place.code


def _plan(value: object) -> Plan:
    if (plan := _PLANS.get(forms.text(value))) is None:
        raise ValueError("No plan with this UUID.")
    return plan


def _version(value: object) -> OperatingSystem:
    if (system := _VERSIONS.get(forms.text(value))) is None:
        raise ValueError("No version of an operating system with this UUID.")
    return system


def _label(value: object) -> str:
    if not (word := forms.text(value).strip()) or len(word) > 255:
        raise ValueError("Must be a text of 1 to 255 characters.")
    return word


def _public_key(value: object) -> str:
    words = forms.text(value).split()
    with suppress(binascii.Error, ValueError):
        if (
            len(words) >= 2
            and re.match("(ssh|ecdsa|sk)-", words[0])
            and base64.b64decode(words[1], validate=True)
        ):
            return " ".join(words)
    raise ValueError("Must be a public key as in an authorized_keys file.")


_CREATE: Final[Mapping[str, Callable[[object], Any]]] = {
    "hostname": forms.hostname,
    "location": _location,
    "plan": _plan,
    "os_version": _version,
}
_KEY: Final = {"name": _label, "public_key": _public_key}


def _power(body: object) -> dict[str, Any]:
    return forms.read(body, {"action": _action}, required={"action"})


def _resize(body: object) -> dict[str, Any]:
    return forms.read(body, {"plan": _plan}, required={"plan"})


def _snapshot(body: object) -> dict[str, Any]:
    return forms.read(body, {"label": _label}, required=set())


def _new_key(body: object) -> dict[str, Any]:
    return forms.read(body, _KEY, required=set(_KEY))


# A valid power call uses the name of its action; `power` is left for invalid ones, which are refused.
_FORMS: Final = {"power": _power, "resize": _resize, "snapshot": _snapshot, "add_ssh_key": _new_key}


def _window(call: Call) -> pagination.Window:
    size = pagination.whole(parse_qs(call.query).get("page_size", [""])[-1]) or _PAGE_SIZE
    return pagination.window(call, min(size, _MAX_PAGE_SIZE))


def _identity(server: Server) -> Json:
    return {
        "uuid": server.id,
        "hostname": server.hostname or server.name,
        "status": server.status,
        "ipv4_addresses": [server.ip_address] if server.ip_address else [],
        "ipv6_addresses": [server.ipv6_address] if server.ipv6_address else [],
        "deployed": server.status != "provisioning",
        "created_at": timestamp(server.created_at),
    }


def _row(server: Server) -> Json:
    """Return a server in a list, which is flat."""
    return {
        **_identity(server),
        "location_name": _LOCATION_NAMES[server.location],
        "plan_name": server.plan.name,
        "os_name": server.os.name,
    }


def _detail(server: Server) -> Json:
    """Return one server, which is nested."""
    return {
        **_identity(server),
        "location": {"name": _LOCATION_NAMES[server.location]},
        "plan": _size(server.plan),
        "operating_system": {"name": server.os.family},
        "operating_system_version": {"name": server.os.version},
    }


def _plan_item(name: str, plan: Plan) -> Json:
    return {
        "uuid": name,
        **_size(plan),
        "cpu_type_name": "Shared",
        "transfer": plan.bandwidth,
        "monthly_price": f"{plan.price_monthly:.2f}",
        "hourly_price": f"{plan.price_hourly:.3f}",
    }


def _location_item(number: int, place: Location) -> Json:
    return {
        "id": number,
        "name": place.name,
        "country_name": place.country_name,
        "country_code": place.country_code,
        "is_active": place.is_active,
    }


def _system_item(name: str, system: OperatingSystem) -> Json:
    return {
        "uuid": uuid("operating-system", system.id),
        "name": system.family,
        "versions": [{"uuid": name, "name": system.version}],
    }


def _size(plan: Plan) -> Json:
    return {"ram": plan.memory // 1024, "ram_unit": "GB", "cpu": plan.vcpus, "disk_space": plan.storage}


def _key(key: SshKey) -> Json:
    return {
        "uuid": key.uuid,
        "name": key.name,
        "fingerprint": key.fingerprint,
        "created_at": timestamp(key.created_at),
        # No logins happen here.
        "last_used_at": None,
    }


_LOOKUPS: Final = {
    "plans": [_plan_item(name, plan) for name, plan in _PLANS.items()],
    "locations": [_location_item(number, place) for number, place in _LOCATIONS.items()],
    "operating_systems": [_system_item(name, system) for name, system in _VERSIONS.items()],
}
