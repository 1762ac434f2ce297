"""The journal of one run: an intent before each command, its receipt after it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Self

import anyio

from ..errors import RequestError, Sent
from ..journal import Journal, JournalRun, StandingPair
from ..lifecycle.receipts import Receipt
from ..records import Server, ServerId
from ..specs import ServerSpec
from ..timing import time_before
from .jobs import Job, RunContext
from .resumption import Resumption

__all__ = ["COMMANDS_LAST", "Intents", "standing_pairs"]

COMMANDS_LAST = 3600.0
"""Seconds for which commands of an earlier run are taken up, at least. Creates are, whenever they were sent."""


class Intents:
    """What a run writes into its journal. See `vpsorg_async.journal.protocol` for what that is worth.

    A run holds what it was called with: names or servers. ``ensure``, which holds names, also starts servers; that is
    not recorded. A repeated start does no harm: it is refused, and the server shows that it runs.
    """

    def __init__(
        self,
        journal: Journal,
        run: JournalRun,
        name_of: Callable[[ServerSpec], str],
        ids: Collection[ServerId],
        oldest: datetime,
    ) -> None:
        self._journal = journal
        self._run = run
        self._name_of = name_of
        self._ids = frozenset(ids)
        self._oldest = oldest

    @classmethod
    async def begin(
        cls,
        file: str,
        context: RunContext,
        operation: str,
        specs: Iterable[ServerSpec] = (),
        ids: Collection[ServerId] = (),
        settle: float = 0.0,
        lasting: float = COMMANDS_LAST,
    ) -> Self:
        """Open the journal and get hold of the names of the specs, and of the servers.

        ``settle`` is the time in seconds for which a list may not show what a complete run has created, and ``lasting``
        that for which commands of an earlier run are taken up.

        Raises:
            ConfigurationError: The file can't be used, or another run, of any process, has one of them.
            JournalError: The journal can't be written.
        """
        name_of = context.endpoints.shown_name
        journal = await Journal.open(file, account=context.account, clock=context.clock)
        try:
            run = await journal.begin(operation, map(name_of, specs), ids, settle=settle)
            return cls(journal, run, name_of, ids, time_before(context.clock.wall(), lasting))
        except BaseException:
            await journal.close()
            raise

    @property
    def resumption(self) -> Resumption:
        """What earlier runs left of the names and servers of this one."""
        commands = self._run.standing_commands
        if commands and max(left.at for left in commands.values()) < self._oldest:
            # the same call means another reboot by now, and not that of last week
            commands = {}
        return Resumption.of_journal(self._run.standing, commands, self._run.recent, self._run.pairs)

    async def note_before(self, ids: Collection[str]) -> None:
        """Record the ids that are in the account before anything is created. Raises `JournalError`."""
        await self._run.note_before(ids)

    async def intend(self, job: Job) -> None:
        """Record that the command of a job is about to be sent. Raises `JournalError`: it must not be sent then."""
        if self._holds(job):
            await self._run.intend(self._subject(job), job.command)

    def acknowledged(self, job: Job, receipt: Receipt) -> None:
        """Record the receipt of the command of a job, or of the server that was found for it."""
        if self._holds(job):
            self._run.acknowledged(self._subject(job), receipt)

    async def leaving(self, job: Job) -> None:
        """Record that the server that was created for a job is about to be deleted, and that another one follows.

        Raises `JournalError`: it must not be deleted then. `acknowledged` with its receipt takes this back.
        """
        assert job.spec is not None
        await self._run.leaving(self._name_of(job.spec))

    def done(self, job: Job, operation: str) -> None:
        """Record that the command of a job was seen done, also where an earlier run had sent it."""
        self._run.done(self._subject(job), operation)

    def failed(self, job: Job, error: Exception) -> None:
        """Take the intent back, unless the command may have been applied."""
        if not (isinstance(error, RequestError) and error.sent is Sent.MAYBE):
            self.withdrawn(job)

    def withdrawn(self, job: Job) -> None:
        """Record that nothing is left of the command of a job: it was not sent, was refused, or its server is gone."""
        if self._holds(job):
            self._run.withdrawn(self._subject(job), job.command or "create")

    async def pair(self, spec: ServerSpec, old: Server, new_id: ServerId | None) -> None:
        """Record that a new server takes the place of an old one. Raises `JournalError`: it must not begin then."""
        await self._run.pair(self._name_of(spec), old, new_id)

    def paired(self, spec: ServerSpec, new: Server) -> None:
        """Record the id of the new server."""
        self._run.pair_made(self._name_of(spec), new.id)

    async def switching(self, spec: ServerSpec) -> None:
        """Record that the switch is about to be called. Raises `JournalError`: it must not be called then."""
        await self._run.pair_switching(self._name_of(spec))

    def switched(self, spec: ServerSpec) -> None:
        """Record that the new server has taken over."""
        self._run.pair_switched(self._name_of(spec))

    async def renaming(self, spec: ServerSpec) -> None:
        """Forget the create of a new server that is about to get another name: its id is in its replacement.

        Raises `JournalError`: it must not be renamed then.
        """
        await self._run.renaming(self._name_of(spec))

    def replaced(self, names: Collection[str]) -> None:
        """Record that replacements are over, by the names of the new servers as they are shown."""
        self._run.pairs_ended(names)

    def pair_ended(self, spec: ServerSpec) -> None:
        """Record that a replacement is over."""
        self.replaced([self._name_of(spec)])

    async def end(self, *, complete: bool) -> None:
        """Release the names and servers. A complete run leaves nothing to take up."""
        try:
            await self._run.end(complete=complete)
        finally:
            await self._journal.close()

    def _holds(self, job: Job) -> bool:
        return job.spec is not None or job.server_id in self._ids

    def _subject(self, job: Job) -> ServerId:
        if job.spec is not None:
            return self._name_of(job.spec)
        assert job.server_id is not None
        return job.server_id


async def standing_pairs(file: str | None, context: RunContext) -> tuple[StandingPair, ...]:
    """Return the replacements that a journal has. A file that does not exist is not created.

    Raises:
        ConfigurationError: The file can't be used.
        JournalError: The journal can't be read.
    """
    if file is None or not await anyio.Path(file).exists():
        return ()
    async with await Journal.open(file, account=context.account, clock=context.clock) as journal:
        return await journal.pairs()
