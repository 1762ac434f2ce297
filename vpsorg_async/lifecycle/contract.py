"""The targets of waits, and what ends a wait: the contract of waiting as a table. Pure.

Statuses come from the API's page (https://www.vps.org/api/v1/docs/servers/); it does not list them all, so a word
outside these sets is `Reading.UNKNOWN` and ends nothing.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

import attrs

from ..errors import (
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    ServerGoneError,
    UnexpectedStatusError,
    VpsOrgError,
    WaitTimeoutError,
)
from ..records import ServerStatus, StatusWord
from .commands import COMMANDS, GONE, MOVING, SETTLED

__all__ = [
    "CONTRACT",
    "FAILURES",
    "GONE",
    "LEADS_TO",
    "MOVING",
    "SETTLED",
    "Evidence",
    "Reading",
    "Rule",
    "Target",
    "TargetLike",
    "TargetWord",
]

FAILURES = frozenset({"suspended"})

LEADS_TO: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        status: frozenset(
            command.moving for command in COMMANDS.values() if command.target == status != command.before
        )
        for status in sorted(SETTLED)
    }
)
"""For each settled status, the words on the way to it: a read that lags may still show them."""


class Reading(enum.Enum):
    """What a poll, or the clock, shows a wait."""

    TARGET = "target"
    FAILURE = "failure"
    MOVING = "moving"
    ELSEWHERE = "elsewhere"
    UNMOVED = "unmoved"
    UNKNOWN = "unknown"
    STALE = "stale"
    GONE = "gone"
    VANISHED = "vanished"
    INVISIBLE = "invisible"
    UNHEARD_OF = "unheard of"
    NO_ANSWER = "no answer"
    UNPROVEN = "unproven"
    FORBIDDEN = "forbidden"
    DEADLINE = "deadline"


@attrs.frozen
class Rule:
    """A row of the contract: ``when`` it applies, the errors it ``ends`` the wait with, and ``after`` which patience.

    ``ends`` is empty where the wait goes on, or ends well (``reaches``). ``after`` names a field of `WaitPolicy`.
    """

    when: str
    ends: tuple[type[VpsOrgError], ...] = ()
    after: str | None = None
    reaches: bool = False

    @property
    def does(self) -> str:
        """What the rule does, in words."""
        if self.reaches:
            return "reached, with evidence" + (f", or after `{self.after}`" if self.after else "")
        if not self.ends:
            return "goes on"
        errors = " or ".join(f"`{error.__name__}`" for error in self.ends)
        return f"ends: {errors}" + (f", after `{self.after}`" if self.after else "")


CONTRACT: Mapping[Reading, Rule] = {
    Reading.TARGET: Rule("a word of the target", after="quiet", reaches=True),
    Reading.FAILURE: Rule("a word of the target's failures: `suspended`", (UnexpectedStatusError,)),
    Reading.MOVING: Rule("`provisioning`, `starting`, `stopping`, `rebooting`"),
    Reading.ELSEWHERE: Rule(
        "`active`, `stopped` or `suspended`, and neither target nor failure",
        (UnexpectedStatusError,),
        after="grace",
    ),
    Reading.UNMOVED: Rule(
        "the same, if the server still shows the status that it had before an acknowledged command",
        (UnexpectedStatusError,),
        after="visibility",
    ),
    Reading.UNKNOWN: Rule("any other word; it is named in the timeline"),
    Reading.STALE: Rule("`updated_at` lies before one already seen; the poll is not counted"),
    Reading.GONE: Rule(
        "the API's 404 by id, repeated by a second read, or a word that means `gone`; target `gone`",
        reaches=True,
    ),
    Reading.VANISHED: Rule("the same, with another target, seen before", (ServerGoneError,)),
    Reading.INVISIBLE: Rule(
        "the API's 404 by id, created by this client, never seen", (ServerGoneError,), "visibility"
    ),
    Reading.UNHEARD_OF: Rule(
        "the API's 404 by id, not created by this client, never seen", (ServerGoneError,), "grace"
    ),
    Reading.UNPROVEN: Rule("a 403 or 404 that is no JSON object, such as a gateway's page: the poll failed"),
    Reading.NO_ANSWER: Rule("the poll failed; it is counted, and named in the timeline"),
    Reading.FORBIDDEN: Rule(
        "the poll was answered by 401, or by the API's own 403", (AuthenticationError, PermissionDeniedError)
    ),
    Reading.DEADLINE: Rule("the time is up, after one last poll", (WaitTimeoutError,)),
}


class Evidence(enum.StrEnum):
    """Why a wait believes that its command was applied."""

    OBSERVED = "observed"
    UPDATED = "updated"
    ASSUMED = "assumed"


def _words(words: Iterable[str]) -> frozenset[str]:
    if isinstance(words, str):
        raise ConfigurationError("the words of a target are a set of strings; for one word write {'...'}")
    found = frozenset(words)
    if any(not isinstance(word, str) or not word for word in found):
        raise ConfigurationError("the words of a target are non-empty strings")
    return found


@attrs.frozen
class Target:
    """What a wait is for: any of ``statuses``, or that the server is ``gone``; a status in ``failures`` ends the wait.

    `Target.of` accepts known words only. For a word that the provider has added: ``Target({"ready"})``.
    """

    statuses: frozenset[str] = attrs.field(converter=_words)
    gone: bool = False
    failures: frozenset[str] = attrs.field(default=FAILURES, converter=_words)

    def __attrs_post_init__(self) -> None:
        if not self.statuses and not self.gone:
            raise ConfigurationError("a target names at least one status, or 'gone'")

    @classmethod
    def of(cls, target: Target | str | Iterable[Target | str]) -> Target:
        """Return the target for a status word, ``"settled"``, ``"gone"``, a `Target`, or for any of several of these.

        Raises:
            ConfigurationError: A word is not known: a wait for a misspelt one would never end. For a word that the
                provider has added: ``Target({"ready"})``.

        Example:
            ``Target.of(["active", "stopped"])``
        """
        if isinstance(target, Target):
            return target
        try:
            words = (target,) if isinstance(target, str) else tuple(target)
        except TypeError:
            raise ConfigurationError(f"a target is a status word or several, not {target!r}") from None
        for word in words:
            if not isinstance(word, str | Target):
                raise _not_known(word)
        # thousands of waits for the same target share one
        return _any_of(words)

    def reading(self, word: str) -> Reading:
        """Return what a status means for this target."""
        if word in self.statuses:
            return Reading.TARGET
        if word in self.failures:
            return Reading.FAILURE
        if word == GONE:
            return Reading.GONE if self.gone else Reading.VANISHED
        if word in MOVING:
            return Reading.MOVING
        return Reading.ELSEWHERE if word in SETTLED else Reading.UNKNOWN

    def __str__(self) -> str:
        return " or ".join([*sorted(self.statuses), *([GONE] if self.gone else [])])


TargetWord = StatusWord | Literal["settled", "gone"]
"""A word that a wait can be for."""
TargetLike = Target | ServerStatus | TargetWord | Iterable[Target | ServerStatus | TargetWord]
"""What a wait can be for, as a type: `Target.of` reads it, and any other string too."""


@functools.lru_cache(64)
def _any_of(parts: tuple[Target | str, ...]) -> Target:
    targets = [part for part in parts if isinstance(part, Target)]
    words = [part for part in parts if isinstance(part, str)]
    if words or not targets:
        targets.append(_of_words(words))
    statuses = frozenset().union(*(target.statuses for target in targets))
    # a status ends the wait as a failure only if it is one for each of them
    failures = frozenset.intersection(*(target.failures for target in targets))
    return Target(statuses, any(target.gone for target in targets), failures - statuses)


def _of_words(words: list[str]) -> Target:
    statuses: set[str] = set()
    for word in words:
        if word == "settled":
            statuses |= SETTLED
        elif word in SETTLED or word in MOVING:
            statuses.add(str(word))
        elif word != GONE:
            raise _not_known(word)
    return Target(frozenset(statuses), GONE in words, FAILURES - statuses)


def _not_known(word: object) -> ConfigurationError:
    return ConfigurationError(
        f"{word!r} is not a known status; known are {', '.join(sorted(SETTLED | MOVING))}, 'settled' "
        "and 'gone'; for a word that the provider has added, pass Target({...})"
    )
