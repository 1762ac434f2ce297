"""What remains of a rolling operation: the servers for the next call, with what was sent to them. Plain data."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from ..errors import ConfigurationError
from ..journal import Acknowledged, Intent
from ..records import Server, ServerId
from ..specs import id_of, id_text
from .resumption import Resumption

__all__ = ["Remaining"]


class Remaining(Collection[ServerId]):
    """The ids of a rolling operation that have not succeeded, in the order given: for the next `Fleet.rolling`.

    It also holds what the next call must know, so pass it as it is. A list that is made of it is a new operation,
    which would reboot again what was in flight. See `Report.remaining`.
    """

    def __init__(
        self, operation: str, fleet: Sequence[ServerId], sent: Mapping[ServerId, Intent | Acknowledged]
    ) -> None:
        """``operation`` is the command, ``fleet`` all servers of the operation, ``sent`` what was sent to which."""
        self.operation: str = operation
        self.fleet: tuple[ServerId, ...] = tuple(fleet)
        self._sent = dict(sent)
        self._ids = tuple(server_id for server_id in fleet if not _is_done(sent.get(server_id)))
        self._texts = frozenset(map(id_text, self._ids))

    def __iter__(self) -> Iterator[ServerId]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, server_id: object) -> bool:
        return isinstance(server_id, int | str) and id_text(server_id) in self._texts

    def __repr__(self) -> str:
        return (
            f"<what remains of a rolling {self.operation}: {len(self._ids)} of {len(self.fleet)} servers: "
            f"{', '.join(map(str, self._ids[:10]))}{', ...' if len(self._ids) > 10 else ''}>"
        )

    def without(self, *servers: ServerId | Server) -> Remaining:
        """Return the operation over a fleet that does not have these servers.

        For a server that was given up, or whose reboot was in doubt until you looked at it.
        """
        left_out = {id_text(id_of(server)) for server in servers}
        kept = [server_id for server_id in self.fleet if id_text(server_id) not in left_out]
        return Remaining(self.operation, kept, self._sent)

    def resumption(self, operation: str) -> Resumption:
        """Return what a run of this operation takes up. Raises `ConfigurationError` if it is another one."""
        if operation != self.operation:
            raise ConfigurationError(
                f"this is what remains of a rolling {self.operation}, not of a rolling {operation}; nothing was sent"
            )
        return Resumption(commands=self._sent)


def _is_done(left: Intent | Acknowledged | None) -> bool:
    return isinstance(left, Acknowledged) and left.done
