"""A file of hosts that follows the account: written again, completely or not at all, whenever its text changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from ..errors import (
    ConfigurationError,
    DecodeError,
    RateLimitError,
    ServiceError,
    TransportError,
)
from .account_hosts import AccountHosts, Seen
from .files import replace, why
from .host_entries import HostEntry
from .output import printable
from .reports import number, some
from .stdio import note

__all__ = ["HostNotes", "KeptFile"]

TRANSIENT = (TransportError, ServiceError, RateLimitError, DecodeError)
"""After these errors the file stays as it is, and the account is listed again."""
MOST = 20
"""Notes at a time."""
MODE = 0o644
"""Of a new file: Prometheus and others run as users of their own, and nothing in it is secret."""


@attrs.define(eq=False)
class HostNotes:
    """What is said on standard error: each thing once, for as long as it holds.

    ``all_shown``: whether the text also has the hosts without an address.
    """

    quiet: bool = False
    all_shown: bool = False
    _said: set[str] = attrs.field(factory=set, init=False)

    def show(self, seen: Seen) -> None:
        """Say what is not as the servers are, and what is not shown."""
        lines = [*seen.notes, *(line for entry in seen.hosts for line in entry.notes)]
        without = [entry.name for entry in seen.hosts if not entry.addresses]
        if without and not self.all_shown:
            lines.append(f"left out, because they have no address: {some(without)}")
        lines += [f"no server is {reference.text}" for reference in seen.missing]
        lines += [f"the list lacks servers: {seen.lacks}"] if seen.lacks else []
        self.say(*lines)

    def say(self, *lines: str) -> None:
        """Print the lines that were not said the last time."""
        new = [line for line in lines if line not in self._said]
        self._said = {*lines}
        if not self.quiet:
            for line in new[:MOST]:
                note(printable(line))
            if len(new) > MOST:
                note(f"and {len(new) - MOST} notes more")


@attrs.frozen
class KeptFile:
    """A file that other programs read at any time."""

    path: Path
    text: Callable[[Sequence[HostEntry]], str]
    notes: HostNotes

    def check(self) -> None:
        """Raise `ConfigurationError` if a file can't be replaced there."""
        target = Path(os.path.realpath(self.path))
        if target.exists() and not target.is_file():
            raise ConfigurationError(f"{self.path} is no file")
        if not os.access(target.parent, os.W_OK):
            raise ConfigurationError(f"{self.path}: there is no folder {target.parent} that can be written")

    def write(self, hosts: Sequence[HostEntry]) -> None:
        """Write the hosts if the file differs. Raises `OSError`, and the file is as before."""
        text = self.text(hosts)
        if self._differs(text):
            replace(self.path, text, mode=MODE, in_place=False)
            if not self.notes.quiet:
                note(f"{self.path}: {number(hosts)}")

    async def follow(self, hosts: AccountHosts) -> None:
        """Read the account once, and write the file if it differs. An error that may pass is a note."""
        try:
            seen = await hosts.read()
            self.notes.show(seen)
            self.write(seen.hosts)
        except TRANSIENT as error:
            self.notes.say(f"vpsorg: {self.path} stays as it is: {error}")
        except OSError as error:
            self.notes.say(f"vpsorg: {self.path} stays as it is: {why(error)}")

    def _differs(self, text: str) -> bool:
        """Return whether the file has another text, or can't be read."""
        try:
            return self.path.read_bytes() != text.encode()
        except OSError:
            return True
