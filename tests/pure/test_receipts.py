"""What is known of a server when a command on it is acknowledged: sightings and receipts."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from vpsorg_async import Plan, Receipt, Server, ServerStatus, errors
from vpsorg_async.codec import StatusRow
from vpsorg_async.lifecycle.receipts import FRESH, Journal, earlier, later

NOON = datetime(2025, 1, 16, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def server(number: int = 7, word: str = "active", updated: datetime | None = NOON) -> Server:
    return Server(
        id=number,
        name="web",
        status=ServerStatus(word),
        location="us-west",
        plan=Plan(id=3),
        updated_at=updated,
    )


def acknowledge(journal: Journal, operation: str, when: float = 10.0, status: str | None = None) -> Receipt:
    return journal.acknowledged(7, operation, at=when, wall=at(when), status=status)


def test_a_receipt_has_what_was_known_before() -> None:
    """The last sighting of the server is the ground that its command stands on."""
    journal = Journal()
    journal.saw(server(), 9.0)

    receipt = acknowledge(journal, "reboot", status="rebooting")

    assert receipt == Receipt(
        server_id=7,
        operation="reboot",
        acknowledged_at=at(10),
        status="rebooting",
        status_before="active",
        updated_before=NOON,
    )
    assert journal.receipt(7) == journal.receipt("7") == (receipt, 10.0)


def test_nothing_is_known_of_a_server_just_made() -> None:
    """A create has no before, even where its answer has been seen already."""
    journal = Journal()
    journal.saw(server(word="provisioning"), 9.0)

    receipt = acknowledge(journal, "create", status="provisioning")

    assert (receipt.status_before, receipt.updated_before) == (None, None)


def test_an_old_sighting_is_no_ground_for_evidence() -> None:
    """Others may have changed the server since: its updated_at is not what the command found."""
    journal = Journal()
    journal.saw(server(), 10.0)

    fresh = acknowledge(journal, "reboot", 10.0 + FRESH)
    journal.fulfilled(7, fresh)
    old = acknowledge(journal, "reboot", 10.1 + FRESH)

    assert (fresh.status_before, fresh.updated_before) == ("active", NOON)
    assert (old.status_before, old.updated_before) == ("active", None)


def test_after_a_command_under_way_its_own_word_is_known() -> None:
    """A second command on a server finds what the first one left, which nobody has seen yet."""
    journal = Journal()
    journal.saw(server(), 9.0)
    acknowledge(journal, "reboot", 10.0, status="rebooting")

    second = acknowledge(journal, "reboot", 30.0, status="rebooting")

    assert (second.status_before, second.updated_before) == ("rebooting", None)


def test_a_lagging_read_does_not_replace_a_newer_sighting() -> None:
    """What is known of a server never goes back."""
    journal = Journal()
    journal.saw(server(updated=at(5)), 1.0)
    journal.saw(server(word="stopped", updated=at(4)), 2.0)
    journal.saw(server(word="rebooting", updated=None), 3.0)

    known = journal.known(7)

    assert known is not None
    assert (known.status, known.at) == ("rebooting", 3.0)
    journal.saw(server(word="stopping", updated=at(6)), 4.0)
    assert acknowledge(journal, "start").updated_before == at(6)


def test_the_kind_of_a_server_is_remembered() -> None:
    """Plan and location, as words: durations are learned by them."""
    journal = Journal()
    journal.saw(server(), 1.0)
    journal.saw(Server(id=8, name="bare", status=ServerStatus.ACTIVE), 1.0)

    known, bare = journal.known(7), journal.known(8)

    assert known is not None
    assert bare is not None
    assert (known.plan, known.location) == ("3", "us-west")
    assert (bare.plan, bare.location) == ("", "")


def test_a_receipt_is_kept_until_it_was_seen_done() -> None:
    """Only the command that was waited for is fulfilled, not one that came after it."""
    journal = Journal()
    first = acknowledge(journal, "stop", 10.0)
    second = acknowledge(journal, "start", 20.0)

    journal.fulfilled(7, first)
    assert journal.receipt(7) == (second, 20.0)
    journal.fulfilled(7, None)
    assert journal.receipt(7) == (second, 20.0)
    journal.fulfilled(7, second)
    assert journal.receipt(7) is None


def test_who_listens_is_told_of_every_receipt() -> None:
    """The poller hears of a command in the middle of a wait."""
    journal, heard = Journal(), []
    journal.on_receipt = lambda receipt, when: heard.append((receipt.operation, when))

    acknowledge(journal, "stop", 10.0)
    acknowledge(journal, "start", 20.0)

    assert heard == [("stop", 10.0), ("start", 20.0)]


def test_the_journal_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers seen longest ago are forgotten first."""
    monkeypatch.setattr(Journal, "LIMIT", 3)
    journal = Journal()
    for number in (1, 2, 3, 1, 4):
        journal.saw(server(number), 0.0)
        journal.acknowledged(number, "stop", at=0.0, wall=NOON, status=None)

    assert [number for number in (1, 2, 3, 4) if journal.known(number)] == [1, 3, 4]
    assert [number for number in (1, 2, 3, 4) if journal.receipt(number)] == [1, 3, 4]


STORED: list[Any] = [
    lambda receipt: pickle.loads(pickle.dumps(receipt)),
    lambda receipt: Receipt(**attrs.asdict(receipt)),
    lambda receipt: Receipt.from_json(receipt.to_json()),
    lambda receipt: Receipt.from_json(json.dumps(json.loads(receipt.to_json())).encode()),
]


@pytest.mark.parametrize("stored", STORED)
def test_receipts_are_plain_data(stored: Any) -> None:
    """A receipt can be stored, and handed to another process."""
    journal = Journal()
    journal.saw(server(), 9.0)
    receipt = acknowledge(journal, "reboot", status="rebooting")

    assert stored(receipt) == receipt


def test_a_time_without_a_zone_is_utc() -> None:
    """A receipt whose time lost its zone in storage is understood."""
    receipt = Receipt(server_id=7, operation="stop", acknowledged_at=datetime(2025, 1, 16, 12))  # noqa: DTZ001

    assert receipt.acknowledged_at == NOON
    assert Receipt.from_json(receipt.to_json().replace("+00:00", "")) == receipt


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"server_id": 7, "operation": "stop"}',
        '{"server_id": true, "operation": "stop", "acknowledged_at": "2025-01-16T12:00:00Z"}',
        '{"server_id": "", "operation": "stop", "acknowledged_at": "2025-01-16T12:00:00Z"}',
        '{"server_id": 7, "operation": "stop", "acknowledged_at": "noon"}',
        '{"server_id": 7, "operation": "Reboot", "acknowledged_at": "2025-01-16T12:00:00Z"}',
        b"\xff",
    ],
)
def test_what_is_no_receipt_is_refused(text: Any) -> None:
    """What comes back from a queue is read as strictly as what comes from the network."""
    with pytest.raises(errors.ConfigurationError):
        Receipt.from_json(text)


NONE = None
ORDER: list[tuple[datetime | None, datetime | None, bool, datetime | None]] = [
    (NONE, NONE, False, NONE),
    (NONE, at(1), False, at(1)),
    (at(1), NONE, False, at(1)),
    (at(1), at(2), True, at(2)),
    (at(2), at(1), False, at(2)),
    (at(1), at(1), False, at(1)),
]


@pytest.mark.parametrize(("first", "second", "before", "last"), ORDER)
def test_times_are_compared_where_both_are_known(
    first: datetime | None, second: datetime | None, before: bool, last: datetime | None
) -> None:
    """An absent timestamp proves nothing in either direction."""
    assert earlier(first, second) is before
    assert later(first, second) == last


def test_what_the_listing_repeats_stays_fresh() -> None:
    """A row that a poll shows unchanged is not told again, and counts as seen at the poll's time all the same."""
    journal = Journal()
    assert journal.listed(10.0, None) == set()
    for number in (1, 2, 3):
        journal.saw(server(number), 10.0, listed=True)
    journal.listed(20.0, ())
    journal.listed(30.0, {"2", "3"})
    journal.saw(server(3, "stopped", at(5)), 30.0, listed=True)
    journal.listed(40.0, ())

    ages = {number: known.at for number in (1, 2, 3) if (known := journal.known(number))}
    assert ages == {1: 40.0, 2: 20.0, 3: 40.0}

    journal.listed(90.0, None)
    again = {number: known.at for number in (1, 2, 3) if (known := journal.known(number))}
    assert again == ages


def test_the_listing_has_to_tell_again_what_was_seen_otherwise_in_between() -> None:
    """Without timestamps nobody knows which of the two is news, if the list is only heard where it changed."""
    journal = Journal()
    journal.listed(10.0, None)
    journal.saw(server(7, "active", None), 10.0, listed=True)
    journal.saw(server(7, "stopped", None), 12.0)

    assert journal.listed(20.0, ()) == {"7"}
    journal.saw(server(7, "active", None), 20.0, listed=True)

    known = journal.known(7)
    assert known is not None
    assert (known.status, known.at) == ("active", 20.0)
    assert journal.listed(30.0, ()) == set()


def test_a_lagging_list_does_not_refresh_what_it_does_not_show() -> None:
    """What is known from elsewhere is newer; the list shows something else, again and again."""
    journal = Journal()
    journal.listed(10.0, None)
    journal.saw(server(7, "active", at(0)), 10.0, listed=True)
    journal.saw(server(7, "stopped", at(5)), 12.0)
    for when in (20.0, 30.0):
        journal.listed(when, ())
        journal.saw(server(7, "active", at(0)), when, listed=True)

    known = journal.known(7)
    assert known is not None
    assert (known.status, known.at) == ("stopped", 12.0)


def test_a_list_that_lags_once_refreshes_nothing_from_then_on() -> None:
    """It shows an older time than it did before, and then goes on to show it unchanged."""
    journal = Journal()
    journal.listed(10.0, None)
    journal.saw(server(7, "stopped", at(5)), 10.0, listed=True)
    journal.listed(20.0, {"7"})
    journal.saw(server(7, "active", at(0)), 20.0, listed=True)
    journal.listed(30.0, ())

    known = journal.known(7)
    assert known is not None
    assert (known.status, known.at) == ("stopped", 10.0)


def test_what_is_forgotten_is_told_again_by_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list shows it unchanged, and would not tell it otherwise."""
    monkeypatch.setattr(Journal, "LIMIT", 2)
    journal = Journal()
    journal.listed(10.0, None)
    for number in (1, 2):
        journal.saw(server(number), 10.0, listed=True)
    journal.saw(server(9), 12.0)

    assert journal.known(1) is None
    assert journal.listed(20.0, ()) == {"1"}


def test_plan_and_location_are_learned_from_a_whole_record() -> None:
    """A poll does not tell them; a later record of the same status does, and one that lacks them takes nothing away."""
    journal = Journal()
    journal.listed(10.0, None)
    journal.saw(StatusRow(7, ServerStatus.ACTIVE, NOON), 10.0, listed=True)
    journal.saw_all([server(7)], 11.0)
    journal.saw(StatusRow(7, ServerStatus.STOPPED, at(5)), 12.0)

    known = journal.known(7)
    assert known is not None
    assert (known.plan, known.location, known.status) == ("3", "us-west", "stopped")


def test_many_at_once_are_remembered_as_one_by_one() -> None:
    """Known ones, new ones, changed ones and lagging ones."""
    rows = [server(1), server(2), server(3, "stopped", at(5)), server(4, "stopped", at(-5))]
    one, many = Journal(), Journal()
    for journal in (one, many):
        for number in (1, 3, 4):
            journal.saw(server(number), 1.0)
    for each in rows:
        one.saw(each, 2.0)
    many.saw_all(rows, 2.0)

    for number in (1, 2, 3, 4):
        first, second = one.known(number), many.known(number)
        assert first is not None
        assert second is not None
        assert attrs.evolve(first) == attrs.evolve(second)
