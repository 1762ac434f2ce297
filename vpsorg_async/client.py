"""The client: it checks its settings, opens and closes its runtime, and makes views with other options."""

from __future__ import annotations

import importlib
import os
import ssl
import sys
from collections.abc import Callable, Hashable, Mapping
from typing import NoReturn, Self, TypeVar, Unpack

import anyio
import anyio.to_thread

from .config import (
    DEFAULT_BASE_URL,
    DEFAULT_MAX_BODY,
    DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_MAX_LIST_BODY,
    DEFAULT_READY_CONCURRENCY,
    UNSET,
    Limits,
    RateLimit,
    RetryPolicy,
    Timeout,
    Token,
    WaitPolicy,
    check_base_url,
    from_environment,
    variable_of,
    wait_policy,
)
from .dialects import check_dialect
from .durations_file import keep_durations, read_durations
from .errors import ClientClosedError, ConfigurationError
from .events import ClientEvent
from .facade import Facade
from .http.credentials import token_from
from .http.options import CallOptions, NotAfter, check_headers, check_user_agent
from .lifecycle.durations import Durations
from .options import ClientOptions
from .runtime import Calls, ClientRuntime, Secret, Settings, Tracing, Unshown, check_words, held_token
from .shielding import to_the_end
from .timing import Clock, SystemClock

__all__ = ["Client", "account_key"]

T = TypeVar("T")


class Client(Facade):
    """The VPS.org account: servers, waits and fleets over one shared connection pool.

    One client belongs to one event loop while it is open, and is opened once. All durations are seconds.

    Args:
        token: The API token; it is never shown. Or a function that returns it, async or not, such as those of
            `vpsorg_async.tokens`: it is called when the client is opened, and when the API refuses the token (401).
            Calls that were refused are then sent once more, if the token is another one.
        base_url: The address of the API without ``/api/v1``; https, or http on this machine.
        dialect: ``"documented"``, or ``"provider"`` for the form that the provider's own packages speak.
        status_words: A map from the account's own status words to the documented ones, or to ``gone`` for deleted
            servers: ``{"running": "active", "terminated": "gone"}``.
        strict: Raise `DecodeError` for an answer with any field that does not fit. By default only id and status (and
            the name, where a name is searched for) have to fit; any other field is None then, and reported once.
        timeout: The limits of one attempt; 10 s to connect and 30 s in all.
        retry: How many times a call is tried, and how long it waits between attempts; 4 attempts.
        max_in_flight: The number of concurrent requests of all calls together; 32. The rest queue, and queueing counts
            against no timeout, but against the deadline of `with_options`.
        rate: The number of requests in a second, of all calls together, for example to split the budget of an account
            among workers; no limit. Queueing for it counts as above.
        limits: What the client may create and spend, or whether it may change anything at all; no limit.
        ready_concurrency: The number of ready checks at once, of all waits and fleet calls together; 50.
        waiting: How often waits poll, and how patient they are.
        min_interval: As in ``waiting``, like ``max_interval``, ``grace``, ``quiet`` and ``visibility``.
        max_body: The maximum number of bytes of one answer, after decompression; 8 MiB.
        max_list_body: The maximum number of bytes of one answer to a list; 64 MiB.
        user_agent: The header ``User-Agent``; ``vpsorg-async/`` and the version.
        headers: Further headers of each request; ``Accept`` and ``User-Agent`` replace those of the client. Refused
            are ``Accept-Encoding``, ``Authorization``, ``Connection``, ``Content-Encoding``, ``Content-Length``,
            ``Content-Type`` (all bodies are JSON), ``Expect``, ``Host``, ``Keep-Alive``, ``Proxy-Authorization``,
            ``Proxy-Connection``, ``TE``, ``Trailer``, ``Transfer-Encoding`` and ``Upgrade``; so is ``User-Agent``
            together with ``user_agent``.
        ssl_context: For a private certificate authority.
        trust_env: Use the proxy that ``https_proxy``, ``all_proxy`` and ``no_proxy`` name.
        proxy: The address of an HTTP proxy, ``http://user:password@host:port``; takes precedence over the environment.
        allow_insecure: Accept an ``http`` address of another machine. The token is then sent in clear.
        on_event: Called, not awaited, with each `vpsorg_async.events.ClientEvent`.
        tracing: `vpsorg_async.otel.OpenTelemetry`, for spans and metrics.
        durations_file: The file in which the durations seen are kept, so that the next run knows when to poll.
        clock: Another clock, for tests and simulations.

    Raises:
        ConfigurationError: An option is wrong.

    Example::

        async with Client.from_env() as vps:
            server = await vps.servers.get(12345)
    """

    _base_url = ""  # the repr stands in tracebacks of what `__init__` raises
    _runtime: ClientRuntime | None = None
    _opened = False
    # of a view: its options, the client that it is a view of, and its calls once they are needed
    _options: CallOptions | None = None
    _origin: Client | None = None
    _view: Calls | None = None

    def __init__(
        self,
        token: Token,
        *,
        base_url: str = DEFAULT_BASE_URL,
        dialect: str = "documented",
        status_words: Mapping[str, str] | None = None,
        strict: bool = False,
        timeout: Timeout | None = None,
        retry: RetryPolicy | None = None,
        max_in_flight: int = DEFAULT_MAX_IN_FLIGHT,
        rate: RateLimit | None = None,
        limits: Limits | None = None,
        ready_concurrency: int = DEFAULT_READY_CONCURRENCY,
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
        secret, token, route, proxy = held_token(token), "", Secret.of(proxy), None  # tracebacks show locals
        self._base_url, self._durations = check_base_url(base_url, allow_insecure=allow_insecure), Durations()
        self._settings = Settings(
            token=secret,
            base_url=self._base_url,
            dialect=check_dialect(dialect),
            status_words=check_words(status_words),
            strict=strict,
            timeout=Timeout() if timeout is None else timeout,
            retry=RetryPolicy() if retry is None else retry,
            policy=wait_policy(waiting, min_interval, max_interval, grace, quiet, visibility),
            max_in_flight=max_in_flight,
            rate=rate,
            limits=Limits() if limits is None else limits,
            ready_concurrency=ready_concurrency,
            max_body=max_body,
            max_list_body=max_list_body,
            ssl_context=ssl_context,
            trust_env=trust_env,
            proxy=route,
            user_agent=check_user_agent(user_agent),
            headers=check_headers(headers, user_agent=user_agent),
            on_event=on_event,
            clock=clock or SystemClock(),
            tracing=tracing,
        )
        self._durations_file = None if durations_file is None else os.fsdecode(durations_file)

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
        found = from_environment()[1]
        if "base_url" in found and "base_url" not in given:
            # an error names the variable
            insecure = bool(given.get("allow_insecure"))
            check_base_url(found["base_url"], allow_insecure=insecure, name=variable_of("base_url"))
        given = Unshown(found | given)
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
            raise ClientClosedError("a client can be opened only once; create a new one")
        self._opened = True
        if self._durations_file is not None:
            self._durations = await anyio.to_thread.run_sync(read_durations, self._durations_file)
        if f"{__package__}.http.transport" not in sys.modules:
            # it takes far longer to import than the rest, so it is left to the first client, in a thread: the loop
            # of a running service would stand still for a sixth of a second
            await anyio.to_thread.run_sync(importlib.import_module, f"{__package__}.http.transport")
        source = self._settings.token
        token = source if isinstance(source, Secret) else Secret(await token_from(source))
        self._runtime = ClientRuntime(self._settings, self._durations, token)
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

    def with_options(
        self,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
        not_after: NotAfter | None = None,
    ) -> Self:
        """Return a view of this client whose calls have options of their own.

        The view shares everything with this client: connections, the limit of concurrent requests, polls, and what is
        known of the account. It costs next to nothing, and is not opened or closed. Polls are shared by all waits and
        have the client's own options; a wait has its ``timeout``.

        Each method of ``servers``, each look-up, `listing`, `request` and `send` is one call, with all that it reads.
        In a fleet, a call is each command with the reads that show its outcome, the reads of the account before the
        first command, and a dry run. A rollback has the client's own options.

        Args:
            timeout: The limits of each attempt: a `Timeout`, or seconds for the whole attempt, where the limit to
                connect stays as it is.
            retry: How many times each call is tried, and how long it waits between attempts. It replaces the whole
                policy, except ``quota``. To change one field: ``attrs.evolve(policy, attempts=2)``.
            headers: Headers that each request carries, over those of the client, ``User-Agent`` included. The same
                are refused.
            deadline: Seconds from the start of each call to its end, queueing, pauses and retries included. When it
                passes, the call raises `RequestTimeoutError`, or `OutcomeUnknownError` if a change may have been
                applied.
            not_after: The time of day, with a time zone, after which no change leaves, whatever it waited for: a slot,
                a rate limit, a pause, a connection. The errors are those of ``deadline``. The answer to a change
                that has left is awaited as usual; reads are not concerned. A function that returns such a time is
                called right before each change leaves, so that a lease of the right to send can be renewed meanwhile.

        Options that are None are those of this client, or of the view that this is called on.

        Raises:
            ConfigurationError: A value is out of range, or a header cannot be sent.

        Example:
            ``server = await vps.with_options(deadline=5).servers.get(12345)``
        """
        before = None if self._options is None else self._options.timeout
        options = CallOptions.of(
            timeout=timeout,
            retry=retry,
            headers=headers,
            deadline=deadline,
            not_after=not_after,
            configured=before or self._settings.timeout,
        )
        view = object.__new__(type(self))
        vars(view).update(vars(self))
        view._options, view._view, view._runtime = options.over(self._options), None, None
        view._origin = self._origin or self
        return view

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ConfigurationError(
            "a client can't be pickled or copied: it holds a token and connections; create one in each process"
        )

    def _calls(self) -> Calls:
        """Return the calls of this client, or of this view of it."""
        runtime = self._open()
        if self._options is None:
            return runtime.calls
        if self._view is None:
            self._view = runtime.calls_with(self._options)
        return self._view

    def _learned(self) -> Durations:
        return (self._origin or self)._durations

    def _open(self) -> ClientRuntime:
        if self._origin is not None:
            return self._origin._open()
        if self._runtime is None:
            state = "closed" if self._opened else "not open"
            raise ClientClosedError(f"the client is {state}: use it inside 'async with Client(...) as vps'")
        self._runtime.owner.check()
        return self._runtime


def account_key(client: Client) -> Hashable:
    """Return what is equal for clients of the same account, class and limits. Its repr does not show the token.

    Raises:
        ConfigurationError: The client was opened before, or is a view of another one.
    """
    if client._origin is not None or client._opened:
        raise ConfigurationError(
            "a factory of clients returns a new one each time, not one that was opened before or a view"
        )
    settings = client._settings
    token: Hashable = settings.token
    try:
        hash(token)
    except TypeError:
        # a function for the token can be any callable object
        token = id(token)
    return type(client), settings.base_url, settings.dialect, token, settings.limits
