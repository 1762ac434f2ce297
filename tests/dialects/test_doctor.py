"""The doctor: from the outside in, one clear line for what is wrong, and nothing changed."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import trustme

from tests.dialects.speech import Speech
from tests.io.raw_server import Line, RawServer, answer
from vpsorg_async.doctor import Check, Finding, examine
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.sandbox import Rule, Sandbox, faults

TOKEN = "vps_secret_of_the_tests"
ROW = {"uuid": "u1", "hostname": "web-1", "status": "active"}


async def look(url: str, token: str = TOKEN, **options: Any) -> list[Check]:
    """All checks. The token is in none of them."""
    checks = [check async for check in examine(token, url, **options)]
    assert not [check for check in checks if token in repr(check)]
    return checks


def named(checks: list[Check], name: str) -> Check:
    (check,) = [check for check in checks if check.name == name]
    return check


def bad(checks: list[Check]) -> Check:
    """The one that failed: it is the last, all before it are good, and it says what to do."""
    assert [check.finding for check in checks] == [Finding.GOOD] * (len(checks) - 1) + [Finding.BAD]
    assert checks[-1].advice
    assert "\n" not in checks[-1].found + checks[-1].advice
    return checks[-1]


@asynccontextmanager
async def answering(
    body: Any, *headers: str, status: int = 200, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """A server that answers so and nothing else."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def script(line: Line) -> None:
        line.send(answer(status, data, *headers))

    async with RawServer(script, tls=tls) as server:
        yield server


async def test_all_is_well(speech: Speech) -> None:
    """Every check is made, in order; the dialect is reported with the setting; only the list was read."""
    async with Sandbox(dialect=speech.dialect, token=TOKEN) as box:
        box.world.add(250)
        checks = await look(box.url)

        assert [check.name for check in checks] == [
            *("name", "connection", "token", "dialect", "list", "rate limit", "clocks")
        ]
        assert {check.finding for check in checks} == {Finding.GOOD}
        dialect, listed = named(checks, "dialect"), named(checks, "list")
        assert dialect.data == {"dialect": speech.dialect}
        assert ("VPSORG_DIALECT=provider" in dialect.advice) is (speech.dialect == "provider")
        assert (listed.data["servers"], listed.data["pages"]) == (
            250,
            1 if speech.dialect == "documented" else 3,
        )
        assert listed.data["bytes"] > 1000
        assert listed.data["seconds"] >= 0
        assert "250 servers" in listed.found
        assert {entry.method for entry in box.requests} == {"GET"}
        assert box.ledger == ()


async def test_an_empty_account(speech: Speech) -> None:
    """An empty list shows little: the provider's form is guessed by its paging keys, and called a guess."""
    async with Sandbox(dialect=speech.dialect, token=TOKEN) as box:
        dialect = named(await look(box.url), "dialect")

        assert dialect.data == {"dialect": speech.dialect}
        assert dialect.finding is (Finding.GOOD if speech.dialect == "documented" else Finding.ODD)


@pytest.mark.parametrize(
    ("body", "dialect", "finding"),
    [
        ([], "documented", Finding.ODD),
        ([ROW], "provider", Finding.GOOD),
        ({"count": 1, "results": [ROW]}, "provider", Finding.GOOD),
        ({"results": [{"id": 1, "name": "a", "status": "active"}]}, "documented", Finding.GOOD),
        (
            {"count": 1, "next": None, "results": [{"id": 1, "name": "a", "status": "active"}]},
            "documented",
            Finding.GOOD,
        ),
        ({"count": 0, "next": None, "previous": None, "results": []}, "provider", Finding.ODD),
    ],
)
async def test_which_dialect(body: Any, dialect: str, finding: Finding) -> None:
    """Rows decide; without any, it is a guess."""
    async with answering(body) as server:
        check = named(await look(server.url), "dialect")

    assert (check.data["dialect"], check.finding) == (dialect, finding)


async def test_a_refused_token(speech: Speech) -> None:
    """401 and 403 are the token's fault, and marked as such."""
    async with Sandbox(dialect=speech.dialect) as box:
        check = bad(await look(box.url))
        box.faults.add(Rule("list", faults.Reply(403, {"detail": "No scope."})))
        scoped = bad(await look(box.url, box.token))

    assert (check.name, check.refused, scoped.refused) == ("token", True, True)
    assert "401" in check.found
    assert "No scope." in scoped.found
    assert "create a new one" in check.advice


async def test_a_closed_port() -> None:
    """No listener: the port, and what to check."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        check = bad(await look(f"http://127.0.0.1:{port}"))

    assert check.name == "connection"
    assert f"port {port} of 127.0.0.1 does not answer" in check.found
    assert not check.refused


async def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first check fails, and nothing is connected to."""

    def nobody(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    (check,) = await look("https://nowhere.example")

    assert (check.name, check.finding) == ("name", Finding.BAD)
    assert "nowhere.example can't be resolved" in check.found
    assert "spelling" in check.advice


async def test_an_address_of_the_newer_kind() -> None:
    """A host that has an IPv6 address alone is found."""
    try:
        async with Sandbox(host="::1", token=TOKEN) as box:
            checks = await look(box.url)
    except Exception as reason:
        if "cannot listen" in str(reason):
            pytest.skip("no IPv6 on this machine")
        raise

    assert "::1" in named(checks, "name").found
    assert named(checks, "token").finding is Finding.GOOD


def contexts(host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Theirs, with a certificate for this host, and ours, which trusts who made it."""
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(host).configure_cert(theirs)
    authority.configure_trust(ours)
    return theirs, ours


async def test_a_certificate_that_holds() -> None:
    """Over TLS its version is reported, and the later checks are made."""
    theirs, ours = contexts("127.0.0.1")
    async with answering({"results": [ROW]}, tls=theirs) as server:
        checks = await look(server.url, ssl_context=ours)

    assert "TLSv1.3, the certificate is valid" in named(checks, "connection").found
    assert named(checks, "dialect").data == {"dialect": "provider"}


async def test_a_certificate_of_another_host() -> None:
    """The certificate is refused with the reason, and the token is not sent."""
    theirs, ours = contexts("another.example")
    async with answering({"results": [ROW]}, tls=theirs) as server:
        check = bad(await look(server.url, ssl_context=ours))

        assert server.requests == []
    assert check.name == "connection"
    assert "the certificate is not valid" in check.found
    assert "127.0.0.1" in check.found


async def test_a_certificate_of_nobody() -> None:
    """An authority that is not trusted."""
    theirs, _ = contexts("127.0.0.1")
    async with answering({"results": [ROW]}, tls=theirs) as server:
        check = bad(await look(server.url))

        assert server.requests == []
    assert "the certificate is not valid" in check.found
    assert "ssl_context" in check.advice


async def test_what_does_not_speak_tls() -> None:
    """The address says https, and plain http answers."""

    async def plain(line: Line) -> None:
        line.send(answer(400, b"plain HTTP here"))
        line.close()

    async with RawServer(plain, greet=plain) as server:
        check = bad(await look(server.url.replace("http:", "https:")))

    assert (check.name, "TLS" in check.found) == ("connection", True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_host_that_redirects(status: int) -> None:
    """The origin it leads to is named, and not followed."""
    async with (
        answering({"results": [ROW]}) as other,
        answering(b"", f"Location: {other.url}/api/v1/servers/", status=status) as server,
    ):
        check = bad(await look(server.url))

        assert other.requests == []
        assert other.url in check.found
    assert check.name == "answer"
    assert "base URL" in check.advice


LOGIN = b"\n<!doctype html><html><head><title>Sign in</title></head><body>...</body></html>"


@pytest.mark.parametrize("status", [200, 404, 503])
async def test_a_login_page(status: int) -> None:
    """HTML is no answer of the API, whatever its status; that the token is good is not claimed."""
    async with answering(LOGIN, "Content-Type: text/html", status=status) as server:
        checks = await look(server.url)

    assert bad(checks).name == "answer"
    assert [check.name for check in checks] == ["name", "connection", "answer"]
    assert ("HTML" in checks[-1].found) if status == 200 else (f"{status}: Sign in" in checks[-1].found)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"", "answer"),
        (b"ok", "answer"),
        (b'{"results": [', "answer"),
        ({"detail": "welcome"}, "dialect"),
        ({"results": [{"status": 3}]}, "dialect"),
        (3, "dialect"),
    ],
)
async def test_what_is_no_list(body: Any, name: str) -> None:
    """No JSON, or JSON in neither dialect."""
    async with answering(body) as server:
        assert bad(await look(server.url)).name == name


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_a_service_in_trouble(status: int) -> None:
    """Requested once and reported: the only advice is to try later."""
    async with answering({"detail": "Come back."}, "Retry-After: 0", status=status) as server:
        check = bad(await look(server.url))

        assert len(server.requests) == 1 or status == 429
    assert str(status) in check.found
    assert "try again later" in check.advice


async def test_a_line_that_breaks() -> None:
    """No answer at all is not the base URL's fault."""

    async def hang_up(line: Line) -> None:
        line.close()

    async with RawServer(hang_up) as server:
        check = bad(await look(server.url))

    assert check.name == "answer"
    assert "proxy or a firewall" in check.advice


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("X-RateLimit-Remaining: 59", {"x-ratelimit-remaining": "59"}),
        ("RateLimit: limit=60", {"ratelimit": "limit=60"}),
        ("X-Rate-Limit-Limit: 60", {"x-rate-limit-limit": "60"}),
        ("X-Other: 1", {}),
    ],
)
async def test_rate_limits(header: str, told: dict[str, str]) -> None:
    """Any header that announces a limit is shown."""
    async with answering([ROW], header) as server:
        check = named(await look(server.url), "rate limit")

    assert check.data == told
    assert all(value in check.found for value in told.values())
    assert told or check.found == "no header mentions one"


@pytest.mark.parametrize(("apart", "word"), [(-3600, "behind"), (3600, "ahead"), (0, "agree")])
async def test_clocks(apart: int, word: str) -> None:
    """Clocks that are far apart are odd, not bad: waits do not depend on them."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=apart), usegmt=True)
    async with answering([ROW], f"Date: {date}") as server:
        check = named(await look(server.url), "clocks")

    assert word in check.found
    assert check.finding is (Finding.ODD if apart else Finding.GOOD)
    assert bool(check.advice) is bool(apart)


@pytest.mark.parametrize("date", ["", "Date: yesterday", "Date: Mon, 01 Jan 2024 00:00:00 -0000"])
async def test_no_clock_to_compare_with(date: str) -> None:
    """An answer without a date that can be read."""
    async with answering([ROW], *filter(None, [date])) as server:
        check = named(await look(server.url), "clocks")

    assert check.finding is Finding.ODD


@pytest.mark.parametrize(
    ("token", "url"),
    [("", "https://admin.vps.org"), (TOKEN, "http://admin.vps.org"), (TOKEN, "https://admin.vps.org/api/v1")],
)
async def test_what_can_not_be_examined(token: str, url: str) -> None:
    """A token or an address that can't be one is refused as everywhere."""
    with pytest.raises(ConfigurationError):
        [check async for check in examine(token, url)]
