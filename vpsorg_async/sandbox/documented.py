"""The documented dialect: the nine endpoints of https://www.vps.org/api/v1/docs/servers/, the plans and the account.

Assumed, because no page says it: the detail shape as the answer to PUT and PATCH. Plans are those of
https://www.vps.org/api/plans/; the second endpoint that the page announces is left out, because it is not described.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

from . import forms, records
from .api import Answer, Api, Call, Route, Routes, answer, document, paths
from .catalogue import LOCATIONS, PLANS
from .ledger import Command
from .world import World

_FORMS: Final = MappingProxyType(
    {"create": forms.creation, "replace": forms.replacement, "update": forms.changes}
)


class Documented(Api):
    """The endpoints over one world, for one token."""

    routes: ClassVar[Routes] = paths(
        {
            "servers/": {"GET": "list", "POST": "create"},
            "servers/<server>/": {"GET": "get", "PUT": "replace", "PATCH": "update", "DELETE": "delete"},
            "servers/<server>/start/": {"POST": "start"},
            "servers/<server>/stop/": {"POST": "stop"},
            "servers/<server>/reboot/": {"POST": "reboot"},
            "plans/": {"GET": "plans"},
            "account/me/": {"GET": "account"},
        },
        any_id="[0-9]{1,18}",
    )

    def __init__(self, world: World, token: str) -> None:
        super().__init__(world, token)
        self._lists: dict[tuple[str, str], bytes] = {}
        self._revision = -1

    @staticmethod
    def identify(number: int) -> int:
        return number

    @staticmethod
    def read_id(text: str) -> int:
        return int(text)

    def fields(self, asked: str, found: Route, call: Call) -> Mapping[str, Any]:
        if asked in ("list", "plans"):
            # Any word is accepted and compared unchanged; an empty one is no filter.
            given = parse_qs(call.query)
            return {name: given.get(name, [""])[-1] for name in ("status", "location")}
        form = _FORMS.get(asked)
        return form(document(call)) if form else {}

    def perform(self, command: Command, now: float, request: int | None) -> Answer:
        fields = command.fields
        if command.operation == "list":
            return Answer(200, self._list(fields["status"], fields["location"], now))
        if command.operation == "plans":
            return _plans(fields["location"])
        if command.operation == "get" and command.server_id is not None:
            return answer(200, records.detail(self._world.find(command.server_id, now)))
        server = self._world.apply(command, now, request)
        if command.operation == "create":
            return Answer(201, records.encode(records.created(server)), server_id=server.id)
        if command.operation == "delete":
            return Answer(204, headers={})
        shape = records.detail if command.operation in _FORMS else records.action
        return answer(200, shape(server))

    def _list(self, status: str, location: str, now: float) -> bytes:
        world = self._world.at(now)
        if world.lagging:
            return self._render(status, location, now)
        if self._revision != world.revision:
            self._revision = world.revision
            self._lists.clear()
        key = (status, location)
        if key not in self._lists:
            self._lists[key] = self._render(status, location, now)
        return self._lists[key]

    def _render(self, status: str, location: str, now: float) -> bytes:
        shown = [
            server.list_json
            for server in self._world.servers(now)
            if status in ("", server.status) and location in ("", server.location)
        ]
        return b'{"count": %d, "results": [%b]}' % (len(shown), b", ".join(shown))


def _plans(location: str) -> Answer:
    # Every plan is offered at every location.
    plans = [records.plan_item(plan) for plan in PLANS.values() if location in ("", *LOCATIONS)]
    return answer(200, {"count": len(plans), "results": plans})
