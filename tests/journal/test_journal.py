"""What a run finds of earlier ones, who may work on a name, and what a wait finds of other processes."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.journal.records import ACCOUNT, AT, opened, receipt
from vpsorg_async.errors import ConfigurationError, JournalError
from vpsorg_async.journal import Acknowledged, Intent, Journal
from vpsorg_async.lifecycle.receipts import Receipt
from vpsorg_async.virtual_time import LoopClock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fleet.db"


class SetClock(LoopClock):
    """A clock that shows what it is set to."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def wall(self) -> datetime:
        return self.at


async def test_a_run_finds_what_an_interrupted_one_left(file: Path) -> None:
    """A name without an answer is in doubt, one with an answer has its receipt, and one that was refused is free."""
    async with await Journal.open(file, account=ACCOUNT, clock=SetClock(AT)) as journal:
        run = await journal.begin("create", ["web-1", "web-2", "web-3", "web-4"])
        assert (run.standing, run.before) == ({}, None)
        await run.note_before([1, "AB-2"])
        await asyncio.gather(*(run.intend(f"web-{n}", "create") for n in (1, 2, 3)))
        run.acknowledged("web-1", receipt(7))
        run.withdrawn("web-3", "create")

    async with await Journal.open(file, account=ACCOUNT, clock=SetClock(AT)) as journal:
        run = await journal.begin("ensure", ["WEB-1", "web-2.", "web-3", "web-4", "web-5"])

        known = frozenset({"1", "ab-2"})
        assert run.standing == {
            "WEB-1": Acknowledged(receipt=receipt(7)),
            "web-2.": Intent(operation="create", at=AT, before=known),
        }
        assert run.before == known


async def test_what_was_created_lately_is_found_by_name(file: Path) -> None:
    """Creates within the seconds, of runs that are complete or not; none of a server that was deleted since."""
    clock = SetClock(AT)
    async with await Journal.open(file, account=ACCOUNT, clock=clock) as journal:
        run = await journal.begin("create", ["old", "web-1", "gone", "doubt"])
        await run.note_before([])
        for name, number in (("old", 1), ("web-1", 2), ("gone", 3)):
            clock.at = AT if name == "old" else AT + timedelta(seconds=60)
            await run.intend(name, "create")
            run.acknowledged(name, receipt(number))
        await run.intend("doubt", "create")
        assert [*await journal.created(["Web-1", "doubt"], within=60)] == ["Web-1"]
        await run.end(complete=True)
        await journal.forget([3])
        clock.at += timedelta(seconds=30)

        names = ["old", "WEB-1", "gone", "doubt", "nobody"]
        assert await journal.created(names, within=60) == {"WEB-1": receipt(2)}
        assert [*await journal.created(names, within=91)] == ["old", "WEB-1"]


async def test_nothing_of_a_complete_run_is_taken_up(file: Path) -> None:
    """A complete run leaves no names, but the receipts of its servers."""
    async with await opened(file) as journal:
        run = await journal.begin("create", ["web-1", "web-2"])
        await run.note_before([])
        await run.intend("web-1", "create")
        run.acknowledged("web-1", receipt(7))
        await run.intend("web-2", "create")
        await run.end(complete=True)
        await run.end(complete=False)

        async with await journal.begin("ensure", ["web-1", "web-2"]) as later:
            assert (later.standing, later.before) == ({}, None)
            assert later.recent == {}
        assert await journal.receipts([7]) == {7: receipt(7)}


async def test_what_a_complete_run_created_is_recent_for_the_settle_window(file: Path) -> None:
    """A list may not show it yet. A later complete run that creates nothing does not change that; a delete ends it."""
    clock = SetClock(AT)
    async with await Journal.open(file, account=ACCOUNT, clock=clock) as journal:

        async def recent(after: float, *names: str) -> dict[str, Receipt]:
            clock.at = AT + timedelta(seconds=after)
            run = await journal.begin("ensure", names, settle=15)
            assert run.standing == {}
            await run.end(complete=True)
            return dict(run.recent)

        async with await journal.begin("create", ["web-1", "web-2"]) as run:
            await run.note_before([])
            for number in (1, 2):
                await run.intend(f"web-{number}", "create")
                run.acknowledged(f"web-{number}", receipt(number))
            await run.end(complete=True)

        assert await recent(-100, "web-1") == {"web-1": receipt(1)}
        assert await recent(14, "WEB-1", "web-2") == {"WEB-1": receipt(1), "web-2": receipt(2)}
        assert await recent(15, "web-1", "web-2") == {}
        run = await journal.begin("delete", [], [1])
        run.acknowledged(1, receipt(1, "delete"))
        await run.end(complete=True)
        assert await recent(1, "web-1", "web-2") == {"web-2": receipt(2)}


async def test_a_server_that_is_about_to_be_replaced_is_found_as_leaving(file: Path) -> None:
    """The next run knows which server may be gone; a receipt, or another intent, ends that."""
    async with await opened(file) as journal:
        async with await journal.begin("create", ["web-1", "web-2", "web-3"]) as run:
            await run.note_before([1])
            for number in (1, 2, 3):
                await run.intend(f"web-{number}", "create")
                run.acknowledged(f"web-{number}", receipt(number + 6))
                await run.leaving(f"web-{number}")
            run.acknowledged("web-2", receipt(8))
            await run.note_before([1, 9])
            await run.intend("web-3", "create")

        run = await journal.begin("ensure", ["web-1", "web-2", "web-3"])
        assert run.standing["web-1"] == Acknowledged(receipt=receipt(7), leaving=True)
        assert run.standing["web-2"] == Acknowledged(receipt=receipt(8))
        doubt = run.standing["web-3"]
        assert isinstance(doubt, Intent)
        assert (doubt.operation, doubt.before) == ("create", frozenset({"1", "9"}))
        with pytest.raises(JournalError, match="nothing was sent"):
            await run.leaving("web-3")  # nothing was created


async def test_a_name_in_doubt_keeps_its_first_ids(file: Path) -> None:
    """Ids from before the first create of a name in doubt are kept: what that create made is not among them."""
    async with await opened(file) as journal:
        for known in ([1], [1, 2], [1, 2, 3]):
            async with await journal.begin("ensure", ["web-1", f"web-{len(known)}0"]) as run:
                await run.note_before(known)
                await run.intend("web-1", "create")
                await run.intend(f"web-{len(known)}0", "create")

        run = await journal.begin("ensure", ["web-1", "web-30"])
        left = {name: entry.before for name, entry in run.standing.items() if isinstance(entry, Intent)}
        assert left == {"web-1": frozenset({"1"}), "web-30": frozenset({"1", "2", "3"})}
        assert run.before == frozenset({"1"})


async def test_a_name_that_is_created_again_after_its_receipt_has_new_ids(file: Path) -> None:
    """A server that was created for sure does not pass for the result of a later create."""
    async with await opened(file) as journal:
        async with await journal.begin("create", ["web-1"]) as run:
            await run.note_before([1])
            await run.intend("web-1", "create")
            run.acknowledged("web-1", receipt(7))
        async with await journal.begin("create", ["web-1"]) as run:
            await run.note_before([1, 7])
            await run.intend("web-1", "create")

        run = await journal.begin("ensure", ["web-1"])
        (left,) = run.standing.values()
        assert isinstance(left, Intent)
        assert left.before == frozenset({"1", "7"})


async def test_commands_on_servers_stand_too(file: Path) -> None:
    """A reboot that may have been sent is found by its server, also where a name looks like the id."""
    async with await opened(file) as journal:
        async with await journal.begin("rolling reboot", ["12"], [12, "ab"]) as run:
            await run.intend(12, "reboot")
            await run.intend("AB", "stop")
            run.acknowledged("AB", receipt("ab", "stop"))
        run = await journal.begin("rolling reboot", ["12"], ["12", "aB"])

        (reboot, stop) = run.standing_commands.values()
        assert isinstance(reboot, Intent)
        assert (reboot.operation, reboot.before) == ("reboot", frozenset())
        assert stop == Acknowledged(receipt=receipt("ab", "stop"))
        assert list(run.standing_commands) == ["12", "aB"]
        assert (run.standing, run.before) == ({}, None)


async def test_a_name_belongs_to_one_run(file: Path) -> None:
    """A second run, on the same or another connection, is refused, with names, and neither gets in the other's way."""
    async with await opened(file) as journal, await opened(file) as other:
        run = await journal.begin("ensure", ["web-1", "web-2"], [5])
        for second in (journal, other):
            with pytest.raises(ConfigurationError) as refused:
                await second.begin("create", ["web-3", "WEB-2", "web-1."], ["5", 6])
            for part in ("ensure, process", "names: WEB-2, web-1.", "servers: 5", "nothing was sent"):
                assert part in str(refused.value)
        await (await other.begin("create", ["web-3"], [6])).end(complete=True)
        await run.end(complete=False)
        await (await other.begin("create", ["web-1", "web-2"], [5])).end(complete=True)


async def test_many_busy_names_are_counted(file: Path) -> None:
    """A refusal names ten, and counts the rest."""
    names = [f"web-{n:03}" for n in range(300)]
    async with await opened(file) as journal:
        await journal.begin("ensure", names)
        with pytest.raises(ConfigurationError, match="web-009 and 290 more; nothing") as refused:
            await journal.begin("ensure", names)
        assert "web-010" not in str(refused.value)


async def test_accounts_do_not_see_each_other(file: Path) -> None:
    """The same name and server id in another account are others."""
    async with await opened(file) as journal, await opened(file, "https://other.example") as other:
        run = await journal.begin("ensure", ["web-1"], [7])
        await run.note_before([])
        await run.intend("web-1", "create")
        run.acknowledged("web-1", receipt(7))
        await run.end(complete=False)

        elsewhere = await other.begin("ensure", ["web-1"], [7])
        assert (elsewhere.standing, elsewhere.before) == ({}, None)
        assert await other.receipts([7]) == {}
        await other.forget([7])
        assert await journal.receipts([7]) == {7: receipt(7)}


async def test_intents_that_wait_together_are_written_together(file: Path) -> None:
    """A thousand intents and receipts of 32 workers are there, and in order."""
    names = [f"web-{n}" for n in range(1000)]
    async with await opened(file) as journal:
        run = await journal.begin("create", names)
        await run.note_before([])
        left = iter(enumerate(names))

        async def work() -> None:
            for n, name in left:
                await run.intend(name, "create")
                if n % 3 == 0:
                    run.acknowledged(name, receipt(n + 1))
                if n % 3 == 1:
                    run.withdrawn(name, "create")
                    await run.intend(name, "create")
                    run.withdrawn(name, "create")

        await asyncio.gather(*(work() for _ in range(32)))
        await run.end(complete=False)
        found = (await journal.begin("ensure", names)).standing

    assert len(found) == 667
    assert {type(found[f"web-{n}"]) for n in range(0, 1000, 3)} == {Acknowledged}
    assert {type(found[f"web-{n}"]) for n in range(2, 1000, 3)} == {Intent}


async def test_the_last_command_on_a_server_is_known(file: Path) -> None:
    """A wait in another process finds the last command, until a wait has seen exactly that one done."""
    async with await opened(file) as journal, await opened(file) as waiting:
        run = await journal.begin("reboot", ["web-7"], [7])
        run.acknowledged(7, receipt(7, "stop", 1))
        run.acknowledged(7, receipt(7, "reboot", 2))
        run.acknowledged(
            "web-7", receipt(7, "create", 3)
        )  # noticed late: no command on a server is before its create
        await run.end(complete=True)
        assert await waiting.receipts(["7", 8]) == {"7": receipt(7, "reboot", 2)}

        await waiting.fulfilled(7, receipt(7, "stop", 1))
        assert await journal.receipts([7]) == {7: receipt(7, "reboot", 2)}
        await waiting.fulfilled("7", receipt(7, "reboot", 2))
        assert await journal.receipts([7]) == {}


async def test_servers_that_are_gone_are_forgotten(file: Path) -> None:
    """Nothing remains of a server that no longer exists, unless a run is working on its name."""
    async with await opened(file) as journal:
        run = await journal.begin("create", ["web-1", "web-2"], [9])
        for n in (1, 2):
            run.acknowledged(f"web-{n}", receipt(n))
        run.acknowledged(9, receipt(9, "reboot"))
        await run.end(complete=False)
        again = await journal.begin("create", ["web-2"])
        await journal.forget([1, 2, 9])
        await again.end(complete=False)

        assert await journal.receipts([1, 2, 9]) == {}
        run = await journal.begin("create", ["web-1", "web-2"], [9])
        assert list(run.standing) == ["web-2"]
        assert run.standing_commands == {}


async def test_old_entries_are_dropped(file: Path) -> None:
    """Entries older than ``keep`` go when the journal is opened, except those of a run in progress."""
    clock = SetClock(AT)

    async def at(moment: datetime) -> Journal:
        clock.at = moment
        return await Journal.open(file, account=ACCOUNT, keep=86_400, clock=clock)

    async with await at(AT) as journal:
        run = await journal.begin("create", ["web-1", "web-2"])
        await run.note_before([])
        await run.intend("web-1", "create")
        run.acknowledged("web-2", receipt(2))
        async with await at(AT + timedelta(days=2)):
            pass  # the run goes on
        await run.end(complete=False)
        assert len((await journal.begin("ensure", ["web-1", "web-2"])).standing) == 2
    async with await at(AT + timedelta(hours=23)) as journal:
        assert len((await journal.begin("ensure", ["web-1", "web-2"])).standing) == 2
    async with await at(AT + timedelta(hours=25)) as journal:
        assert (await journal.begin("ensure", ["web-1", "web-2"])).standing == {}
        assert await journal.receipts([2]) == {}


async def test_a_cancelled_intent_may_stand(file: Path) -> None:
    """A cancellation loses nothing: what was queued is written, and can be withdrawn."""
    async with await opened(file) as journal:
        async with await journal.begin("create", ["web-1", "web-2"]) as run:
            await run.note_before([])
            tasks = [asyncio.create_task(run.intend(name, "create")) for name in ("web-1", "web-2")]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            assert {type(end) for end in await asyncio.gather(*tasks, return_exceptions=True)} == {
                asyncio.CancelledError
            }
            run.withdrawn("web-2", "create")
        assert list((await journal.begin("create", ["web-1", "web-2"])).standing) == ["web-1"]


async def test_a_cancelled_begin_holds_nothing(file: Path) -> None:
    """Names are free again after a `begin` that was cancelled on its way."""
    async with await opened(file) as journal:
        begin = asyncio.create_task(journal.begin("create", ["web-1"]))
        await asyncio.sleep(0)
        begin.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begin
        await journal.begin("create", ["web-1"])


async def test_a_journal_that_is_closed_under_a_run_keeps_all(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing writes what is queued and releases the names; later receipts are reported in the log."""
    journal = await opened(file)
    run = await journal.begin("create", ["web-1", "web-2"])
    run.acknowledged("web-1", receipt(1))
    await journal.close()
    await journal.close()
    await run.end(complete=True)
    with caplog.at_level(logging.WARNING, "vpsorg_async"):
        run.acknowledged("web-2", receipt(2))
    assert "web-2 could not be recorded" in caplog.text
    with pytest.raises(ConfigurationError, match="closed"):
        await journal.begin("create", ["web-3"])

    async with await opened(file) as journal:
        assert list((await journal.begin("create", ["web-1", "web-2"])).standing) == ["web-1"]


def test_a_loop_that_ends_loses_nothing(file: Path) -> None:
    """Receipts that were queued in the last moment of a loop are written, and the journal serves the next loop."""
    with asyncio.Runner() as runner:
        journal = runner.run(opened(file))
        run = runner.run(journal.begin("create", ["web-1", "web-2"]))
    run.acknowledged("web-1", receipt(1))
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        loop.call_soon(run.acknowledged, "web-2", receipt(2))
        loop.call_soon(loop.stop)
        loop.run_forever()

    async def rest() -> None:
        assert set(await journal.receipts([1, 2])) == {1, 2}
        await journal.close()

    asyncio.run(rest())


async def test_misuse_is_refused(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each raises `ConfigurationError` before anything is sent; what never raises is logged."""
    async with await opened(file) as journal:
        run = await journal.begin("create", ["web-1"], [5])
        with pytest.raises(ConfigurationError, match="note_before"):
            await run.intend("web-1", "create")
        await run.note_before([])
        for subject, operation in (
            ("web-2", "create"),
            (6, "reboot"),
            (5, "create"),
            (5, "rebot"),
            (True, "stop"),
        ):
            with pytest.raises(ConfigurationError):
                await run.intend(subject, operation)
            with caplog.at_level(logging.WARNING, "vpsorg_async"):
                run.withdrawn(subject, operation)
            assert "could not be removed" in caplog.text
            caplog.clear()
        await run.end(complete=True)
        with pytest.raises(ConfigurationError, match="ended"):
            await run.intend("web-1", "create")
        with pytest.raises(ConfigurationError, match="ended"):
            await run.note_before([])
        with pytest.raises(ConfigurationError, match="list"):
            await journal.begin("create", "web-1")
        with pytest.raises(ConfigurationError, match="list"):
            await journal.begin("stop", (), "ab")
        with pytest.raises(ConfigurationError, match="server id"):
            await journal.begin("stop", (), [0])


async def test_a_run_that_was_taken_for_dead_sends_nothing_more(file: Path) -> None:
    """Where its lock file is removed, another run gets its names; its next intent fails, and the other one's stands."""
    async with await opened(file) as journal, await opened(file) as other:
        run = await journal.begin("create", ["web-1", "web-2"])
        await run.note_before([])
        await run.intend("web-1", "create")
        for lock in file.parent.glob("*.lock"):
            lock.unlink()
        second = await other.begin("ensure", ["web-1", "web-2"])
        assert list(second.standing) == ["web-1"]
        await second.note_before([])
        await second.intend("web-2", "create")

        with pytest.raises(JournalError, match="took this run for dead"):
            await run.intend("web-2", "create")
        run.acknowledged("web-1", receipt(1))
        run.withdrawn("web-2", "create")
        await run.end(complete=True)
        assert await journal.receipts([1]) == {1: receipt(1)}
        await second.end(complete=False)
        left = (await journal.begin("ensure", ["web-1", "web-2"])).standing
        assert {type(entry) for entry in left.values()} == {Intent}
        assert len(left) == 2
