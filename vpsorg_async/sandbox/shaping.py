"""How an unusual service changes a request and its plain answer, as the actions of `faults` say. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import asdict, evolve

from . import faults, pagination
from .api import PREFIX, Answer, Call, answer, parse_json
from .errors import Refused
from .ledger import Command
from .records import Json, encode
from .statuses import POWER


def reread(call: Call, operation: str | None, actions: Sequence[faults.Action]) -> Call:
    """Return the call as the service reads it."""
    for action in _about(operation, actions):
        match action:
            case faults.FoldNames():
                call = _folded(call)
            case faults.IgnorePage():
                query = [pair for pair in parse_qsl(call.query) if pair[0] != "page"]
                call = evolve(call, query=urlencode(query))
            case _:
                pass
    return call


def reconsider(command: Command | Answer, actions: Sequence[faults.Action]) -> Command | Answer:
    """Return the command as the service executes it."""
    soft = next((action for action in actions if isinstance(action, faults.SoftDelete)), None)
    if soft is None or isinstance(command, Answer) or command.operation not in soft.operations:
        return command
    return evolve(command, fields=asdict(soft))


def reshape(given: Answer, call: Call, operation: str, actions: Sequence[faults.Action]) -> Answer:
    """Return the answer as the service shows it; an unsuccessful one is not changed."""
    shapes = [action for action in _about(operation, actions) if isinstance(action, faults.Shape)]
    if not shapes or not given.body or not 200 <= given.status <= 299:
        return given
    document = json.loads(given.body)
    try:
        # Pages first: rows are counted and left out within the answered page.
        for shape in sorted(shapes, key=lambda shape: not isinstance(shape, faults.Paged)):
            document = _shaped(document, shape, call, operation)
    except Refused as refusal:
        return answer(refusal.status, refusal.body())
    return evolve(given, body=encode(document))


def _about(operation: str | None, actions: Sequence[faults.Action]) -> list[faults.Action]:
    return [action for action in actions if operation in action.operations]


def _folded(call: Call) -> Call:
    try:
        document = parse_json(call.body or b"")
    except ValueError:
        return call
    if not isinstance(document, dict):
        return call
    given = cast("dict[str, object]", document)
    names: dict[str, object] = {name: _fold(given[name]) for name in ("name", "hostname") if name in given}
    return evolve(call, body=encode({**given, **names}))


def _fold(value: object) -> object:
    return value.lower().removesuffix(".") if isinstance(value, str) else value


def _shaped(document: Json, shape: faults.Shape, call: Call, operation: str) -> Json:
    match shape:
        case faults.Paged(size) if "next" not in document:
            return pagination.page(pagination.window(call, size), document["results"], _as_it_is)
        case faults.ShortList(missing):
            return {**document, "results": document["results"][:-missing]}
        case faults.NextLink():
            links = {name: document[name] for name in ("next", "previous") if document.get(name)}
            return {**document, **{name: _moved(link, shape) for name, link in links.items()}}
        case faults.OddField(path, value):
            return _each_server(document, operation, shape.row, lambda server: _put(server, path, value))
        case faults.OmitField(path):
            return _each_server(document, operation, shape.row, lambda server: _omit(server, path))
        case _:
            return document


def _as_it_is(row: Json) -> Json:
    return row


def _moved(link: str, to: faults.NextLink) -> str:
    url = urlsplit(link)
    if to.scheme is not None:
        url = url._replace(scheme=to.scheme)
    if to.host is not None:
        url = url._replace(netloc=to.host)
    if to.prefix is not None:
        url = url._replace(path=f"{to.prefix}/{url.path.removeprefix(PREFIX)}")
    return url.geturl()


def _each_server(document: Json, operation: str, row: int | None, edit: Callable[[Any], Any]) -> Json:
    """Return the document with each server in it edited, wherever the operation's answer has one."""
    if operation == "list":
        rows = enumerate(document["results"])
        return {**document, "results": [edit(one) if row in (None, n) else one for n, one in rows]}
    if row is not None:
        return document
    if operation not in POWER:
        return cast("Json", edit(document))
    # In the provider's dialect the answer to a command has no server.
    return {**document, "server": edit(document["server"])} if "server" in document else document


def _put(node: object, path: str, value: object) -> object:
    first, _, rest = path.partition(".")
    item = _item(node, first)
    if item is not None:
        items, number = item
        return [*items[:number], _put(items[number], rest, value) if rest else value, *items[number + 1 :]]
    inner = cast("Mapping[str, object]", node) if isinstance(node, dict) else {}
    return {**inner, first: _put(inner.get(first), rest, value) if rest else value}


def _omit(node: object, path: str) -> object:
    first, _, rest = path.partition(".")
    item = _item(node, first)
    if item is not None:
        items, number = item
        kept = [_omit(items[number], rest)] if rest else []
        return [*items[:number], *kept, *items[number + 1 :]]
    inner = cast("dict[str, object]", node if isinstance(node, dict) else {})
    if first not in inner:
        return node
    if rest:
        return {**inner, first: _omit(inner[first], rest)}
    return {name: value for name, value in inner.items() if name != first}


def _item(node: object, name: str) -> tuple[list[object], int] | None:
    """Return the list and the index that a name in a path denotes; None if the node is no list."""
    if not isinstance(node, list):
        return None
    items = cast("list[object]", node)
    return next(((items, number) for number in range(len(items)) if str(number) == name), None)
