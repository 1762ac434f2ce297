"""The error tree: which class catches which errors, their texts, and pickling."""

from __future__ import annotations

import copy
import pickle
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async import FleetPlan, Server, ServerStatus, errors
from vpsorg_async.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    FleetError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    RequestError,
    RequestTimeoutError,
    Sent,
    ServiceError,
    TransportError,
    UnexpectedStatusError,
    VpsOrgError,
    WaitError,
    WaitTimeoutError,
)

CLASSES = {
    name: getattr(errors, name)
    for name in errors.__all__
    if isinstance(getattr(errors, name), type) and issubclass(getattr(errors, name), BaseException)
}


def drawn() -> dict[str, str]:
    """Each class of the tree in the module's docstring, with its parent."""
    parents: dict[str, str] = {}
    branch: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        names = list(re.finditer(r"\b[A-Z]\w+Error\b", line.partition("(")[0]))
        if not names or not re.match(r"    [│├└V]", line):
            continue
        depth = names[0].start()
        branch = [(at, name) for at, name in branch if at < depth]
        for name in names:
            parents[name[0]] = branch[-1][1] if branch else "Exception"
        branch.append((depth, names[0][0]))
    return parents


def test_the_tree_is_as_drawn() -> None:
    """The docstring shows every public error below its real parent."""
    tree = drawn()

    assert tree.keys() == CLASSES.keys()
    for name, parent in tree.items():
        assert CLASSES[name].__bases__[0].__name__ == parent, name


@pytest.mark.parametrize(
    ("error", "caught_as"),
    [
        (ConfigurationError(), ValueError),
        (RequestTimeoutError(), TimeoutError),
        (WaitTimeoutError(), TimeoutError),
        (FleetError("two", [ValueError()]), ExceptionGroup),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_errors_are_caught_by_python_s_own_names(error: Exception, caught_as: type[Exception]) -> None:
    """Python's own exception classes catch the errors that correspond to them."""
    assert isinstance(error, caught_as)
    assert isinstance(error, VpsOrgError)


def test_not_everything_is_a_timeout() -> None:
    """A lost connection is no timeout, and neither is a wait that ended on another status."""
    for error in (ConnectError(), ConnectionLostError(), ServiceError(), UnexpectedStatusError()):
        assert not isinstance(error, TimeoutError)


@pytest.mark.parametrize(
    ("cls", "sent"),
    [
        (ConnectError, Sent.NO),
        (ConnectionLostError, Sent.MAYBE),
        (RequestTimeoutError, Sent.MAYBE),
        (DecodeError, Sent.MAYBE),
        (OutcomeUnknownError, Sent.MAYBE),
        (BadRequestError, Sent.REJECTED),
        (NotFoundError, Sent.REJECTED),
    ],
)
def test_what_is_known_of_the_request(cls: Any, sent: Sent) -> None:
    """Each class knows whether its request may have been applied."""
    assert cls().sent is sent


def test_what_is_known_can_be_less_or_more() -> None:
    """The evidence of an attempt overrides the default of its class."""
    assert ConnectionLostError("reset", sent=Sent.NO).sent is Sent.NO
    assert APIError("late", status=504, sent=Sent.MAYBE).sent is Sent.MAYBE


def test_what_a_transport_error_says() -> None:
    """The text has the request, the failure, and the number of attempts."""
    error = RequestTimeoutError("no complete answer within 30 s", request="GET /api/v1/servers/")
    assert str(error) == "GET /api/v1/servers/: no complete answer within 30 s"

    error.attempts = 3
    assert str(error) == "GET /api/v1/servers/: no complete answer within 30 s (after 3 attempts)"
    assert str(ConnectError("refused")) == "refused"


def test_what_an_api_error_says() -> None:
    """The text has the request, the status, and the API's own message; the rest is in attributes."""
    error = RateLimitError(
        "slow down", status=429, body='{"detail":"slow down"}', request="GET /x/", retry_after=1.5
    )

    assert str(error) == "GET /x/ was answered 429: slow down"
    assert (error.status, error.message, error.body) == (429, "slow down", '{"detail":"slow down"}')
    assert (error.retry_after, error.attempts, error.sent) == (1.5, 1, Sent.REJECTED)
    assert str(NotFoundError("no server 7", status=404)) == "404: no server 7"
    error.attempts = 4
    assert str(error).endswith("slow down (after 4 attempts)")


def test_what_a_decode_error_says() -> None:
    """Each problem has a line."""
    error = DecodeError("the answer does not fit", problems=["$.id: no", "$.name: no"], request="GET /x/")

    assert str(error) == "GET /x/: the answer does not fit\n  $.id: no\n  $.name: no"
    assert error.problems == ("$.id: no", "$.name: no")


SERVER = Server(id=7, name="web", status=ServerStatus("odd"))
FULL = [
    VpsOrgError("broken"),
    ConfigurationError("bad"),
    errors.ClientClosedError("closed"),
    errors.JournalError("the disk is full"),
    errors.LimitError("too many", limit="max_servers", allowed=Decimal(20), required=Decimal(25)),
    errors.PlanRefusedError("refused", plan=FleetPlan((), refusals=("no",)), changes=["web-01 is gone"]),
    errors.ReplacementError("kept", reason=ConfigurationError("bad"), old_id=1, new_id="5f-a"),
    RequestError("failed", request="GET /x/", sent=Sent.NO),
    ConnectError("refused", request="GET /x/", final=True),
    ConnectionLostError("reset", sent=Sent.NO, request="POST /x/"),
    RequestTimeoutError("late", request="PUT /x/"),
    *(cls("m", status=418, body="b", request="GET /x/", sent=Sent.MAYBE, retry_after=2.0)
      for cls in CLASSES.values() if issubclass(cls, APIError)),
    DecodeError("does not fit", problems=["$.id: no"], request="GET /x/"),
    OutcomeUnknownError("lost", request="POST /x/", subject="web", reason=ConnectionLostError("reset"), candidates=[7]),
    *(cls("m", server_id=7, target="active", last_seen=SERVER, timeline=["active at 1.0 s"],
          last_failure=ServiceError("down", status=503))
      for cls in CLASSES.values() if issubclass(cls, WaitError)),
    FleetError("2 failed", [NotFoundError("a", status=404), WaitTimeoutError("b", server_id=7)]),
]  # fmt: skip


def state(error: BaseException) -> tuple[Any, ...]:
    """The whole state of an error, in a form that compares."""
    return type(error), str(error), repr(error.args), repr(vars(error))


def test_every_class_is_among_the_samples() -> None:
    """No error is left out below."""
    assert {type(error) for error in FULL} >= set(CLASSES.values()) - {TransportError}


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_errors_survive_travel(error: VpsOrgError) -> None:
    """Pickling, copying and deep-copying an error loses nothing."""
    error.add_note("seen by a test")

    assert state(pickle.loads(pickle.dumps(error))) == state(error)
    assert state(copy.copy(error)) == state(error)
    assert state(copy.deepcopy(error)) == state(error)


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_errors_can_always_be_shown(error: VpsOrgError) -> None:
    """Every error has a text, and every one but the group can be created without arguments."""
    assert str(error)
    assert repr(error)
    if not isinstance(error, FleetError):
        assert isinstance(str(type(error)()), str)


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (APIError("no", status=409), True),
        (APIError("late", status=408), False),
        (PermissionDeniedError("no", status=403), True),
        (PermissionDeniedError("a page", status=403, from_api=False), False),
        (NotFoundError("a page", status=404, from_api=False), False),
        (AuthenticationError("a page", status=401, from_api=False), True),
        (ServiceError("odd", status=520), False),
        (RequestTimeoutError("late", deadline=5.0), False),
        (ConnectError("certificate", final=True), True),
        (OutcomeUnknownError("lost", reason=ConnectionLostError("reset")), True),
        (FleetError("1 failed", [ConfigurationError("a")]), True),
        (FleetError("2 failed", [ConfigurationError("a"), ServiceError("b")]), False),
        (FleetError("1 failed", [ValueError("a")]), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_which_errors_are_worth_another_try(error: VpsOrgError, final: bool) -> None:
    """A final error says that the same call would fail again, or must not be sent again, also after pickling."""
    assert error.final is final
    assert pickle.loads(pickle.dumps(error)).final is final


def test_the_reference_prints_which_errors_are_final() -> None:
    """docs/reference/errors.md has each class in the right row; `python docs/tables.py` writes it there."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "errors.md").read_text("utf-8")
    table = dict(re.findall(r"^\| (True|False) \| (.*) \|$", page, re.M))

    for final in (True, False):
        names = {name for name, cls in CLASSES.items() if cls is not FleetError and cls().final is final}
        assert set(re.findall(r"\w+", table[str(final)])) == names


def fleet_error() -> FleetError:
    return FleetError("3 of 5 failed", [NotFoundError("a"), AuthenticationError("b"), NotFoundError("c")])


def test_a_fleet_error_is_split_by_what_is_inside() -> None:
    """``except*`` picks the errors by class; the rest goes on as a `FleetError`."""
    found: list[ExceptionGroup[NotFoundError]] = []

    def pick_the_missing() -> None:
        try:
            raise fleet_error()
        except* NotFoundError as group:
            found.append(group)

    with pytest.raises(FleetError) as rest:
        pick_the_missing()

    (missing,) = found
    assert isinstance(missing, FleetError)
    assert [str(error.args[0]) for error in missing.exceptions] == ["a", "c"]
    assert [type(error) for error in rest.value.exceptions] == [AuthenticationError]
    assert rest.value.message == missing.message == "3 of 5 failed"


def test_a_fleet_error_is_filtered_as_a_fleet_error() -> None:
    """``subgroup`` and ``split`` keep the class, and the attributes of the errors inside."""
    missing, others = fleet_error().split(NotFoundError)

    assert isinstance(missing, FleetError)
    assert isinstance(others, FleetError)
    assert fleet_error().subgroup(ServiceError) is None


def test_a_fleet_error_is_caught_whole() -> None:
    """The root class catches the whole group."""
    with pytest.raises(VpsOrgError, match="3 of 5 failed"):
        raise fleet_error()


@pytest.mark.parametrize("cls", [TransportError, APIError, DecodeError, OutcomeUnknownError])
def test_a_failed_request_says_what_is_known_of_it(cls: type[RequestError]) -> None:
    """All errors of one request share a base with its knowledge, its request and its attempts."""
    error = cls("what happened", request="GET /api/v1/servers/")

    assert isinstance(error, RequestError)
    assert isinstance(error.sent, Sent)
    assert (error.request, error.attempts) == ("GET /api/v1/servers/", 1)


def test_an_unknown_outcome_counts_the_attempts_of_its_reason() -> None:
    """The attempts of the failure that hid the outcome are those of the change."""
    lost = ConnectionLostError("reset")
    lost.attempts = 3

    assert OutcomeUnknownError("unknown", reason=lost).attempts == 3
