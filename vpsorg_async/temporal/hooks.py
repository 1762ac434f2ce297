"""Activities of the user, as workflows call them: whatever they return, the workflow goes on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

__all__ = ["asked"]

SHOWN = 200
"""Bytes of a result that are read; True takes four."""


async def asked(name: str, args: Sequence[Any], **options: Any) -> tuple[bool, str]:
    """Call an activity, and return whether its result is True, and a sentence with the result.

    The result is not converted: one of a worker in another language that this one cannot read would fail each try of
    the workflow's task, for ever.

    Raises:
        temporalio.exceptions.ActivityError: It failed.
    """
    result: RawValue = await workflow.execute_activity(name, args=args, result_type=RawValue, **options)
    value = _read(result.payload.data)
    return value is True, f"{name} returned {value!r}"


def _read(data: bytes) -> Any:
    """Return the value that JSON holds; what is none, or long, is returned as the beginning of a text."""
    if not data:
        return None
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(data[:SHOWN])
    return data[:SHOWN].decode("utf-8", "replace")
