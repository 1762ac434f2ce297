"""The first step of a fleet workflow: an activity checks the request before anything is sent."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ApplicationError

__all__ = ["check_permitted", "is_continuation", "planned", "raw_json", "refused", "told"]


MOST_REFUSALS = 20
"""In one message, which the engine could not store if it named each of thousands of servers."""


async def planned(name: str, request: RawValue, *before: Any) -> dict[str, Any]:
    """Return the plan of the activity of this name, whose arguments are those before and the request.

    Raises:
        ApplicationError: The request is bad, or the account can't be read; it fails the workflow for good.
    """
    _check_json(request)
    try:
        plan: dict[str, Any] = await workflow.execute_activity(
            name, args=[*before, request], start_to_close_timeout=timedelta(minutes=10), result_type=dict
        )
    except ActivityError as error:
        cause = error.cause
        if not isinstance(cause, ApplicationError):
            raise
        raise ApplicationError(cause.message, *cause.details, type=cause.type, non_retryable=True) from None
    return plan


def check_permitted(plan: dict[str, Any]) -> None:
    """Raise `ApplicationError` for a plan that the guards forbid."""
    if plan["refusals"]:
        why = plan["refusals"]
        more = f"; and {len(why) - MOST_REFUSALS} more" if len(why) > MOST_REFUSALS else ""
        raise refused(f"the plan is refused, and nothing was sent: {'; '.join(why[:MOST_REFUSALS])}{more}")


def refused(why: str) -> ApplicationError:
    """Return the `PlanRefusedError` that fails a workflow for good."""
    plain = {"vpsorg": 1, "type": "PlanRefusedError", "message": why}
    return ApplicationError(why, plain, type="PlanRefusedError", non_retryable=True)


def is_continuation() -> bool:
    """Return whether an earlier run of this workflow has started this one with its state."""
    return workflow.info().continued_run_id is not None


def raw_json(value: RawValue) -> dict[str, Any]:
    """Return a request that was checked, as plain JSON."""
    found: dict[str, Any] = json.loads(value.payload.data)
    return found


def _check_json(value: RawValue) -> None:
    """Check what an activity would be tried for ever to read."""
    encoding = value.payload.metadata.get("encoding", b"")
    if encoding in (b"binary/null", b"binary/plain"):
        return  # the activity can read these, and says what they are
    try:
        if encoding != b"json/plain":
            raise ValueError(f"its encoding is {encoding.decode('ascii', 'replace') or 'not known'}")
        raw_json(value)
    except (ValueError, RecursionError) as error:
        why = f"the request is no JSON: {error}"
        raise ApplicationError(why, type="ConfigurationError", non_retryable=True) from None


def told(error: ActivityError) -> dict[str, str]:
    """Return what a failed activity says, as fields of a row."""
    cause = error.cause or error
    kind = cause.type if isinstance(cause, ApplicationError) else None
    return {"error": kind or type(cause).__name__, "message": getattr(cause, "message", str(cause))}
