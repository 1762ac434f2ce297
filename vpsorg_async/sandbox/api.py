"""An API as a function: a call goes in, an answer comes out. Both dialects share this module.

Pure except for the world that it works on. Reading a call (`understand`) is separate from executing it (`execute`), so
that a change can also be executed late, or not at all. Assumed, because no page says it: 401 applies to every
operation and precedes its other errors; 405 for other methods; the shapes of error bodies; 413 for bodies over a limit.
"""

from __future__ import annotations

import hmac
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeAlias

from attrs import Factory, frozen

from . import records
from .catalogue import ACCOUNT
from .errors import Refused
from .keys import KEY_CHANGES
from .ledger import Command
from .records import ServerId
from .statuses import POWER
from .world import World

PREFIX: Final = "/api/v1/"

READS: Final = ("list", "get", "plans", "account", "locations", "operating_systems", "ssh_keys")
"""The operations that change nothing."""

_ON_A_SERVER: Final = ("replace", "update", "delete", *POWER, "backup", "snapshot", "resize")
OPERATIONS: Final = (*READS, "create", *_ON_A_SERVER, *KEY_CHANGES)
"""The operations of both dialects, with one name for each."""

NAME_A_SERVER: Final = frozenset({"get", "create", *_ON_A_SERVER})
"""The operations on one server."""

Routes: TypeAlias = tuple[tuple[re.Pattern[str], Mapping[str, str]], ...]


@frozen
class Call:
    """A request as it arrived. `body` is None if it was too large, `origin` if there is no such header."""

    method: str
    path: str
    query: str = ""
    authorization: str = ""
    content_type: str = ""
    body: bytes | None = b""
    host: str = "localhost"
    origin: str | None = None

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.content_type.partition(";")[0].strip().lower()


@frozen
class Answer:
    """A response. `server_id` is the server that a create created."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = Factory(lambda: {"Content-Type": "application/json"})
    server_id: ServerId | None = None


@frozen
class Route:
    """The meaning of a path: the operation of each method, and the server or key in it."""

    operations: Mapping[str, str]
    server_id: ServerId | None
    key: str | None


class Api(ABC):
    """One dialect over one world, for one token."""

    routes: ClassVar[Routes]

    def __init__(self, world: World, token: str) -> None:
        self._world = world
        self._token = token.encode()

    def accept(self, token: str) -> None:
        """Accept this token only."""
        self._token = token.encode()

    @staticmethod
    @abstractmethod
    def identify(number: int) -> ServerId:
        """Return the id of the server with this number."""

    @staticmethod
    @abstractmethod
    def read_id(text: str) -> ServerId:
        """Return the id in a path."""

    @abstractmethod
    def fields(self, asked: str, found: Route, call: Call) -> Mapping[str, Any]:
        """Return the fields of a call besides its server. Raises `Refused`."""

    @abstractmethod
    def perform(self, command: Command, now: float, request: int | None) -> Answer:
        """Execute a command, and return the answer. Raises `Refused`."""

    def route(self, path: str) -> Route | None:
        """Return the meaning of a path; None if it does not exist."""
        for pattern, operations in self.routes:
            if match := pattern.fullmatch(path):
                named = match.groupdict()
                server = named.get("server")
                return Route(operations, None if server is None else self.read_id(server), named.get("key"))
        return None

    def operation(self, call: Call) -> str | None:
        """Return the operation that a call requests, if any."""
        found = self.route(call.path)
        return found.operations.get(call.method) if found else None

    def understand(self, call: Call) -> Command | Answer:
        """Return the command in a call, or the answer that refuses the call."""
        found = self.route(call.path)
        if found is None:
            return self._nothing_here(call)
        if not self._authorized(call.authorization):
            return sorry(401, "Invalid or missing API token.", {"WWW-Authenticate": "Bearer"})
        asked = self.operation(call)
        if asked is None:
            return sorry(405, headers={"Allow": ", ".join(found.operations)})
        if call.body is None:
            return sorry(413)
        try:
            return Command(asked, found.server_id, self.fields(asked, found, call))
        except Refused as refusal:
            return answer(refusal.status, refusal.body())

    def execute(self, command: Command, now: float, request: int | None = None) -> Answer:
        """Execute a command, and return the answer."""
        try:
            if command.operation == "account":
                return answer(200, dict(ACCOUNT))
            return self.perform(command, now, request)
        except Refused as refusal:
            return answer(refusal.status, refusal.body())

    def _authorized(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return scheme.lower() == "bearer" and hmac.compare_digest(given, self._token)

    def _nothing_here(self, call: Call) -> Answer:
        # Django does this for a GET without the trailing slash. Other methods would lose their body, so they get 404.
        if call.method == "GET" and self.route(call.path + "/"):
            location = f"{call.path}/?{call.query}" if call.query else f"{call.path}/"
            return Answer(301, headers={"Location": location})
        return sorry(404)


def paths(table: Mapping[str, Mapping[str, str]], any_id: str) -> Routes:
    """Return the routes for paths under `PREFIX` -> method -> operation. `<server>` and `<key>` match any id."""

    def pattern(path: str) -> re.Pattern[str]:
        return re.compile(PREFIX + re.sub("<([a-z]+)>", rf"(?P<\1>{any_id})", path))

    return tuple((pattern(path), MappingProxyType(dict(operations))) for path, operations in table.items())


def answer(status: int, document: object, **headers: str) -> Answer:
    """Return a JSON answer."""
    return Answer(status, records.encode(document), {"Content-Type": "application/json", **headers})


def sorry(status: int, detail: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an error answer, in the assumed shape."""
    return answer(status, {"detail": detail or HTTPStatus(status).phrase}, **(headers or {}))


def document(call: Call) -> Any:
    """Return the JSON body of a call. Raises `Refused`."""
    if call.media_type not in ("", "application/json"):
        raise Refused("The body must be JSON: send Content-Type: application/json.")
    try:
        return parse_json(call.body or b"")
    except ValueError as error:
        raise Refused(f"The body is not JSON: {error}") from None


def parse_json(body: bytes) -> Any:
    """Parse strict JSON: no NaN, no endless nesting. Raises ValueError."""
    try:
        return json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
