"""The knowledge of the account: lists, sightings of servers, acknowledged commands."""

from __future__ import annotations

from collections.abc import Iterator, Set
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from vpsorg_async import Plan, Receipt, Server, ServerStatus
from vpsorg_async.codec import StatusRow
from vpsorg_async.config import WaitPolicy
from vpsorg_async.lifecycle.account import FRESH, Account
from vpsorg_async.lifecycle.snapshots import ListSnapshot
from vpsorg_async.records import ServerId

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


class Everything:
    """These servers are waited for, and are shown by every list."""

    def __init__(self, *keys: ServerId) -> None:
        self.restless: dict[ServerId, None] = dict.fromkeys(keys)

    @property
    def keys(self) -> Set[ServerId]:
        return self.restless.keys()

    def listing(self, news: Set[ServerId] | None) -> Iterator[None]:
        return iter(())


def listed(account: Account, when: float, *rows: Server, awaited: Everything | None = None) -> None:
    """Apply a list that was requested at that time."""
    for _ in account.apply(ListSnapshot(when, rows), awaited or Everything()):
        pass


def acknowledge(account: Account, operation: str, when: float = 10.0, status: str | None = None) -> Receipt:
    return account.acknowledged(7, operation, at=when, wall=at(when), status=status)


def test_a_receipt_has_what_was_known_before() -> None:
    """A receipt holds the last sighting of the server before its command."""
    account = Account()
    account.saw(server(), 9.0)

    receipt = acknowledge(account, "reboot", status="rebooting")

    assert receipt == Receipt(
        server_id=7,
        operation="reboot",
        acknowledged_at=at(10),
        status="rebooting",
        status_before="active",
        updated_before=NOON,
    )
    assert account.receipt(7) == account.receipt("7") == (receipt, 10.0)


def test_nothing_is_known_of_a_server_just_made() -> None:
    """A create has no earlier sighting, even where its response has been seen already."""
    account = Account()
    account.saw(server(word="provisioning"), 9.0)

    receipt = acknowledge(account, "create", status="provisioning")

    assert (receipt.status_before, receipt.updated_before) == (None, None)


def test_an_old_sighting_is_no_ground_for_evidence() -> None:
    """Others may have changed the server since an old sighting: its updated_at is not what the command found."""
    account = Account()
    account.saw(server(), 10.0)

    fresh = acknowledge(account, "reboot", 10.0 + FRESH)
    account.fulfilled(server(7), fresh, 10.0)
    old = acknowledge(account, "reboot", 10.1 + FRESH)

    assert (fresh.status_before, fresh.updated_before) == ("active", NOON)
    assert (old.status_before, old.updated_before) == ("active", None)


def test_after_a_command_under_way_its_own_word_is_known() -> None:
    """A second command on a server starts from the status that the first one leads to, which no poll has shown yet."""
    account = Account()
    account.saw(server(), 9.0)
    acknowledge(account, "reboot", 10.0, status="rebooting")

    second = acknowledge(account, "reboot", 30.0, status="rebooting")

    assert (second.status_before, second.updated_before) == ("rebooting", None)


def test_a_lagging_read_does_not_replace_a_newer_sighting() -> None:
    """A lagging read does not replace a newer sighting."""
    account = Account()
    account.saw(server(updated=at(5)), 1.0)
    account.saw(server(word="stopped", updated=at(4)), 2.0)
    account.saw(server(word="rebooting", updated=None), 3.0)

    known = account.known(7)

    assert known is not None
    assert (known.status, known.at) == ("rebooting", 3.0)
    account.saw(server(word="stopping", updated=at(6)), 4.0)
    assert acknowledge(account, "start").updated_before == at(6)


def test_the_kind_of_a_server_is_remembered() -> None:
    """Plan and location are remembered as words: durations are learned by them."""
    account = Account()
    account.saw(server(), 1.0)
    account.saw(Server(id=8, name="bare", status=ServerStatus.ACTIVE), 1.0)

    known, bare = account.known(7), account.known(8)

    assert known is not None
    assert bare is not None
    assert known.plan_and_location == ("3", "us-west")
    assert bare.plan_and_location == ("", "")


def test_a_receipt_is_kept_until_it_was_seen_done() -> None:
    """Only the wait for a command removes its receipt, not one for an earlier command."""
    account = Account()
    first = acknowledge(account, "stop", 10.0)
    second = acknowledge(account, "start", 20.0)

    account.fulfilled(server(7), first, 25.0)
    assert account.receipt(7) == (second, 20.0)
    account.fulfilled(server(7), None, 25.0)
    assert account.receipt(7) == (second, 20.0)
    account.fulfilled(server(7), second, 25.0)
    assert account.receipt(7) is None


def test_who_listens_is_told_of_every_receipt() -> None:
    """The poller is notified of a command in the middle of a wait."""
    account, heard = Account(), []
    account.on_receipt = lambda receipt, when: heard.append((receipt.operation, when))

    acknowledge(account, "stop", 10.0)
    acknowledge(account, "start", 20.0)

    assert heard == [("stop", 10.0), ("start", 20.0)]


def test_the_account_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers seen longest ago are forgotten first."""
    monkeypatch.setattr(Account, "LIMIT", 3)
    account = Account()
    for number in (1, 2, 3, 1, 4):
        account.saw(server(number), 0.0)
        account.acknowledged(number, "stop", at=0.0, wall=NOON, status=None)

    assert [number for number in (1, 2, 3, 4) if account.known(number)] == [1, 3, 4]
    assert [number for number in (1, 2, 3, 4) if account.receipt(number)] == [1, 3, 4]


def test_what_lists_repeat_stays_fresh() -> None:
    """A row that a list shows unchanged counts as seen when that list was requested."""
    account = Account()
    rows = [server(number) for number in (1, 2, 3)]
    listed(account, 10.0, *rows)
    listed(account, 20.0, *rows)
    listed(account, 30.0, server(1), server(3, "stopped", at(5)))
    listed(account, 40.0, server(1), server(3, "stopped", at(5)))

    ages = {number: known.at for number in (1, 2, 3) if (known := account.known(number))}
    assert ages == {1: 40.0, 2: 20.0, 3: 40.0}

    account.forget_list()
    listed(account, 90.0)
    again = {number: known.at for number in (1, 2, 3) if (known := account.known(number))}
    assert again == ages


def test_a_list_shows_again_what_was_seen_otherwise_in_between() -> None:
    """Without timestamps nothing says which of the two is newer, if only changed rows are applied."""
    account = Account()
    listed(account, 10.0, server(7, "active", None))
    account.saw(server(7, "stopped", None), 12.0)
    listed(account, 20.0, server(7, "active", None))

    known = account.known(7)
    assert known is not None
    assert (known.status, known.at) == ("active", 20.0)


def test_a_lagging_list_does_not_refresh_what_it_does_not_show() -> None:
    """Knowledge from elsewhere is newer than a lagging list, until the list repeats its status often enough."""
    account = Account()
    listed(account, 10.0, server(7, "active", at(0)))
    account.saw(server(7, "stopped", at(5)), 12.0)
    for when in (20.0, 30.0):
        listed(account, when, server(7, "active", at(0)))

    known = account.known(7)
    assert known is not None
    assert (known.status, known.at) == ("stopped", 12.0)

    listed(account, 20.0 + account.policy.quiet, server(7, "active", at(0)))
    known = account.known(7)
    assert known is not None
    assert known.status == "active"


def test_a_list_that_lags_once_refreshes_nothing_from_then_on() -> None:
    """A list shows an older time than it did before, and then repeats it: it refreshes nothing."""
    account = Account()
    listed(account, 10.0, server(7, "stopped", at(5)))
    listed(account, 20.0, server(7, "active", at(0)))
    listed(account, 30.0, server(7, "active", at(0)))

    known = account.known(7)
    assert known is not None
    assert (known.status, known.at) == ("stopped", 10.0)


def test_what_is_forgotten_is_shown_again_by_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list shows a forgotten server unchanged, and it would stay unknown otherwise."""
    monkeypatch.setattr(Account, "LIMIT", 2)
    account = Account()
    listed(account, 10.0, server(1), server(2))
    account.saw(server(9), 12.0)
    assert account.known(1) is None

    listed(account, 20.0, server(1), server(2))

    assert account.known(1) is not None


def test_the_deletes_seen_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that deletes servers for months remembers those that a list that lags can still show."""
    monkeypatch.setattr(Account, "LIMIT", 2)
    account = Account()
    for number in (1, 2, 3):
        receipt = account.acknowledged(number, "delete", at=number, wall=at(number), status=None)
        account.fulfilled(server(number, "gone"), receipt, number + 0.5)

    assert [account.gone_since(number) for number in (1, 2, 3)] == [None, 2.5, 3.5]


def test_a_record_is_that_of_the_last_read_that_counts() -> None:
    """A stale row, a row that can't be read and a list without the server do not replace the record."""
    account, awaited = Account(), Everything(7)
    first, second = server(7, "provisioning", at(5)), server(7, "stopped", at(9))
    shown = [each for each in account.apply(ListSnapshot(10.0, [first]), awaited) if each]
    assert [(each.key, each.record()) for each in shown] == [(7, first)]
    assert account.record(7) == first

    listed(account, 11.0, server(7, "active", at(0)), awaited=awaited)
    assert account.record(7) == first
    listed(account, 12.0, awaited=awaited)
    assert account.record(7) == first
    account.read(second, 13.0, {7})
    assert account.record(7) == second
    account.release(7)
    assert account.record(7) is None


def test_a_list_that_was_overtaken_for_one_server_is_not_believed_of_it() -> None:
    """A read by id left later than the list, and its response came first."""
    account = Account()
    account.saw(server(7, "stopped", None), 12.0)
    listed(account, 10.0, server(7, "active", None), server(8))

    assert [known.status for number in (7, 8) if (known := account.known(number))] == ["stopped", "active"]


def test_plan_and_location_are_learned_from_a_whole_record() -> None:
    """A status row lacks them; a later record of the same status adds them, and one that lacks them removes nothing."""
    account = Account()
    account.saw(StatusRow(7, ServerStatus.ACTIVE, NOON), 10.0)
    account.saw_all({7: server(7)}, 11.0)
    account.saw(StatusRow(7, ServerStatus.STOPPED, at(5)), 12.0)

    known = account.known(7)
    assert known is not None
    assert (known.plan_and_location, known.status) == (("3", "us-west"), "stopped")


def test_many_at_once_are_remembered_as_one_by_one() -> None:
    """Known, new, changed and lagging servers are remembered in bulk as one by one."""
    rows = [server(1), server(2), server(3, "stopped", at(5)), server(4, "stopped", at(-5))]
    one, many = Account(), Account()
    for account in (one, many):
        for number in (1, 3, 4):
            account.saw(server(number), 1.0)
    for each in rows:
        one.saw(each, 2.0)
    many.saw_all({each.id: each for each in rows}, 2.0)

    for number in (1, 2, 3, 4):
        first, second = one.known(number), many.known(number)
        assert first is not None
        assert second is not None
        assert attrs.evolve(first) == attrs.evolve(second)


def test_an_id_and_its_text_are_the_same_server() -> None:
    """Services name a server by a number here and by its digits there."""
    account = Account()
    account.saw_all({"7": attrs.evolve(server(7, "stopped"), id="7")}, 10.0)
    account.saw_all({7: server(7, "stopped"), "08": attrs.evolve(server(8), id="08")}, 11.0)

    known = account.known("7")
    assert known is not None
    assert known is account.known(7)
    assert known.at == 11.0
    assert account.known(8) is None


def test_each_time_that_went_back_needs_its_own_patience() -> None:
    """Reads that lag are believed after a while; one that lags even further is stale again."""
    account = Account(WaitPolicy(quiet=15.0))
    account.saw(server(7, "stopped", at(10)), 0.0)
    for when in (1.0, 17.0):
        account.saw(server(7, "active", at(5)), when)
    account.saw(server(7, "stopping", at(0)), 18.0)

    known = account.known(7)
    assert known is not None
    assert known.status == "active"
