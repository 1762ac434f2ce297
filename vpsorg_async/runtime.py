"""What lives while a client is open: every part, made once and put together."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

import attrs

from .actions import Actions
from .admission import AdmissionControl
from .allowance import Allowance
from .answers import Answers
from .config import Limits, RateLimit, Timeout, Token, TokenSource, WaitPolicy, bare_token, check_token
from .dialects import make_dialect
from .dialects.lookups import Lookups
from .endpoints import Endpoints
from .errors import ConfigurationError
from .fleet import Fleet
from .fleet.jobs import RunContext, RunTrace
from .http.concurrency import ConcurrencyLimiter
from .http.credentials import Credentials
from .http.options import CallOptions
from .http.proxies import problem_of
from .http.rate import RateLimiter
from .http.redact import Redactor
from .http.retry import RetryPolicy
from .http.senders import Sender, Tuned
from .http.session import Session
from .lifecycle.account import Account
from .lifecycle.account_reader import Source
from .lifecycle.calls import Waiter
from .lifecycle.contract import GONE, MOVING, SETTLED
from .lifecycle.durations import Durations
from .lifecycle.poller import Poller
from .lifecycle.ready_checks import OnReadyEnd, ReadyChecks, ReadyWait
from .lifecycle.wait import Wait
from .lifecycle.wait_index import OnEnd
from .lookups import Plans
from .ownership import LoopOwner
from .servers import Servers
from .specs import check_bool
from .timing import Clock, Random

if TYPE_CHECKING:
    from .http.transport import AiohttpTransport

__all__ = ["ClientRuntime", "Secret", "Settings", "Tracer", "Tracing", "Unshown", "check_words", "held_token"]

P = ParamSpec("P")
T = TypeVar("T")


class Tracer(Protocol):
    """Follows one client from outside. Who has none gets the plain parts: it costs nothing on the way of a call."""

    def session(self, *parts: Any, **options: Any) -> Session:
        """A `Session` whose calls are followed."""
        ...

    def poll(self, kind: str, poll: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """The same poll, ``"list"`` or ``"get"``, followed."""
        ...

    def wait(self, wait: Wait) -> OnEnd:
        """A wait begins."""
        ...

    def ready(self, wait: ReadyWait) -> OnReadyEnd:
        """The ready checks of a server begin."""
        ...

    def run(self, operation: str, servers: int) -> RunTrace:
        """A fleet run begins."""
        ...


Tracing = Callable[[Clock, str], Tracer]
"""Makes the tracer of a client, from its clock and base URL."""


class Secret:
    """Holds the token, or an address with a password, where no repr shows it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    @classmethod
    def of(cls, value: str | None) -> Secret | None:
        """Hold a value that may be missing."""
        return None if value is None else cls(value)

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def reveal(self) -> str:
        """The value itself."""
        return self._value


class Unshown(dict[str, Any]):
    """Options among which may be a password: a traceback that shows local variables does not show them."""

    def __repr__(self) -> str:
        return "Unshown(***)"


def held_token(token: Token) -> Secret | TokenSource:
    """Return what holds a token, or brings it, and shows it nowhere."""
    return token if callable(token) else Secret(bare_token(token) if isinstance(token, str) else token)


@attrs.frozen(kw_only=True)
class Settings:
    """What a client was made with, checked."""

    token: Secret | TokenSource
    base_url: str
    dialect: str
    status_words: dict[str, str]
    timeout: Timeout
    retry: RetryPolicy
    policy: WaitPolicy
    max_in_flight: int
    rate: RateLimit | None = None
    limits: Limits
    ready_concurrency: int
    max_body: int
    max_list_body: int
    ssl_context: ssl.SSLContext | None
    trust_env: bool
    proxy: Secret | None = None
    user_agent: str | None = None
    headers: dict[str, str] = attrs.field(factory=dict, repr=False)
    on_event: Callable[[Any], None] | None
    clock: Clock
    tracing: Tracing | None = None
    strict: bool = False

    def __attrs_post_init__(self) -> None:
        if isinstance(self.token, Secret):
            check_token(self.token.reveal())
        for name in ("max_in_flight", "ready_concurrency", "max_body", "max_list_body"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ConfigurationError(f"{name} is a whole number from 1, not {number!r}")
        check_bool(self.strict, "strict")
        if self.on_event is not None and (
            not callable(self.on_event) or inspect.iscoroutinefunction(self.on_event)
        ):
            raise ConfigurationError(
                f"on_event is a function that is called, not awaited, not {self.on_event!r}"
            )
        if not isinstance(self.timeout, Timeout):
            raise ConfigurationError(f"timeout is a Timeout(connect=, total=), not {self.timeout!r}")
        if self.rate is not None and not isinstance(self.rate, RateLimit):
            raise ConfigurationError(f"rate is a RateLimit(requests_per_second=, burst=), not {self.rate!r}")
        if not isinstance(self.limits, Limits):
            raise ConfigurationError(f"limits is a Limits(max_servers=, ...), not {self.limits!r}")
        if not isinstance(self.retry, RetryPolicy):
            raise ConfigurationError(f"retry is a RetryPolicy, not {self.retry!r}")
        problem = None if self.proxy is None else problem_of(self.proxy.reveal())
        if problem is not None:
            raise ConfigurationError(f"proxy {problem}")
        if self.tracing is not None and not callable(self.tracing):
            raise ConfigurationError(f"tracing is an OpenTelemetry(), not {self.tracing!r}")


def check_words(words: Mapping[str, str] | None) -> dict[str, str]:
    """A translation of status words into the known ones. Raises `ConfigurationError`."""
    known = SETTLED | MOVING | {GONE}
    for word, meaning in (words or {}).items():
        if not isinstance(word, str) or not word or meaning not in known:
            raise ConfigurationError(
                f"status_words maps words to one of {', '.join(sorted(known))}, not to {meaning!r}"
            )
    return dict(words or {})


def _transport(settings: Settings, token: Secret) -> AiohttpTransport:
    """Return the connection pool. aiohttp takes long to import, so it is left to the first client."""
    from .http.transport import AiohttpTransport

    return AiohttpTransport(
        settings.base_url,
        token=token.reveal,
        timeout=settings.timeout,
        clock=settings.clock,
        limit=settings.max_in_flight,
        max_body=settings.max_body,
        ssl_context=settings.ssl_context,
        trust_env=settings.trust_env,
        proxy=None if settings.proxy is None else settings.proxy.reveal,
        user_agent=settings.user_agent,
        headers=settings.headers,
    )


def _limiter(settings: Settings) -> ConcurrencyLimiter:
    """Return the queue of all requests."""
    if settings.rate is None:
        return ConcurrencyLimiter(settings.max_in_flight)
    return RateLimiter(settings.max_in_flight, settings.rate, settings.clock)


def _admissions(settings: Settings, plans: Plans, waiter: Waiter) -> AdmissionControl:
    """Return what holds creates against the limits."""
    allowance = Allowance(settings.limits, settings.policy.visibility)
    return AdmissionControl(allowance, plans, waiter, settings.clock)


def _credentials(
    settings: Settings, token: Secret, redact: Redactor, transport: AiohttpTransport
) -> Credentials | None:
    """Return what renews the token; None if it is a fixed one."""

    def use(new: str) -> None:
        redact.add(new)
        transport.use(new)

    source = settings.token
    return None if isinstance(source, Secret) else Credentials(token.reveal(), source, use)


class Calls:
    """What a user calls, over one session."""

    def __init__(self, session: Sender, lookups: Lookups, context: RunContext) -> None:
        self.session = session
        self.endpoints: Endpoints = context.endpoints
        self.servers: Servers = Servers(context.endpoints, context.admissions)
        self.actions: Actions = Actions(context.endpoints, context.admissions)
        self._lookups = lookups
        self._context = context
        self.fleet: Fleet = Fleet(context, self.look_up(Plans))

    def look_up(self, resource: Callable[[Sender, Lookups], T]) -> T:
        """A resource over this session."""
        return resource(self.session, self._lookups)

    def over(self, session: Sender) -> Calls:
        """Return the same calls over another session; what cleans up after a fleet call keeps this one."""
        context = attrs.evolve(self._context, endpoints=self.endpoints.over(session))
        return Calls(session, self._lookups, context)


class ClientRuntime:
    """Everything that lives while a client is open."""

    def __init__(self, settings: Settings, durations: Durations, token: Secret) -> None:
        self.owner: LoopOwner = LoopOwner()
        clock, rng, redact = settings.clock, Random(), Redactor(token.reveal())
        tracer = None if settings.tracing is None else settings.tracing(clock, settings.base_url)
        self.limiter: ConcurrencyLimiter = _limiter(settings)
        self.transport: AiohttpTransport = _transport(settings, token)
        self.credentials: Credentials | None = _credentials(settings, token, redact, self.transport)
        self.session: Session = (Session if tracer is None else tracer.session)(
            self.transport,
            self.limiter,
            policy=settings.retry,
            clock=clock,
            rng=rng,
            redact=redact,
            on_event=settings.on_event,
            owner=self.owner,
            read_only=settings.limits.read_only,
            credentials=self.credentials,
        )
        self.lookups: Lookups = Lookups(settings.dialect)
        self.account: Account = Account(settings.policy)
        dialect = make_dialect(settings.dialect, max_list_body=settings.max_list_body)
        answers = Answers(
            dialect,
            redact=redact,
            words=settings.status_words,
            strict=settings.strict,
            on_event=settings.on_event,
        )
        self.endpoints: Endpoints = Endpoints(self.session, answers, self.account, clock, settings.on_event)
        self.poller: Poller = Poller(
            Source(
                self.endpoints.poll if tracer is None else tracer.poll("list", self.endpoints.poll),
                self.endpoints.poll_one if tracer is None else tracer.poll("get", self.endpoints.poll_one),
                page_size=dialect.page_size,
                json_errors=lambda: self.session.json_errors,
            ),
            self.account,
            clock=clock,
            rng=rng,
            durations=durations,
            on_event=settings.on_event,
            on_wait=None if tracer is None else tracer.wait,
            owner=self.owner,
        )
        on_ready, at_once = None if tracer is None else tracer.ready, settings.ready_concurrency
        self.checks: ReadyChecks = ReadyChecks(self.poller, self.account, durations, clock, at_once, on_ready)
        self.waiter: Waiter = Waiter(self.poller, self.account, clock, self.checks)
        context = RunContext(
            self.endpoints,
            self.endpoints,
            self.waiter,
            _admissions(settings, Plans(self.session, self.lookups), self.waiter),
            clock,
            settings.max_in_flight,
            None if tracer is None else tracer.run,
            settings.base_url,
        )
        self._clock = clock
        self.calls: Calls = Calls(self.session, self.lookups, context)

    def calls_with(self, options: CallOptions) -> Calls:
        """Return the same calls with options, over the same limiter, connections and knowledge of the account."""
        return self.calls.over(Tuned(self.session, options, self._clock))

    async def close(self) -> None:
        """Close in the order of dependence: waits, queue, connections. No waiter hangs, whatever is cut short."""
        self.checks.close()
        try:
            await self.poller.close()
        finally:
            if self.credentials is not None:
                self.credentials.close()
            self.limiter.close()
            self.session.close()
            await self.transport.close()
