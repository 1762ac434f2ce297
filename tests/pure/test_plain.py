"""Plain data: every public record, event and error there and back; what is refused, and with which words."""

from __future__ import annotations

import contextlib
import copy
import enum
import importlib
import json
import pkgutil
import types
import typing
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vpsorg_async
from vpsorg_async import (
    Alternative,
    Backoff,
    Failed,
    FleetSpec,
    Limits,
    RateLimit,
    Receipt,
    Report,
    RetryPolicy,
    Seen,
    Server,
    ServerSpec,
    ServerStatus,
    Skipped,
    Succeeded,
    Target,
    Timeout,
    WaitPolicy,
    errors,
    events,
    fleet,
    ready,
)
from vpsorg_async.errors import (
    ConfigurationError,
    ConnectionLostError,
    FleetError,
    OutcomeUnknownError,
    Sent,
    ServiceError,
    VpsOrgError,
    WaitTimeoutError,
)
from vpsorg_async.plain import VERSION, from_plain, to_plain
from vpsorg_async.replace_policy import ReplacePolicy

PUBLIC = sorted(
    {
        value
        for module in (vpsorg_async, errors, events, fleet)
        for value in (getattr(module, name) for name in module.__all__)
        if isinstance(value, type)
    },
    key=lambda kind: kind.__name__,
)
RECORDS = [kind for kind in PUBLIC if attrs.has(kind)]
ERRORS = [kind for kind in PUBLIC if issubclass(kind, Exception)]

# -- any value of any type, from the annotations ----------------------------------------------------------------------

ID = st.integers(1, 10**9) | st.uuids().map(str)
SECONDS = st.floats(0.1, 1000)
TIMES = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30))]),
)
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(),
    bool: st.booleans(),
    types.NoneType: st.none(),
    datetime: TIMES,
    Decimal: st.decimals(-1000, 1000, places=4),
    ServerStatus: st.text(min_size=1).map(ServerStatus),
}
NAME = st.from_regex(r"[A-Za-z0-9-]{1,20}", fullmatch=True)
ALTERNATIVE = st.builds(
    Alternative,
    plan_id=ID,
    location=st.none() | NAME,
    when=st.from_regex(r"[a-z ]{0,9}[a-z]", fullmatch=True),
)
# the records that check their values
CHECKED: dict[Any, st.SearchStrategy[Any]] = {
    Alternative: ALTERNATIVE,
    ServerSpec: st.builds(
        ServerSpec,
        name=NAME,
        plan_id=ID,
        os_id=ID,
        location=NAME | st.integers(1, 99),
        hostname=st.none() | st.just("web.example.com"),
        ssh_key_id=st.none() | ID,
        backups_enabled=st.none() | st.booleans(),
        ssh_key_ids=st.lists(ID, max_size=2).map(tuple),
        alternatives=st.lists(ALTERNATIVE, max_size=2).map(tuple),
    ),
    FleetSpec: st.builds(
        FleetSpec,
        name=st.sampled_from(["web-{n}", "{n:02}-web"]),
        count=st.integers(0, 100),
        plan_id=ID,
        os_id=ID,
        location=NAME,
        hostname=st.none() | st.just("web{n}.example.com"),
        ssh_key_ids=st.lists(ID, max_size=2).map(tuple),
        alternatives=st.lists(ALTERNATIVE, max_size=2).map(tuple),
        first=st.integers(0, 9),
    ),
    Receipt: st.builds(
        Receipt,
        server_id=ID,
        operation=st.sampled_from(["create", "start", "stop", "reboot", "delete"]),
        acknowledged_at=TIMES,
        status=st.none() | st.text(),
        status_before=st.none() | st.text(),
        updated_before=st.none() | TIMES,
    ),
    Target: st.builds(Target, st.sets(st.text(min_size=1), min_size=1), st.booleans(), st.sets(NAME)),
    Timeout: st.builds(Timeout, connect=SECONDS, total=SECONDS),
    WaitPolicy: st.builds(
        WaitPolicy, min_interval=st.floats(0.1, 1), max_interval=st.floats(2, 9), grace=SECONDS
    ),
    RateLimit: st.builds(RateLimit, requests_per_second=st.floats(0.01, 1e6), burst=st.integers(1, 1000)),
    Limits: st.builds(
        Limits,
        max_servers=st.none() | st.integers(0, 1000),
        max_hourly=st.none() | st.decimals(0, 1000, places=4),
        max_creates_per_run=st.none() | st.integers(0, 1000),
        read_only=st.booleans(),
    ),
    ReplacePolicy: st.builds(
        ReplacePolicy,
        surge=st.integers(1, 9) | st.floats(0.1, 0.9),
        max_unavailable=st.integers(0, 9) | st.floats(0.1, 0.9),
        drain=SECONDS,
        canary=st.integers(0, 9),
        max_failures=st.integers(1, 9),
        delete_failed=st.booleans(),
        names=st.sampled_from(["free", "stable"]),
    ),
    RetryPolicy: st.builds(
        RetryPolicy,
        attempts=st.integers(1, 9),
        backoff=st.builds(Backoff, initial=SECONDS, maximum=SECONDS),
        max_retry_after=SECONDS,
        quota=st.integers(0, 9),
    ),
}


def values(hint: Any, depth: int = 2) -> st.SearchStrategy[Any]:
    """Any value of a type, as it is annotated."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return values(arguments[0], depth)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values(argument, depth) for argument in arguments])
    if origin is tuple:
        return st.lists(values(arguments[0], depth), max_size=2).map(tuple)
    if hint in SIMPLE or hint in CHECKED:
        return (SIMPLE | CHECKED)[hint]
    if issubclass(hint, enum.Enum):
        return st.sampled_from(hint)
    if issubclass(hint, Exception):
        return (
            st.sampled_from(ERRORS).flatmap(lambda kind: failures(kind, depth - 1)) if depth else PLAIN_ERROR
        )
    assert attrs.has(hint), hint
    fields = attrs.fields(attrs.resolve_types(hint))
    return st.builds(hint, **{field.name: values(field.type, depth) for field in fields if field.eq})


PLAIN_ERROR = st.builds(VpsOrgError, st.text()) | st.builds(VpsOrgError)


@st.composite
def failures(draw: st.DrawFn, kind: Any, depth: int = 1) -> Any:
    """Any error of a class, with any value in each of its attributes."""
    text = draw(st.text())
    if kind is FleetError:
        return kind(text, draw(st.lists(values(VpsOrgError, depth), min_size=1, max_size=2)))
    error = kind(text)
    hints = typing.get_type_hints(kind)
    for name in vars(error).keys() - {"message"}:
        setattr(error, name, draw(values(hints[name], depth)))
    if draw(st.booleans()):
        error.add_note("seen")
    return error


def picture(value: Any) -> Any:
    """All that a value holds, in a form that compares: errors by class, arguments and attributes."""
    if isinstance(value, BaseException):
        return type(value), picture(value.args), picture(vars(value))
    if attrs.has(type(value)):
        return type(value), picture(
            {f.name: getattr(value, f.name) for f in attrs.fields(type(value)) if f.eq}
        )
    if isinstance(value, dict):
        return {key: picture(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [picture(item) for item in value]
    return type(value), value


def there_and_back(value: Any, **options: Any) -> Any:
    return from_plain(json.loads(json.dumps(to_plain(value, **options), allow_nan=False)))


# -- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_every_record_survives(kind: Any, data: st.DataObject) -> None:
    """Each public record and event, whatever its fields hold, is the same after a way through JSON."""
    record = data.draw(values(kind))

    assert picture(there_and_back(record, passwords=True)) == picture(record)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_every_error_survives(kind: Any, data: st.DataObject) -> None:
    """Each public error keeps its class, arguments, attributes and notes."""
    error = data.draw(failures(kind))

    assert picture(there_and_back(error, passwords=True)) == picture(error)
    assert str(there_and_back(error, passwords=True)) == str(error)


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_no_public_class_is_forgotten(kind: Any) -> None:
    """A public class is a record, an error, or one of the few that hold no data; no key has two meanings."""
    data = attrs.has(kind) or issubclass(kind, errors.VpsOrgError | enum.Enum)
    machinery = {"Client", "SharedClient", "ReadyCheck", "Fleet", "Run", "RollingRun", "Remaining"}

    assert data or typing.is_typeddict(kind) or kind.__name__ in machinery
    names = (
        [field.name for field in attrs.fields(kind)] if attrs.has(kind) else [*typing.get_type_hints(kind)]
    )
    assert {"type", "vpsorg"} & {*names} == set()


def below(kind: type[VpsOrgError]) -> Iterator[type[VpsOrgError]]:
    """The classes of the package that derive from an error."""
    for derived in kind.__subclasses__():
        if derived.__module__.startswith(f"{vpsorg_async.__name__}."):
            yield derived
        yield from below(derived)


def test_no_error_is_forgotten() -> None:
    """Wherever an error is defined, it is among those that can be imported from the public modules."""
    for module in pkgutil.walk_packages(vpsorg_async.__path__, f"{vpsorg_async.__name__}."):
        # modules of extras, and programs
        with contextlib.suppress(ImportError):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)

    # what a check raises to say no does not leave it; commands end with errors of their own
    inner = {ready.NotReady, ready.Hopeless}
    found = {kind for kind in below(VpsOrgError) if not kind.__module__.startswith("vpsorg_async.cli")}
    assert found - inner <= set(ERRORS)


@pytest.mark.parametrize(
    "kind", [kind for kind in ERRORS if kind is not FleetError], ids=lambda kind: kind.__name__
)
def test_errors_annotate_what_they_hold(kind: Any) -> None:
    """An attribute without an annotation would be lost."""
    assert vars(kind()).keys() - {"message"} <= typing.get_type_hints(kind).keys()


SERVER = Server(id=7, name="web", status=ServerStatus("odd"), password="hunter2-root")


def test_lists_and_tuples_survive() -> None:
    """Several records and errors of any classes go together; a list comes back as a list, a tuple as a tuple."""
    several = [SERVER, Seen(1.5, "active"), ServiceError("down", status=503)]

    assert picture(there_and_back(several, passwords=True)) == picture(several)
    assert picture(there_and_back(tuple(several), passwords=True)) == picture(tuple(several))
    assert there_and_back([]) == []


@pytest.mark.parametrize(
    "holder",
    [
        SERVER,
        Report(
            operation="create", outcomes=(Succeeded("web", SERVER), Failed("b", VpsOrgError(), server=SERVER))
        ),
        WaitTimeoutError("late", last_seen=SERVER),
        FleetError("2 failed", [WaitTimeoutError("late", last_seen=SERVER)]),
        [SERVER],
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_passwords_only_when_asked(holder: Any) -> None:
    """A root password is left out, however deep it lies, and reads back as None."""
    without, with_it = to_plain(holder), to_plain(holder, passwords=True)

    assert "hunter2-root" not in json.dumps(without)
    assert "hunter2-root" in json.dumps(with_it)
    assert repr(from_plain(without)) == repr(from_plain(with_it))
    assert there_and_back(SERVER).password is None


def test_the_form() -> None:
    """The form is public: a version, the class, what differs from the defaults, ``type`` where there is a choice."""
    failed = Failed("web-01", ServiceError("down", status=503, sent=Sent.MAYBE), attempts=1)

    assert VERSION == 1
    assert to_plain(failed) == {
        "vpsorg": 1,
        "type": "Failed",
        "key": "web-01",
        "error": {"type": "ServiceError", "message": "down", "status": 503, "sent": "maybe"},
        "attempts": 1,
    }


async def test_a_report_read_back_has_no_client() -> None:
    """Like one that was pickled, it can be read but not retried."""

    async def again(report: Report) -> Report:
        return report

    report = Report(operation="create", outcomes=(Skipped("a", "why"),), again=again)
    copied = there_and_back(report)

    assert copied == report
    with pytest.raises(ConfigurationError, match="no client"):
        await copied.retry_failed()


def test_exceptions_of_others_are_named() -> None:
    """A failure of another package inside an error is replaced by one that has its class and text."""

    class Own(ServiceError):
        pass

    lost = OutcomeUnknownError("lost", subject="web", reason=ValueError("no\nroute"))
    group = FleetError("2 failed", [Own("down", status=503), OSError()])

    reason = there_and_back(lost).reason
    members = there_and_back(group).exceptions

    assert (type(reason), reason.args) == (VpsOrgError, ("ValueError: no\nroute",))
    assert [(type(one), one.args) for one in members] == [
        (VpsOrgError, ("Own: 503: down",)),
        (VpsOrgError, ("OSError",)),
    ]


def test_arguments_become_one_text() -> None:
    """An error that a program raised with several arguments keeps them as a text; one without keeps none."""
    assert there_and_back(VpsOrgError("a", 1)).args == ("('a', 1)",)
    assert there_and_back(VpsOrgError()).args == ()


def test_a_time_without_a_zone_is_utc() -> None:
    """Plain data always names the zone."""
    server = attrs.evolve(SERVER, created_at=datetime(2025, 1, 16, 12))  # noqa: DTZ001

    assert to_plain(server)["created_at"] == "2025-01-16T12:00:00+00:00"
    assert there_and_back(server).created_at == datetime(2025, 1, 16, 12, tzinfo=UTC)


def test_a_status_word_is_a_plain_string() -> None:
    """Where any string may stand, a member of an enum becomes an exact string, for encoders that know no others."""
    plain = to_plain(Seen(1.0, ServerStatus.ACTIVE, "x"))

    assert type(plain["status"]) is str


# -- what is refused --------------------------------------------------------------------------------------------------


def misfit(**fields: Any) -> Server:
    return attrs.evolve(SERVER, **fields)


class OwnServer(Server):
    """A subclass by a user."""


CYCLE = OutcomeUnknownError("a")
CYCLE.reason = CYCLE
DEEP: VpsOrgError = VpsOrgError("a")
for _ in range(5000):
    DEEP = OutcomeUnknownError("a", reason=DEEP)


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        "text",
        {},
        ServerStatus.ACTIVE,
        object(),
        ValueError("x"),
        OwnServer(id=1, name="a", status=ServerStatus.ACTIVE),
        [OwnServer(id=1, name="a", status=ServerStatus.ACTIVE)],
        [3],
        [ValueError("x")],
        [[SERVER]],
        type("Server", (), {})(),
        misfit(plan=7),
        misfit(name=7),
        misfit(created_at="noon"),
        misfit(status=7),
        Seen(float("nan"), "active"),
        Seen(float("inf"), "active"),
        Seen(10**5000, "active"),
        Succeeded("a", SERVER, timeline="active"),  # type: ignore[arg-type]
        Report(operation="create", outcomes=(SERVER,)),  # type: ignore[arg-type]
        ServiceError("x", sent="maybe"),  # type: ignore[arg-type]
        CYCLE,
        DEEP,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_record_is_refused(value: Any) -> None:
    """Only exact classes, with fields of the types that they say, become plain data."""
    with pytest.raises(ConfigurationError):
        to_plain(value)


OUTCOMES = {"vpsorg": 1, "type": "Report", "operation": "create"}
NESTED: Any = {"type": "VpsOrgError"}
for _ in range(5000):
    NESTED = {"type": "OutcomeUnknownError", "reason": NESTED}
LISTS: Any = []
for _ in range(5000):
    LISTS = [LISTS]
LOOP: Any = {"vpsorg": 1, "type": "OutcomeUnknownError"}
LOOP["reason"] = LOOP


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (3, "$: expected an object with the key vpsorg, the version of its form"),
        ([], "$: expected an object"),
        ({"type": "Seen"}, "$: expected an object with the key vpsorg"),
        ({"vpsorg": True}, "$.vpsorg: expected the version of the form"),
        ({"vpsorg": "1"}, "$.vpsorg: expected the version"),
        ({"vpsorg": 0}, "$.vpsorg: expected the version"),
        ({"vpsorg": 10**5000}, "$.vpsorg: expected the version"),
        ({"vpsorg": 2, "type": "Seen"}, "$.vpsorg: version 2 is newer than 1"),
        ({"vpsorg": 1}, "$: its type is missing"),
        ({"vpsorg": 1, "type": "Sene"}, '$: its type is unknown: "Sene"'),
        ({"vpsorg": 1, "type": ["Seen"]}, "$: its type is unknown: a list"),
        ({"vpsorg": 1, "type": "Client"}, '$: its type is unknown: "Client"'),
        ({"vpsorg": 1, "type": "Seen"}, "$.at: missing\n$.status: missing"),
        (
            {"vpsorg": 1, "type": "Seen", "at": 1, "status": "a", "memory": 4},
            "$: unknown: memory; known are at, ",
        ),
        (
            {"vpsorg": 1, "type": "Seen", "at": 1, "status": "a", 4: 4},
            "$: its keys are not all strings",
        ),
        ({"vpsorg": 1, "type": "Seen", "at": "1", "status": "a"}, '$.at: expected a number, not "1"'),
        ({"vpsorg": 1, "type": "Seen", "at": True, "status": "a"}, "$.at: expected a number, not true"),
        ({"vpsorg": 1, "type": "Seen", "at": 10**400, "status": "a"}, "$.at: expected a number, not 1000"),
        ({"vpsorg": 1, "type": "Seen", "at": float("inf"), "status": "a"}, "$.at: expected a finite number"),
        (
            {"vpsorg": 1, "type": "Plan", "vcpus": 10**5000},
            "$.vcpus: expected a number of fewer digits, not int value",
        ),
        ({"vpsorg": 1, "type": "Plan", "vcpus": 1.0}, "$.vcpus: expected an integer, not 1.0"),
        ({"vpsorg": 1, "type": "Plan", "id": (1,)}, "$.id: expected an integer or a string, not tuple value"),
        ({"vpsorg": 1, "type": "Plan", "id": {1}}, "$.id: expected an integer or a string, not set value"),
        (
            {"vpsorg": 1, "type": "PlanOffer", "id": 1, "price_hourly": 1.5},
            "$.price_hourly: expected a decimal",
        ),
        (
            {"vpsorg": 1, "type": "PlanOffer", "id": 1, "price_hourly": "1e999999"},
            "$.price_hourly: expected a decimal",
        ),
        (
            {"vpsorg": 1, "type": "PlanOffer", "id": 1, "price_hourly": "x"},
            "$.price_hourly: expected a decimal",
        ),
        ({"vpsorg": 1, "type": "Server", "id": 1, "name": "a", "status": 1}, "$.status: expected"),
        (
            {"vpsorg": 1, "type": "Server", "id": 1, "name": "a", "status": "a", "plan": 1},
            "$.plan: expected an object",
        ),
        ({"vpsorg": 1, "type": "Account", "permissions": "abc"}, '$.permissions: expected a list, not "abc"'),
        (
            {"vpsorg": 1, "type": "Account", "permissions": ["a", 1]},
            "$.permissions[1]: expected a string, not 1",
        ),
        (
            {
                "vpsorg": 1,
                "type": "Receipt",
                "server_id": 1,
                "operation": "Reboot",
                "acknowledged_at": "noon",
            },
            '$.acknowledged_at: expected a time such as "2025-01-16T12:00:00+00:00", not "noon"',
        ),
        (
            {"vpsorg": 1, "type": "ServerSpec", "name": "web_1", "plan_id": 1, "os_id": 1, "location": "a"},
            "$: a server name consists of letters, digits and hyphens, not 'web_1'",
        ),
        (OUTCOMES, "$.outcomes: missing"),
        (
            {**OUTCOMES, "outcomes": [], "again": None},
            "$: unknown: again; known are operation, outcomes, seconds",
        ),
        (
            {**OUTCOMES, "outcomes": [{}]},
            "$.outcomes[0]: its type is missing; known are Succeeded, Failed, Skipped",
        ),
        (
            {
                **OUTCOMES,
                "outcomes": [{"type": "Failed", "key": 1, "error": {"type": "APIError", "sent": "perhaps"}}],
            },
            '$.outcomes[0].error.sent: expected one of no, rejected, maybe, not "perhaps"',
        ),
        (
            {**OUTCOMES, "outcomes": [{"type": "Failed", "key": 1, "error": {"type": "Seen"}}]},
            '$.outcomes[0].error: its type is unknown: "Seen"',
        ),
        (
            {"vpsorg": 1, "type": "APIError", "message": "m", "cause": 1},
            "$: unknown: cause; known are message, final, sent, request, attempts, status",
        ),
        ({"vpsorg": 1, "type": "FleetError", "message": "m", "exceptions": []}, "$: "),
        ({"vpsorg": 1, "type": "list", "items": [{"type": "Seen", "at": 1}]}, "$.items[0].status: missing"),
        ({"vpsorg": 1, "type": "list", "items": [], "more": 1}, "$: unknown: more; known are items"),
        (
            {"vpsorg": 1, "type": "list", "items": [{"type": "list", "items": []}]},
            "$.items[0]: its type is unknown",
        ),
        ({"vpsorg": 1, **NESTED}, "$: nested too deeply"),
        ({"vpsorg": 1, "type": "list", "items": LISTS}, "$: nested too deeply"),
        (LOOP, "$: nested too deeply"),
    ],
)
def test_each_problem_has_its_place(data: Any, problem: str) -> None:
    """What does not fit raises one clear error, and nothing is converted or ignored."""
    with pytest.raises(ConfigurationError) as raised:
        from_plain(data)

    assert str(raised.value).startswith(problem)
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_failures_may_name_failures() -> None:
    """Errors inside errors survive as deep as any real ones, also when the caller's own stack is deep."""
    error: VpsOrgError = ConnectionLostError("reset")
    for number in range(40):
        error = OutcomeUnknownError(f"lost {number}", reason=error)

    def under(frames: int) -> Any:
        return under(frames - 1) if frames else there_and_back(error)

    assert picture(under(200)) == picture(error)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["Seen", "Failed", "APIError"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("type"), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.data())
def test_damaged_data_is_refused_or_read(data: st.DataObject) -> None:
    """Whatever a part of stored data is replaced by: it is read, or raises the one error."""
    plain = copy.deepcopy(to_plain(data.draw(values(data.draw(st.sampled_from(RECORDS))))))
    part: Any = plain
    while True:
        place = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        if not isinstance(part[place], dict | list) or not part[place] or data.draw(st.booleans()):
            break
        part = part[place]
    part[place] = data.draw(JSON)

    with contextlib.suppress(ConfigurationError):
        from_plain(plain)
