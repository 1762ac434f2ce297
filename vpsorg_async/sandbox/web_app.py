"""The sandbox on a socket: aiohttp reads requests and keeps connections, `Engine` decides, `wire` answers."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from aiohttp import web
from attrs import Factory, define

from .api import Call
from .control import PREFIX, control
from .engine import Engine
from .wire import ByHand, pause, respond

_BACKLOG: Final = 1024
# Requests that are in progress when the sandbox closes have this many seconds to end; aiohttp waits twice.
_PATIENCE: Final = 0.2

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())


@define(eq=False)
class Connection:
    """One client connection: its number, and an event that is set when it or the sandbox closes."""

    number: int
    over: asyncio.Event = Factory(asyncio.Event)


class App(web.Server):
    """The HTTP server of one sandbox, in one event loop."""

    def __init__(self, engine: Engine, latency: float) -> None:
        super().__init__(self._serve, access_log=None, logger=_log, lingering_time=1.0)
        self._engine = engine
        self._latency = latency
        self._host = ""
        self._opened = 0
        self._clients: dict[web.RequestHandler, Connection] = {}
        self._closing = asyncio.Event()
        self._runner = web.ServerRunner(self, shutdown_timeout=_PATIENCE)

    async def start(self, host: str, port: int) -> int:
        """Start to listen, and return the port. Raises OSError if that fails."""
        self._host = host
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        return site.port

    async def stop(self) -> None:
        """Close the port and all connections. Clients that wait for an answer get none."""
        self._closing.set()
        for client in self._clients.values():
            client.over.set()
        await self._runner.cleanup()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._opened += 1
        self._clients[handler] = Connection(self._opened)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._clients.pop(handler).over.set()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        client = self._clients.get(request.protocol)
        if client is None or self._closing.is_set():
            return ByHand(reset=True)
        port = _port(request)
        try:
            call = await _read(request)
        except ConnectionError:
            return ByHand(reset=True)
        if call.path.startswith(PREFIX):
            answer = control(self._engine, call, self._host)
            return await respond(request, answer, None, self._engine.date(), client.over)
        exchange = self._engine.begin(call, client.number, port)
        # aiohttp does not cancel the request of a client that hangs up while it waits, so only closing ends the pause.
        if not await pause(self._latency + exchange.delay(after=False), self._closing):
            return ByHand(reset=True)
        answer = self._engine.answer(exchange)
        await pause(exchange.delay(after=True), self._closing)
        return await respond(request, answer, exchange.ending, self._engine.date(), client.over)


async def _read(request: web.BaseRequest) -> Call:
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        body = None
    # The raw path: an encoded slash must not become a real one.
    url, headers = request.rel_url, request.headers
    return Call(
        request.method,
        url.raw_path,
        url.raw_query_string,
        headers.get("Authorization", ""),
        headers.get("Content-Type", ""),
        body,
        # If there are two, the control endpoint must not use one that another reader of the headers would ignore.
        ", ".join(headers.getall("Host", [])),
        ", ".join(headers.getall("Origin")) if "Origin" in headers else None,
    )


def _port(request: web.BaseRequest) -> int:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return peer[1] if peer else 0
