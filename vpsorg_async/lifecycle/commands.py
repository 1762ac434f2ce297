"""The commands and what each does to a server's status: one record each. Data.

Source: https://www.vps.org/api/v1/docs/servers/. The page names no word for a server that is being deleted:
``deleting`` is a word of this package. The page does not have ``hard_stop`` and ``resize``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

__all__ = ["COMMANDS", "GONE", "IN_PLACE", "LEAVING", "MOVING", "ONCE", "ROLLING", "SETTLED", "Command"]

GONE = "gone"
"""The status of a server that does not exist any more."""
SETTLED = frozenset({"active", "stopped", "suspended"})
LEAVING = frozenset(
    {"deleted", "deleting", "destroyed", "destroying", "removed", "removing", "terminated", "terminating"}
)
"""Status words that mean that a server is being deleted, or is deleted, in any service."""


@attrs.frozen
class Command:
    """A command on a server.

    ``before`` is the status that the server must have for the API to accept the command (None: it accepts it in any),
    ``moving`` the status while the command is applied, ``target`` the status afterwards, or ``settled`` for any that
    does not change by itself, ``past`` the past participle.
    """

    word: str
    before: str | None
    moving: str
    target: str
    past: str

    @property
    def shows_accepted(self) -> frozenset[str]:
        """The statuses of a server that has accepted the command, or applied it.

        A command that is accepted in any status has none on the way: another one may have put the server there.
        """
        return frozenset({self.target} if self.before is None else {self.moving, self.target})


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        command.word: command
        for command in (
            Command("create", None, "provisioning", "active", "created"),
            Command("start", "stopped", "starting", "active", "started"),
            Command("stop", "active", "stopping", "stopped", "stopped"),
            Command("reboot", "active", "rebooting", "active", "rebooted"),
            Command("delete", None, "deleting", GONE, "deleted"),
            # of the provider dialect alone
            Command("hard_stop", None, "stopping", "stopped", "stopped"),
            # it may restart the server, which has its status of before afterwards
            Command("resize", None, "rebooting", "settled", "resized"),
        )
    }
)
IN_PLACE: Mapping[str, Command] = MappingProxyType(
    {word: command for word, command in COMMANDS.items() if command.before is not None}
)
"""The commands that keep the server: start, stop and reboot."""
ROLLING: Mapping[str, Command] = MappingProxyType(
    {**IN_PLACE, "resize": attrs.evolve(COMMANDS["resize"], before="active", target="active")}
)
"""The commands of rolling operations, which a resize is of servers that are active."""
ONCE = frozenset({"reboot", "resize", "snapshot"})
"""What is never sent again while it may have been applied: no status shows whether it was."""
MOVING = frozenset(command.moving for command in COMMANDS.values() if command.target != GONE)
"""The documented statuses of a server that a command is being applied to."""
