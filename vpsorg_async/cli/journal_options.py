"""The journal of a command: which file it is, and how it is opened.

Every command that creates, starts, stops, reboots or deletes keeps one, in the platform's folder for state: one file
for each profile and address. It is not for one token, because tokens are replaced. A journal that nobody asked for must
not keep a command from its work: if it can't be used, one line says so, and the command goes on without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import attrs
from cyclopts import Group, Parameter

from ..config import check_base_url
from ..errors import ConfigurationError, JournalError, VpsOrgError
from ..journal import Journal, JournalRun
from ..records import ServerId
from .settings import Settings
from .stdio import note

__all__ = ["JOURNAL", "NO_JOURNAL", "JournalFile", "JournalOptions"]

LONGEST = 60
"""The maximum length of the readable part of a file's name."""


@Parameter(name="*", group=Group("Journal", sort_key=2))
@attrs.frozen(kw_only=True)
class JournalOptions:
    """The options of every command that keeps a journal."""

    journal: Annotated[
        str | None,
        Parameter(
            help="File of the journal: what was sent, for the next command. Default: in the state folder."
        ),
    ] = None
    no_journal: Annotated[bool, Parameter(help="Use no journal.", show_default=False)] = False

    def file(self, settings: Settings) -> JournalFile:
        """Return the journal to use. Raises `ConfigurationError`."""
        if self.journal is not None and self.no_journal:
            raise ConfigurationError("give --journal or --no-journal, not both")
        account = check_base_url(settings.base_url)
        if self.no_journal:
            return NO_JOURNAL
        asked = settings.journal if self.journal is None else self.journal
        if asked is not None:
            if not asked.strip():
                raise ConfigurationError("--journal is the path of a file")
            return JournalFile(
                path=Path(asked).expanduser(), asked=True, account=account, option=self.journal
            )
        path = _default(settings.profile, account)
        return JournalFile(path=path, account=account, homeless=path is None)


JOURNAL = JournalOptions()
"""The default: no option was given."""


@attrs.frozen(kw_only=True)
class JournalFile:
    """Where the journal is; ``path`` is None for none.

    ``asked``: the user named it; ``option``: by this option of the command. ``homeless``: there is no folder for it.
    """

    path: Path | None = None
    asked: bool = False
    account: str = ""
    option: str | None = None
    homeless: bool = False

    @contextlib.asynccontextmanager
    async def opened(self, *, new: bool = True) -> AsyncGenerator[Journal | None]:
        """Open the journal; None for none, or if it can't be opened and nobody asked for it.

        Args:
            new: Whether a file that does not exist is created.

        Raises:
            ConfigurationError: A journal that was asked for can't be opened.
        """
        journal = None
        if self.path is not None and (new or not _is_missing(self.path)):
            try:
                journal = await Journal.open(self.path, account=self.account)
            except ConfigurationError as problem:
                self._unusable(problem)
        elif self.path is not None and self.asked:
            raise ConfigurationError(f"there is no journal {self.path}")
        elif self.homeless and new:
            _not_used("there is no home directory")
        if journal is None:
            yield None
            return
        async with journal:
            yield journal

    async def begin(
        self, journal: Journal | None, operation: str, names: Iterable[str] = (), ids: Iterable[ServerId] = ()
    ) -> JournalRun | None:
        """Begin a run; None without a journal, or if it can't be written and nobody asked for it.

        Raises:
            ConfigurationError: Another command works on one of them, or a journal that was asked for can't be written.
        """
        if journal is None:
            return None
        try:
            return await journal.begin(operation, names, ids)
        except JournalError as problem:
            self._unusable(problem)
            return None

    @property
    def written(self) -> str:
        """The option for a shell, after a space, so that a hint can repeat it; empty for none."""
        return "" if self.option is None else f" --journal {shlex.quote(self.option)}"

    def _unusable(self, problem: VpsOrgError) -> None:
        if self.asked:
            raise ConfigurationError(str(problem)) from None
        _not_used(str(problem))


NO_JOURNAL = JournalFile()


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass  # why it can't be read shows when it is opened
    return False


def _not_used(why: str) -> None:
    note(f"vpsorg: the journal is not used: {why}")


def _default(profile: str, account: str) -> Path | None:
    """Return the file for a profile and an address; None if there is no home directory."""
    from platformdirs import user_state_path

    folder = user_state_path("vpsorg", appauthor=False)
    if not os.path.isabs(folder):
        return None
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{profile}-{urlsplit(account).netloc}")[:LONGEST]
    # two profiles or addresses can have the same readable part
    exact = hashlib.sha256(f"{profile}\n{account}".encode()).hexdigest()[:12]
    return folder / "journals" / f"{readable}-{exact}.db"
