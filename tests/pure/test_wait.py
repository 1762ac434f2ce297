"""One wait as a machine: polls go in, verdicts come out. No loop, no clock."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vpsorg_async import Receipt, Server, ServerStatus, Target, errors
from vpsorg_async.config import WaitPolicy
from vpsorg_async.lifecycle.account import Account
from vpsorg_async.lifecycle.commands import COMMANDS, MOVING, SETTLED
from vpsorg_async.lifecycle.contract import CONTRACT, Reading
from vpsorg_async.lifecycle.wait import Ended, Reached, Wait

POLICY = WaitPolicy(grace=10.0, quiet=15.0, visibility=60.0)
NOON = datetime(2025, 1, 16, 12, tzinfo=UTC)
BEGAN = 100.0
ACKNOWLEDGED = 99.0
OPERATIONS = ("", "create", "start", "stop", "reboot", "delete")


def at(seconds: float | None) -> datetime | None:
    return None if seconds is None else NOON + timedelta(seconds=seconds)


def server(word: str = "active", updated: float | None = None) -> Server:
    return Server(id=7, name="web", status=ServerStatus(word), updated_at=at(updated))


def receipt(operation: str, before: str | None = None, updated: float | None = None) -> Receipt:
    return Receipt(
        server_id=7,
        operation=operation,
        acknowledged_at=NOON,
        status_before=before,
        updated_before=at(updated),
    )


ACCOUNTS: dict[Wait, Account] = {}
"""What each wait knows: it has the records."""


def waiting(
    target: Any = "active",
    operation: str = "",
    *,
    before: str | None = None,
    updated: float | None = None,
    timeout: float = 600.0,
    newest: float | None = None,
) -> Wait:
    known = receipt(operation, before, updated) if operation else None
    account = Account(POLICY)
    wait = Wait(
        7,
        Target.of(target),
        account,
        now=BEGAN,
        timeout=timeout,
        receipt=known,
        acknowledged=ACKNOWLEDGED if known else None,
        newest=at(newest),
    )
    ACCOUNTS[wait] = account
    return wait


def show(wait: Wait, word: str, when: float, updated: float | None = None) -> Reached | Ended | None:
    """A poll that left and came back instantly, this number of seconds after the wait began."""
    ACCOUNTS[wait].read(server(word, updated), BEGAN + when, {7})
    return wait.observe(server(word, updated), BEGAN + when, BEGAN + when)


def told(verdict: Reached | Ended | None) -> str:
    """A verdict in a word: its evidence, or its error."""
    if verdict is None:
        return "goes on"
    return str(verdict.evidence) if isinstance(verdict, Reached) else type(verdict.error).__name__


def error_of(verdict: Reached | Ended | None) -> errors.WaitError:
    assert isinstance(verdict, Ended)
    assert isinstance(verdict.error, errors.WaitError)
    return verdict.error


ALL_WORDS = [*sorted(SETTLED | MOVING), "migrating"]


def found_so(operation: str, word: str) -> bool:
    """Whether a command may have found the server with that status."""
    command = COMMANDS.get(operation)
    return command is not None and (command.target == "gone" or word == command.before)


ALL_TARGETS = ["active", "stopped", "suspended", "settled", "gone", "rebooting"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("target", ALL_TARGETS)
@pytest.mark.parametrize("word", ALL_WORDS)
def test_a_status_does_what_the_contract_says(word: str, target: str, operation: str) -> None:
    """For each word, target and command the machine ends, or goes on, by the row of the contract."""
    reading = Target.of(target).reading(word)
    if reading is Reading.ELSEWHERE and found_so(operation, word):
        reading = Reading.UNMOVED
    rule = CONTRACT[reading]
    wait = waiting(target, operation)
    patience = 0.0 if rule.after is None else getattr(POLICY, rule.after)
    if reading is Reading.TARGET:
        # a status from which the command began proves nothing
        proof = "assumed" if found_so(operation, word) else "observed"
        patience = patience if proof == "assumed" else 0.0
    else:
        proof = rule.ends[0].__name__ if rule.ends else "goes on"

    if patience:
        assert told(show(wait, word, 1.0)) == "goes on"
        assert told(show(wait, word, 0.9 + patience)) == "goes on"
    assert told(show(wait, word, 1.0 + patience)) == proof


ABSENT: list[tuple[str, str, bool, str | None, float, Reading]] = [
    # target, command, seen before, status known before the command, patience, row
    *(("gone", op, False, None, 0.0, Reading.GONE) for op in OPERATIONS if op != "create"),
    ("gone", "create", True, None, 0.0, Reading.GONE),
    ("gone", "delete", True, None, 0.0, Reading.GONE),
    ("active", "", True, None, 0.0, Reading.VANISHED),
    ("active", "create", True, None, 0.0, Reading.VANISHED),
    ("active", "reboot", False, "active", 0.0, Reading.VANISHED),
    ("active", "create", False, None, POLICY.visibility, Reading.INVISIBLE),
    ("active", "", False, None, POLICY.grace, Reading.UNHEARD_OF),
    ("active", "reboot", False, None, POLICY.grace, Reading.UNHEARD_OF),
]


@pytest.mark.parametrize(("target", "operation", "seen", "before", "patience", "reading"), ABSENT)
def test_absence_does_what_the_contract_says(
    target: str, operation: str, seen: bool, before: str | None, patience: float, reading: Reading
) -> None:
    """404 by id is the target, a loss, or a server not visible yet, depending on the known history of the server."""
    rule = CONTRACT[reading]
    wait = waiting(target, operation, before=before)
    if seen:
        assert show(wait, "provisioning", 0.5) is None
    assert patience == (0.0 if rule.after is None else getattr(POLICY, rule.after))

    if patience:
        assert wait.absent(BEGAN + 1, BEGAN + 1) is None
        assert wait.absent(BEGAN + patience - 0.1, BEGAN + patience - 0.1) is None
    verdict = wait.absent(BEGAN + max(patience, 2.0), BEGAN + max(patience, 2.0))

    assert told(verdict) == ("observed" if rule.reaches else rule.ends[0].__name__)


def test_a_server_not_visible_yet_is_not_gone() -> None:
    """404 by id right after a create does not mean that the server is gone; after the patience it does."""
    wait = waiting("gone", "create")

    assert wait.absent(BEGAN + 1, BEGAN + 1) is None
    assert wait.absent(BEGAN + 59, BEGAN + 59) is None
    assert told(wait.absent(BEGAN + 60, BEGAN + 60)) == "observed"


def test_gone_returns_the_last_record() -> None:
    """The server of a wait for "gone" is as it was last seen, with a status that is true."""
    wait = waiting("gone", "delete")
    assert show(wait, "active", 0.5) is None

    verdict = wait.absent(BEGAN + 1, BEGAN + 1)

    assert isinstance(verdict, Reached)
    assert (verdict.server.name, verdict.server.status) == ("web", "gone")


# command, status and updated_at known before, the polls that follow (second, word, updated_at), the verdict
Polls = Sequence[tuple[float, str, float | None]]
EVIDENCE: list[tuple[str, str | None, float | None, Polls, str]] = [
    ("create", None, None, [(1, "provisioning", 0), (200, "active", 200)], "observed"),
    ("create", None, None, [(1, "active", None)], "observed"),
    ("start", "stopped", 0, [(1, "active", 0)], "observed"),
    ("start", None, None, [(1, "active", None)], "observed"),
    ("stop", "active", 0, [(1, "stopped", 0)], "observed"),
    # a status that is still shown after a delete is from before it
    ("delete", "stopped", 0, [(1, "active", 0)], "goes on"),
    ("delete", "stopped", None, [(1, "active", None), (16, "active", None)], "assumed"),
    # a reboot comes back to where it began: the word alone proves nothing
    ("reboot", "active", 0, [(1, "active", 0)], "goes on"),
    ("reboot", None, None, [(1, "active", None)], "goes on"),
    ("reboot", "active", 0, [(1, "rebooting", 1), (9, "active", 9)], "observed"),
    ("reboot", "active", None, [(1, "rebooting", None), (9, "active", None)], "observed"),
    ("reboot", "active", 0, [(1, "stopping", 1), (9, "active", 9)], "observed"),
    ("reboot", "active", 0, [(1, "restarting", 1), (9, "active", 9)], "observed"),
    ("reboot", "active", 0, [(1, "active", 0), (2, "rebooting", 1), (9, "active", 9)], "observed"),
    ("reboot", "active", 0, [(1, "active", 5)], "updated"),
    ("reboot", "active", 0, [(1, "active", 0), (9, "active", 5)], "updated"),
    ("reboot", "active", 0, [(1, "active", 0), (15.9, "active", 0)], "goes on"),
    ("reboot", "active", 0, [(1, "active", 0), (16, "active", 0)], "assumed"),
    ("reboot", "active", None, [(1, "active", None), (16, "active", None)], "assumed"),
    # with nothing known before, later sightings are compared with the first one
    ("reboot", None, None, [(1, "active", 0), (9, "active", 5)], "updated"),
    ("reboot", None, None, [(1, "active", 0), (9, "active", 0)], "goes on"),
    # a lagging read may still show the change that led to the status from which the command began
    ("reboot", None, None, [(1, "provisioning", None), (2, "active", None)], "goes on"),
    ("reboot", None, None, [(1, "starting", None), (2, "active", None)], "goes on"),
    ("start", "active", None, [(1, "stopping", None), (2, "active", None)], "goes on"),
    # what was known before the command is no news after it: another reboot was in progress
    ("reboot", "rebooting", None, [(1, "rebooting", None), (9, "active", None)], "goes on"),
    # the command was accepted, so the status known before was out of date
    ("start", "active", 0, [(1, "active", 0)], "goes on"),
    ("start", "active", 0, [(1, "starting", 1), (2, "active", 2)], "observed"),
    ("start", "active", 0, [(1, "active", 3)], "updated"),
    ("stop", "stopped", 0, [(1, "stopped", 0)], "goes on"),
    ("stop", "stopped", 0, [(1, "stopping", 2), (3, "stopped", 3)], "observed"),
]


@pytest.mark.parametrize(("operation", "before", "updated", "polls", "expected"), EVIDENCE)
def test_evidence(
    operation: str, before: str | None, updated: float | None, polls: Polls, expected: str
) -> None:
    """A wait accepts only evidence from after its command, and names it."""
    wait = waiting("stopped" if operation == "stop" else "active", operation, before=before, updated=updated)

    *early, last = [show(wait, word, when, moved) for when, word, moved in polls]

    assert [told(verdict) for verdict in early] == ["goes on"] * len(early)
    assert told(last) == expected


@pytest.mark.parametrize(
    ("operation", "word"), [("stop", "active"), ("start", "stopped"), ("reboot", "active")]
)
def test_settled_is_not_the_status_before(operation: str, word: str) -> None:
    """A wait for "settled" after a command doesn't end on the settled status that the command began from."""
    wait = waiting("settled", operation)

    assert told(show(wait, word, 1)) == "goes on"
    other = "stopped" if word == "active" else "active"
    assert told(show(wait, other, 2)) == "observed"


def test_leaving_the_target_begins_the_quiet_period_anew() -> None:
    """The target has to hold: an interruption restarts the quiet period."""
    wait = waiting("active", "reboot", before="rebooting")
    assert show(wait, "active", 1) is None
    assert show(wait, "rebooting", 10) is None

    assert told(show(wait, "active", 17)) == "goes on"
    assert told(show(wait, "active", 32)) == "assumed"


def test_a_failed_poll_does_not_interrupt_the_quiet_period() -> None:
    """A failed poll is no news: a target that held before and after it did hold."""
    wait = waiting("active", "reboot")
    assert show(wait, "active", 1) is None
    assert wait.failed(errors.ServiceError("x", status=503), BEGAN + 8) is None

    assert told(show(wait, "active", 16)) == "assumed"


def test_the_target_ends_the_grace_of_another_status() -> None:
    """Grace counts a settled status without interruption."""
    wait = waiting("active")
    assert show(wait, "stopped", 1) is None
    assert show(wait, "starting", 8) is None
    assert show(wait, "stopped", 11.5) is None

    assert told(show(wait, "stopped", 21)) == "goes on"
    assert told(show(wait, "stopped", 21.5)) == "UnexpectedStatusError"


LEFT: list[tuple[str, float, bool]] = [
    # command, when the poll left, whether it counts
    ("", BEGAN - 0.1, False),
    ("", BEGAN, True),
    ("reboot", ACKNOWLEDGED - 0.1, False),
    ("reboot", ACKNOWLEDGED, False),
    ("reboot", BEGAN - 0.1, False),
    ("reboot", BEGAN, True),
]


@pytest.mark.parametrize(("operation", "left", "counts"), LEFT)
def test_a_poll_counts_only_if_it_left_after_the_command(operation: str, left: float, counts: bool) -> None:
    """A poll that left before the command, or before the wait, shows the past, whenever it arrives."""
    wait = waiting("stopped", operation)

    verdict = wait.observe(server("stopped"), left, BEGAN + 5)

    assert told(verdict) == ("observed" if counts else "goes on")
    assert wait.polls == 1


def test_an_early_poll_that_found_nothing_does_not_count_either() -> None:
    """404 to a read that left before the delete was acknowledged proves no deletion."""
    wait = waiting("gone", "delete")

    assert wait.absent(ACKNOWLEDGED - 1, BEGAN + 1) is None
    assert told(wait.absent(BEGAN + 1, BEGAN + 1)) == "observed"


def test_stale_reads_are_not_counted() -> None:
    """A record older than one already seen is a lagging read: it ends nothing, and is marked as stale."""
    wait = waiting("active", "start", before="stopped", updated=50)

    assert told(show(wait, "active", 1, 40)) == "goes on"
    assert told(show(wait, "suspended", 2, 40)) == "goes on"
    assert wait.last_seen is None
    assert told(show(wait, "starting", 3, 51)) == "goes on"
    assert told(show(wait, "active", 4, 50)) == "goes on"
    assert told(show(wait, "active", 5, 51)) == "observed"
    assert [str(seen) for seen in wait.timeline][:2] == [
        "active at 1.0 s (stale)",
        "suspended at 2.0 s (stale)",
    ]


def test_what_the_client_saw_before_the_wait_tells_stale_reads() -> None:
    """A wait without a command is not fooled by a read older than the client's last sighting."""
    wait = waiting("active", newest=50)

    assert told(show(wait, "active", 1, 49)) == "goes on"
    assert told(show(wait, "active", 2, 50)) == "observed"


def test_timestamps_that_went_back_for_good_only_delay() -> None:
    """A target that held long enough is accepted, whatever its timestamps; another status is not."""
    wait = waiting("active", "reboot")
    assert show(wait, "active", 1, 100) is None
    assert show(wait, "suspended", 17, 10) is None

    assert told(show(wait, "active", 18, 10)) == "assumed"


def test_naive_and_aware_timestamps_are_compared() -> None:
    """A timestamp without a zone is read as UTC."""
    wait = waiting("active", "reboot", before="active", updated=0)
    naive = Server(id=7, name="web", status=ServerStatus.ACTIVE, updated_at=datetime(2025, 1, 16, 12, 0, 1))  # noqa: DTZ001

    assert told(wait.observe(naive, BEGAN + 1, BEGAN + 1)) == "updated"


def test_a_command_in_the_middle_begins_the_wait_anew() -> None:
    """After a further command only polls that left later count, and the evidence is that of the new command."""
    wait = waiting("active", "create")
    assert show(wait, "provisioning", 1, 1) is None

    wait.acknowledge(receipt("reboot", "active", 180), BEGAN + 200)

    assert (wait.operation, wait.since) == ("reboot", BEGAN + 200)
    assert told(wait.observe(server("active", 180), BEGAN + 200, BEGAN + 201)) == "goes on"
    assert told(show(wait, "active", 202, 180)) == "goes on"
    assert told(show(wait, "rebooting", 203, 203)) == "goes on"
    assert told(show(wait, "active", 210, 210)) == "observed"
    assert wait.deadline == BEGAN + 600


def test_a_command_in_the_middle_resets_grace_and_quiet() -> None:
    """Patience spent before a command does not count against it."""
    wait = waiting("active", "reboot")
    assert show(wait, "stopped", 1) is None

    wait.acknowledge(receipt("start"), BEGAN + 10)

    assert told(show(wait, "stopped", 12)) == "goes on"
    assert told(show(wait, "stopped", 71.9)) == "goes on"
    assert told(show(wait, "stopped", 72)) == "UnexpectedStatusError"


def test_a_command_that_takes_long_to_show_is_waited_for() -> None:
    """A status from before an acknowledged command means no effect yet; after a moving one it is an end."""
    slow, undone = waiting("stopped", "stop"), waiting("stopped", "stop")

    assert told(show(slow, "active", 1)) == told(show(slow, "active", 12)) == "goes on"
    assert told(show(slow, "stopped", 14)) == "observed"
    assert told(show(undone, "stopping", 1)) == told(show(undone, "active", 2)) == "goes on"
    assert told(show(undone, "active", 12)) == "UnexpectedStatusError"


def test_timestamps_that_are_always_behind_are_believed_in_the_end() -> None:
    """A server whose clock was set back is not stale for ever; one lagging poll among others is."""
    wait, lagging = waiting("active", newest=100), waiting("active", newest=100)

    assert told(show(wait, "active", 1, 10)) == told(show(wait, "active", 15.9, 10)) == "goes on"
    assert told(show(wait, "active", 16, 10)) == "observed"
    assert told(show(lagging, "active", 1, 10)) == told(show(lagging, "starting", 15, 110)) == "goes on"
    assert told(show(lagging, "active", 17, 10)) == "goes on"


@pytest.mark.parametrize("error", [errors.AuthenticationError, errors.PermissionDeniedError])
def test_what_polling_again_cannot_mend_ends_the_wait(error: type[errors.APIError]) -> None:
    """401 and 403 end a wait immediately; each waiter gets an exception of its own."""
    shared = error("no", status=401)

    verdicts = [waiting().failed(shared, BEGAN + 1) for _ in range(2)]

    raised = [verdict.error for verdict in verdicts if isinstance(verdict, Ended)]
    assert [type(each) for each in raised] == [error, error]
    assert len({id(each) for each in [*raised, shared]}) == 3


@pytest.mark.parametrize(
    "error",
    [
        errors.ServiceError("x", status=503),
        errors.RateLimitError("x", status=429),
        errors.RequestTimeoutError("x"),
        errors.ConnectError("x"),
        errors.DecodeError("x"),
        errors.BadRequestError("x", status=400),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_poll_ends_nothing(error: errors.VpsOrgError) -> None:
    """Any other failure of a poll is counted and reported, and the wait goes on."""
    wait = waiting()

    assert [wait.failed(error, BEGAN + second) for second in (1, 2, 3)] == [None] * 3
    assert (wait.polls, wait.failed_polls, wait.last_failure) == (3, 3, error)
    assert [str(seen) for seen in wait.timeline] == [f"no answer at 1.0 s ({type(error).__name__})"]
    assert told(show(wait, "active", 4)) == "observed"


def test_the_timeline_has_every_change_once() -> None:
    """Each change is reported once, with the time when it began and its special conditions."""
    wait = waiting("active", "create")
    for when, word in [(1, "provisioning"), (2, "provisioning"), (30, "migrating"), (40, "provisioning")]:
        assert show(wait, word, when) is None
    assert wait.failed(errors.ServiceError("down", status=503), BEGAN + 50) is None
    assert wait.failed(errors.ServiceError("down", status=503), BEGAN + 60) is None
    assert show(wait, "active", 70) is not None

    assert [str(seen) for seen in wait.timeline] == [
        "provisioning at 1.0 s",
        "migrating at 30.0 s (an unknown word)",
        "provisioning at 40.0 s",
        "no answer at 50.0 s (ServiceError)",
        "active at 70.0 s",
    ]
    assert wait.polls == 7


def test_the_deadline() -> None:
    """A wait is over at its deadline, and not before."""
    wait = waiting(timeout=30.0)

    assert wait.expire(BEGAN + 29.9) is None
    assert told(wait.expire(BEGAN + 30.0)) == "WaitTimeoutError"


def test_the_timeout_error_reads_well() -> None:
    """The error has the target, the sightings, the last failed poll, and the advice."""
    wait = waiting("active", "create", timeout=300.0)
    assert show(wait, "provisioning", 1) is None
    assert show(wait, "migrating", 100) is None
    assert (
        wait.failed(errors.ServiceError("down", status=503, request="GET /api/v1/servers/"), BEGAN + 250)
        is None
    )

    error = error_of(wait.expire(BEGAN + 300))

    assert str(error) == (
        "server 7 is not active: after 300.0 s it is migrating; "
        "seen: provisioning at 1.0 s, migrating at 100.0 s (an unknown word), no answer at 250.0 s (ServiceError); "
        "1 of 3 polls failed, the last with: GET /api/v1/servers/ was answered 503: down; "
        "it may still become active: wait again, or read the server; "
        "'migrating' is an unknown word: if it means active, map it, "
        "status_words={'migrating': 'active'}"
    )
    assert isinstance(error, TimeoutError)
    assert (error.server_id, error.target, error.last_seen) == (7, "active", server("migrating"))
    assert [seen.status for seen in error.timeline] == ["provisioning", "migrating", "no answer"]


MESSAGES: list[tuple[str, str, str]] = [
    ("stopped", "active", "server 7 is not active: it is stopped, and nothing is changing it; seen: stopped at 0.0 s"),
    ("suspended", "active", "server 7 is not active: it is suspended; seen: suspended at 0.0 s"),
    ("absent", "active", "server 7 is not active: it does not exist; it was never seen; seen: absent at 0.0 s"),
    ("nothing", "gone", "server 7 is not gone: after 600.0 s it was never seen; it may still become gone: wait again, "
     "or read the server"),
]  # fmt: skip


@pytest.mark.parametrize(("shown", "target", "message"), MESSAGES)
def test_errors_say_what_happened(shown: str, target: str, message: str) -> None:
    """Every error names the server, the target and the statuses seen."""
    wait = waiting(target)
    verdict: Reached | Ended | None = None
    for when in (0.0, 20.0):
        if shown == "absent":
            verdict = wait.absent(BEGAN + when, BEGAN + when)
        elif shown != "nothing" and verdict is None:
            verdict = show(wait, shown, when)

    assert str(error_of(verdict or wait.expire(BEGAN + 600))) == message


def test_a_wait_for_what_was_never_there_does_not_advise_to_go_on() -> None:
    """If the deadline comes within the patience for an absent server, the error asks whether the server exists."""
    wait = waiting("active", timeout=5.0)
    assert wait.absent(BEGAN + 1, BEGAN + 1) is None

    error = error_of(wait.expire(BEGAN + 5))

    assert type(error) is errors.WaitTimeoutError
    assert str(error) == (
        "server 7 is not active: after 5.0 s it was never seen; seen: absent at 1.0 s; does it exist?"
    )


def test_wait_errors_pickle() -> None:
    """A wait's error keeps all its attributes on its way to another process."""
    wait = waiting("active", "create", timeout=10.0)
    show(wait, "provisioning", 1, 1)
    wait.failed(errors.RequestTimeoutError("late", request="GET /api/v1/servers/7/"), BEGAN + 2)
    error = error_of(wait.expire(BEGAN + 10))

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is errors.WaitTimeoutError
    assert str(copy) == str(error)
    assert (copy.server_id, copy.target, copy.last_seen, copy.timeline) == (
        *(error.server_id, error.target, error.last_seen, error.timeline),
    )
    assert str(copy.last_failure) == "GET /api/v1/servers/7/: late"


def test_a_list_without_the_server_proves_nothing() -> None:
    """Absence from a list calls for a read by id: immediately, except for a server just created."""
    created, unknown, gone = waiting("active", "create"), waiting("active"), waiting("gone", "create")

    assert [wait.suspicious(BEGAN + 1) for wait in (created, unknown, gone)] == [False, True, True]
    assert created.suspicious(BEGAN + POLICY.visibility)
    show(created, "provisioning", 2)
    assert created.suspicious(BEGAN + 3)


def test_when_the_same_once_more_would_change_nothing() -> None:
    """On its way or in an unknown word: steady. Held, settled elsewhere, stale, or disturbed: time or news decide."""
    now = iter(range(200, 300))

    def steady(wait: Wait, *seen: Server) -> bool:
        for each in seen:
            assert wait.observe(each, float(moment := next(now)), moment) is None
        return wait.steady

    def waiting(operation: str = "reboot") -> Wait:
        return Wait(
            7,
            Target.of("active"),
            Account(POLICY),
            now=BEGAN,
            timeout=600,
            receipt=receipt(operation, "active", 0),
        )

    assert not waiting().steady
    assert steady(waiting(), server("rebooting", 1))
    assert steady(waiting(), server("hibernating", 1))
    assert not steady(waiting(), server("active", 0))
    assert not steady(waiting(), server("stopped", 1))
    assert not steady(waiting(), server("rebooting", 1), server("rebooting", 0))

    def failed(wait: Wait) -> None:
        wait.failed(errors.ServiceError("down", status=503), 310.0)

    def acknowledged(wait: Wait) -> None:
        wait.acknowledge(receipt("reboot"), 310.0)

    for disturb in (failed, acknowledged):
        wait = waiting()
        assert steady(wait, server("rebooting", 1))
        disturb(wait)
        assert not wait.steady
