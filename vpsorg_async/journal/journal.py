"""The journal of a program, and the runs that it records."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from ..config import check_seconds
from ..errors import ConfigurationError, JournalError, VpsOrgError
from ..lifecycle.receipts import Receipt
from ..records import Server, ServerId
from ..timing import Clock, SystemClock, time_before
from .entries import Acknowledged, Intent, Kind, StandingPair, Subject, as_text, same_ids, subject_of
from .tables import Begun, Tables, stamp
from .writer import Writer

__all__ = ["Journal", "JournalRun"]

log: logging.Logger = logging.getLogger("vpsorg_async")

KEEP = 30 * 86_400.0
"""Seconds for which entries are kept: 30 days."""


class Journal:
    """Records what is about to be sent, and what was acknowledged, so that a run after a crash knows both.

    ::

        async with await Journal.open("fleet.db", account="https://www.vps.org") as journal:
            async with await journal.begin("ensure", ["web-01", "web-02"]) as run:
                await run.note_before(ids_in_the_account)
                await run.intend("web-01", "create")
                ...  # send the POST
                run.acknowledged("web-01", receipt)
                await run.end(complete=True)

    The file must be on a local disk: SQLite's log and the locks do not work on NFS or other network file systems. Lock
    files are beside it, one for each run in progress. A program that forks does so before it opens a journal.
    """

    def __init__(self, writer: Writer, clock: Clock) -> None:
        """Use `open`."""
        self._writer = writer
        self._clock = clock

    @classmethod
    async def open(
        cls,
        file: str | os.PathLike[str],
        *,
        account: str,
        keep: float = KEEP,
        clock: Clock | None = None,
    ) -> Journal:
        """Open a journal, or create it with mode 0600; missing folders get mode 0700.

        Args:
            file: Its path. A symbolic link is followed.
            account: What identifies the account, such as the base URL; never a token. A file can have several
                accounts, which do not see each other.
            keep: Seconds after which entries are dropped.
            clock: The time of day that is recorded.

        Raises:
            ConfigurationError: The file can't be opened or written, is not a journal, is damaged, or was written by a
                newer version. It was not changed.
        """
        if not isinstance(account, str) or not account.strip():
            raise ConfigurationError("a journal needs the account: a text such as the base URL")
        if isinstance(keep, bool) or not isinstance(keep, int | float) or not 0 < keep < 1e9:
            raise ConfigurationError(f"keep is a number of seconds, not {keep!r}")
        clock = clock or SystemClock()
        try:
            path = os.fsdecode(file)
        except TypeError:
            raise ConfigurationError(f"the file of a journal is a path, not {file!r}") from None
        writer = Writer()
        oldest = stamp(clock.wall() - timedelta(seconds=keep))
        await writer.start(partial(Tables.open, path, account, oldest))
        return cls(writer, clock)

    async def begin(
        self,
        operation: str,
        names: Iterable[str] = (),
        ids: Iterable[ServerId] = (),
        *,
        settle: float = 0.0,
    ) -> JournalRun:
        """Begin a run that alone may create servers of these names and send commands to these servers.

        Args:
            operation: What the run does, for messages: ``ensure``, ``rolling reboot``.
            names: The names to create.
            ids: The servers to send commands to.
            settle: Seconds for which a list may not show a server that a complete run has created.

        Raises:
            ConfigurationError: A run in progress, of this or another process, has one of them.
            JournalError: The journal can't be written.
        """
        for several in (names, ids):
            if isinstance(several, str | bytes) or not isinstance(several, Iterable):
                raise ConfigurationError("a run has several names and ids: pass lists")
        settle = check_seconds(settle, "settle", zero=True)
        subjects: dict[Subject, ServerId] = {subject_of(name, "create"): name for name in names}
        subjects.update({Subject(Kind.SERVER, as_text(server)): server for server in ids})
        now = self._clock.wall()
        at, since = stamp(now), stamp(time_before(now, settle))
        token = uuid.uuid4().hex
        try:
            begun = await self._writer.call(
                lambda tables: tables.begin(token, operation, subjects, at, since), alone=True
            )
        except asyncio.CancelledError:
            # it begins all the same, and must not hold its claims as long as this process lives
            with contextlib.suppress(ConfigurationError):
                self._writer.call(lambda tables: tables.end(token, complete=False), alone=True).cancel()
            raise
        return JournalRun(self._writer, self._clock, token, subjects, begun)

    async def receipts(self, server_ids: Iterable[ServerId]) -> dict[ServerId, Receipt]:
        """Return the last acknowledged command on each of the servers that has one, sent by any process."""
        keys = {as_text(server): server for server in server_ids}
        found = await self._writer.call(lambda tables: tables.receipts(keys))
        return {keys[key]: receipt for key, receipt in found.items()}

    async def pairs(self) -> tuple[StandingPair, ...]:
        """Return the replacements of servers that runs have begun, and that have not come to their end."""
        return await self._writer.call(lambda tables: tables.pairs.all())

    async def created(self, names: Iterable[str], *, within: float) -> dict[str, Receipt]:
        """Return the receipts of creates of these names in the last seconds. A server that was deleted since has none.

        Args:
            names: The names.
            within: For how many seconds back.
        """
        subjects = {subject_of(name, "create"): name for name in names}
        since = stamp(time_before(self._clock.wall(), within))
        found = await self._writer.call(lambda tables: tables.created(subjects, since))
        return {subjects[subject]: receipt for subject, receipt in found.items()}

    async def fulfilled(self, server_id: ServerId, receipt: Receipt) -> None:
        """Remove a receipt whose command a wait has seen done. That of a later command stays."""
        key = as_text(server_id)
        await self._writer.call(lambda tables: tables.fulfil(key, receipt))

    async def forget(self, server_ids: Iterable[ServerId]) -> None:
        """Drop what is known of servers that no longer exist. Entries of runs in progress stay."""
        keys = [as_text(server) for server in server_ids]
        await self._writer.call(lambda tables: tables.forget(keys))

    async def close(self) -> None:
        """Write what is queued, and close the file. Runs that have not ended are released as not complete."""
        await self._writer.close()

    async def __aenter__(self) -> Journal:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class JournalRun:
    """A run in progress. No other run has its names and servers until it ends.

    Attributes:
        standing: What earlier runs that did not complete left of the names of this one, by name as it was passed to
            `Journal.begin`: an `Intent` is in doubt, and an `Acknowledged` has the receipt of a server.
        standing_commands: The same of its servers, by id: the commands that may have been sent to them.
        recent: The receipts of servers of these names that complete runs created within the settle window, by name.
        before: The ids, as texts in lower case, that were in the account before the first of the earlier runs created
            one of these names; None where there is no such run.
        pairs: The replacements of servers that earlier runs have begun and not finished, of all names.
    """

    def __init__(
        self, writer: Writer, clock: Clock, token: str, subjects: Mapping[Subject, ServerId], begun: Begun
    ) -> None:
        """Use `Journal.begin`."""
        self._writer = writer
        self._clock = clock
        self._token = token
        self._subjects = subjects
        self._noted = False
        self._ended = False
        self.before: frozenset[str] | None = begun.before
        self.pairs: tuple[StandingPair, ...] = begun.pairs
        self.standing: Mapping[str, Intent | Acknowledged] = self._of_kind(Kind.NAME, begun)
        self.standing_commands: Mapping[ServerId, Intent | Acknowledged] = self._of_kind(Kind.SERVER, begun)
        self.recent: MappingProxyType[str, Receipt] = MappingProxyType(
            {str(subjects[subject]): receipt for subject, receipt in begun.recent.items()}
        )

    async def note_before(self, ids: Collection[ServerId]) -> None:
        """Record the ids that are in the account before this run creates anything. They are on the disk on return.

        Read the list after `Journal.begin`: until then another run may create. Raises `JournalError`.
        """
        self._check()
        known = same_ids(ids)
        await self._writer.call(lambda tables: tables.note_before(self._token, known))
        self._noted = True

    async def intend(self, subject: ServerId, operation: str) -> None:
        """Record that a command is about to be sent. It is on the disk on return.

        An intent of an earlier run for the same name counts as settled: it is replaced, and only the ids from before it
        are kept. If this is cancelled, the intent may be recorded, and `withdrawn` removes it.

        Args:
            subject: The name for ``create``, else the id of the server.
            operation: ``create``, ``start``, ``stop``, ``reboot`` or ``delete``.

        Raises:
            JournalError: It could not be recorded. The command must not be sent.
            ConfigurationError: The subject is not one of this run, or `note_before` was not called before a create.
        """
        claimed = self._claimed(subject, operation)
        if claimed.kind == Kind.NAME and not self._noted:
            raise ConfigurationError("note_before must be called before the first create of a run")
        at = stamp(self._clock.wall())
        await self._writer.call(lambda tables: tables.intend(self._token, claimed, operation, at))

    def acknowledged(self, subject: ServerId, receipt: Receipt) -> None:
        """Record the receipt of a command that was acknowledged, or of a server that was found. Never raises.

        It is queued at once, and on the disk within milliseconds. Where it can't be written, it is tried again with
        each later entry, and a warning is logged.
        """
        with _logged(f"the receipt of {subject} could not be recorded in the journal"):
            claimed = self._claimed(subject, receipt.operation)
            text, at = receipt.to_json(), stamp(self._clock.wall())
            self._writer.note(lambda tables: tables.acknowledge(self._token, claimed, receipt, text, at))

    async def leaving(self, name: str) -> None:
        """Record that the server that was created last of a name is about to be deleted. It is on the disk on return.

        The next run finds it in ``standing`` as `Acknowledged.leaving`: it waits for that server, and creates another
        one if it is gone. A new intent for the name, or its receipt once more (`acknowledged`), ends that.

        Raises:
            JournalError: It could not be recorded. The server must not be deleted.
        """
        claimed = self._claimed(name, "create")
        await self._writer.call(lambda tables: tables.leave(self._token, claimed))

    def done(self, subject: ServerId, operation: str) -> None:
        """Record that an acknowledged command on a server was seen done: the next run does not wait for it.

        Never raises; queued like a receipt.
        """
        with _logged(f"the journal could not record that {subject} is done"):
            claimed = self._claimed(subject, operation)
            if claimed.kind == Kind.NAME:
                raise ConfigurationError("what is created is done when its run is")
            self._writer.note(lambda tables: tables.finish(self._token, claimed))

    def withdrawn(self, subject: ServerId, operation: str) -> None:
        """Record that a command has no effect: it was provably not sent, was refused, or its server is gone.

        Never raises; queued like a receipt.
        """
        with _logged(f"the entry of {subject} could not be removed from the journal"):
            claimed = self._claimed(subject, operation)
            self._writer.note(lambda tables: tables.withdraw(self._token, claimed))

    async def pair(self, new: str, old: Server, new_id: ServerId | None = None) -> None:
        """Record that the server of this name takes the place of another one. It is on the disk on return.

        Args:
            new: The name of the new server, one of this run.
            old: The server that it takes the place of.
            new_id: The id of the new server, if it exists.

        Raises:
            JournalError: It could not be recorded. The replacement must not begin.
        """
        self._claimed(new, "create")
        at = stamp(self._clock.wall())
        if not await self._writer.call(lambda tables: tables.pairs.begin(self._token, new, old, new_id, at)):
            raise JournalError(
                "the journal took this run for dead: its lock file was removed; nothing was sent"
            )

    def pair_made(self, new: str, new_id: ServerId) -> None:
        """Record the id of the new server of a replacement. Never raises; queued like a receipt."""
        with _logged(f"the id of {new} could not be recorded in the journal"):
            self._writer.note(lambda tables: tables.pairs.made(self._token, new, new_id))

    async def pair_switching(self, new: str) -> None:
        """Record that the switch to the new server is about to be called. It is on the disk on return.

        Raises `JournalError`. The switch must not be called then.
        """
        await self._writer.call(lambda tables: tables.pairs.switching(self._token, new))

    def pair_switched(self, new: str) -> None:
        """Record that the new server has taken over from the old one. Never raises; queued like a receipt."""
        with _logged(f"the journal could not record that {new} has taken over"):
            self._writer.note(lambda tables: tables.pairs.switched(self._token, new))

    async def renaming(self, new: str) -> None:
        """Forget the create of a name, whose server gets another one: it is known by its id. On the disk on return.

        Raises `JournalError`. The server must not be renamed then.
        """
        claimed = self._claimed(new, "create")
        await self._writer.call(lambda tables: tables.withdraw(self._token, claimed))

    def pairs_ended(self, names: Collection[str]) -> None:
        """Remove replacements that are over. Never raises; queued like a receipt."""
        with _logged("the journal could not remove replacements that are over"):
            self._writer.note(lambda tables: tables.pairs.end(self._token, names))

    async def end(self, *, complete: bool) -> None:
        """Write what is queued, and release the names and servers. Ending again has no effect. Never raises.

        Args:
            complete: Whether no later run needs to take anything up: its entries are removed, except that a later run
                finds what was created in ``recent``. Receipts stay for `Journal.receipts` in either case. Where it is
                False, or could not be written, the next run with the same names finds them in ``standing``.
        """
        if self._ended or self._writer.closed:
            return
        self._ended = True
        with _logged("the end of a run could not be recorded in the journal"):
            await self._writer.call(lambda tables: tables.end(self._token, complete=complete), alone=True)

    async def __aenter__(self) -> JournalRun:
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the run as not complete, unless it has ended."""
        await self.end(complete=False)

    def _check(self) -> None:
        if self._ended:
            raise ConfigurationError("this run of the journal has ended")

    def _claimed(self, subject: ServerId, operation: str) -> Subject:
        self._check()
        claimed = subject_of(subject, operation)
        if claimed not in self._subjects:
            raise ConfigurationError(
                f"{subject!r} is not among the names and servers with which the run began"
            )
        return claimed

    def _of_kind(self, kind: Kind, begun: Begun) -> Mapping[Any, Intent | Acknowledged]:
        return MappingProxyType(
            {
                self._subjects[subject]: left
                for subject, left in begun.standing.items()
                if subject.kind == kind
            }
        )


@contextlib.contextmanager
def _logged(what: str) -> Iterator[None]:
    """Log an exception instead of raising it."""
    try:
        yield
    except Exception as failure:
        log.warning("%s: %s", what, failure, exc_info=not isinstance(failure, VpsOrgError))
