"""The errors of whole calls: of several servers, and of limits. They are part of `vpsorg_async.errors`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from .fleet_plan import FleetPlan
from .records import ServerId
from .root_error import VpsOrgError

__all__ = ["FleetError", "LimitError", "PlanRefusedError", "ReplacementError"]


class LimitError(VpsOrgError):
    """A limit of the client (`Limits`) forbids the change, or cannot be checked. No change was sent.

    Attributes:
        limit: The name of the limit, such as ``max_servers``.
        allowed: Its value; None for ``read_only``.
        required: What the change would need, in all; None where that is not known, and for ``read_only``.

    Example:
        ``except LimitError as error: print(error.limit, error.required)``
    """

    final = True
    limit: str
    allowed: Decimal | None
    required: Decimal | None

    def __init__(
        self,
        message: str = "",
        *,
        limit: str = "",
        allowed: Decimal | None = None,
        required: Decimal | None = None,
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed
        self.required = required


def read_only(change: str) -> LimitError:
    """Return the error of a change that a read-only client does not send."""
    return LimitError(f"{change} was not sent: the client is read-only (Limits.read_only)", limit="read_only")


class FleetError(VpsOrgError, ExceptionGroup[Exception]):
    """Some servers of a fleet call failed. ``except*`` splits it by the errors inside; final if all of them are."""

    def __init__(self, message: str, errors: Sequence[Exception], /) -> None:
        super().__init__(message, errors)
        self.final: bool = all(isinstance(error, VpsOrgError) and error.final for error in errors)

    def derive(self, excs: Sequence[Any], /) -> Any:
        """Keep the class when ``except*`` splits the group."""
        return FleetError(self.message, excs)


class PlanRefusedError(VpsOrgError):
    """A plan is not applied: a guard forbids it, or the account is not as it was planned on. No change was sent.

    Attributes:
        plan: The plan; its ``refusals`` are the guards that forbid it.
        changes: What has changed in the account since it was planned: a line for each server.

    Example::

        try:
            report = await vps.fleet.apply(fleet, timeout=900, prune=True)
        except PlanRefusedError as error:
            print(error.plan)
    """

    final = True
    plan: FleetPlan | None
    changes: tuple[str, ...]

    def __init__(
        self, message: str = "", *, plan: FleetPlan | None = None, changes: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.plan = plan
        self.changes = tuple(changes)


class ReplacementError(VpsOrgError):
    """A server was not replaced, or not wholly. The message says which of the two servers exist.

    Attributes:
        reason: What went wrong: the error of the new server's create, wait or check, of the old one's delete, or of the
            switch.
        old_id: The id of the old server.
        new_id: The id of the new server; None if there is none, as far as is known.

    Example:
        ``except* ReplacementError as errors: print([error.new_id for error in errors.exceptions])``
    """

    reason: VpsOrgError | None
    old_id: ServerId | None
    new_id: ServerId | None

    def __init__(
        self,
        message: str = "",
        *,
        reason: VpsOrgError | None = None,
        old_id: ServerId | None = None,
        new_id: ServerId | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.old_id = old_id
        self.new_id = new_id
