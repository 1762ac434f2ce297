"""A kill at every line that a run executes of the journal's modules, and kills of programs that work on fleets.

Its name keeps it out of the test command: ``python3 noxfile.py -s crashes`` runs it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from tests.fleet.apply_crashes import course as apply_course
from tests.fleet.replace_crashes import course as replace_course
from tests.journal.crashes import check, killed, programs
from tests.journal.fleet_programs import LAG, PROGRAMS, ROLLING, Program
from vpsorg_async.sandbox import Sandbox

pytestmark = pytest.mark.timeout(3600)

ROOT = Path(__file__).parents[2]
SERVERS = 60
KILLS = 20
SIDE_BY_SIDE = 4
LATENCY = 0.08
"""Seconds of each answer: the creates take longer than a second."""
LASTING = 1e6
"""Seconds for which reads lag: all of a test."""


@pytest.mark.parametrize("new", [True, False], ids=["new", "used"])
async def test_killed_at_every_line(tmp_path: Path, new: bool, figure: Callable[[str], None]) -> None:
    """The next run begins at once, knows of everything that was sent, and removes what is left of the dead one."""
    began = time.monotonic()
    with programs() as process:
        for lines in itertools.count(1):
            file = tmp_path / (str(lines) if new else "") / "fleet.db"
            said = killed(process, file, lines)
            if "closed" in said:
                break
            try:
                await check(file, said)
            except BaseException as failure:
                failure.add_note(f"killed after {lines} lines, having said {said}")
                raise
    assert lines > 300
    figure(f"killed at {lines - 1} lines: {time.monotonic() - began:.0f} s")


@attrs.frozen
class Course:
    """What came of a program that was killed, and of the run after it. ``sent`` counts the creates before the kill."""

    sent: int
    servers: int
    duplicates: int


async def start(box: Sandbox, program: Program, journal: Path | None, servers: int) -> Process:
    """Start a program."""
    return await asyncio.create_subprocess_exec(
        *program(box, journal, servers),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


async def kill(process: Process, box: Sandbox, pause: float, *, requests: int = 1) -> tuple[bytes, bytes]:
    """Kill a program that many seconds after so many of its requests: how fast it is does not matter then.

    Returns what it has printed and its errors.
    """
    last = len(box.requests) + requests
    while len(box.requests) < last and process.returncode is None:  # noqa: ASYNC110 - another thread serves
        await asyncio.sleep(0.005)
    await asyncio.sleep(pause)
    if process.returncode is None:
        process.kill()
    return await process.communicate()


async def course(program: Program, journal: Path | None, requests: int, pause: float) -> Course:
    """Kill a program that many seconds after so many requests, and run it once more."""
    with Sandbox(speed=5000, latency=LATENCY) as box:
        # without a journal nothing waits: on a machine with much to do, the next run begins after ten seconds
        box.world.lag(3 * LAG if journal is None else LAG, lasting=LASTING)
        await kill(await start(box, program, journal, SERVERS), box, pause, requests=requests)
        sent = len(box.ledger)
        process = await start(box, program, journal, SERVERS)
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        names = Counter(server.name for server in box.servers)
        return Course(sent, len(box.servers), sum(names.values()) - len(names))


async def courses(program: Program, folder: Path | None, count: int) -> list[Course]:
    """Some of them at a time, at random moments from before the first create until after the last."""
    places, rng = asyncio.Semaphore(SIDE_BY_SIDE), random.Random(21)

    async def one(number: int) -> Course:
        requests, pause = rng.randrange(1, SERVERS + 5), rng.uniform(0.0, LATENCY)
        async with places:
            return await course(program, folder and folder / f"{number}.db", requests, pause)

    ends = await asyncio.gather(*map(one, range(count)))
    return sorted(ends, key=lambda end: end.sent)


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_that_is_killed_at_any_moment(
    tmp_path: Path, name: str, figure: Callable[[str], None]
) -> None:
    """One more run completes the fleet, although reads lag: nothing is missing, and nothing is created twice."""
    began = time.monotonic()
    ends = await courses(PROGRAMS[name], tmp_path, KILLS)

    sent = [end.sent for end in ends]
    assert sum(0 < number < SERVERS for number in sent) > KILLS / 4, sent
    assert {(end.servers, end.duplicates) for end in ends} == {(SERVERS, 0)}, ends
    figure(
        f"{name}: killed {KILLS} times after {sent} creates: 0 duplicates, {time.monotonic() - began:.0f} s"
    )


@pytest.mark.parametrize("name", PROGRAMS)
async def test_without_a_journal_there_are_duplicates(name: str, figure: Callable[[str], None]) -> None:
    """The test of the test."""
    ends = await courses(PROGRAMS[name], None, SIDE_BY_SIDE)

    assert sum(end.duplicates for end in ends) > 0, ends
    figure(
        f"{name} without a journal: {sum(end.duplicates for end in ends)} duplicates after {len(ends)} kills"
    )


@pytest.mark.parametrize("name", PROGRAMS)
async def test_two_programs_at_once(tmp_path: Path, name: str, figure: Callable[[str], None]) -> None:
    """Over the same names and one journal: one is refused, and told to run again it finds what the other created."""
    servers, refused = 40, 0
    with Sandbox(speed=5000, latency=LATENCY) as box:
        box.world.lag(LAG, lasting=LASTING)

        async def run() -> int:
            nonlocal refused
            for again in itertools.count():
                process = await start(box, PROGRAMS[name], tmp_path / "fleet.db", servers)
                _, errors = await process.communicate()
                if process.returncode == 0:
                    return again
                assert b"another run" in errors, errors.decode()
                refused += 1
            return 0

        await asyncio.gather(run(), run())
        assert len(box.ledger) == len(box.servers) == servers
    assert refused
    figure(f"{name} twice at once: {servers} servers, refused {refused} times")


def test_an_apply_that_creates_and_deletes(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Killed after any number of its changes, the next one gets to the same end."""
    began, dice = time.monotonic(), random.Random(23)
    at = []
    for number in range(KILLS // 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        at += apply_course(folder, dice, kills=1)

    figure(f"apply: killed after {at} of its 13 changes: same end, {time.monotonic() - began:.0f} s")


@pytest.mark.parametrize("names", ["free", "stable"])
def test_a_fleet_that_gets_another_system(tmp_path: Path, names: str, figure: Callable[[str], None]) -> None:
    """50 servers, 5 at a time, killed at ten random moments: each is replaced once, and by its own new one."""
    began = time.monotonic()
    at = replace_course(tmp_path, random.Random(24), count=50, surge=5, kills=10, names=names)

    figure(
        f"replace, names={names}: killed after {at} changes: 0 duplicates, {time.monotonic() - began:.0f} s"
    )


def test_replacements_that_are_killed_while_reads_lag(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Small fleets, each killed three times; the list shows what was the case a while ago."""
    began, dice = time.monotonic(), random.Random(25)
    at = []
    for number in range(KILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        lag, names = (0.0, 0.2)[number % 2], ("free", "stable")[number // 2 % 2]
        at += replace_course(folder, dice, count=6, surge=3, kills=3, lag=lag, names=names)

    figure(f"replace: killed {len(at)} times: same end, {time.monotonic() - began:.0f} s")


async def test_a_rolling_reboot_that_is_killed_again_and_again(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """Whatever is in flight when it dies: no server is rebooted twice, and only what is in doubt has failed."""
    rng, servers = random.Random(24), 40
    with Sandbox(speed=5000, latency=LATENCY) as box:
        box.world.add(servers)
        box.world.lag(0.5, lasting=LASTING)
        kills = 0
        while True:
            process = await start(box, ROLLING, tmp_path / "fleet.db", servers)
            if kills < KILLS // 2:
                # the next run would begin once more after one that has come to its end
                output, errors = await kill(process, box, rng.uniform(0.0, 1.0))
            else:
                output, errors = await process.communicate()
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, errors.decode()
            kills += 1
        assert kills >= 3

        succeeded, failed, skipped = map(int, output.split())
        rebooted = Counter(change.server_id for change in box.ledger)
        assert max(rebooted.values()) == 1
        assert (succeeded + failed, skipped) == (servers, 0)
        assert succeeded <= len(rebooted)
    figure(
        f"rolling reboot killed {kills} times: {succeeded} succeeded, {failed} in doubt, none rebooted twice"
    )
