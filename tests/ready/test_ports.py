"""`ready.tcp` and `ready.ssh` against real loopback sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.ready.loopback import V4, V6, answer, listening, needs_ipv6, server, unused_port
from vpsorg_async import errors, ready, tcp_port

KINDS: list[Callable[..., ready.Check]] = [ready.tcp, ready.ssh]
BANNER = b"SSH-2.0-OpenSSH_9.6\r\n"


async def test_an_open_port_passes() -> None:
    """A connection is opened, and closed again."""
    async with listening() as service:
        assert await answer(ready.tcp(service.port)) == "yes"

        await service.closed()
        assert service.accepted == 1


@pytest.mark.parametrize("make", KINDS)
async def test_a_closed_port_says_no_with_each_address(make: Callable[..., ready.Check]) -> None:
    """The reason names each address, and why it failed."""
    port = unused_port()

    assert await answer(make(port)) == "no: 127.0.0.1: connection refused"
    both = await answer(make(port), V4, "127.0.0.2")
    assert both == "no: 127.0.0.1: connection refused; 127.0.0.2: connection refused"


@pytest.mark.parametrize("make", KINDS)
async def test_a_server_without_an_address_says_no(make: Callable[..., ready.Check]) -> None:
    """A server that has no address yet is not ready."""
    assert await answer(make(22), None, None) == "no: it has no address yet"


@needs_ipv6
@pytest.mark.parametrize("make", KINDS)
async def test_the_second_address_is_tried_where_the_first_fails(make: Callable[..., ready.Check]) -> None:
    """A server that answers only by IPv6 is ready; its address may be written with all of its zeros."""
    async with listening(BANNER, host=V6) as service:
        assert await answer(make(service.port), V4, V6) == "yes"
        assert await answer(make(service.port), None, "0000:0000::0001") == "yes"


@pytest.mark.parametrize(
    "sent",
    [
        BANNER,
        b"SSH-2.0-dropbear\n",
        b"SSH-1.99-Cisco-1.25\r\n",
        b"Welcome.\r\nAll is logged.\r\n" + BANNER,
        b"caf\xe9\r\n" + BANNER,
    ],
)
async def test_a_banner_passes(sent: bytes) -> None:
    """The banner may follow lines of text, as RFC 4253 allows, and end without a carriage return."""
    async with listening(sent) as service:
        assert await answer(ready.ssh(service.port)) == "yes"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"SSH-1.5-old\r\n", "its SSH server speaks another version: SSH-1.5-old"),
        (b"x" * 10_000 + b"\r\n", "it sent something else than an SSH banner"),
        (b"hello\r\n" * 100, "it sent no SSH banner in 50 lines; it began with 'hello'"),
    ],
)
async def test_something_else_than_a_banner_says_no(sent: bytes, reason: str) -> None:
    """What else answers on the port is named."""
    async with listening(sent) as service:
        assert await answer(ready.ssh(service.port)) == f"no: 127.0.0.1: {reason}"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", ""),
        (b"Exceeded MaxStartups\r\n", "; it sent 'Exceeded MaxStartups'"),
        (b"SSH-2.0-cut", "; it sent 'SSH-2.0-cut'"),
    ],
)
async def test_a_connection_that_is_closed_says_no(sent: bytes, said: str) -> None:
    """An SSH server that closes the connection before its banner has ended is not ready."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.close()

    async with listening(talk) as service:
        assert await answer(ready.ssh(service.port)) == (
            f"no: 127.0.0.1: it closed the connection without an SSH banner{said}"
        )


async def test_an_open_port_without_a_banner_says_no() -> None:
    """A port that is open before its service answers passes `tcp`, not `ssh`."""
    async with listening() as service:
        assert await answer(ready.tcp(service.port)) == "yes"
        assert await answer(ready.ssh(service.port, timeout=0.05)) == (
            "no: 127.0.0.1: the port is open, but no SSH banner came within 0.05 s"
        )


async def test_a_cancelled_check_leaves_nothing_behind() -> None:
    """Neither a connection nor a task outlives a check that is cancelled."""
    async with listening() as service:
        before = asyncio.all_tasks()
        checking = asyncio.ensure_future(ready.ssh(service.port)(server()))
        await service.connected.wait()
        checking.cancel()
        await asyncio.wait([checking])

        assert checking.cancelled()
        await service.closed()
        assert asyncio.all_tasks() - before == set()


@pytest.mark.parametrize("make", [*KINDS, tcp_port])
@pytest.mark.parametrize("port", [0, -1, 65536, True, "22", 22.0, None])
def test_a_port_is_a_port(make: Callable[..., ready.Check], port: Any) -> None:
    """An invalid port is refused when the check is created."""
    with pytest.raises(errors.ConfigurationError, match="a port is a number from 1 to 65535"):
        make(port)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "5", True])
def test_a_timeout_is_a_number_of_seconds(make: Callable[..., ready.Check], timeout: Any) -> None:
    """An invalid timeout is refused when the check is created."""
    with pytest.raises(errors.ConfigurationError, match="timeout"):
        make(22, timeout=timeout)


def test_a_check_is_shown_as_it_is_written() -> None:
    """The repr of a check is its call."""
    assert repr(ready.tcp(22)) == "tcp(22)"
    assert repr(ready.ssh()) == "ssh(22)"
    assert tcp_port is ready.tcp
