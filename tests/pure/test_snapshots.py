"""The comparison of polls: which rows have to be read, and which changes the waits get."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async import Server, ServerStatus
from vpsorg_async.lifecycle.snapshots import LastList, ListSnapshot
from vpsorg_async.records import ServerId

NOON = datetime(2025, 1, 16, 12, tzinfo=UTC)


def row(number: int, word: str = "active", updated: int = 0) -> Server:
    return Server(
        id=number,
        name=f"web-{number}",
        status=ServerStatus(word),
        updated_at=NOON + timedelta(seconds=updated),
    )


class Lists:
    """The last list, and the difference of each next one from it."""

    def __init__(self) -> None:
        self.last = LastList()

    def next(self, snapshot: ListSnapshot) -> tuple[list[object], set[ServerId] | None, int]:
        """The ids that changed, those that are gone, and the number of rows that had to be read."""
        statuses = {position: snapshot.status(position) for position in self.last.differing(snapshot)}
        self.last, changed, news = self.last.followed_by(snapshot, statuses)
        ids = [snapshot.rows[position].id for position in changed]
        if news is None:
            return ids, None, len(statuses)
        told = set(ids)
        assert news >= told
        return ids, set(news) - told, len(statuses)


def test_everything_is_new_at_first() -> None:
    """The first list reports no server as gone."""
    assert Lists().next(ListSnapshot(1.0, [row(1), row(2)])) == ([1, 2], None, 2)


def test_only_what_differs_is_read() -> None:
    """A changed status or time is a change; the other rows are not even read."""
    lists = Lists()
    lists.next(ListSnapshot(1.0, [row(n) for n in range(1, 9)]))

    rows = [row(n) for n in range(1, 9)]
    rows[2], rows[5] = row(3, "stopped"), row(6, "active", 5)

    assert lists.next(ListSnapshot(2.0, rows)) == ([3, 6], set(), 2)
    assert lists.next(ListSnapshot(3.0, rows)) == ([], set(), 0)
    assert lists.next(ListSnapshot(4.0, list(rows))) == ([], set(), 0)


def test_servers_that_come_and_go() -> None:
    """A row that moves to another place is read, but reported only if it changed."""
    lists = Lists()
    lists.next(ListSnapshot(1.0, [row(1), row(2), row(3)]))

    assert lists.next(ListSnapshot(2.0, [row(1), row(2), row(3), row(4)])) == ([4], set(), 1)
    assert lists.next(ListSnapshot(3.0, [row(1), row(3), row(4, "stopped")])) == ([4], {2}, 2)
    assert lists.next(ListSnapshot(4.0, [row(4, "stopped"), row(3), row(1)])) == ([], set(), 2)
    assert lists.next(ListSnapshot(5.0, [])) == ([], {1, 3, 4}, 0)
    assert lists.next(ListSnapshot(6.0, [row(1)])) == ([1], set(), 1)


def test_a_server_shown_twice_counts_once() -> None:
    """Pages that shift while they are read show a server on both: the later row counts."""
    lists = Lists()

    assert lists.next(ListSnapshot(1.0, [row(1), row(2, "stopping"), row(2, "stopped")])) == ([1, 2], None, 3)
    assert lists.last.places == {1: 0, 2: 2}
    assert lists.next(ListSnapshot(2.0, [row(1), row(2, "stopped"), row(2, "stopped")])) == ([], set(), 1)


def test_a_row_that_comes_to_count_is_news() -> None:
    """The row was there before, but another row of the same server counted, which is gone now."""
    lists = Lists()
    lists.next(ListSnapshot(1.0, [row(1), row(2, "active"), row(2, "provisioning")]))

    assert lists.next(ListSnapshot(2.0, [row(1), row(2, "active")])) == ([2], set(), 0)


def test_a_row_that_can_not_be_read_is_no_server() -> None:
    """Its server counts as gone, and as new when its row can be read again; the others are not affected."""
    lists, rows = Lists(), [row(1), row(2)]
    lists.next(ListSnapshot(1.0, rows))

    told = []
    for word in ("stopping", "stopped"):
        spoiled = ListSnapshot(2.0, [row(1), row(2, word)])
        lists.last, changed, news = lists.last.followed_by(spoiled, {1: None})
        told.append((changed, news))

    assert told == [([], {2}), ([], set())]
    assert lists.next(ListSnapshot(3.0, rows)) == ([2], set(), 1)


ACCOUNTS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(["active", "stopped"]), st.integers(0, 2)),
    max_size=7,
)


@given(polls=st.lists(ACCOUNTS, min_size=1, max_size=6))
def test_nothing_is_missed(polls: list[list[tuple[int, str, int]]]) -> None:
    """In any order, also with servers shown twice: new, different and gone servers are reported, and no others."""
    lists = Lists()
    before: dict[int, tuple[str, int]] | None = None
    for number, account in enumerate(polls):
        now = {each: (word, updated) for each, word, updated in account}

        changed, gone, _ = lists.next(ListSnapshot(float(number), [row(*each) for each in account]))

        assert set(changed) == {each for each in now if (before or {}).get(each) != now[each]}
        assert gone == (None if before is None else before.keys() - now.keys())
        before = now
