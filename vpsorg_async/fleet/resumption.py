"""What earlier attempts of the same work left: servers that they created, and names that are in doubt. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import attrs

from ..errors import OutcomeUnknownError, VpsOrgError
from ..journal import Acknowledged, Intent, StandingPair
from ..journal.entries import same_ids
from ..lifecycle.receipts import Receipt
from ..records import ServerId
from ..specs import ServerSpec, id_text, name_key

__all__ = ["Doubted", "Resumption"]


@attrs.frozen
class Doubted:
    """A name that an earlier attempt may have created. ``before`` has the ids that can't be its server, as texts.

    ``before`` is None where they are not known: then a list that shows the name does not show whose server it is.
    """

    before: Collection[str] | None = None
    sent_at: datetime | None = None

    def unknown(self, name: str) -> OutcomeUnknownError:
        """Return the error for a create of that name of which nothing more is found out."""
        reason = VpsOrgError("the program that sent it ended before the answer was recorded")
        return OutcomeUnknownError(
            f"create of {name!r} by an earlier run has an unknown outcome ({reason})",
            subject=name,
            reason=reason,
            sent_at=self.sent_at,
        )


@attrs.frozen(kw_only=True)
class Resumption:
    """What a run takes up, by names in the form of `name_key`, and by ids.

    ``given`` are receipts by the names of the specs, as a caller has them: a server may show another name.
    ``leaving`` are the names of which the last server was about to be deleted, in order to create another one.
    ``recent`` are the receipts of complete runs whose servers a list may not show yet.
    ``others`` is what holds for names that are in neither of the two tables. ``settle`` is the time in seconds for
    which the names in doubt are searched for before a create is sent; None: that of the run. It counts from the moment
    at which the run got hold of them, since the earlier attempt can send nothing after that. ``pairs`` are replacements
    of servers, of any name, that have not come to their end.
    """

    receipts: Mapping[str, Receipt] = attrs.field(factory=dict)
    given: Mapping[str, Receipt] = attrs.field(factory=dict)
    doubts: Mapping[str, Doubted] = attrs.field(factory=dict)
    others: Doubted | None = None
    commands: Mapping[ServerId, Intent | Acknowledged] = attrs.field(factory=dict)
    recent: Mapping[str, Receipt] = attrs.field(factory=dict)
    leaving: Collection[str] = ()
    settle: float | None = None
    pairs: Sequence[StandingPair] = ()

    @classmethod
    def of_attempt(
        cls, receipts: Mapping[str, Receipt], before: Collection[ServerId] | None, settle: float
    ) -> Resumption:
        """Return what a caller knows of an earlier attempt: all names that have no receipt are in doubt."""
        ids = None if before is None else same_ids(before)
        return cls(
            given={name_key(name): receipt for name, receipt in receipts.items()},
            others=Doubted(ids),
            settle=settle,
        )

    @classmethod
    def of_journal(
        cls,
        names: Mapping[str, Intent | Acknowledged],
        commands: Mapping[ServerId, Intent | Acknowledged],
        recent: Mapping[str, Receipt],
        pairs: Sequence[StandingPair] = (),
    ) -> Resumption:
        """Return what a journal has of the names and servers of a run."""
        return cls(
            receipts={
                name_key(name): left.receipt for name, left in names.items() if isinstance(left, Acknowledged)
            },
            doubts={
                name_key(name): Doubted(left.before, left.at)
                for name, left in names.items()
                if isinstance(left, Intent)
            },
            commands=commands,
            recent={name_key(name): receipt for name, receipt in recent.items()},
            leaving={
                name_key(name)
                for name, left in names.items()
                if isinstance(left, Acknowledged) and left.leaving
            },
            pairs=pairs,
        )

    def receipt(self, spec: ServerSpec, key: str) -> Receipt | None:
        """Return the receipt of the server that an earlier attempt created from a spec; ``key``: of its shown name."""
        return self.receipts.get(key) or self.given.get(name_key(spec.name))

    def doubted(self, key: str) -> Doubted | None:
        """Return the doubt about a name that has no receipt; None where no earlier attempt sent a create of it."""
        return self.doubts.get(key, self.others)

    def command(self, server_id: ServerId, operation: str) -> Intent | Acknowledged | None:
        """Return what an earlier run left of its command on a server, if it was this one."""
        left = self.commands.get(server_id)
        return left if left is not None and left.operation == operation else None

    def made(self, key: str, server_id: ServerId) -> bool:
        """Return whether a server of that name, which has no receipt, is the result of an earlier attempt."""
        doubt = self.doubted(key)
        return doubt is not None and doubt.before is not None and id_text(server_id) not in doubt.before
