"""The token appears in no error, and every error is one of this package: on all paths on which a call can fail."""

from __future__ import annotations

import copy as copying
import json
import logging
import pickle
import traceback
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import attrs
import pytest

from tests.io.endpoints import SERVER, Play, raw, sends
from tests.io.faults import FAULTS, OPERATIONS, SPEC, TOKEN, Fault, client
from tests.io.raw_server import RawServer, answer
from tests.io.skipping import quiet, skipping
from vpsorg_async import Client
from vpsorg_async.errors import ConfigurationError, VpsOrgError
from vpsorg_async.plain import from_plain, to_plain

CANARY = "CANARY"
PASSWORD = "hunter2-root"
assert CANARY in TOKEN


async def fleet(vps: Client) -> None:
    report = await vps.fleet.create([SPEC], timeout=5.0)
    report.raise_for_failures()


CALLS: dict[str, Callable[[Client], Awaitable[object]]] = {
    **OPERATIONS,
    "wait": lambda vps: vps.wait_until(1, "stopped", timeout=5.0),
    "fleet": fleet,
}

BAD_TOKEN = f'{{"detail": "Token {TOKEN} is not known", "password": "{PASSWORD}"}}'.encode()
ECHOES: dict[str, Play] = {
    "400 with the token": raw(sends(answer(400, BAD_TOKEN))),
    "401 with the token in a header": raw(sends(answer(401, b"", f"WWW-Authenticate: Bearer {TOKEN}"))),
    "401 as text": raw(sends(answer(401, f"Authorization: Bearer {TOKEN} refused".encode()))),
    "403 as a list": raw(sends(answer(403, f'["{TOKEN}", {{"Authorization": "Bearer {TOKEN}"}}]'.encode()))),
    "404 with the token in its reason": raw(
        sends(f"HTTP/1.1 404 No {TOKEN}\r\nContent-Length: 0\r\n\r\n".encode())
    ),
    "429 with the token": raw(sends(answer(429, BAD_TOKEN, "Retry-After: 1"))),
    "500 as HTML with the request": raw(
        sends(answer(500, f"<pre>Authorization: Bearer {TOKEN}</pre>".encode()))
    ),
    "502 that is long": raw(sends(answer(502, b"x" * 1990 + BAD_TOKEN))),
    "302 to a place with the token": raw(
        sends(answer(302, b"", f"Location: https://{TOKEN}@x.example/?t={TOKEN}"))
    ),
    "200 that is none of ours": raw(sends(answer(200, f'{{"id": null, "results": "{TOKEN}"}}'.encode()))),
    "200 that is cut": raw(sends(answer(200, BAD_TOKEN[:-1]))),
    "200 that is text": raw(sends(answer(200, TOKEN.encode()))),
    "200 that is not UTF-8": raw(sends(answer(200, BAD_TOKEN + b"\xff"))),
    "200 with a page elsewhere": raw(
        sends(answer(200, f'{{"results": [], "next": "https://{TOKEN}.example/?{TOKEN}"}}'.encode()))
    ),
    "200 in a coding called like the token": raw(sends(answer(200, b"?", f"Content-Encoding: {TOKEN}"))),
    "headers that are not HTTP": raw(sends(f"HTTP/1.1 200 OK\r\n{TOKEN}\r\n\r\n".encode(), then="close")),
    "half a body": raw(sends(answer(200, BAD_TOKEN, length=9999), then="close")),
    "malformed chunk": raw(
        sends(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{TOKEN}\r\n".encode(), then="close")
    ),
}


@attrs.define
class Heard:
    """The call's error and all output of the call."""

    error: BaseException | None = None
    events: list[Any] = attrs.field(factory=list)


async def call(play: Play, operation: str) -> Heard:
    heard = Heard()
    async with (
        play() as endpoint,
        client(endpoint.url, on_event=heard.events.append, **endpoint.options) as vps,
    ):
        for _ in range(endpoint.warm):
            await vps.servers.get(1)
            await quiet()
        try:
            await CALLS[operation](vps)
        except BaseException as error:
            heard.error = error
    return heard


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its attributes, and its causes and contexts."""
    todo, seen = [error], set[int]()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        held = [
            *vars(one).values(),
            *one.args,
            one.__cause__,
            one.__context__,
            *getattr(one, "exceptions", ()),
        ]
        todo += [other for other in held if isinstance(other, BaseException)]


def inside(value: object, depth: int = 0) -> Iterator[str]:
    """Everything that is reachable from a value, as text."""
    yield repr(value)
    if depth > 6:
        return
    if isinstance(value, dict):
        children = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        children = list(value)
    elif isinstance(value, str | bytes | int | float | type(None)):
        children = []
    else:
        children = [*getattr(value, "__dict__", {}).values()]
        children += [getattr(value, name, None) for name in getattr(type(value), "__slots__", ())]
    for child in children:
        yield from inside(child, depth + 1)


def leaks(heard: Heard, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The places where a secret shows."""
    assert heard.error is not None
    shown: dict[str, str] = {
        "events": repr(heard.events),
        "plain data of events": json.dumps(to_plain(heard.events)),
        "logs": caplog.text,
    }
    for error in chain(heard.error):
        name = type(error).__name__
        shown[f"str of {name}"] = str(error)
        shown[f"repr of {name}"] = repr(error)
        shown[f"args of {name}"] = "\n".join(inside(error.args))
        shown[f"vars of {name}"] = "\n".join(inside(vars(error)))
        shown[f"traceback of {name}"] = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
        if isinstance(error, VpsOrgError):
            shown[f"plain data of {name}"] = json.dumps(to_plain(error, passwords=True))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            shown[f"pickle {protocol} of {name}"] = pickle.dumps(error, protocol).decode("latin-1")
    return [place for place, text in shown.items() if CANARY in text or PASSWORD in text]


def check(heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    assert heard.error is not None
    assert [error for error in chain(heard.error) if not isinstance(error, VpsOrgError)] == []
    assert leaks(heard, caplog) == []
    for error in chain(heard.error):
        for copy in (pickle.loads(pickle.dumps(error)), from_plain(json.loads(json.dumps(to_plain(error))))):
            assert (type(copy), str(copy), repr(vars(copy))) == (type(error), str(error), repr(vars(error)))


@pytest.mark.parametrize("operation", ["get", "create", "delete", "update", "wait", "fleet"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
@skipping
async def test_no_fault_gives_the_token_away(
    fault: Fault, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every row of the fault matrix raises only errors of this package, which pickle, without the token in any part."""
    caplog.set_level(logging.DEBUG)

    heard = await call(fault.play, operation)

    if heard.error is not None:
        check(heard, caplog)
    elif operation == "get":
        assert fault.get.error is None


@pytest.mark.parametrize("operation", sorted(CALLS))
@pytest.mark.parametrize("echo", ECHOES)
@skipping
async def test_no_answer_that_repeats_the_token_gives_it_away(
    echo: str, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A service that echoes the request, or shows a password, is quoted without them."""
    caplog.set_level(logging.DEBUG)

    heard = await call(ECHOES[echo], operation)

    if heard.error is not None:
        check(heard, caplog)
    else:
        assert echo.startswith("200")


@skipping
async def test_the_hunt_finds_what_it_hunts() -> None:
    """The search finds a secret in any of the places that it checks."""
    error = VpsOrgError("plain")
    error.where = [{"deep": attrs.make_class("Box", ["it"])(TOKEN.encode())}]  # type: ignore[attr-defined]

    assert any(CANARY in text for text in inside(vars(error)))

    def frame() -> None:
        held = TOKEN  # noqa: F841
        raise VpsOrgError

    try:
        frame()
    except VpsOrgError as caught:
        formatted = traceback.TracebackException.from_exception(caught, capture_locals=True).format()
        assert CANARY in "".join(formatted)


async def test_the_token_is_sent_and_not_shown() -> None:
    """The token reaches the service, and no repr of the client's parts shows it."""
    async with RawServer(sends(answer(200, SERVER))) as server, Client(TOKEN, base_url=server.url) as vps:
        await vps.servers.get(1)
        shown = [repr(part) for part in (vps, vps.servers, vps.fleet, vars(vps), vars(vps._runtime))]

    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert CANARY not in "".join(shown)


@pytest.mark.parametrize("copied", [pickle.dumps, copying.copy, copying.deepcopy])
def test_a_client_is_neither_pickled_nor_copied(copied: Callable[[object], object]) -> None:
    """No pickle contains the token, and no two clients share connections by accident."""
    vps = Client("vps_secret")
    for shown in (vps, vps.with_options(deadline=5)):
        with pytest.raises(ConfigurationError, match="can't be pickled or copied") as caught:
            copied(shown)
        assert "vps_secret" not in str(caught.value)
