"""The report of a trial: verdicts, the answers in the form that can be shown, and settings that fit. Pure.

There is no token in it, no address, no id, and no name but that of the trial's own server.
"""

from __future__ import annotations

import itertools
import json
import math
import textwrap
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs

from .._version import __version__
from ..config import WaitPolicy
from ..lifecycle.commands import GONE, LEAVING, MOVING, SETTLED
from .assumptions import ASSUMPTIONS
from .command_rules import FAILURES
from .forms import form_of, scrub
from .observations import Exchange, Observations, Step
from .verdicts import Assumption, Ruling, Verdict

__all__ = ["LiveReport", "settings_of"]

KNOWN = SETTLED | MOVING | {GONE}
ENDS = {"create": "active", "reboot": "active", "start": "active", "stop": "stopped"}
"""What each command leads to."""
WIDTH = 78


@attrs.frozen(kw_only=True)
class LiveReport:
    """What a trial has found out."""

    observed: Observations
    error: str = ""
    """Why the trial ended early, without what is private."""

    @property
    def verdicts(self) -> tuple[tuple[Assumption, Verdict], ...]:
        """Every assumption with its verdict."""
        return tuple((one, one.judged(self.observed)) for one in ASSUMPTIONS)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a client or a profile that fit what was seen."""
        return settings_of(self.observed)

    @property
    def toml(self) -> str:
        """The same as lines of a profile."""
        return "".join(f"{name} = {_toml(value)}\n" for name, value in self.settings.items())

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "version": __version__,
            "dialect": self.observed.dialect,
            "server": self.observed.spec.name,
            "ended_early": self.error or None,
            "remains": self.observed.remains,
            "assumptions": [
                {"id": one.id, "assumption": one.sentence, "verdict": str(v.ruling), "found": v.found}
                for one, v in self.verdicts
            ],
            "seconds": _durations(self.observed),
            "words": self.observed.words(),
            "calls": [_call(step) for step in _distinct(self.observed)],
            "settings": self.settings,
        }

    def lines(self) -> Iterator[str]:
        """Yield the report as text."""
        verdicts = self.verdicts
        counts = {word: sum(v.ruling is word for _, v in verdicts) for word in Ruling}
        yield (
            f"vpsorg-async {__version__}, {self.observed.dialect} dialect: "
            + ", ".join(f"{count} {word}" for word, count in counts.items())
        )
        if self.error:
            yield f"ended early: {self.error}"
        order = [Ruling.DENIED, Ruling.CONFIRMED, Ruling.NOT_SEEN]
        for ruling in order:
            for one, verdict in verdicts:
                if verdict.ruling is ruling:
                    yield from _wrapped(f"{one.sentence} ({one.id})", f"{ruling:<9}  ", " " * 11)
                    yield from _wrapped(verdict.found, " " * 11, " " * 11)
        yield ""
        yield from self._answers()
        yield ""
        seconds = ", ".join(f"{phase} {took:g} s" for phase, took in _durations(self.observed).items())
        yield f"durations: {seconds or 'none'}"
        yield f"status words: {', '.join(self.observed.words()) or 'none'}"
        yield ""
        yield "settings that fit, for a profile:"
        yield from self.toml.splitlines()

    def _answers(self) -> Iterator[str]:
        """Yield the calls with their answers, each form of an answer once, by its number."""
        forms: dict[str, int] = {}
        words = self.observed.words()
        yield "answers:"
        for step in _distinct(self.observed):
            call = _call(step)
            for answer in call["answers"]:
                shown = f"{answer['status']} after {answer['seconds']:.1f} s, {answer['kind']}"
                if answer["status"] is None:
                    shown = f"no answer: {answer['failure']}"
                if answer["form"] is not None:
                    form = json.dumps(_without_word(answer["form"], words))
                    shown += f", form {forms.setdefault(form, len(forms) + 1)}"
                line = f"{call['phase']}: {answer['request']}: {shown}{_shown_after(step)}"
                yield from _wrapped(line, "  ", "    ")
        yield ""
        yield "forms, without values:"
        for form, number in forms.items():
            yield from _wrapped(form, f"  {number:<3}", "     ")


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)


def _durations(observed: Observations) -> dict[str, float]:
    took = {phase: observed.took(phase) for phase in (*ENDS, "delete")}
    return {phase: round(seconds, 1) for phase, seconds in took.items() if seconds is not None}


def _distinct(observed: Observations) -> Iterator[Step]:
    """Yield the calls, without reads that show the same as the one before in their phase."""
    seen: dict[tuple[str, str], object] = {}
    for step in observed.steps:
        shown = (step.server and step.server.status, step.refused, type(step.error), bool(step.lacks))
        if step.call not in ("get", "list") or seen.get((step.phase, step.call)) != shown:
            yield step
        seen[step.phase, step.call] = shown


def _call(step: Step) -> dict[str, Any]:
    return {
        "phase": step.phase,
        "call": step.call,
        "at": round(step.at, 1),
        "status_word": str(step.server.status) if step.server is not None else None,
        "error": type(step.error).__name__ if step.error is not None else None,
        "answers": [_answer(one) for one in step.exchanges],
    }


def _answer(one: Exchange) -> dict[str, Any]:
    return {
        "request": f"{one.method} {one.path}",
        "status": one.status,
        "seconds": round(one.seconds, 2),
        "kind": one.kind,
        "form": form_of(one.data, texts=not one.good) if one.kind == "json" else None,
        "failure": scrub(one.failure) or None,
    }


def _without_word(form: Any, words: Collection[str]) -> Any:
    """Return a form in which the status of a server is a word, so that forms of one kind are equal."""
    if isinstance(form, Mapping):
        return {
            key: "word" if key == "status" and value in words else _without_word(value, words)
            for key, value in form.items()
        }
    return [_without_word(inner, words) for inner in form] if isinstance(form, list) else form


def _shown_after(step: Step) -> str:
    if step.error is not None:
        return f", {type(step.error).__name__}"
    return f", {step.server.status}" if step.server is not None else ""


# -- settings -------------------------------------------------------------------------------------------------------


def settings_of(observed: Observations) -> dict[str, Any]:
    """Return the settings that fit: ``dialect``, and ``status_words`` and ``visibility`` if they differ. Pure."""
    settings: dict[str, Any] = {"dialect": observed.dialect}
    words = _status_words(observed)
    if words:
        settings["status_words"] = words
    after = [seconds for call in ("get", "list") if (seconds := observed.shown_after(call)) is not None]
    # twice what was seen, because one server says little about the next one
    needed = math.ceil(2 * max(after, default=0.0))
    if needed > WaitPolicy().visibility:
        settings["visibility"] = needed
    return settings


def _status_words(observed: Observations) -> dict[str, str]:
    """Return what words that are not known mean, where there is no doubt: a wait would end on a wrong one."""
    ends: dict[str, list[str]] = {}
    for phase in ENDS:
        last = observed.settled(phase)
        if observed.done(phase, phase) is not None and last is not None:
            ends.setdefault(last, []).append(phase)
    found: dict[str, str] = {}
    for word, phases in ends.items():
        meanings = {ENDS[phase] for phase in phases}
        # two commands that lead to the same, or a start that was accepted: one alone can be a status on the way
        sure = len(phases) > 1 or ("stop" in phases and observed.done("start", "start") is not None)
        if len(meanings) == 1 and sure and word not in KNOWN | LEAVING and not _passes(observed, word):
            found[word] = meanings.pop()
    shown = [step for step in observed.steps if step.call == "get"][-1:]
    if observed.done("delete", "delete") is not None and shown and shown[0].server is not None:
        last = str(shown[0].server.status)
        if last not in KNOWN and last not in found and not last.endswith("ing"):
            found[last] = GONE
    return {word: meaning for word, meaning in found.items() if word.casefold() not in FAILURES}


def _passes(observed: Observations, word: str) -> bool:
    """Return whether the server has left this status without a command."""
    phases = dict.fromkeys(step.phase for step in observed.steps)
    seen = (
        [sighting.word for sighting in observed.sightings(phase)] for phase in phases if phase != "delete"
    )
    return any(first == word != then for words in seen for first, then in itertools.pairwise(words))


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    # a TOML string is written as JSON writes it
    return json.dumps(value)
