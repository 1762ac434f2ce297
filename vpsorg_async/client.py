"""The client: puts the runtime together, opens them, closes them."""

from __future__ import annotations

import copy
import importlib
import os
import ssl
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Self, TypeVar, Unpack

import anyio
import anyio.to_thread

from .config import (
    DEFAULT_BASE_URL,
    DEFAULT_MAX_BODY,
    DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_MAX_LIST_BODY,
    UNSET,
    RetryPolicy,
    Timeout,
    WaitPolicy,
    check_base_url,
    check_seconds,
    check_token,
    from_environment,
    wait_policy,
)
from .dialects import check_dialect
from .durations_file import keep_durations, read_durations
from .errors import ClientClosedError, ConfigurationError
from .events import ClientEvent
from .http.options import CallOptions, check_headers, check_user_agent
from .lifecycle.calls import WaitOutcome
from .lifecycle.contract import Target, TargetLike
from .lifecycle.durations import Durations
from .lifecycle.events import PollStatistics
from .lifecycle.ready import ReadyCheck
from .lifecycle.receipts import Receipt
from .lifecycle.watching import StatusChange
from .options import ClientOptions
from .records import Server, ServerId
from .resources import Resources
from .runtime import Calls, ClientRuntime, Secret, Settings, Tracing, Unshown, check_words
from .shielding import to_the_end
from .timing import Clock, SystemClock

__all__ = ["Client"]

T = TypeVar("T")


class Client(Resources):
    """The VPS.org account: servers, waits and fleets over one shared connection pool.

    ::

        async with Client.from_env() as vps:
            server = await vps.servers.get(12345)

    ``token`` is the API token; it is never shown. All durations are seconds.

    - ``base_url``: the address of the API without ``/api/v1``; https, or http on this machine.
    - ``dialect``: ``"documented"``, or ``"provider"`` for the form that the provider's own packages speak.
    - ``status_words``: status words of the account that mean one of the documented, ``{"running": "active"}``, or that
      the server is deleted, ``{"terminated": "gone"}``.
    - ``strict``: an answer with any field that does not fit raises `DecodeError`. By default only id and status (and
      the name, where a name is looked for) have to fit; any other field is None then, and reported once.
    - ``timeout``: limits of one attempt. ``retry``: how often and how patiently a call is tried.
    - ``max_in_flight``: requests at once, all calls together; the rest queue, and queueing counts against no timeout.
    - ``waiting``: a `WaitPolicy`, how often waits poll and how patient they are. Its numbers are accepted one by one,
      too: ``min_interval``, ``max_interval``, ``grace``, ``quiet``, ``visibility``.
    - ``max_body``, ``max_list_body``: the most bytes read of one answer, after decompression.
    - ``user_agent``: the value of the header ``User-Agent``. ``headers``: further headers of each request; those that
      the client sets, such as ``Authorization`` and ``Host``, are refused.
    - ``ssl_context``: for a private certificate authority.
    - ``proxy``: the address of an HTTP proxy, ``http://user:password@host:port``; goes before the environment.
    - ``trust_env``: use the proxy that ``https_proxy``, ``all_proxy`` and ``no_proxy`` name.
    - ``durations_file``: where the durations seen are kept between runs, so that the next one knows when to poll.
    - ``on_event``: called, not awaited, with each `vpsorg_async.events.ClientEvent`.
    - ``tracing``: `vpsorg_async.otel.OpenTelemetry`, for spans and metrics.

    One client belongs to one event loop while it is open, and is opened once. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        token: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        dialect: str = "documented",
        status_words: Mapping[str, str] | None = None,
        strict: bool = False,
        timeout: Timeout | None = None,
        retry: RetryPolicy | None = None,
        max_in_flight: int = DEFAULT_MAX_IN_FLIGHT,
        waiting: WaitPolicy | None = None,
        min_interval: float = UNSET,
        max_interval: float = UNSET,
        grace: float = UNSET,
        quiet: float = UNSET,
        visibility: float = UNSET,
        max_body: int = DEFAULT_MAX_BODY,
        max_list_body: int = DEFAULT_MAX_LIST_BODY,
        user_agent: str | None = None,
        headers: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        trust_env: bool = False,
        proxy: str | None = None,
        allow_insecure: bool = False,
        on_event: Callable[[ClientEvent], None] | None = None,
        tracing: Tracing | None = None,
        durations_file: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._base_url = ""  # its repr stands in tracebacks of what is raised below
        route = None if proxy is None else Secret(proxy)
        # a traceback that shows local variables must not show this one, nor the token
        del proxy
        secret = Secret(check_token(token))
        del token
        self._base_url = check_base_url(base_url, allow_insecure=allow_insecure)
        self._settings = Settings(
            token=secret,
            base_url=self._base_url,
            dialect=check_dialect(dialect),
            status_words=check_words(status_words),
            strict=strict,
            timeout=Timeout() if timeout is None else timeout,
            retry=RetryPolicy() if retry is None else retry,
            policy=wait_policy(
                waiting,
                min_interval=min_interval,
                max_interval=max_interval,
                grace=grace,
                quiet=quiet,
                visibility=visibility,
            ),
            max_in_flight=max_in_flight,
            max_body=max_body,
            max_list_body=max_list_body,
            ssl_context=ssl_context,
            trust_env=trust_env,
            proxy=route,
            user_agent=check_user_agent(user_agent),
            headers=check_headers(headers),
            on_event=on_event,
            clock=clock or SystemClock(),
            tracing=tracing,
        )
        self._durations = Durations()
        self._durations_file = None if durations_file is None else os.fsdecode(durations_file)
        self._runtime: ClientRuntime | None = None
        self._opened = False
        self._options: CallOptions | None = None
        self._origin: Client | None = None
        self._view: Calls | None = None

    @classmethod
    def from_env(cls, **options: Unpack[ClientOptions]) -> Self:
        """Return a client for ``VPSORG_API_TOKEN`` (else ``VPS_API_TOKEN``), ``VPSORG_BASE_URL``, ``VPSORG_DIALECT``.

        ``VPS_API_URL`` is the address for the token of ``VPS_API_TOKEN``, if ``VPSORG_BASE_URL`` is not set.

        Args:
            **options: Those of the class; they take precedence over the environment.

        Raises:
            ConfigurationError: No token is set, or an option is wrong.

        Example:
            ``async with Client.from_env(max_in_flight=8) as vps: ...``
        """
        given = Unshown(options)
        del options
        given = Unshown(from_environment()[1] | given)
        # not by way of a variable: a traceback of what the next line raises would show it
        return cls(from_environment()[0], **given)

    def __repr__(self) -> str:
        return f"Client(base_url={self._base_url!r})"

    async def __aenter__(self) -> Self:
        if self._origin is not None:
            raise ConfigurationError(
                "a view of a client is not opened: open the client, then use with_options"
            )
        if self._opened:
            raise ClientClosedError("a client is opened once; make another one")
        self._opened = True
        if self._durations_file is not None:
            self._durations = await anyio.to_thread.run_sync(read_durations, self._durations_file)
        if f"{__package__}.http.transport" not in sys.modules:
            # it takes far longer to import than the rest, so it is left to the first client, in a thread: the loop
            # of a running service would stand still for a sixth of a second
            await anyio.to_thread.run_sync(importlib.import_module, f"{__package__}.http.transport")
        self._runtime = ClientRuntime(self._settings, self._durations)
        return self

    async def __aexit__(self, *_: object) -> None:
        runtime = self._runtime
        if runtime is None:
            return
        runtime.owner.check()
        self._runtime = None
        # closing must get to its end, however often the reason to close is a cancellation
        await to_the_end(self._close(runtime))

    async def _close(self, runtime: ClientRuntime) -> None:
        try:
            await runtime.close()
        finally:
            if self._durations_file is not None:
                await anyio.to_thread.run_sync(keep_durations, self._durations_file, self._durations)

    async def wait_until(
        self,
        server: ServerId | Server | Receipt,
        target: TargetLike,
        *,
        timeout: float,
        ready: ReadyCheck | None = None,
        ready_timeout: float = 300.0,
    ) -> Server:
        """Wait until the server is in a status, and return it as it is then.

        ``target`` is a status word, a `ServerStatus`, several of them, ``"settled"``, ``"gone"`` or a `Target`.
        ``timeout`` is in seconds. For ``"gone"`` the last record comes back with the status ``gone``. A wait after a
        command of this client ends only on what happened after it. Raises `WaitTimeoutError`,
        `UnexpectedStatusError` (settled elsewhere, suspended), `ServerGoneError`, `AuthenticationError`,
        `PermissionDeniedError`, and `ConfigurationError` for bad input.

        ``ready`` is a check of the server, async as a rule, that has to say yes as well, within ``ready_timeout``
        seconds after the status was reached; `tcp_port` makes one.
        """
        seconds = check_seconds(ready_timeout, "ready_timeout")
        if ready is not None and not callable(ready):
            raise ConfigurationError(f"ready is a check to be called with the server, not {ready!r}")
        waiter = self._open().waiter
        wait, verdict = waiter.begin(server, Target.of(target), timeout)
        try:
            outcome = waiter.reached(wait, await verdict)
        finally:
            waiter.poller.leave(wait)
        assert outcome.server is not None
        return outcome.server if ready is None else await waiter.ready(outcome, ready, seconds)

    @property
    def statistics(self) -> PollStatistics:
        """The polls of this client so far, and the waits that are open now."""
        return self._open().poller.statistics

    def receipt(self, server_id: ServerId) -> Receipt | None:
        """The last command on a server that this client sent, was acknowledged, and no wait has seen done yet.

        Plain data: another process can wait on it, ``vps.wait_until(receipt, ...)``.
        """
        found = self._open().account.receipt(server_id)
        return None if found is None else found[0]

    def last_status(self, server_id: ServerId) -> str | None:
        """The status in which this client last saw a server; None where it never did. Sends nothing."""
        known = self._open().account.known(server_id)
        return None if known is None else known.status

    def expected(self, operation: str, count: int = 1) -> float | None:
        """Seconds that so many ``create``, ``start``, ``stop``, ``reboot`` or ``delete`` side by side take, about.

        From what this client has seen, for creates at first as documented; None where nothing is known. An estimate
        for people. Sends nothing.
        """
        return self._durations.expected(operation, max(count, 1))

    def watch(self, *, interval: float = 5.0) -> AsyncGenerator[StatusChange, None]:
        """Every status change of the whole account, as a stream that does not end.

        One list each ``interval`` seconds, shared with all waits. The first poll tells every server as ``present``.
        What happens between two polls is not seen: a server whose ``updated_at`` moved though its status did not is
        told as ``touched``, and a time without any poll as ``blind``.
        """
        return self._open().waiter.watch(interval)

    def wait_until_all(
        self,
        servers: Iterable[ServerId | Server | Receipt],
        target: TargetLike,
        *,
        timeout: float,
    ) -> AsyncGenerator[WaitOutcome, None]:
        """Wait for several; yields a `WaitOutcome` for each as it settles. ``timeout``: seconds, for each.

        A wait that fails is an outcome with an ``error``, and disturbs no other.
        """
        return self._open().waiter.wait_all(servers, Target.of(target), timeout)

    def with_options(
        self,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> Client:
        """Return a view of this client whose calls have options of their own.

        The view shares everything with this client: connections, the limit of concurrent requests, polls, and what is
        known of the account. It costs next to nothing, and is not opened or closed. Requests of waits are shared by
        all waits and have the client's own options; a wait has its ``timeout``. In a fleet each command is a call.

        Args:
            timeout: The limits of each attempt: a `Timeout`, or seconds for the whole attempt.
            retry: How often and how patiently each call is tried. Its ``quota`` stays the client's.
            headers: Headers that each request carries, over those of the client.
            deadline: Seconds from the start of each call to its end, queueing, pauses and retries included. When it
                passes, the call raises `RequestTimeoutError`, or `OutcomeUnknownError` if a change may have been
                applied.

        Options that are None are those of this client, or of the view that this is called on.

        Raises:
            ConfigurationError: A value is out of range, or a header cannot be sent.

        Example:
            ``server = await vps.with_options(deadline=5).servers.get(12345)``
        """
        options = CallOptions.of(timeout=timeout, retry=retry, headers=headers, deadline=deadline)
        view = copy.copy(self)
        view._options, view._view = options.over(self._options), None
        view._origin = self._origin or self
        return view

    def _calls(self) -> Calls:
        """Return the calls of this client, or of this view of it."""
        runtime = self._open()
        if self._options is None:
            return runtime.calls
        if self._view is None:
            self._view = runtime.calls_with(self._options)
        return self._view

    def _open(self) -> ClientRuntime:
        if self._origin is not None:
            return self._origin._open()
        if self._runtime is None:
            state = "closed" if self._opened else "not open"
            raise ClientClosedError(f"the client is {state}: use it inside 'async with Client(...) as vps'")
        self._runtime.owner.check()
        return self._runtime
