"""The search for a create whose response was lost, by polls of the account, as a table and for any run of polls."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async import Server, ServerSpec, ServerStatus
from vpsorg_async.errors import ConnectionLostError, OutcomeUnknownError
from vpsorg_async.fleet.reconcile import TABLE, Found, Search, State

NAME = "web-01"
SETTLE = 15.0
REASON = ConnectionLostError("reset", request="POST /api/v1/servers/")
SENT_AT = datetime(2025, 1, 16, 9, 30, tzinfo=UTC)
LOST = OutcomeUnknownError(
    "lost", request="POST /api/v1/servers/", subject=NAME, reason=REASON, sent_at=SENT_AT
)


def server(number: int, status: str = "provisioning") -> Server:
    return Server(id=number, name=NAME, status=ServerStatus(status))


def search(before: Collection[str] = (), *, now: float = 100.0, name: str | None = None) -> Search:
    spec = ServerSpec(name=NAME, plan_id=1, os_id=5, location="us-west")
    return Search(spec, LOST, before=before, now=now, settle=SETTLE, name=name)


@attrs.frozen
class Poll:
    """The servers of this name that a poll shows, and how long after the loss its request left."""

    at: float
    servers: Sequence[Server]


EARLY, LATE = 1.0, SETTLE

# ids known before, the poll, the result (None: goes on polling), and the ids that are named
ROWS: list[tuple[set[str], Poll, State | None, tuple[int, ...]]] = [
    (set(), Poll(EARLY, []), None, ()),
    (set(), Poll(LATE, []), State.UNKNOWN, ()),
    (set(), Poll(LATE - 0.01, []), None, ()),
    (set(), Poll(EARLY, [server(7)]), State.ADOPTED, (7,)),
    (set(), Poll(LATE + 99, [server(7)]), State.ADOPTED, (7,)),
    (set(), Poll(EARLY, [server(7), server(8)]), State.SEVERAL, (7, 8)),
    (set(), Poll(LATE, [server(7), server(8), server(9)]), State.SEVERAL, (7, 8, 9)),
    (set(), Poll(EARLY, [server(7, "gone")]), None, ()),
    (set(), Poll(EARLY, [server(7, "gone"), server(8)]), State.ADOPTED, (8,)),
    (set(), Poll(LATE, [server(7, "gone")]), State.UNKNOWN, ()),
    ({"7"}, Poll(EARLY, [server(7)]), None, ()),
    ({"7"}, Poll(LATE, [server(7)]), State.UNKNOWN, ()),
    ({"7"}, Poll(EARLY, [server(7), server(8)]), State.ADOPTED, (8,)),
    ({"7"}, Poll(EARLY, [server(7), server(8), server(9)]), State.SEVERAL, (8, 9)),
]


@pytest.mark.parametrize(("before", "poll", "state", "ids"), ROWS)
def test_one_poll(before: set[str], poll: Poll, state: State | None, ids: tuple[int, ...]) -> None:
    """Of servers not known before, one is adopted, several are named; if the window ends with none, it is unknown."""
    found = search(before).observe(poll.servers, 100.0 + poll.at)

    assert (None if found is None else found.state) == state
    assert told(found) == ids


def told(found: Found | None) -> tuple[int | str, ...]:
    """The ids that the finding names."""
    if found is None:
        return ()
    if found.server is not None:
        return (found.server.id,)
    assert found.error is not None
    return found.error.candidates


numbers = st.integers(1, 6)
words = st.sampled_from(["provisioning", "active", "gone"])
accounts = st.lists(st.builds(server, numbers, words), max_size=5, unique_by=lambda shown: shown.id)
polls = st.lists(st.builds(Poll, st.floats(0.0, 3 * SETTLE), accounts), max_size=12)


@given(before=st.sets(numbers.map(str)), polls=polls)
def test_any_run_of_polls(before: set[str], polls: list[Poll]) -> None:
    """A server that existed before, or is gone, is never adopted, and no search ends too early."""
    machine = search(before)
    for poll in sorted(polls, key=lambda poll: poll.at):
        found = machine.observe(poll.servers, 100.0 + poll.at)
        new = [shown.id for shown in poll.servers if shown.status != "gone" and str(shown.id) not in before]
        if found is None:
            assert new == []
            assert poll.at < SETTLE
            assert machine.state is State.MAYBE
            continue
        assert machine.state is found.state
        assert told(found) == tuple(new)
        assert found.state is (State.ADOPTED if len(new) == 1 else State.SEVERAL if new else State.UNKNOWN)
        assert new or poll.at >= SETTLE
        assert (found.server is None) is (found.error is not None)
        return


@pytest.mark.parametrize(
    ("servers", "advice"),
    [([], "run ensure"), ([server(7), server(8)], "delete the rest")],
    ids=["none", "several"],
)
def test_what_is_said_of_it(servers: list[Server], advice: str) -> None:
    """The error has the spec, the time, why the response was lost, the candidates and the advice; and it pickles."""
    found = search().observe(servers, 100.0 + LATE)

    assert found is not None
    error = pickle.loads(pickle.dumps(found.error))
    assert isinstance(error, OutcomeUnknownError)
    assert error.subject == NAME
    assert isinstance(error.reason, ConnectionLostError)
    assert error.request == "POST /api/v1/servers/"
    assert error.sent_at == SENT_AT
    for word in (NAME, "2025-01-16 09:30:00", "reset", advice, *(str(shown.id) for shown in servers)):
        assert word in str(error)


def test_a_search_can_be_given_up() -> None:
    """Where the account can't be read, the outcome is unknown, with the reason."""
    found = search().give_up("the account could not be read: 503")

    assert found.state is State.UNKNOWN
    assert "the account could not be read: 503" in str(found.error)


def test_another_name_can_be_looked_for() -> None:
    """The search uses the name under which servers are shown, where that differs from the spec's."""
    assert search().name == NAME
    assert search(name="web-01.example.com").name == "web-01.example.com"


@pytest.mark.parametrize(("lacks", "exhausted"), [("", True), ("it counts 9 and shows 2", False)])
def test_only_a_whole_list_says_that_there_is_none(lacks: str, exhausted: bool) -> None:
    """After the window the search ends either way; the error says if the list was incomplete."""
    found = search().observe([], 100.0 + LATE, lacks=lacks)

    assert found is not None
    assert (found.state, found.exhausted) == (State.UNKNOWN, exhausted)
    assert ("incomplete" in str(found.error)) is not exhausted
    assert lacks in str(found.error)


def test_what_the_answer_named_is_named() -> None:
    """An id in a response that was not accepted stays a candidate beside the servers that are seen."""
    lost = OutcomeUnknownError("lost", subject=NAME, reason=REASON, candidates=(8, 5))
    spec = ServerSpec(name=NAME, plan_id=1, os_id=5, location="us-west")

    found = Search(spec, lost, before=(), now=100.0, settle=SETTLE).observe([server(7), server(8)], 101.0)

    assert told(found) == (8, 5, 7)


def test_no_window_still_polls_once() -> None:
    """A settle window of zero ends with the first poll, not before it."""
    spec = ServerSpec(name=NAME, plan_id=1, os_id=5, location="us-west")
    machine = Search(spec, LOST, before=(), now=100.0, settle=0.0)

    assert machine.state is State.MAYBE
    found = machine.observe([], 100.0)
    assert found is not None
    assert found.state is State.UNKNOWN


def test_the_guide_prints_the_table() -> None:
    """docs/fleets.md describes each state as the code does, in the same order."""
    guide = Path(__file__).parents[2] / "docs" / "fleets.md"
    assert set(TABLE) == set(State)

    rows = [f"| `{state.name}` | {what} |" for state, what in TABLE.items()]

    assert "\n".join(rows) in guide.read_text("utf-8")
