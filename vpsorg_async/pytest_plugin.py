"""The pytest plugin: an emulated account for each test, and waits that take no real time.

===================  ==================================================================================================
fixture              what
===================  ==================================================================================================
``vpsorg_sandbox``   a running `Sandbox` in a thread of its own; for synchronous tests and for every asyncio runner
``vpsorg_client``    creates clients of that sandbox: ``async with vpsorg_client() as vps:``
``vpsorg_env``       that sandbox through the environment, for code that calls ``Client.from_env()``
``vpsorg_run``       ``vpsorg_run(scenario)`` runs ``async def scenario(vps, box)`` in virtual time, from a plain test
``vpsorg_settings``  settings of `Sandbox` for the fixtures above, as a dict; override it
===================  ==================================================================================================

``@pytest.mark.vpsorg_faults(...)`` activates fault rules before the test begins. The ``assert_...`` functions check
which changes the sandbox applied, and which requests it received. The report of a failed test ends with the requests.

Only pytest is imported until a test uses one of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from importlib import import_module
from inspect import isawaitable, iscoroutine, signature
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, cast

import pytest

if TYPE_CHECKING:
    from .client import Client
    from .sandbox import Sandbox

__all__ = [
    "MakeClient",
    "RunVirtually",
    "assert_committed",
    "assert_no_duplicates",
    "assert_none_left",
    "assert_requests",
]

T = TypeVar("T")
Function: TypeAlias = "Callable[[Client, Sandbox], Awaitable[T]]"

SPEED = 5000.0
"""The speed of ``vpsorg_sandbox``, as a multiple of the documented one: provisioning takes 24 to 60 ms."""
PATIENCE: Mapping[str, float] = {
    "min_interval": 0.01,
    "max_interval": 0.05,
    "grace": 0.1,
    "quiet": 0.2,
    "visibility": 1.0,
}
"""The `WaitPolicy` values, in seconds, for clients of such a fast sandbox."""
LIMIT = 86_400.0
"""Seconds of virtual time after which a run is considered endless."""
SHOWN = 40
"""The number of log lines that a message shows."""

MARKER = (
    "vpsorg_faults(*rules, **when): faults of the VPS.org sandbox for this test. Either rules, as `Rule` or as a dict "
    "in their JSON form, or an operation and names of actions: vpsorg_faults('create', 'drop_after', times=1)"
)


FOLLOWED = pytest.StashKey[bool]()
"""Whether the rules of a test's markers have been given to a sandbox."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, for ``--strict-markers``."""
    config.addinivalue_line("markers", MARKER)


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse fault rules of a test whose fixtures, now set up, have no sandbox that could follow them."""
    marked = any(mark.name == "vpsorg_faults" for mark in item.own_markers)
    fixtures = {"vpsorg_sandbox", "vpsorg_run"} & set(getattr(item, "fixturenames", ()))
    if marked and not fixtures and not item.stash.get(FOLLOWED, False):
        problem = "the test uses no sandbox: add vpsorg_sandbox, vpsorg_client, vpsorg_env or vpsorg_run"
        pytest.fail(f"@pytest.mark.vpsorg_faults of {item.name}: {problem}", pytrace=False)


class MakeClient(Protocol):
    """The type of ``vpsorg_client``: it takes the options of `Client`, and returns a client that is not open yet."""

    def __call__(self, **options: Any) -> Client: ...


class RunVirtually(Protocol):
    """The type of ``vpsorg_run``: it takes the options of `Client`, and returns what the function returns."""

    def __call__(self, function: Function[T], *, limit: float = LIMIT, **options: Any) -> T: ...


@pytest.fixture
def vpsorg_settings() -> Mapping[str, Any]:
    """Settings of the sandbox, e.g. {"credit": 3}. Override it, or parametrize it.

    The client uses the same dialect.
    """
    return {}


@pytest.fixture
def vpsorg_sandbox(request: pytest.FixtureRequest, vpsorg_settings: Mapping[str, Any]) -> Iterator[Sandbox]:
    """A running sandbox of the VPS.org servers API, 5000 times as fast as the documented one."""
    with _sandbox(request.node, {"speed": SPEED}, vpsorg_settings) as box:
        box.faults.add(*_rules(request.node))
        yield box
        _tell(request.node, box)


@pytest.fixture
def vpsorg_client(vpsorg_sandbox: Sandbox, vpsorg_settings: Mapping[str, Any]) -> MakeClient:
    """Creates a client of the sandbox: async with vpsorg_client() as vps. Takes the options of Client."""
    from .client import Client

    def make(**options: Any) -> Client:
        dialect = vpsorg_settings.get("dialect", "documented")
        patience = PATIENCE if options.get("waiting") is None else {}
        given = {"base_url": vpsorg_sandbox.url, "dialect": dialect, **patience, **options}
        return Client(vpsorg_sandbox.token, **given)

    return make


@pytest.fixture
def vpsorg_env(
    vpsorg_sandbox: Sandbox, vpsorg_settings: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Sandbox:
    """The sandbox, with VPSORG_API_TOKEN and VPSORG_BASE_URL set for code that calls Client.from_env()."""
    _point_at(vpsorg_sandbox, vpsorg_settings, monkeypatch)
    return vpsorg_sandbox


@pytest.fixture
def vpsorg_run(request: pytest.FixtureRequest, vpsorg_settings: Mapping[str, Any]) -> Iterator[RunVirtually]:
    """Runs async def scenario(vps, box) with a real client and a real sandbox in virtual time.

    Durations are the documented ones, but waiting takes no real time. Call it from a synchronous test; it returns what
    the function returns. Code that calls Client.from_env() itself reaches the same sandbox.
    """
    import asyncio

    from .client import Client
    from .virtual_time import LoopClock, VirtualTimeLoop

    # imported now: the first client would import it in a thread, during which the virtual time would run on
    import_module("vpsorg_async.http.transport")
    boxes: list[Sandbox] = []

    async def with_both(function: Function[T], limit: float, options: dict[str, Any]) -> T:
        __tracebackhide__ = True
        clock = asyncio.get_running_loop().time
        async with _sandbox(request.node, {"clock": clock}, vpsorg_settings) as box:
            boxes.append(box)
            box.faults.add(*_rules(request.node))
            with pytest.MonkeyPatch.context() as patch:
                # clients that the tested code opens itself find the sandbox, and use the same clock
                patch.setattr("vpsorg_async.client.SystemClock", LoopClock)
                _point_at(box, vpsorg_settings, patch)
                bound = asyncio.timeout(limit)
                try:
                    async with Client.from_env(**options) as vps, bound:
                        return await _scenario(function, vps, box)
                except TimeoutError:
                    if not bound.expired():
                        raise
        raise AssertionError(f"still running after {limit:g} s of virtual time")

    async def caught(work: Awaitable[T]) -> tuple[T | None, BaseException | None]:
        # raised by the caller, so that the traceback does not contain the internals of asyncio
        __tracebackhide__ = True
        try:
            return await work, None
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
            return None, error

    def run(function: Function[T], *, limit: float = LIMIT, **options: Any) -> T:
        __tracebackhide__ = True
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            pytest.fail("vpsorg_run runs an event loop of its own: call it from a synchronous test")
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            result, error = runner.run(caught(with_both(function, limit, options)))
        if error is not None:
            raise error
        return cast("T", result)

    yield run
    for box in boxes:
        _tell(request.node, box)


def assert_committed(box: Sandbox, **counts: int) -> None:
    """Assert that exactly these changes were applied.

    Args:
        box: The sandbox.
        counts: The number of changes by operation: ``create replace update delete start stop reboot``. An operation
            that is not given must not have happened.

    Raises:
        AssertionError: Another number of changes was applied; the message lists all changes.

    Example:
        ``assert_committed(box, create=3, reboot=3)``
    """
    __tracebackhide__ = True
    real = Counter(change.operation for change in box.ledger)
    wrong = [
        f"  {operation:<8} {counts.get(operation, 0)} expected, {real[operation]} committed"
        for operation in sorted(real.keys() | counts.keys())
        if counts.get(operation, 0) != real[operation]
    ]
    if wrong:
        _fail("the ledger is not as expected:", wrong, "all changes:", _ledger(box))


def assert_no_duplicates(box: Sandbox) -> None:
    """Assert that no name was created twice, even if the servers have been deleted since.

    Raises:
        AssertionError: A name was created more than once.
    """
    __tracebackhide__ = True
    created = Counter(change.name for change in box.ledger if change.operation == "create")
    twice = [f"  {name}: created {times} times" for name, times in created.items() if times > 1]
    if twice:
        _fail("servers were created more than once:", twice, "all changes:", _ledger(box))


def assert_none_left(box: Sandbox) -> None:
    """Assert that no server exists, so that nothing is charged any more.

    Raises:
        AssertionError: A server exists.
    """
    __tracebackhide__ = True
    left = [f"  {server.id} {server.name}: {server.status}" for server in box.servers]
    if left:
        _fail("these servers still exist, and cost money:", left, "all changes:", _ledger(box))


def assert_requests(
    box: Sandbox,
    pattern: str,
    count: int | None = None,
    *,
    at_least: int | None = None,
    at_most: int | None = None,
) -> None:
    """Assert how many requests match a pattern.

    Args:
        box: The sandbox.
        pattern: A pattern for ``METHOD /path``; ``*`` matches any text.
        count: The exact number of matches. Without any number, at least one.
        at_least: The minimum of matches.
        at_most: The maximum of matches.

    Raises:
        AssertionError: Another number of requests matches; the message lists all requests.

    Example:
        ``assert_requests(box, "GET *", at_most=20)``
    """
    __tracebackhide__ = True
    if (count, at_least, at_most) == (None, None, None):
        at_least = 1
    low = count if count is not None else at_least or 0
    high = count if count is not None else at_most
    found = sum(fnmatchcase(f"{entry.method} {entry.path}", pattern) for entry in box.requests)
    if found < low or (high is not None and found > high):
        wanted = f"{low}" if high == low else f"at least {low}" if high is None else f"{low} to {high}"
        _fail(f"{found} requests match {pattern!r}, not {wanted}.", [], "all requests:", _requests(box))


def _point_at(box: Sandbox, settings: Mapping[str, Any], patch: pytest.MonkeyPatch) -> None:
    """Set the environment for ``Client.from_env()``."""
    patch.setenv("VPSORG_API_TOKEN", box.token)
    patch.setenv("VPSORG_BASE_URL", box.url)
    patch.setenv("VPSORG_DIALECT", settings.get("dialect", ""))


def _sandbox(node: pytest.Item, defaults: Mapping[str, Any], settings: Any) -> Sandbox:
    """Return a sandbox with these settings, or fail with what is wrong with them."""
    from .sandbox import Sandbox, SandboxError

    if not isinstance(settings, Mapping):
        problem = f"a dict is needed, not {settings!r}"
    elif unknown := settings.keys() - signature(Sandbox).parameters.keys():
        problem = f"Sandbox has no setting {', '.join(sorted(map(repr, unknown)))}"
    else:
        try:
            return Sandbox(**{**defaults, **settings})
        except (SandboxError, TypeError, ValueError) as refused:
            given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
            problem = f"Sandbox({given}) is refused: {refused}"
    pytest.fail(f"vpsorg_settings of {node.name}: {problem}", pytrace=False)


def _scenario(function: Function[T], vps: Client, box: Sandbox) -> Awaitable[T]:
    """Start a scenario, or fail if it is nothing that can be awaited."""
    if iscoroutine(function):
        function.close()
    result = function(vps, box) if callable(function) else None
    if not isawaitable(result):
        name = getattr(function, "__name__", repr(function))
        pytest.fail(f"vpsorg_run needs a function defined as async def {name}(vps, box)", pytrace=False)
    return result


def _rules(node: pytest.Item) -> list[Any]:
    """Return the rules of all markers: those of the module and the class first, stacked ones from the top down."""
    node.stash[FOLLOWED] = True
    try:
        return [rule for mark in _marks(node) for rule in _read(mark)]
    except ValueError as problem:
        pytest.fail(f"@pytest.mark.vpsorg_faults of {node.name}: {problem}", pytrace=False)


def _marks(node: pytest.Item) -> Iterator[pytest.Mark]:
    for owner in node.listchain():
        marks = [mark for mark in owner.own_markers if mark.name == "vpsorg_faults"]
        # the decorator nearest to the function is applied first
        yield from marks if isinstance(owner, pytest.Module) else reversed(marks)


def _read(mark: pytest.Mark) -> list[Any]:
    from .sandbox import Rule
    from .sandbox.notation import rule_from_json

    if not mark.args:
        raise ValueError("it names no rule")
    operation, *actions = mark.args
    if isinstance(operation, str):
        named = [{"do": action} if isinstance(action, str) else action for action in actions]
        return [rule_from_json({"operation": operation, "actions": named, **mark.kwargs})]
    if mark.kwargs:
        raise ValueError(f"{', '.join(mark.kwargs)}: only allowed with an operation and names of actions")
    return [rule if isinstance(rule, Rule) else rule_from_json(rule) for rule in mark.args]


def _tell(node: pytest.Item, box: Sandbox) -> None:
    """Attach the requests to the report; pytest shows them only if the test failed."""
    if box.requests:
        node.add_report_section("teardown", "vpsorg", "\n".join(_requests(box)) + "\n")


def _requests(box: Sandbox) -> list[str]:
    return _last(
        [
            f"  #{entry.seq:<4} {entry.at:>9.3f} s  {entry.status or '---'}  {entry.method:<6} {entry.path}"
            f"{'?' + entry.query if entry.query else ''}{'  committed' if entry.committed else ''}"
            f"{'  fault: ' + entry.fault if entry.fault else ''}"
            for entry in box.requests
        ]
    )


def _ledger(box: Sandbox) -> list[str]:
    return _last(
        [
            f"  #{change.seq:<4} {change.at:>9.3f} s  {change.operation:<8} {change.server_id} {change.name}"
            f"  -> {change.status}{'' if change.request is None else f'  (request #{change.request})'}"
            for change in box.ledger
        ]
    )


def _last(lines: Sequence[str]) -> list[str]:
    if not lines:
        return ["  none"]
    hidden = len(lines) - SHOWN
    return [*([f"  ({hidden} earlier ones)"] if hidden > 0 else []), *lines[-SHOWN:]]


def _fail(what: str, wrong: Sequence[str], title: str, log: Sequence[str]) -> None:
    __tracebackhide__ = True
    raise AssertionError("\n".join([what, *wrong, title, *log]))
