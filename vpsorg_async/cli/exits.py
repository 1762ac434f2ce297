"""The exit codes, by which scripts see how a command ended."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from cyclopts import CycloptsError

from ..errors import (
    AuthenticationError,
    ConfigurationError,
    FleetError,
    LimitError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    PlanRefusedError,
    WaitTimeoutError,
)
from .signals import Interrupted

__all__ = ["Exit"]


class Exit(enum.IntEnum):
    """The exit codes of `vpsorg`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    TIMEOUT = 3
    UNKNOWN = 4
    REFUSED = 5
    PARTIAL = 6
    CHANGES = 10
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def meaning(self) -> str:
        """The meaning of the code, as `--help` prints it."""
        return _MEANINGS[self]

    @classmethod
    def of(cls, error: BaseException) -> Exit:
        """Return the code for a command that ended with this error."""
        return cls(error.code) if isinstance(error, Interrupted) else cls.of_kind(type(error))

    @classmethod
    def of_kind(cls, error: type[BaseException]) -> Exit:
        """Return the code for a command that ended with an error of this class."""
        return next((code for code, kinds in _KINDS.items() if issubclass(error, kinds)), cls.FAILED)

    @classmethod
    def of_all(cls, errors: Sequence[BaseException], servers: int) -> Exit:
        """Return the code for a command on this number of servers, of which some failed with these errors."""
        return cls.of_codes([cls.of(error) for error in errors], servers)

    @classmethod
    def of_codes(cls, codes: Sequence[Exit], servers: int) -> Exit:
        """Return the code for a command on this number of servers, of which some failed with these codes."""
        if not codes:
            return cls.OK
        if cls.UNKNOWN in codes:
            return cls.UNKNOWN
        if all(code is cls.TIMEOUT for code in codes):
            return cls.TIMEOUT
        if len(codes) < servers:
            return cls.PARTIAL
        if cls.REFUSED in codes:
            return cls.REFUSED
        return codes[0] if servers == 1 else cls.PARTIAL


_MEANINGS = {
    Exit.OK: "success",
    Exit.FAILED: "failure, for a reason that is none of those below",
    Exit.USAGE: "bad arguments or settings, or another command works on the same servers; nothing was sent",
    Exit.TIMEOUT: "a wait timed out, or its ready checks",
    Exit.UNKNOWN: "the outcome of a change is unknown; check the account before repeating it",
    Exit.REFUSED: "refused: token, permission, payment, a limit of the profile, or a guard of deletes",
    Exit.PARTIAL: "some of several servers failed, or all of them",
    Exit.CHANGES: "the account differs from a file of fleets (plan --check, diff)",
    Exit.HANGUP: "ended by SIGHUP",
    Exit.INTERRUPTED: "interrupted",
    Exit.TERMINATED: "ended by SIGTERM",
}

_KINDS: dict[Exit, tuple[type[BaseException], ...]] = {
    Exit.USAGE: (CycloptsError, ConfigurationError),
    Exit.TIMEOUT: (WaitTimeoutError,),
    Exit.UNKNOWN: (OutcomeUnknownError,),
    Exit.REFUSED: (
        AuthenticationError,
        LimitError,
        PaymentRequiredError,
        PermissionDeniedError,
        PlanRefusedError,
    ),
    Exit.PARTIAL: (FleetError,),
    Exit.INTERRUPTED: (KeyboardInterrupt,),
}
