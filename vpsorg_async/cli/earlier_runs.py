"""What an earlier run of a command left in the journal: what the next one takes up, and what it says about that.

A run that ended early left its names or servers behind. Creates are taken up whenever they were sent: a server is there
or it is not. A start, stop, reboot or delete is taken up only as long as the earlier run itself would have waited for
it, and a rolling operation for a day. Later, the same command means another reboot, and not that of last week. It does
so at once where waits have seen all of the earlier commands done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Self

import attrs

from ..client import Client
from ..config import check_seconds
from ..counting import counted
from ..dialects import make_dialect
from ..errors import ServerGoneError, VpsOrgError, is_absence
from ..fleet import Report, Succeeded
from ..journal import Acknowledged, Intent, Journal
from ..lifecycle.commands import COMMANDS
from ..lifecycle.receipts import Receipt
from ..records import ServerId
from ..specs import ServerSpec, id_text
from ..timing import SystemClock, time_before
from .journal_options import NO_JOURNAL, JournalFile
from .last_commands import APART, is_another
from .settings import Settings

LISTED = timedelta(minutes=10)
"""The age from which on a server that a whole list lacks is gone: much longer than lists lag behind."""

__all__ = [
    "LISTED",
    "NOT_RECORDED",
    "Recording",
    "close_books",
    "fulfil",
    "of_command",
    "recent",
    "seen_done",
    "take_up",
]


@attrs.frozen(kw_only=True)
class Recording:
    """How a fleet call is recorded.

    ``names`` are the names to create, or ``ids`` the servers. ``seconds``: for creates, how long those in doubt are
    searched for; else for how long a command of an earlier run is taken up. ``waited``: the call waits for its servers.
    """

    file: JournalFile = NO_JOURNAL
    names: Collection[str] = ()
    ids: Collection[ServerId] = ()
    seconds: float = 0.0
    waited: bool = True

    @classmethod
    def creating(
        cls,
        file: JournalFile,
        settings: Settings,
        specs: Iterable[ServerSpec],
        settle: float,
        *,
        waited: bool = True,
    ) -> Self:
        """Return it for a call that creates these servers. Raises `ConfigurationError`."""
        dialect = make_dialect(settings.dialect)
        names = [dialect.shown_name(spec) for spec in specs]
        seconds = check_seconds(settle, "--settle", zero=True)
        return cls(file=file, names=names, seconds=seconds, waited=waited)

    @classmethod
    def acting(
        cls, file: JournalFile, ids: Iterable[ServerId], seconds: float, *, waited: bool = True
    ) -> Self:
        """Return it for a call that sends a command to these servers. Raises `ConfigurationError`."""
        return cls(file=file, ids=[*ids], seconds=check_seconds(seconds, "--timeout"), waited=waited)


NOT_RECORDED = Recording()


async def take_up(
    vps: Client, recording: Recording, journal: Journal | None, operation: str
) -> tuple[bool, str]:
    """Prepare the journal for a fleet call, which its report calls ``operation``.

    Returns:
        Whether the call uses the journal, and what to say about an earlier run; empty for nothing.

    Raises:
        ConfigurationError: Another command works on one of them, or a journal that was asked for can't be written.
    """
    run = await recording.file.begin(journal, operation, recording.names, recording.ids)
    if journal is None or run is None:
        return False, ""
    command = operation.split()[-1]
    async with run:  # ends it again: the call begins one of its own
        left, sent = [*run.standing.values()], of_command(run.standing_commands, command)
    if recording.names:
        gone = await _gone(vps, [entry.receipt for entry in left if isinstance(entry, Acknowledged)])
        await journal.forget(gone)
        kept = [entry for entry in left if isinstance(entry, Intent) or entry.receipt.server_id not in gone]
        return True, _of_creates(kept, recording.seconds)
    rolling = operation != command
    if sent and (
        not recent(sent.values(), recording.seconds)
        or (not rolling and await _over(journal, recording, sent))
    ):
        await journal.forget(recording.ids)
        return True, ""
    return True, _of_commands(sent.values(), command)


async def _over(
    journal: Journal, recording: Recording, sent: Mapping[ServerId, Intent | Acknowledged]
) -> bool:
    """Return whether the earlier run has sent all of its commands, and waits have seen them done."""
    return len(sent) == len(recording.ids) and await seen_done(journal, sent)


async def seen_done(journal: Journal, sent: Mapping[ServerId, Intent | Acknowledged]) -> bool:
    """Return whether all of these commands were acknowledged, and none has left a receipt for a wait."""
    receipts = await journal.receipts(sent)
    return all(
        isinstance(entry, Acknowledged) and receipts.get(key) != entry.receipt for key, entry in sent.items()
    )


async def _gone(vps: Client, receipts: Collection[Receipt]) -> list[ServerId]:
    """Return the servers of creates that were deleted since. Reads the account only for receipts that are not new."""
    now = SystemClock().wall()
    old = [receipt for receipt in receipts if now - receipt.acknowledged_at > APART]
    if not old:
        return []
    try:
        listing = await vps.listing()
    except VpsOrgError:
        return []  # the call itself shows why
    known = {id_text(server.id): server for server in listing.servers}

    def is_gone(receipt: Receipt) -> bool:
        server = known.get(id_text(receipt.server_id))
        if server is None:
            return not listing.lacks and now - receipt.acknowledged_at > LISTED
        return is_another(receipt, server)

    return [receipt.server_id for receipt in old if is_gone(receipt)]


def of_command(
    left: Mapping[ServerId, Intent | Acknowledged], command: str
) -> dict[ServerId, Intent | Acknowledged]:
    """Return those of the entries that are of this command."""
    return {key: entry for key, entry in left.items() if entry.operation == command}


def recent(left: Iterable[Intent | Acknowledged], seconds: float) -> bool:
    """Return whether one of the entries was written within the last seconds."""
    return max(entry.at for entry in left) > time_before(SystemClock().wall(), seconds)


def _of_creates(left: Collection[Intent | Acknowledged], settle: float) -> str:
    made = sum(isinstance(entry, Acknowledged) for entry in left)
    parts = [f"{counted(made, 'server')} that it created"] if made else []
    if doubted := len(left) - made:
        parts.append(
            f"{counted(doubted, 'name')} in doubt, searched for up to {settle:g} s before another "
            "create is sent"
        )
    return f"taken up from an earlier run that ended early: {'; '.join(parts)}" if parts else ""


def _of_commands(left: Collection[Intent | Acknowledged], command: str) -> str:
    acknowledged = sum(isinstance(entry, Acknowledged) for entry in left)
    again = f"{counted(acknowledged, 'server')} not {COMMANDS[command].past} again (except with --no-journal)"
    parts = [again] if acknowledged else []
    if doubted := len(left) - acknowledged:
        parts.append(f"the {command} of {counted(doubted, 'server')} in doubt")
    return f"taken up from an earlier run that ended early: {'; '.join(parts)}" if parts else ""


async def close_books(journal: Journal, report: Report, recording: Recording) -> None:
    """Remove from the journal what a report says is done, and servers that do not exist any more."""
    gone: list[ServerId] = []
    done: list[ServerId] = []
    gone += report.replaced
    for outcome in report.outcomes:
        if isinstance(outcome, Succeeded):
            # what was created stays for a while: its receipt says whose the name is, while lists lag
            if recording.names and outcome.how == "deleted" and outcome.server is not None:
                gone.append(outcome.server.id)
            elif recording.waited and not recording.names:
                (gone if report.operation == "delete" else done).append(outcome.key)
            continue
        error = getattr(outcome, "error", None)
        server_id = getattr(outcome, "server_id", None)
        if server_id is not None and _does_not_exist(error):
            gone.append(server_id)
    await fulfil(journal, done)
    if gone:
        await journal.forget(gone)


async def fulfil(journal: Journal, ids: Collection[ServerId]) -> None:
    """Remove the receipts of commands that were seen done."""
    if ids:
        receipts = await journal.receipts(ids)
        await asyncio.gather(*(journal.fulfilled(key, receipt) for key, receipt in receipts.items()))


def _does_not_exist(error: object) -> bool:
    return isinstance(error, ServerGoneError) or (isinstance(error, Exception) and is_absence(error))
