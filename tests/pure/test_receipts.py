"""Receipts of acknowledged commands: plain data that can be stored."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from vpsorg_async import Receipt, errors

NOON = datetime(2025, 1, 16, 12, tzinfo=UTC)


STORED: list[Any] = [
    lambda receipt: pickle.loads(pickle.dumps(receipt)),
    lambda receipt: Receipt(**attrs.asdict(receipt)),
    lambda receipt: Receipt.from_json(receipt.to_json()),
    lambda receipt: Receipt.from_json(json.dumps(json.loads(receipt.to_json())).encode()),
]


@pytest.mark.parametrize("stored", STORED)
def test_receipts_are_plain_data(stored: Any) -> None:
    """A receipt can be stored, and passed to another process."""
    receipt = Receipt(
        server_id=7,
        operation="reboot",
        acknowledged_at=NOON,
        status="rebooting",
        status_before="active",
        updated_before=NOON,
    )

    assert stored(receipt) == receipt


def test_a_time_without_a_zone_is_utc() -> None:
    """A receipt whose time lost its zone in storage is understood."""
    receipt = Receipt(server_id=7, operation="stop", acknowledged_at=datetime(2025, 1, 16, 12))  # noqa: DTZ001

    assert receipt.acknowledged_at == NOON
    assert Receipt.from_json(receipt.to_json().replace("+00:00", "")) == receipt


def test_a_time_is_a_datetime() -> None:
    """A receipt that was stored by hand, with its time as a text, is refused where it is made."""
    at: Any = NOON.isoformat()

    with pytest.raises(errors.ConfigurationError, match="time is a datetime, not '2025-01-16"):
        Receipt(server_id=7, operation="stop", acknowledged_at=at)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"server_id": 7, "operation": "stop"}',
        '{"server_id": true, "operation": "stop", "acknowledged_at": "2025-01-16T12:00:00Z"}',
        '{"server_id": "", "operation": "stop", "acknowledged_at": "2025-01-16T12:00:00Z"}',
        '{"server_id": 7, "operation": "stop", "acknowledged_at": "noon"}',
        '{"server_id": 7, "operation": "Reboot", "acknowledged_at": "2025-01-16T12:00:00Z"}',
        b"\xff",
    ],
)
def test_what_is_no_receipt_is_refused(text: Any) -> None:
    """A receipt from a queue is checked as strictly as a response."""
    with pytest.raises(errors.ConfigurationError):
        Receipt.from_json(text)
