"""The rows of replacements in progress: which new server takes the place of which old one.

A row is written before the create of the new server is sent, and removed when the old one is gone. Only a run that has
the name of the new server changes its row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from ..conversion import read, unstructure
from ..records import Server, ServerId
from ..specs import name_key
from .entries import StandingPair

__all__ = ["PairTable"]

_NOT_SWITCHED, _SWITCHED, _SWITCHING = range(3)
_HELD = "SELECT 1 FROM claims WHERE account = ? AND kind = 'name' AND key = ? AND run = ?"


class PairTable:
    """The replacements of one account. All methods run inside a transaction of the caller."""

    def __init__(self, connection: sqlite3.Connection, account: str) -> None:
        self._execute = connection.execute
        self._account = account

    def all(self) -> tuple[StandingPair, ...]:
        """Return all replacements in progress, by the names of their new servers."""
        rows = self._execute(
            "SELECT shown, old, made, switched FROM pairs WHERE account = ? ORDER BY name", (self._account,)
        )
        return tuple(
            StandingPair(
                new=shown,
                old=read(json.loads(old), Server),
                new_id=None if made is None else json.loads(made),
                switched=switched == _SWITCHED,
                switching=switched != _NOT_SWITCHED,
            )
            for shown, old, made, switched in rows
        )

    def begin(self, run: str, new: str, old: Server, new_id: ServerId | None, at: str) -> bool:
        """Store a replacement, instead of one of the same new name, or of one that this one takes back.

        That the switch to the same new server was called is kept.

        Returns False where the run no longer has the name.
        """
        key = name_key(new)
        if self._execute(_HELD, (self._account, key, run)).fetchone() is None:
            return False
        record = json.dumps(unstructure(old, Server, passwords=False))
        made = None if new_id is None else json.dumps(new_id)
        before = self._execute(
            "SELECT switched FROM pairs WHERE account = ? AND name = ? AND made = ?",
            (self._account, key, made),
        ).fetchone()
        self._execute(
            "DELETE FROM pairs WHERE account = ? AND name IN (?, ?)", (self._account, key, name_key(old.name))
        )
        called = _NOT_SWITCHED if before is None or before[0] == _NOT_SWITCHED else _SWITCHING
        self._execute(
            "INSERT INTO pairs (account, name, shown, at, old, made, switched) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._account, key, new, at, record, made, called),
        )
        return True

    def made(self, run: str, new: str, new_id: ServerId) -> None:
        """Store the id of the new server. What was switched to is that server, and no other one."""
        made = json.dumps(new_id)
        self._update(run, new, "switched = CASE WHEN made = ? THEN switched ELSE 0 END, made = ?", made, made)

    def switched(self, run: str, new: str) -> None:
        """Store that the new server has taken over."""
        self._update(run, new, "switched = ?", _SWITCHED)

    def switching(self, run: str, new: str) -> None:
        """Store that the switch to the new server is called."""
        self._update(run, new, "switched = ?", _SWITCHING)

    def end(self, run: str, names: Iterable[str]) -> None:
        """Remove replacements that are over, except where another run has the name."""
        for name in map(name_key, names):
            self._execute(
                "DELETE FROM pairs WHERE account = ? AND name = ? AND NOT EXISTS (SELECT 1 FROM claims WHERE"
                " account = pairs.account AND kind = 'name' AND key = pairs.name AND run <> ?)",
                (self._account, name, run),
            )

    def clean(self, oldest: str) -> None:
        """Remove what was written before that time, and that no run is working on."""
        self._execute(
            "DELETE FROM pairs WHERE at < ? AND NOT EXISTS (SELECT 1 FROM claims WHERE account = pairs.account"
            " AND kind = 'name' AND key = pairs.name)",
            (oldest,),
        )

    def _update(self, run: str, new: str, change: str, *values: object) -> None:
        key = name_key(new)
        self._execute(
            f"UPDATE pairs SET {change} WHERE account = ? AND name = ? AND EXISTS ({_HELD})",
            (*values, self._account, key, self._account, key, run),
        )
