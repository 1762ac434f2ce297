"""What is read and written in the tables of one account.

`Tables.begin` and `Tables.end` have transactions of their own; all other methods run inside one of the caller.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from ..errors import ConfigurationError, JournalError
from ..lifecycle.receipts import Receipt
from ..records import ServerId
from .entries import Acknowledged, Intent, Kind, StandingPair, Subject, as_text, read_ids
from .pair_table import PairTable
from .run_locks import RunLock, is_alive, remove_leftovers
from .storage import Storage

__all__ = ["Begun", "Tables", "stamp"]

MAX_SHOWN = 10

_CLAIMED = (
    "account = ? AND kind = ? AND key = ? AND EXISTS (SELECT 1 FROM claims WHERE"
    " account = entries.account AND kind = entries.kind AND key = entries.key AND run = ?)"
)


class Begun(NamedTuple):
    """What earlier runs left of the subjects of a new one."""

    standing: Mapping[Subject, Intent | Acknowledged]
    recent: Mapping[Subject, Receipt]
    before: frozenset[str] | None
    pairs: tuple[StandingPair, ...] = ()


def stamp(at: datetime) -> str:
    """Return a time as a text. Texts of this form sort like their times."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


class Tables:
    """The rows of one account in an open file. Belongs to one thread."""

    def __init__(self, storage: Storage, account: str) -> None:
        self.file: str = storage.file
        self.transaction: Callable[[], contextlib.AbstractContextManager[None]] = storage.transaction
        self._storage = storage
        self._account = account
        self._execute = storage.connection.execute
        self._live: dict[str, RunLock] = {}
        self.pairs: PairTable = PairTable(storage.connection, account)

    @classmethod
    def open(cls, file: str, account: str, oldest: str) -> Tables:
        """Open the file; remove dead runs and what was written before ``oldest``. Raises `ConfigurationError`."""
        storage = Storage(file)
        try:
            with storage.opening():
                tables = cls(storage, account)
                tables._clean(oldest)
        except BaseException:
            storage.close()
            raise
        return tables

    def close(self) -> None:
        """Close the file. Runs that have not ended are released, and not complete."""
        for run in list(self._live):
            with contextlib.suppress(JournalError):
                self.end(run, complete=False)
        self._storage.close()

    def begin(
        self, run: str, operation: str, subjects: Mapping[Subject, ServerId], at: str, since: str
    ) -> Begun:
        """Claim the subjects. Raises `ConfigurationError` where a live run holds one.

        What complete runs have created since ``since`` is recent.
        """
        lock = None
        try:
            with self.transaction():
                self._refuse_claimed(subjects)
                lock = RunLock(self.file, run)
                self._execute(
                    "INSERT INTO runs (token, account, operation, pid, began_at) VALUES (?, ?, ?, ?, ?)",
                    (run, self._account, operation, os.getpid(), at),
                )
                self._storage.connection.executemany(
                    "INSERT INTO claims (account, kind, key, run) VALUES (?, ?, ?, ?)",
                    [(self._account, *subject, run) for subject in subjects],
                )
                begun = self._left(subjects, since)
        except BaseException:
            if lock is not None:
                lock.remove()
            raise
        self._live[run] = lock
        return begun

    def end(self, run: str, *, complete: bool) -> None:
        """Release the claims of a run, and remove its entries if it is complete. Ending again has no effect.

        Where that can't be written, the claims are released all the same, because the lock is.
        """
        lock = self._live.pop(run, None)
        if lock is None:
            return
        try:
            with self.transaction():
                if complete:
                    of_run = "(account, kind, key) IN (SELECT account, kind, key FROM claims WHERE run = ?)"
                    self._execute(
                        f"DELETE FROM entries WHERE {of_run} AND (kind = 'server' OR receipt IS NULL)", (run,)
                    )
                    self._execute(f"UPDATE entries SET done = 1, snapshot = NULL WHERE {of_run}", (run,))
                self._execute("DELETE FROM runs WHERE token = ?", (run,))
                self._drop_snapshots()
        finally:
            lock.remove()

    def note_before(self, run: str, ids: Collection[str]) -> None:
        """Store the ids that are in the account."""
        self._execute("INSERT INTO snapshots (ids) VALUES (?)", (json.dumps(sorted(ids)),))
        self._execute("UPDATE runs SET snapshot = last_insert_rowid() WHERE token = ?", (run,))

    def intend(self, run: str, subject: Subject, operation: str, at: str) -> None:
        """Store an intent. Raises `JournalError` where the run no longer has its claim."""
        # A create in doubt keeps the ids from before its first attempt: its server can still appear. A server that was
        # created for sure is in the list that this run has read.
        written = self._execute(
            "INSERT INTO entries (account, kind, key, operation, at, snapshot)"
            " SELECT claims.account, kind, key, ?, ?, snapshot FROM claims JOIN runs ON token = run"
            " WHERE claims.account = ? AND kind = ? AND key = ? AND run = ?"
            " ON CONFLICT (account, kind, key) DO UPDATE SET operation = excluded.operation, at = excluded.at,"
            " snapshot = CASE WHEN entries.receipt IS NULL THEN coalesce(entries.snapshot, excluded.snapshot)"
            " ELSE excluded.snapshot END, server = NULL, receipt = NULL, done = 0",
            (operation, at, self._account, *subject, run),
        )
        if not written.rowcount:
            raise self._lost_claim()

    def acknowledge(self, run: str, subject: Subject, receipt: Receipt, text: str, at: str) -> None:
        """Store a receipt."""
        server = as_text(receipt.server_id)
        self._execute(
            "INSERT INTO entries (account, kind, key, operation, at, snapshot, server, receipt)"
            " SELECT claims.account, kind, key, ?, ?, snapshot, ?, ? FROM claims JOIN runs ON token = run"
            " WHERE claims.account = ? AND kind = ? AND key = ? AND run = ?"
            " ON CONFLICT (account, kind, key) DO UPDATE SET operation = excluded.operation, at = excluded.at,"
            " server = excluded.server, receipt = excluded.receipt, done = 0",
            (receipt.operation, at, server, text, self._account, *subject, run),
        )
        # a create comes before all other commands on its server, although it may be noticed after them
        self._execute(
            "INSERT INTO receipts (account, server, operation, at, receipt) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (account, server) DO UPDATE SET"
            " operation = excluded.operation, at = excluded.at, receipt = excluded.receipt"
            " WHERE excluded.operation <> 'create' OR operation = 'create'",
            (self._account, server, receipt.operation, at, text),
        )
        if receipt.operation == "delete":
            self._drop_entries(server)
            # a run that holds the name as well must not leave the receipt of a create whose server it has deleted
            self._execute(
                "DELETE FROM entries WHERE account = ? AND server = ? AND kind = 'name'"
                " AND (account, kind, key) IN (SELECT account, kind, key FROM claims WHERE run = ?)",
                (self._account, server, run),
            )

    def leave(self, run: str, subject: Subject) -> None:
        """Say of a created server that it is about to be deleted. Raises `JournalError` where the claim is lost."""
        # its id stays, so that the next run knows which server of the name this is
        written = self._execute(
            f"UPDATE entries SET operation = 'delete' WHERE receipt NOT NULL AND {_CLAIMED}",
            (self._account, *subject, run),
        )
        if not written.rowcount:
            raise self._lost_claim()

    def finish(self, run: str, subject: Subject) -> None:
        """Say of an entry with a receipt that its command is done."""
        self._execute(
            f"UPDATE entries SET done = 1 WHERE receipt NOT NULL AND {_CLAIMED}",
            (self._account, *subject, run),
        )

    def withdraw(self, run: str, subject: Subject) -> None:
        """Remove an entry."""
        self._execute(f"DELETE FROM entries WHERE {_CLAIMED}", (self._account, *subject, run))

    def receipts(self, servers: Iterable[str]) -> dict[str, Receipt]:
        """Return the last acknowledged command on each of the servers."""
        found: dict[str, Receipt] = {}
        for server in servers:
            for (text,) in self._execute(
                "SELECT receipt FROM receipts WHERE account = ? AND server = ?", (self._account, server)
            ):
                found[server] = Receipt.from_json(text)
        return found

    def created(self, subjects: Iterable[Subject], since: str) -> dict[Subject, Receipt]:
        """Return the receipts of creates of these names that were acknowledged since then."""
        found: dict[Subject, Receipt] = {}
        for subject in subjects:
            for (text,) in self._execute(
                "SELECT receipt FROM entries WHERE account = ? AND kind = ? AND key = ?"
                " AND operation = 'create' AND receipt NOT NULL AND at > ?",
                (self._account, *subject, since),
            ):
                found[subject] = Receipt.from_json(text)
        return found

    def fulfil(self, server: str, receipt: Receipt) -> None:
        """Remove a receipt, unless a later command has replaced it."""
        if self.receipts([server]).get(server) == receipt:
            self._execute("DELETE FROM receipts WHERE account = ? AND server = ?", (self._account, server))

    def forget(self, servers: Iterable[str]) -> None:
        """Remove what is known of servers, except where a run is working on it."""
        for server in servers:
            self._execute("DELETE FROM receipts WHERE account = ? AND server = ?", (self._account, server))
            self._drop_entries(server)
        self._drop_snapshots()

    def _lost_claim(self) -> JournalError:
        return JournalError(
            f"the journal {self.file} took this run for dead: its lock file was removed; nothing was sent"
        )

    def _clean(self, oldest: str) -> None:
        for (token,) in self._execute("SELECT token FROM runs").fetchall():
            if not is_alive(self.file, token):
                self._execute("DELETE FROM runs WHERE token = ?", (token,))
        remove_leftovers(self.file)
        # a folder that takes no files, or a file system without locks, must show before anything is sent
        RunLock(self.file, uuid.uuid4().hex).remove()
        self._execute(
            "DELETE FROM entries WHERE at < ? AND (account, kind, key) NOT IN (SELECT account, kind, key FROM claims)",
            (oldest,),
        )
        self._execute("DELETE FROM receipts WHERE at < ?", (oldest,))
        self.pairs.clean(oldest)
        self._drop_snapshots()

    def _refuse_claimed(self, subjects: Mapping[Subject, ServerId]) -> None:
        held: dict[str, list[Subject]] = {}
        for subject in subjects:
            for (token,) in self._execute(
                "SELECT run FROM claims WHERE account = ? AND kind = ? AND key = ?", (self._account, *subject)
            ):
                held.setdefault(token, []).append(subject)
        busy = []
        for token, claimed in held.items():
            operation, pid, began_at = self._execute(
                "SELECT operation, pid, began_at FROM runs WHERE token = ?", (token,)
            ).fetchone()
            if not is_alive(self.file, token):
                self._execute("DELETE FROM runs WHERE token = ?", (token,))
                continue
            since = datetime.fromisoformat(began_at).strftime("%Y-%m-%d %H:%M:%S UTC")
            for kind, what in ((Kind.NAME, "names"), (Kind.SERVER, "servers")):
                of_kind = sorted(str(subjects[subject]) for subject in claimed if subject.kind == kind)
                if of_kind:
                    more = f" and {len(of_kind) - MAX_SHOWN} more" if len(of_kind) > MAX_SHOWN else ""
                    busy.append(
                        f"another run ({operation}, process {pid}, since {since}) is working on these {what}: "
                        f"{', '.join(of_kind[:MAX_SHOWN])}{more}"
                    )
        if busy:
            raise ConfigurationError(f"{'; '.join(busy)}; nothing was sent")

    def _left(self, subjects: Iterable[Subject], since: str) -> Begun:
        standing: dict[Subject, Intent | Acknowledged] = {}
        recent: dict[Subject, Receipt] = {}
        snapshots: dict[int, frozenset[str]] = {}
        for subject in subjects:
            for operation, at, snapshot, text, done in self._execute(
                "SELECT operation, at, snapshot, receipt, done FROM entries"
                " WHERE account = ? AND kind = ? AND key = ?",
                (self._account, *subject),
            ):
                if done and subject.kind == Kind.NAME:
                    if at > since:
                        recent[subject] = Receipt.from_json(text)
                    continue
                before = frozenset[str]()
                if subject.kind == Kind.NAME and snapshot is not None:
                    if snapshot not in snapshots:
                        snapshots[snapshot] = self._snapshot(snapshot)
                    before = snapshots[snapshot]
                standing[subject] = (
                    Intent(operation=operation, at=datetime.fromisoformat(at), before=before)
                    if text is None
                    else Acknowledged(
                        receipt=Receipt.from_json(text),
                        done=bool(done),
                        leaving=subject.kind == Kind.NAME and operation == "delete",
                    )
                )
        # the numbers of snapshots grow
        oldest = snapshots[min(snapshots)] if snapshots else None
        return Begun(standing, recent, oldest, self.pairs.all())

    def _snapshot(self, number: int) -> frozenset[str]:
        (ids,) = self._execute("SELECT ids FROM snapshots WHERE id = ?", (number,)).fetchone()
        return read_ids(ids)

    def _drop_entries(self, server: str) -> None:
        """Remove what no run is working on."""
        self._execute(
            "DELETE FROM entries WHERE account = ? AND (server = ? OR (kind = 'server' AND key = ?))"
            " AND (account, kind, key) NOT IN (SELECT account, kind, key FROM claims)",
            (self._account, server, server),
        )

    def _drop_snapshots(self) -> None:
        self._execute(
            "DELETE FROM snapshots WHERE id NOT IN (SELECT snapshot FROM entries WHERE snapshot NOT NULL)"
            " AND id NOT IN (SELECT snapshot FROM runs WHERE snapshot NOT NULL)"
        )
