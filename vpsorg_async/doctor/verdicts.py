"""What a trial says about an assumption: confirmed, denied or not seen, and by what. Data."""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from .observations import Observations

__all__ = ["Assumption", "Judge", "Ruling", "Verdict", "confirmed", "denied", "not_seen"]


class Ruling(enum.StrEnum):
    """The verdict on an assumption."""

    CONFIRMED = "confirmed"
    DENIED = "denied"
    NOT_SEEN = "not seen"


@attrs.frozen
class Verdict:
    """The ruling, and what it rests on."""

    ruling: Ruling
    found: str


Judge = Callable[[Observations], Verdict]


@attrs.frozen(kw_only=True)
class Assumption:
    """One assumption: its ``sentence`` is that of docs/architecture.md.

    ``dialect``: it is about this dialect alone; None: about both.
    """

    id: str
    sentence: str
    judge: Judge
    dialect: str | None = None

    def judged(self, observed: Observations) -> Verdict:
        """Return the verdict. Pure."""
        if self.dialect not in (None, observed.dialect):
            return not_seen(f"it is about the {self.dialect} dialect")
        return self.judge(observed)


def confirmed(found: str) -> Verdict:
    """Return the verdict for what was seen to be so."""
    return Verdict(Ruling.CONFIRMED, found)


def denied(found: str) -> Verdict:
    """Return the verdict for what was seen to be otherwise."""
    return Verdict(Ruling.DENIED, found)


def not_seen(found: str) -> Verdict:
    """Return the verdict for what did not happen, with the reason."""
    return Verdict(Ruling.NOT_SEEN, found)
