"""What a journal keeps of replacements that have not come to their end."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest

from tests.journal.records import ACCOUNT, AT, opened
from vpsorg_async import OperatingSystem, Server, ServerStatus
from vpsorg_async.errors import ConfigurationError, JournalError
from vpsorg_async.journal import Journal, StandingPair
from vpsorg_async.timing import SystemClock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fleet.db"


def shown(number: int) -> Server:
    """A server as it is read."""
    return Server(
        id=number,
        name=f"web-{number:02}",
        status=ServerStatus.ACTIVE,
        os=OperatingSystem(id=5),
        created_at=AT,
    )


def server(number: int) -> Server:
    """The same with a password, which must not be stored."""
    return attrs.evolve(shown(number), password="secret")


class Later(SystemClock):
    """A clock that is a month and a day ahead."""

    def wall(self) -> datetime:
        return super().wall() + timedelta(days=31)


async def test_a_replacement_until_its_end(file: Path) -> None:
    """The next run knows both servers and how far it is, also for names that it has not; at its end it is removed."""
    async with await opened(file) as journal:
        run = await journal.begin("apply", ["web-05", "WEB-06"])
        assert run.pairs == ()
        await run.pair("web-05", server(1))
        await run.pair("WEB-06", server(2))
        run.pair_made("web-06", 77)
        run.pair_switched("web-06")

    async with await opened(file) as journal:
        left = (
            StandingPair(new="web-05", old=shown(1)),
            StandingPair(new="WEB-06", old=shown(2), new_id=77, switched=True, switching=True),
        )
        run = await journal.begin("apply", ["db-1"])
        assert run.pairs == await journal.pairs() == left
        run.pairs_ended(["web-06"])
        await run.end(complete=True)
        assert await journal.pairs() == left[:1]
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        ((old,),) = connection.execute("SELECT old FROM pairs").fetchall()
    assert "secret" not in old


async def test_whose_switch_was_called(file: Path) -> None:
    """That belongs to one new server, and is kept when the same replacement is continued."""
    async with await opened(file) as journal:
        run = await journal.begin("apply", ["web-05"])
        seen = []
        for new_id in (77, 77, 78):
            await run.pair("web-05", server(1), new_id)
            seen += [(pair.switched, pair.switching) for pair in await journal.pairs()]
            await run.pair_switching("web-05")
        run.pair_switched("web-05")
        run.pair_made("web-05", 78)
        seen += [(pair.switched, pair.switching) for pair in await journal.pairs()]
        run.pair_made("web-05", 79)
        seen += [(pair.switched, pair.switching) for pair in await journal.pairs()]

        assert seen == [(False, False), (False, True), (False, False), (True, True), (False, False)]


async def test_a_replacement_that_is_taken_back(file: Path) -> None:
    """The old server takes the place of the new one: there is one row for the two at each moment."""
    async with await opened(file) as journal:
        run = await journal.begin("apply", ["web-05", "web-01"])
        await run.pair("web-05", server(1), 5)
        await run.pair("web-01", server(5), 1)

        assert await journal.pairs() == (StandingPair(new="web-01", old=shown(5), new_id=1),)


async def test_only_who_has_the_name_changes_a_replacement(file: Path) -> None:
    """Neither another run nor one that was taken for dead."""
    async with await opened(file) as journal, await opened(file) as other:
        run = await journal.begin("apply", ["web-05"])
        await run.pair("web-05", server(1))
        foreign = await other.begin("apply", ["web-09"])
        foreign.pairs_ended(["web-05"])
        foreign.pair_switched("web-05")
        await foreign.end(complete=True)
        with pytest.raises(ConfigurationError, match="not among the names"):
            await run.pair("web-77", server(1))

        assert await journal.pairs() == (StandingPair(new="web-05", old=shown(1)),)

        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("DELETE FROM claims")
        with pytest.raises(JournalError, match="took this run for dead"):
            await run.pair("web-05", server(2))


async def test_replacements_of_other_accounts_and_old_ones(file: Path) -> None:
    """An account sees its own; after the time for which entries are kept they are dropped."""

    async with await opened(file) as journal:
        run = await journal.begin("apply", ["web-05"])
        await run.pair("web-05", server(1))
    async with await Journal.open(file, account="another") as journal:
        assert await journal.pairs() == ()
    async with await Journal.open(file, account=ACCOUNT, clock=Later()) as journal:
        assert await journal.pairs() == ()


async def test_a_file_of_an_earlier_version(file: Path) -> None:
    """A journal without the table gets it."""
    async with await opened(file):
        pass
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("DROP TABLE pairs")

    async with await opened(file) as journal:
        run = await journal.begin("apply", ["web-05"])
        await run.pair("web-05", server(1))
        assert len(await journal.pairs()) == 1
