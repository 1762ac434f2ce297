"""The nine endpoints of https://www.vps.org/api/v1/docs/servers/ as a function: a call goes in, an answer comes out.

Pure but for the world that it is given. Reading a call (`understand`) is apart from carrying it out (`execute`),
so that a change can also be carried out late, or not at all. Assumed, because no page says it: 401 holds on all
nine and comes before everything else; 405 for other methods; the shapes of error bodies; the detail shape as
the answer to PUT and PATCH; 413 for bodies over a limit.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qs

from attrs import Factory, frozen

from . import forms, records
from .errors import Refused
from .world import POWER, Command, World

PREFIX: Final = "/api/v1/servers/"

_PATH: Final = re.compile(re.escape(PREFIX) + rf"(?:([0-9]{{1,18}})/(?:({'|'.join(POWER)})/)?)?")
_ON_ALL: Final = MappingProxyType({"GET": "list", "POST": "create"})
_ON_ONE: Final = MappingProxyType({"GET": "get", "PUT": "replace", "PATCH": "update", "DELETE": "delete"})
OPERATIONS: Final = (*_ON_ALL.values(), *_ON_ONE.values(), *POWER)
"""The nine."""

_FORMS: Final = MappingProxyType(
    {"create": forms.creation, "replace": forms.replacement, "update": forms.changes}
)


@frozen
class Call:
    """A request as it arrived. `body` is None if it was too large to be taken."""

    method: str
    path: str
    query: str = ""
    authorization: str = ""
    content_type: str = ""
    body: bytes | None = b""


@frozen
class Answer:
    """A response; `server_id` names the server that a create made."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = Factory(lambda: {"Content-Type": "application/json"})
    server_id: int | None = None


@frozen
class Route:
    """What a path stands for: the operation of each method, and the server it names."""

    operations: Mapping[str, str]
    server_id: int | None


def route(path: str) -> Route | None:
    """Read a path; None if nothing is there."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    number, action = match.groups()
    if number is None:
        return Route(_ON_ALL, None)
    return Route({"POST": action} if action else _ON_ONE, int(number))


def operation(method: str, path: str) -> str | None:
    """The operation that a method and path ask for, if any."""
    found = route(path)
    return found.operations.get(method) if found else None


def answer(status: int, document: object, **headers: str) -> Answer:
    """A JSON answer."""
    return Answer(status, records.encode(document), {"Content-Type": "application/json", **headers})


def sorry(status: int, detail: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """An error answer, in the assumed shape."""
    return answer(status, {"detail": detail or HTTPStatus(status).phrase}, **(headers or {}))


def parse_json(body: bytes) -> Any:
    """Strict JSON: no NaN, no endless nesting. Raises ValueError."""
    try:
        return json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


class Api:
    """The endpoints over one world, for one token."""

    def __init__(self, world: World, token: str) -> None:
        self._world = world
        self._token = token.encode()
        self._lists: dict[tuple[str, str], bytes] = {}
        self._revision = -1

    def understand(self, call: Call) -> Command | Answer:
        """The command that a call gives, or the answer that turns it away."""
        found = route(call.path)
        if found is None:
            return _nothing_here(call)
        if not self._authorized(call.authorization):
            return sorry(401, "Invalid or missing API token.", {"WWW-Authenticate": "Bearer"})
        asked = found.operations.get(call.method)
        if asked is None:
            return sorry(405, headers={"Allow": ", ".join(found.operations)})
        if call.body is None:
            return sorry(413)
        try:
            return Command(asked, found.server_id, _fields(asked, call, call.body))
        except Refused as refusal:
            return answer(refusal.status, refusal.body())

    def execute(self, command: Command, now: float, request: int | None = None) -> Answer:
        """Carry a command out and answer it."""
        world = self._world
        try:
            if command.operation == "list":
                return Answer(200, self._list(command.fields["status"], command.fields["location"], now))
            if command.operation == "get" and command.server_id is not None:
                return answer(200, records.detail(world.find(command.server_id, now)))
            server = world.apply(command, now, request)
        except Refused as refusal:
            return answer(refusal.status, refusal.body())
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

    def _authorized(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return scheme.lower() == "bearer" and hmac.compare_digest(given, self._token)


def _nothing_here(call: Call) -> Answer:
    # As Django does for a GET without the trailing slash. For other methods it would lose the body: 404.
    if call.method == "GET" and route(call.path + "/"):
        location = f"{call.path}/?{call.query}" if call.query else f"{call.path}/"
        return Answer(301, headers={"Location": location})
    return sorry(404)


def _fields(asked: str, call: Call, body: bytes) -> Mapping[str, Any]:
    if asked == "list":
        # Any word is taken and compared as it is; an empty one is no filter.
        given = parse_qs(call.query)
        return {name: given.get(name, [""])[-1] for name in ("status", "location")}
    form = _FORMS.get(asked)
    return form(_document(call, body)) if form else {}


def _document(call: Call, body: bytes) -> Any:
    kind = call.content_type.partition(";")[0].strip().lower()
    if kind not in ("", "application/json"):
        raise Refused("The body must be JSON: send Content-Type: application/json.")
    try:
        return parse_json(body)
    except ValueError as error:
        raise Refused(f"The body is not JSON: {error}") from None


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
