"""The judges of what commands do to a server over time. Each is a pure function of the observations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ..changes import ECHOES
from ..counting import counted
from ..http.reply import SUCCESS
from ..lifecycle.commands import COMMANDS, GONE, LEAVING, MOVING, SETTLED
from ..lifecycle.staleness import earlier
from ..records import Server
from .observations import Observations, Sighting, Step
from .verdicts import Judge, Verdict, confirmed, denied, not_seen

__all__ = [
    "FAILURES",
    "absent_from_lists",
    "commands_answer",
    "create_answers",
    "delete_twice",
    "deletes_running",
    "edits_answer",
    "edits_show",
    "failure_word",
    "idempotency",
    "is_code_200",
    "moving_words",
    "no_soft_delete",
    "reads_follow",
    "reboot_shows",
    "repeats_refused",
    "settles_at",
    "suspended_word",
    "times_forward",
    "updated_moves",
    "visible",
]

POWER = ("reboot", "stop", "start")
FAILURES = frozenset({"error", "errored", "failed", "failure", "crashed", "broken"})
"""Words that mean in any service that a server has failed."""
KNOWN = SETTLED | MOVING | {GONE}


def idempotency(observed: Observations) -> Verdict:
    """Judge nothing: a second create would cost money."""
    return not_seen("a trial sends one create")


def suspended_word(observed: Observations) -> Verdict:
    """Judge whether the word was seen; a trial can't cause it."""
    return (
        confirmed("it was seen") if "suspended" in observed.words() else not_seen("no server was suspended")
    )


def visible(observed: Observations) -> Verdict:
    """Judge how long a new server takes to be shown by its id, and by lists."""
    if observed.first("create", "create") is None or observed.server_id is None:
        return not_seen("no server was created")
    after = {"get": observed.shown_after("get"), "list": observed.shown_after("list")}
    shown = [
        f"{'by its id' if call == 'get' else 'in lists'} {'never' if seconds is None else f'after {seconds:.1f} s'}"
        for call, seconds in after.items()
    ]
    late = any(seconds is None or seconds > observed.visibility for seconds in after.values())
    return (denied if late else confirmed)(", ".join(shown))


def create_answers(observed: Observations) -> Verdict:
    """Judge whether the answer to the create shows the new server."""
    created = observed.first("create", "create")
    if created is None or created.answer is None:
        return not_seen("no create was answered")
    if created.server is None and created.answer.good:
        return denied(f"{created.answer.status}, {created.answer.kind} without the server")
    if created.server is None:
        return not_seen(f"it was refused: {created.answer.status}")
    return confirmed(f"{created.answer.status}, {created.server.status}")


def settles_at(word: str, *phases: str) -> Judge:
    """Return the judge of the status in which commands end."""

    def judge(observed: Observations) -> Verdict:
        ended = {phase: observed.settled(phase) for phase in phases if observed.done(phase, phase)}
        seen = {phase: last for phase, last in ended.items() if last is not None and last not in MOVING}
        other = {phase: last for phase, last in seen.items() if last != word}
        if other:
            return denied(", ".join(f"after {phase} it is {last!r}" for phase, last in other.items()))
        return confirmed(f"after {', '.join(seen)}") if seen else not_seen("no such command was seen done")

    return judge


def moving_words(observed: Observations) -> Verdict:
    """Judge the words that a server shows between a command and its end."""
    seen: dict[str, list[str]] = {}
    for phase in ("create", *POWER):
        last = observed.settled(phase)
        words = [sighting.word for sighting in observed.sightings(phase)]
        step = observed.done(phase, phase)
        if step is not None:
            said = step.server.status if step.server else step.accepted and step.accepted.server_status
            words.insert(0, str(said or (words and words[0])))
        before = observed.before(phase)
        passing = [word for word in words if word != last and not (before and word == before.status)]
        if passing:
            seen[phase] = list(dict.fromkeys(passing))
    odd = [
        f"{phase}: {', '.join(words)}"
        for phase, words in seen.items()
        if set(words) != {COMMANDS[phase].moving}
    ]
    if odd:
        return denied("; ".join(odd))
    return (
        confirmed(", ".join(words[0] for words in seen.values())) if seen else not_seen("all were too quick")
    )


def failure_word(observed: Observations) -> Verdict:
    """Judge whether a word for a failure was seen."""
    failed = [word for word in observed.words() if word.casefold() in FAILURES]
    return denied(", ".join(map(repr, failed))) if failed else not_seen("nothing failed")


def is_code_200(*calls: str) -> Judge:
    """Return the judge of the codes of calls that are accepted."""

    def judge(observed: Observations) -> Verdict:
        steps = [step for call in calls if (step := observed.done(call, call)) is not None]
        codes = {step.call: step.answer.status for step in steps if step.answer is not None}
        shown = ", ".join(f"{call} {code}" for call, code in codes.items())
        if any(code != 200 for code in codes.values()):
            return denied(shown)
        return confirmed(shown) if codes else not_seen("none of them was accepted")

    return judge


def edits_answer(observed: Observations) -> Verdict:
    """Judge whether PUT and PATCH are answered by the server."""
    tried = [step for call in ("update", "replace") if (step := observed.done(call, call)) is not None]
    for step in tried:
        # the call reads the server if the answer does not show it
        if any(one.operation == "get" for one in step.exchanges):
            return denied(
                f"{step.call}: {step.answer.status} {step.answer.kind}" if step.answer else step.call
            )
    return confirmed(counted(len(tried), "answer")) if tried else not_seen("none was accepted")


def edits_show(observed: Observations) -> Verdict:
    """Judge whether a read after PUT or PATCH shows the change."""
    tried = 0
    for call in ("update", "replace"):
        changed, read = observed.done(call, call), observed.done(call, "get")
        if changed is None or read is None or changed.server is None or read.server is None:
            continue
        tried += 1
        if changed.server.name != read.server.name or changed.server.hostname != read.server.hostname:
            return denied(f"the read after the {call} shows the names from before it")
    return confirmed(counted(tried, "read")) if tried else not_seen("none was accepted")


def commands_answer(observed: Observations) -> Verdict:
    """Judge whether commands are answered by the documented envelope."""
    tried: list[str] = []
    for command in POWER:
        step = observed.done(command, command)
        answer = None if step is None else step.answer
        if answer is None:
            continue
        tried.append(command)
        said, server = answer.object.get("status"), answer.object.get("server")
        if not (isinstance(said, str) and said.casefold() in SUCCESS and isinstance(server, dict)):
            return denied(f"{command}: {answer.status} {answer.kind}, status {said!r:.40}, no server")
        if server.get("status") != COMMANDS[command].moving:
            return denied(f"{command}: the server in the answer is {server.get('status')!r:.40}")
    return confirmed(", ".join(tried)) if tried else not_seen("no command was accepted")


def repeats_refused(observed: Observations) -> Verdict:
    """Judge how commands that the status does not permit are answered."""
    shown = []
    for phase, call, own in (("active", "start", "create"), ("stopped", "reboot", "stop")):
        step = observed.first(phase, call)
        if step is None or observed.settled(own) != {"active": "active", "stopped": "stopped"}[phase]:
            continue
        if step.error is None:
            return denied(f"{call} of a server that is {phase} was accepted")
        if step.refused is None:
            continue
        shown.append(f"{call} {step.refused}")
        if step.refused not in ECHOES:
            return denied(shown[-1])
    return confirmed(", ".join(shown)) if shown else not_seen("no such command was sent")


def _acknowledged(observed: Observations) -> Iterator[tuple[str, Server, list[Sighting]]]:
    """Yield each power command that was accepted, with the record before it and the reads after it."""
    for command in POWER:
        before, seen = observed.before(command), observed.sightings(command)
        if before is not None and seen and observed.done(command, command):
            yield command, before, seen


def reads_follow(observed: Observations) -> Verdict:
    """Judge whether the first read after a command shows what it did."""
    tried = []
    for command, before, seen in _acknowledged(observed):
        old = [sighting for sighting in seen if _is_old(sighting, before)]
        later = [sighting for sighting in seen if not _is_old(sighting, before)]
        if old and later and old[0].at < later[0].at:
            step = observed.first(command, command)
            lag = later[0].at - (step.ended if step else 0.0)
            return denied(f"{command}: reads showed {before.status} for up to {lag:.1f} s")
        # the acknowledgement moved the time of a record that still shows the old status
        on_its_way = next((n for n, s in enumerate(seen) if s.word == COMMANDS[command].moving), 0)
        if any(sighting.word == before.status for sighting in seen[:on_its_way]):
            return denied(f"{command}: a read showed {before.status} before {COMMANDS[command].moving}")
        tried.append(command)
    return confirmed(", ".join(tried)) if tried else not_seen("no command was accepted")


def _is_old(sighting: Sighting, before: Server) -> bool:
    return sighting.word == before.status and not earlier(before.updated_at, sighting.updated_at)


def updated_moves(observed: Observations) -> Verdict:
    """Judge whether each command moves ``updated_at``."""
    shown: list[str] = []
    still: list[str] = []
    for command in ("update", "replace", *POWER):
        before, seen = observed.before(command), observed.sightings(command)
        if observed.done(command, command) is None or before is None or not seen:
            continue
        if before.updated_at is None or seen[-1].updated_at is None:
            continue
        (shown if earlier(before.updated_at, seen[-1].updated_at) else still).append(command)
    if still:
        return denied(f"not by {', '.join(still)}")
    return confirmed(f"by {', '.join(shown)}") if shown else not_seen("no answer has it")


def times_forward(observed: Observations) -> Verdict:
    """Judge whether ``updated_at`` ever goes back."""
    latest: datetime | None = None
    times = 0
    for step in observed.steps:
        at = step.server.updated_at if step.server is not None else None
        if at is None:
            continue
        times += 1
        if earlier(at, latest):
            return denied(f"a {step.call} in the phase {step.phase!r} showed an earlier one")
        latest = at
    return confirmed(counted(times, "record")) if times else not_seen("no answer has it")


def reboot_shows(observed: Observations) -> Verdict:
    """Judge whether a reboot leaves evidence: a status on the way, or another ``updated_at``."""
    for command, before, seen in _acknowledged(observed):
        if command != "reboot":
            continue
        words = [sighting.word for sighting in seen if sighting.word != before.status]
        if words:
            return confirmed(f"it was seen {words[0]}")
        if any(earlier(before.updated_at, sighting.updated_at) for sighting in seen):
            return confirmed("updated_at moved")
        return denied("neither the status nor updated_at has changed")
    return not_seen("no reboot was accepted")


def deletes_running(observed: Observations) -> Verdict:
    """Judge whether a server can be deleted while it is active."""
    step = observed.first("delete", "delete")
    if step is None or observed.settled("start") not in ("active", None):
        return not_seen("no server was deleted while it was active")
    if step.refused is not None and step.refused < 500:
        return denied(f"it was refused: {step.refused}")
    return confirmed("it was accepted") if step.error is None else not_seen("the delete had no answer")


def delete_twice(observed: Observations) -> Verdict:
    """Judge how a second delete is answered."""
    step = observed.first("deleted", "delete")
    if step is None or step.answer is None:
        return not_seen("no second delete was answered")
    return (confirmed if step.answer.status == 404 else denied)(str(step.answer.status))


def no_soft_delete(observed: Observations) -> Verdict:
    """Judge whether a deleted server is still shown by its id."""
    deleted = observed.done("delete", "delete")
    if deleted is None:
        return not_seen("no delete was accepted")
    shown = _after(observed, "get")
    lasting = [s for s in shown if s.word not in LEAVING or s.word.endswith("ed")]
    if lasting:
        return denied(
            f"it is shown as {lasting[-1].word!r} for {lasting[-1].at - deleted.ended:.1f} s and more"
        )
    return confirmed("404" if not shown else f"{shown[-1].word!r}, then 404")


def absent_from_lists(observed: Observations) -> Verdict:
    """Judge whether lists show a server that was deleted."""
    deleted, gone = observed.done("delete", "delete"), observed.gone_at()
    if deleted is None or gone is None:
        return not_seen("no delete was seen done")
    late = [sighting for sighting in _after(observed, "list") if sighting.at > gone]
    if late:
        return denied(f"a list has it {late[-1].at - gone:.1f} s after the first 404")
    return confirmed("no list has it after the first 404")


def _after(observed: Observations, call: str) -> list[Sighting]:
    """Return what reads have shown after the delete."""
    steps: list[Step] = [step for step in observed.phase("delete", "deleted") if step.call == call]
    return [Sighting(s.at, str(s.server.status), s.server.updated_at) for s in steps if s.server is not None]
