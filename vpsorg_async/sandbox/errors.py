"""The errors of the sandbox: for its owner (`SandboxError`), and for a caller of its API (`Refused`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class SandboxError(Exception):
    """The sandbox cannot do what its owner asked: a bad setting, a port in use, an unknown server."""


class FaultError(SandboxError, ValueError):
    """A fault that is not valid. `field` names the place, e.g. `rules[0].actions[1].seconds`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"

    def inside(self, place: str) -> FaultError:
        """Return the same error, with its place inside an outer field."""
        return FaultError(f"{place}.{self.field}", self.reason)


class Refused(Exception):
    """The provider refuses; `status` is the HTTP code that the API page lists for it."""

    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def body(self) -> Mapping[str, object]:
        """Return the error document. Its shape is documented nowhere: `{"detail": ...}` is an assumption."""
        return {"detail": self.message}


class NotAllowed(Refused):
    """400: the server's status does not permit this command."""


class NoCredit(Refused):
    """402: insufficient credits."""

    status = 402


class NotFound(Refused):
    """404: the server does not exist."""

    status = 404


class Invalid(Refused):
    """400: invalid parameters, by field. The map of fields to messages is also an assumption."""

    def __init__(self, problems: Mapping[str, Sequence[str]]) -> None:
        super().__init__("; ".join(f"{field}: {' '.join(texts)}" for field, texts in problems.items()))
        self.problems = problems

    def body(self) -> Mapping[str, object]:
        return {field: list(texts) for field, texts in self.problems.items()}
