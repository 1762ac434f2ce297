"""The report of a fleet call: counting, raising, storing; and the table of what can be retried."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from vpsorg_async import (
    Evidence,
    Failed,
    Outcome,
    Report,
    Server,
    ServerSpec,
    ServerStatus,
    Skipped,
    Succeeded,
    Target,
)
from vpsorg_async.errors import (
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    FleetError,
    OutcomeUnknownError,
    PaymentRequiredError,
    Sent,
    ServerGoneError,
    ServiceError,
    UnexpectedStatusError,
    VpsOrgError,
    WaitTimeoutError,
)
from vpsorg_async.fleet.planning import plan_fleet
from vpsorg_async.fleet.retry_failed import job_of, jobs_again, merged
from vpsorg_async.records import Seen

WEB = Server(id=7, name="web-00", status=ServerStatus.ACTIVE, ip_address="203.0.113.10")
TIMELINE = (Seen(0.5, "provisioning"), Seen(130.25, "active"))
SENT_AT = datetime(2025, 1, 16, 9, 30, tzinfo=UTC)
DONE = Succeeded(
    "web-00",
    WEB,
    evidence=Evidence.OBSERVED,
    timeline=TIMELINE,
    seconds=130.25,
    attempts=1,
    how="created",
    acknowledged=True,
)
LATE = Failed(
    "web-01",
    WaitTimeoutError("too late", server_id=8, target="active", timeline=TIMELINE),
    server_id=8,
    server=attrs.evolve(WEB, id=8),
    timeline=TIMELINE,
    seconds=600.0,
    attempts=2,
    acknowledged=True,
)
UNKNOWN = Failed(
    "web-02",
    OutcomeUnknownError("lost", subject="web-02", reason=ServiceError("oops", status=502), sent_at=SENT_AT),
    attempts=1,
)
LEFT = Skipped("web-03", "no credit")
REPORT = Report(operation="create", outcomes=(DONE, LATE, UNKNOWN, LEFT), seconds=600.5)


def test_a_report_sorts_its_outcomes() -> None:
    """Each outcome is in one of three groups, in the order asked; the servers are those of the successes."""
    assert REPORT.succeeded == (DONE,)
    assert REPORT.failed == (LATE, UNKNOWN)
    assert REPORT.skipped == (LEFT,)
    assert REPORT.servers == (WEB,)
    assert str(REPORT) == "create: 1 succeeded, 2 failed, 1 skipped in 600.5 s"


def test_json_has_a_row_for_each() -> None:
    """Totals, and for each server its outcome, id, attempts, seconds, evidence or error: nothing but plain JSON."""
    told = json.loads(REPORT.to_json())

    assert {key: told[key] for key in ("operation", "seconds", "succeeded", "failed", "skipped")} == {
        "operation": "create",
        "seconds": 600.5,
        "succeeded": 1,
        "failed": 2,
        "skipped": 1,
    }
    done, late, unknown, left = told["outcomes"]
    assert [row["outcome"] for row in told["outcomes"]] == ["succeeded", "failed", "failed", "skipped"]
    assert [row["key"] for row in told["outcomes"]] == ["web-00", "web-01", "web-02", "web-03"]
    assert (done["id"], done["how"], done["evidence"], done["attempts"]) == (7, "created", "observed", 1)
    assert [row["acknowledged"] for row in (done, late, unknown)] == [True, True, False]
    assert done["timeline"] == ["provisioning at 0.5 s", "active at 130.2 s"]
    assert (late["id"], late["error"], late["attempts"]) == (8, "WaitTimeoutError", 2)
    assert (unknown["id"], unknown["error"], unknown["message"]) == (None, "OutcomeUnknownError", "lost")
    assert left == {"key": "web-03", "outcome": "skipped", "reason": "no credit"}


def test_a_report_survives_pickling() -> None:
    """A stored report has the same outcomes, errors with their attributes, and no reference to the client."""

    async def again(report: Report) -> Report:
        return report

    copy = pickle.loads(pickle.dumps(attrs.evolve(REPORT, again=again, rolled_back=True)))

    assert copy.again is None
    assert copy.rolled_back
    assert copy.to_json() == attrs.evolve(REPORT, rolled_back=True).to_json()
    assert copy.succeeded == REPORT.succeeded
    late, unknown = copy.failed
    assert (late.error.server_id, late.error.timeline, late.server) == (8, TIMELINE, LATE.server)
    assert (unknown.error.subject, unknown.error.reason.status, unknown.error.sent_at) == (
        "web-02",
        502,
        SENT_AT,
    )


def test_nothing_is_raised_where_all_worked() -> None:
    """A report without failures raises nothing, an empty one neither."""
    Report(operation="create", outcomes=(DONE,)).raise_for_failures()
    Report(operation="create", outcomes=()).raise_for_failures()


def test_failures_are_raised_as_a_group() -> None:
    """One `FleetError` with an error for each that failed or was skipped, which ``except*`` splits."""
    caught: dict[str, list[Exception]] = {}
    try:
        REPORT.raise_for_failures()
    except* WaitTimeoutError as late:
        caught["late"] = list(late.exceptions)
    except* OutcomeUnknownError as unknown:
        caught["unknown"] = list(unknown.exceptions)
    except* VpsOrgError as rest:
        caught["rest"] = list(rest.exceptions)

    assert caught["late"] == [LATE.error]
    assert caught["unknown"] == [UNKNOWN.error]
    assert [str(error) for error in caught["rest"]] == ["web-03 was skipped: no credit"]
    with pytest.raises(FleetError, match="3 of 4 servers failed"):
        REPORT.raise_for_failures()


async def test_a_stored_report_can_not_try_again() -> None:
    """Without its client a report refuses to retry, with an error that says so."""
    with pytest.raises(ConfigurationError, match="no client"):
        await REPORT.retry_failed()


# -- retrying -------------------------------------------------------------------------------------------------------

TIMEOUT = WaitTimeoutError("late", server_id=7)
UNKNOWN_FATE = OutcomeUnknownError("lost", subject=7)
LOST = ConnectionLostError("reset")
SERVICE = ServiceError("oops", status=502, sent=Sent.MAYBE)

# operation, the error it failed with, the command that is sent now, whether a refusal of it may be an echo
TAKEN: list[tuple[str, VpsOrgError, str, bool]] = [
    ("start", TIMEOUT, "", False),
    ("stop", TIMEOUT, "", False),
    ("reboot", TIMEOUT, "", False),
    ("delete", TIMEOUT, "", False),
    ("reboot", ServerGoneError("gone"), "", False),
    ("start", UnexpectedStatusError("stopped"), "", False),
    ("reboot", UnexpectedStatusError("stopped"), "", False),
    ("stop", AuthenticationError("no", status=401), "", False),
    ("reboot", ClientClosedError("closed"), "", False),
]
NOT_TAKEN: list[tuple[str, VpsOrgError, str, bool]] = [
    ("start", TIMEOUT, "start", False),
    ("start", UnexpectedStatusError("stopped"), "start", False),
    ("start", UNKNOWN_FATE, "start", True),
    ("stop", UNKNOWN_FATE, "stop", True),
    ("delete", LOST, "delete", True),
    ("delete", SERVICE, "delete", True),
    ("start", ConnectError("refused"), "start", False),
    ("reboot", ConnectError("refused"), "reboot", False),
    ("reboot", BadRequestError("not running", status=400), "reboot", False),
    ("stop", PaymentRequiredError("no credit", status=402), "stop", False),
]
AGAIN = [(True, *row) for row in TAKEN] + [(False, *row) for row in NOT_TAKEN]


@pytest.mark.parametrize(("acknowledged", "operation", "error", "command", "echo"), AGAIN)
def test_what_is_tried_again(
    acknowledged: bool, operation: str, error: VpsOrgError, command: str, echo: bool
) -> None:
    """Acknowledged: only waited for, whatever failed; maybe applied: a refusal can be its echo; else sent again."""
    target = Target.of("active")
    report = Report(operation=operation, outcomes=(Failed(7, error, server_id=7, acknowledged=acknowledged),))

    (job,) = jobs_again(report, operation, target)

    assert (job.key, job.server_id, job.target) == (7, 7, target)
    assert (job.command, job.echo, job.error) == (command, echo, None)
    assert job.acknowledged is acknowledged


def test_an_unknown_reboot_is_left_alone() -> None:
    """A second reboot could reboot the server twice: its failure stays, and nothing is sent."""
    report = Report(operation="reboot", outcomes=(Failed(7, UNKNOWN_FATE, server_id=7),))

    (job,) = jobs_again(report, "reboot", Target.of("active"))

    assert job.error is UNKNOWN_FATE


def test_only_what_is_open_is_tried_again() -> None:
    """Only failed and skipped servers are retried."""
    assert [job.key for job in jobs_again(REPORT, "stop", None)] == ["web-01", "web-02", "web-03"]


def test_a_second_try_completes_the_first() -> None:
    """New outcomes replace the old ones; successes stay; the order is that of the first call."""
    newer = Report(
        operation="ensure",
        outcomes=(Succeeded("web-03", WEB, how="created"), Succeeded("web-01", WEB, how="adopted")),
        seconds=99.5,
    )

    whole = merged(REPORT, newer)

    assert [outcome.key for outcome in whole.outcomes] == ["web-00", "web-01", "web-02", "web-03"]
    assert [getattr(outcome, "how", None) for outcome in whole.outcomes] == [
        "created",
        "adopted",
        None,
        "created",
    ]
    assert (whole.operation, whole.seconds) == ("create", 700.0)


# -- from a plan to jobs --------------------------------------------------------------------------------------------

SPEC = ServerSpec(name="web-00", plan_id=1, os_id=5, location="us-west")

JOBS: list[tuple[list[str], Callable[[Any], Any]]] = [
    ([], lambda job: (job.command, job.spec, job.server_id) == ("create", SPEC, None)),
    (["stopped"], lambda job: (job.command, job.server_id) == ("start", 1)),
    (["provisioning"], lambda job: (job.command, job.server_id, str(job.target)) == ("", 1, "active")),
    (["active"], lambda job: (job.command, job.target, job.server.id) == ("", None, 1)),
    (["suspended"], lambda job: isinstance(job.error, UnexpectedStatusError) and job.error.server_id == 1),
    (
        ["active", "active"],
        lambda job: isinstance(job.error, UnexpectedStatusError) and "1, 2" in str(job.error),
    ),
]


@pytest.mark.parametrize(("statuses", "fits"), JOBS)
def test_a_step_becomes_a_job(statuses: list[str], fits: Callable[[Any], bool]) -> None:
    """Create and start send a command, wait and keep send none, a refusal carries its error."""
    servers = [
        Server(id=number, name=SPEC.name, status=ServerStatus(status))
        for number, status in enumerate(statuses, 1)
    ]
    (step,) = plan_fleet([SPEC], servers).steps

    job = job_of(step)

    assert job.key == SPEC.name
    assert fits(job)


def test_every_outcome_has_a_server_and_an_error() -> None:
    """A caller can read both of any outcome; None stands for a missing one."""
    error = ConnectError("refused")
    outcomes: tuple[Outcome, ...] = (Succeeded("a", None), Failed("b", error), Skipped("c", "why"))

    assert [outcome.error for outcome in outcomes] == [None, error, None]
    assert [outcome.server for outcome in outcomes] == [None, None, None]


def test_outcomes_match_by_what_they_have() -> None:
    """`match` distinguishes the outcomes by class, error and reason."""

    def said(outcome: Outcome) -> str:
        match outcome:
            case Succeeded(key, None):
                return f"{key} worked"
            case Failed(key, ConnectError()):
                return f"{key} was not sent"
            case Skipped(reason=reason):
                return reason
        return "?"

    outcomes: tuple[Outcome, ...] = (
        Succeeded("a", None),
        Failed("b", ConnectError("refused")),
        Failed("c", ValueError()),  # type: ignore[arg-type]
        Skipped("d", "why"),
    )

    assert [said(outcome) for outcome in outcomes] == ["a worked", "b was not sent", "?", "why"]
