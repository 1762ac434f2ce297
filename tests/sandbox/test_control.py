"""Who may use the control endpoint: programs of this machine, and no web page that a browser on it has open."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from vpsorg_async.sandbox import ManualClock, Rule, Sandbox, faults
from vpsorg_async.sandbox.api import Call
from vpsorg_async.sandbox.control import control
from vpsorg_async.sandbox.documented import Documented
from vpsorg_async.sandbox.engine import Engine
from vpsorg_async.sandbox.rules import FaultPlan
from vpsorg_async.sandbox.world import World

Talk = Callable[..., Awaitable[Any]]

RULES = {"rules": [{"actions": [{"do": "garbage"}]}], "replace": True}
DOORS = [
    ("GET", "ledger", None),
    ("GET", "requests", None),
    ("GET", "faults", None),
    ("POST", "faults", RULES),
    ("DELETE", "faults", None),
    ("POST", "reset", None),
]
FOREIGN_HOSTS = [
    "evil.test",
    "evil.test:80",
    "EVIL.TEST",
    "127.0.0.1.evil.test",
    "127.0.0.1.evil.test:80",
    "localhost.evil",
    "localhost.evil:80",
    "notlocalhost",
    "evil.localhost",
    "localhost@evil.test",
    "evil.test@localhost",
    "localhost:80@evil.test",
    "evil.test/localhost",
    "localhost evil.test",
    "localhost, evil.test",
    "localhost:port",
    "192.168.0.1",
    "10.0.0.1:80",
    "0.0.0.0",
    "128.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "127.0.0.256",
    "[::2]:80",
    "[::]",
    "[127.0.0.1]",
    "[localhost]",
    "[::1",
    "::1",
    "",
    None,
]
FOREIGN_ORIGINS = [
    "https://evil.test",
    "http://evil.test:80",
    "http://127.0.0.1.evil.test",
    "http://localhost.evil:8080",
    "http://localhost@evil.test",
    "http://evil.test/http://localhost",
    "http://evil.test#localhost",
    "http://localhost, http://evil.test",
    "http://[::2]",
    "http://0.0.0.0:8080",
    "localhost",
    "http://",
    "file://",
    "null",
    "",
]


def left(box: Sandbox) -> tuple[int, list[str]]:
    """What a web page would like to change: the servers, and the rules in force."""
    return len(box.servers), [armed.rule.label for armed in box.faults.rules]


@pytest.fixture
def furnished(box: Sandbox) -> Sandbox:
    """A sandbox with something to lose."""
    box.world.add(3)
    box.faults.add(Rule("create", faults.DropAfter()))
    return box


@pytest.mark.parametrize(("method", "path", "document"), DOORS)
@pytest.mark.parametrize(
    "headers", [{"Host": "evil.test"}, {"Origin": "https://evil.test"}], ids=["rebound", "cross-site"]
)
async def test_all_of_the_side_door_is_shut_to_strangers(
    furnished: Sandbox, talk: Talk, method: str, path: str, document: Any, headers: dict[str, str]
) -> None:
    """Neither a page under a name that was made to mean this machine, nor one of another origin gets anywhere."""
    heard = await talk(method, f"/_sandbox/{path}", document, token=None, headers=headers)

    assert (heard.status, list(heard.json)) == (403, ["detail"])
    assert left(furnished) == (3, ["drop_after"])


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_hosts_of_elsewhere(furnished: Sandbox, talk: Talk, host: str | None, version: str) -> None:
    """Only a `Host` that is a loopback name or address opens the control endpoint; a missing one does not."""
    heard = await talk("POST", "/_sandbox/reset", headers={"Host": host}, version=version)

    assert heard.status in (400, 403)
    assert left(furnished) == (3, ["drop_after"])


@pytest.mark.parametrize("name", ["Host", "Origin"])
@pytest.mark.parametrize("values", [("http://localhost", "http://evil.test"), ("http://localhost",) * 2])
async def test_two_of_a_header(furnished: Sandbox, talk: Talk, name: str, values: tuple[str, str]) -> None:
    """Of two `Host` or `Origin` headers none counts."""
    first, second = values if name == "Origin" else (value.removeprefix("http://") for value in values)

    heard = await talk("POST", "/_sandbox/reset", headers={name: first, name.lower(): second})

    assert heard.status in (400, 403)
    assert left(furnished) == (3, ["drop_after"])


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LocalHost:80",
        "127.0.0.1",
        "127.0.0.1:65535",
        "127.8.9.10:80",
        "[::1]",
        "[::1]:8080",
        "[0:0:0:0:0:0:0:1]:80",
    ],
)
async def test_hosts_of_this_machine(furnished: Sandbox, talk: Talk, host: str) -> None:
    """Every loopback name and address opens the control endpoint, whatever the port."""
    assert (await talk("POST", "/_sandbox/reset", token=None, headers={"Host": host})).status == 204
    assert left(furnished) == (0, [])


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
async def test_origins_of_elsewhere(furnished: Sandbox, talk: Talk, origin: str) -> None:
    """A browser that names another origin, or hides it, is turned away even if all else is right."""
    heard = await talk("POST", "/_sandbox/reset", headers={"Origin": origin})

    assert heard.status == 403
    assert left(furnished) == (3, ["drop_after"])


@pytest.mark.parametrize(
    "origin", ["http://localhost", "https://localhost:3000", "http://127.0.0.1:8080", "HTTP://[::1]:80"]
)
async def test_origins_of_this_machine(furnished: Sandbox, talk: Talk, origin: str) -> None:
    """A page that this machine serves may steer the sandbox."""
    assert (await talk("POST", "/_sandbox/reset", headers={"Origin": origin})).status == 204
    assert left(furnished) == (0, [])


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "text/plain; charset=application/json",
        "text/plain;application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "text/json",
    ],
)
@pytest.mark.parametrize(("path", "document"), [("reset", None), ("reset", {}), ("faults", RULES)])
async def test_what_a_browser_sends_unasked(
    furnished: Sandbox, talk: Talk, path: str, document: Any, kind: str | None
) -> None:
    """A POST of any content type that a page can send without permission is 415, with a body or without."""
    heard = await talk("POST", f"/_sandbox/{path}", document, headers={"Content-Type": kind})

    assert (heard.status, list(heard.json)) == (415, ["detail"])
    assert left(furnished) == (3, ["drop_after"])


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/json ;x=y"]
)
async def test_json_in_its_forms(furnished: Sandbox, talk: Talk, kind: str) -> None:
    """JSON is JSON, whatever its parameters and case."""
    heard = await talk("POST", "/_sandbox/faults", RULES, headers={"Content-Type": kind})

    assert heard.status == 200
    assert left(furnished) == (3, ["garbage"])


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (None, b"", 204),
        ("text/plain", b"", 204),
        ("application/json", b"{}", 204),
        (None, b"{}", 415),
        ("text/plain", b"{}", 415),
        ("text/plain", b" " * (2**20 + 1), 415),
    ],
)
async def test_delete_with_a_body(
    furnished: Sandbox, talk: Talk, kind: str | None, body: bytes, status: int
) -> None:
    """A DELETE needs a content type only if it has a content."""
    heard = await talk("DELETE", "/_sandbox/faults", body=body, headers={"Content-Type": kind})

    assert heard.status == status
    assert left(furnished) == (3, [] if status == 204 else ["drop_after"])


async def test_permission_is_not_given(furnished: Sandbox, talk: Talk) -> None:
    """A browser that asks first whether a page may send JSON gets no permission."""
    asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}

    heard = await talk("OPTIONS", "/_sandbox/reset", headers=asked)

    assert heard.status == 405
    assert b"access-control" not in heard.head.lower()


async def test_the_api_asks_for_its_token_alone(furnished: Sandbox, talk: Talk) -> None:
    """The API itself takes calls under every name, as a provider behind a proxy does: the token keeps pages out."""
    headers = {"Host": "api.test", "Origin": "https://evil.test"}

    assert (await talk("GET", headers=headers)).status == 200
    assert (await talk("GET", headers=headers, token=None)).status == 401


@pytest.mark.parametrize(
    ("own", "host", "status"),
    [
        ("sandbox.lan", "sandbox.lan:8080", 204),
        ("sandbox.lan", "Sandbox.LAN", 204),
        ("sandbox.lan", "localhost", 204),
        ("sandbox.lan", "evil.sandbox.lan", 403),
        ("0.0.0.0", "0.0.0.0:8080", 204),
        ("2001:db8::1", "[2001:db8::1]:80", 204),
        ("2001:db8::1", "[2001:db8::2]:80", 403),
        ("", "", 403),
    ],
)
def test_a_host_that_its_owner_permits(own: str, host: str, status: int) -> None:
    """The host on which a sandbox listens also opens its control endpoint, and no other one does."""
    engine = Engine(World, Documented, "secret", ManualClock(), FaultPlan())
    call = Call("POST", "/_sandbox/reset", content_type="application/json", host=host)

    assert control(engine, call, own).status == status
