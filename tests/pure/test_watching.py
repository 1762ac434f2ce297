"""The account from poll to poll: which differences are reported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vpsorg_async import Change, Server, ServerStatus, StatusChange
from vpsorg_async.lifecycle.snapshots import LastList, ListNews, ListSnapshot, list_is_cheaper
from vpsorg_async.lifecycle.watching import AccountChanges
from vpsorg_async.records import ServerId

PATIENCE = 3.0
NOON = datetime(2025, 1, 16, 12, tzinfo=UTC)


def server(number: int, word: str = "active", updated: float | None = 0) -> Server:
    moment = None if updated is None else NOON + timedelta(seconds=updated)
    return Server(id=number, name=f"web-{number}", status=ServerStatus(word), updated_at=moment)


def news(when: float, servers: list[Server], changed: set[ServerId] | None = None) -> ListNews:
    """A list, requested at that time, of which everything is news, or only these servers."""
    snapshot = ListSnapshot(when, servers)
    statuses = {position: snapshot.status(position) for position in LastList().differing(snapshot)}
    return ListNews(LastList().followed_by(snapshot, statuses)[0], changed)


def told(
    view: AccountChanges,
    when: float,
    servers: list[Server],
    still: dict[ServerId, Server] | None = None,
    *,
    blind: bool = False,
) -> list[tuple[str, object, str | None, str | None, float]]:
    changes = [*view.update(news(when, servers), blind=blind), *view.settle(still or {})]
    return [(str(each.change), each.server_id, each.before, each.after, each.seconds) for each in changes]


def test_the_first_poll_tells_everything() -> None:
    """The first poll reports every existing server."""
    view = AccountChanges(PATIENCE)

    assert told(view, 10.0, [server(1), server(2, "stopped")]) == [
        ("present", 1, None, "active", 0.0),
        ("present", 2, None, "stopped", 0.0),
    ]
    assert told(view, 15.0, [server(1), server(2, "stopped")]) == []


def test_a_lagging_poll_tells_nothing() -> None:
    """Replicas that lag differently cause no changes back and forth; time set back is accepted in the end."""
    view = AccountChanges(PATIENCE)
    told(view, 10.0, [server(1, "active", 0)])

    assert told(view, 11.0, [server(1, "rebooting", 9)]) == [("changed", 1, "active", "rebooting", 1.0)]
    assert [told(view, 12.0 + n, [server(1, "active", 0)]) for n in range(3)] == [[], [], []]
    assert told(view, 15.0, [server(1, "active", 0)]) == [("changed", 1, "rebooting", "active", 1.0)]


def test_only_what_is_news_is_read() -> None:
    """Lists that were not read are covered by the news of the next one."""
    view = AccountChanges(PATIENCE)
    told(view, 10.0, [server(1), server(2)])
    missed = news(11.0, [server(1, "stopped", 5), server(2)], {1})
    latest = news(12.0, [server(1, "stopped", 5), server(2, "stopped", 5)], {2})

    assert [change.server_id for change in view.update(latest.after(missed))] == [1, 2]
    assert latest.after(news(11.0, [server(1)])).changed is None


DIFFERENCES: list[tuple[Server | None, Server | None, tuple[str, str | None, str | None] | None]] = [
    (server(1), server(1), None),
    (None, server(1, "provisioning"), ("appeared", None, "provisioning")),
    (server(1, "provisioning"), server(1, "active", 9), ("changed", "provisioning", "active")),
    (server(1), server(1, updated=9), ("touched", "active", "active")),
    (server(1, updated=None), server(1, updated=None), None),
    (server(1), None, ("gone", "active", "gone")),
    (server(1), server(1, "gone", 9), ("gone", "active", "gone")),
    (None, server(1, "gone"), None),
]


@pytest.mark.parametrize(("before", "after", "difference"), DIFFERENCES)
def test_differences(
    before: Server | None, after: Server | None, difference: tuple[str, str | None, str | None] | None
) -> None:
    """Each server is reported with its change between two polls, and the time between these."""
    view = AccountChanges(PATIENCE)
    told(view, 10.0, [each for each in (before, server(2)) if each])

    seen = told(view, 17.5, [each for each in (after, server(2)) if each])

    assert seen == ([] if difference is None else [(difference[0], 1, *difference[1:], 7.5)])


def test_absence_from_a_list_is_not_gone() -> None:
    """A server that the poll lacks is to be read by id; found so, it exists, and its changes are reported."""
    view = AccountChanges(PATIENCE)
    told(view, 10.0, [server(1), server(2)])

    assert list(view.update(news(15.0, [server(2)]))) == []
    assert [each.id for each in view.missing()] == [1]
    (change,) = view.settle({1: server(1, "stopped", 5)})

    assert (str(change.change), change.server_id, change.before, change.after, change.seconds) == (
        "changed",
        1,
        "active",
        "stopped",
        5.0,
    )
    assert view.missing() == []
    assert told(view, 20.0, [server(1, "stopped", 5), server(2)]) == []


def test_a_blind_time_is_told() -> None:
    """After failed polls, the changes are one difference over all that time, and marked so."""
    view = AccountChanges(PATIENCE)
    told(view, 10.0, [server(1)])

    changes = list(view.update(news(70.0, [server(1, "stopped", 5)]), blind=True))

    assert [(each.change, each.seconds) for each in changes] == [(Change.BLIND, 60.0), (Change.CHANGED, 60.0)]
    assert changes[0] == StatusChange(change=Change.BLIND, seconds=60.0)
    assert told(view, 75.0, [server(1, "stopped", 5)]) == []


def test_before_the_first_poll_nobody_is_blind() -> None:
    """A stream that begins during an outage has missed nothing that it could have reported."""
    view = AccountChanges(PATIENCE)

    assert [change[0] for change in told(view, 10.0, [server(1)], blind=True)] == ["present"]


CHEAPER: list[tuple[int, int | None, int | None, bool]] = [
    # servers watched, servers in the account, page size, whether one list is cheaper
    (1, None, None, False),
    (1, 1, None, False),
    (1, 5_000, None, False),
    (2, None, None, True),
    (50, None, None, True),
    (50, 50, None, True),
    (50, 5_000, None, True),
    (1_000, 1_000, None, True),
    (2, 100, None, True),
    (2, 5_000, None, False),
    (10, 5_000, None, False),
    (50, 5_000, 100, False),
    (51, 5_000, 100, False),
    (90, 5_000, 100, True),
    (1_000, 1_000, 100, True),
    (0, 0, None, False),
]


@pytest.mark.parametrize(("watched", "account", "page_size", "list_"), CHEAPER)
def test_what_a_poll_costs(watched: int, account: int | None, page_size: int | None, list_: bool) -> None:
    """A list is read where it costs less than reading each server, in requests and bytes."""
    assert list_is_cheaper(watched, account, page_size) is list_
