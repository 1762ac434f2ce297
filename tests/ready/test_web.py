"""`ready.http` against real loopback sockets."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
import trustme

from tests.ready.loopback import V4, V6, Talk, answer, cancelled, listening, needs_ipv6, unused_port
from vpsorg_async import errors, ready


class Service:
    """Answers each request with the same bytes, and keeps what was requested."""

    def __init__(self, status: str = "200 OK", body: bytes = b"all is well", headers: str = "") -> None:
        self.sent = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body
        self.request = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.write(self.sent)

    @property
    def line(self) -> str:
        return self.request.split("\r\n")[0]

    @property
    def host(self) -> str:
        return next(line for line in self.request.split("\r\n") if line.startswith("Host:"))


async def test_a_good_answer_passes() -> None:
    """A path is requested of the server's own address, on a connection that is closed afterwards."""
    service = Service()
    async with listening(service) as listener:
        check = ready.http("/healthz?full=1", port=listener.port, contains="is well")

        assert await answer(check) == "yes"
        assert service.line == "GET /healthz?full=1 HTTP/1.1"
        assert service.host == f"Host: {V4}:{listener.port}"
        await listener.closed()


@needs_ipv6
async def test_the_second_address_is_tried_where_the_first_fails() -> None:
    """A service that answers only by IPv6 is ready."""
    service = Service()
    async with listening(service, host=V6) as listener:
        assert await answer(ready.http("/", port=listener.port), V4, V6) == "yes"
        assert service.host == f"Host: [{V6}]:{listener.port}"


async def test_the_host_name_of_a_url_is_sent_to_the_servers_address() -> None:
    """A URL names the host of the request; the connection goes to the server, whatever the DNS says."""
    service = Service()
    async with listening(service) as listener:
        assert await answer(ready.http(f"http://shop.example:{listener.port}/up")) == "yes"
        assert (service.line, service.host) == ("GET /up HTTP/1.1", f"Host: shop.example:{listener.port}")


@pytest.mark.parametrize(
    ("status", "wanted", "passes"),
    [
        ("204 No Content", None, True),
        ("301 Moved", None, False),
        ("503 Service Unavailable", None, False),
        ("404 Not Found", 404, True),
        ("200 OK", 404, False),
        ("301 Moved", (200, 301), True),
        ("418 Teapot", range(400, 500), True),
    ],
)
async def test_the_status_decides(status: str, wanted: Any, passes: bool) -> None:
    """Any 2xx passes, or what was asked for; a redirect is not followed."""
    elsewhere = f"Location: http://{V4}:{unused_port()}/\r\n"
    options = {} if wanted is None else {"status": wanted}
    async with listening(Service(status, b"", elsewhere)) as listener:
        said = await answer(ready.http("/", port=listener.port, **options))

        assert said == ("yes" if passes else f"no: {V4}: it answered {status[:3]}")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"x" * 200_000 + b"ready", "yes"),
        (b"starting", "no: 127.0.0.1: it answered 200 without b'ready'"),
        (b"x" * 2_000_000 + b"ready", "no: 127.0.0.1: it answered 200 without b'ready'"),
    ],
)
async def test_the_body_decides(body: bytes, said: str) -> None:
    """The first MiB of the body has to contain the text."""
    async with listening(Service(body=body)) as listener:
        assert await answer(ready.http("/", port=listener.port, contains="ready")) == said
        await listener.closed()


async def test_a_cookie_of_one_check_is_not_sent_by_the_next() -> None:
    """Each check is a request of its own."""
    service = Service(headers="Set-Cookie: a=b\r\n")
    async with listening(service) as listener:
        check = ready.http("/", port=listener.port)
        assert await answer(check) == await answer(check) == "yes"
        assert "Cookie" not in service.request


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def gibberish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (silent, "no answer within 0.1 s"),
        (closing, "server disconnected"),
        (gibberish, "it sent something else than HTTP"),
    ],
)
async def test_no_usable_answer_says_no(talk: Talk, reason: str) -> None:
    """What goes wrong is a reason, and no exception of another library."""
    async with listening(talk) as listener:
        said = await answer(ready.http("/", port=listener.port, timeout=0.1))

        assert said.startswith(f"no: {V4}: {reason}")


async def test_a_body_that_does_not_come_says_no() -> None:
    """The status alone is not enough if a text is wanted."""
    service = Service(body=b"")
    service.sent = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    async with listening(service) as listener:
        assert await answer(ready.http("/", port=listener.port)) == "yes"
        assert await answer(ready.http("/", port=listener.port, contains="ok", timeout=0.1)) == (
            f"no: {V4}: it answered 200, but the body did not come within 0.1 s"
        )


async def test_a_closed_port_says_no() -> None:
    """A refused connection is named as such."""
    assert await answer(ready.http("/", port=unused_port())) == f"no: {V4}: connection refused"


async def test_a_certificate_is_verified_for_the_name_of_the_url() -> None:
    """With an ssl.SSLContext of the user's, the name of the URL has to be in the certificate."""
    authority = trustme.CA()
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("shop.example").configure_cert(serving)
    authority.configure_trust(trusting)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Service()(reader, writer)
        writer.close()

    listener = await asyncio.start_server(connected, V4, 0, ssl=serving)
    port = listener.sockets[0].getsockname()[1]
    try:
        assert await answer(ready.http(f"https://shop.example:{port}/", tls=trusting)) == "yes"
        for check in (
            ready.http(f"https://other.example:{port}/", tls=trusting),
            ready.http("/", port=port, tls=trusting),
            ready.http("/", port=port, tls=True),
        ):
            said = await answer(check)
            assert said.startswith(f"no: {V4}: ")
            assert "its certificate was refused: " in said
    finally:
        listener.close()
        await listener.wait_closed()


async def test_a_cancelled_check_leaves_nothing_behind() -> None:
    """Neither a connection nor a task outlives a check that is cancelled."""
    async with listening(silent) as listener:
        await cancelled(ready.http("/", port=listener.port), listener)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url_or_path": "healthz"}, "path such as"),
        ({"url_or_path": ""}, "path such as"),
        ({"url_or_path": None}, "path such as"),
        ({"url_or_path": "//elsewhere/x"}, "path such as"),
        ({"url_or_path": "ftp://host/"}, "path such as"),
        ({"url_or_path": "http:///x"}, "path such as"),
        ({"url_or_path": "http://host:99999/"}, "path such as"),
        ({"url_or_path": "http://user:secret@host/"}, "path such as"),
        ({"port": 0}, "port"),
        ({"url_or_path": "http://host:80/", "port": 81}, "contradicts"),
        ({"url_or_path": "https://host/", "tls": False}, "contradicts"),
        ({"url_or_path": "http://host/", "tls": True}, "contradicts"),
        ({"tls": "yes"}, "tls"),
        ({"status": ()}, "status"),
        ({"status": "200"}, "status"),
        ({"status": True}, "status"),
        ({"status": 99}, "status"),
        ({"contains": 5}, "contains"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    """A wrong argument is refused when the check is created."""
    with pytest.raises(errors.ConfigurationError, match=message):
        ready.http(**{"url_or_path": "/", **arguments})


def test_a_check_is_shown_as_it_is_written() -> None:
    """The repr of a check is its call."""
    assert repr(ready.http("/healthz", port=8080, status=204)) == "http('/healthz', port=8080, status=204)"
    assert repr(ready.http("/")) == "http('/')"
