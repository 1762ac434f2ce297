"""The events that users can import."""

from __future__ import annotations

from typing import get_args

from vpsorg_async import ServerStuck, events
from vpsorg_async.fleet import events as fleet_events
from vpsorg_async.http import events as http_events


def test_the_unions_hold_every_event() -> None:
    """A hook that handles the members of the union handles every event that it is called with."""
    of_requests = {getattr(http_events, name) for name in http_events.__all__}
    of_fleets = {getattr(fleet_events, name) for name in fleet_events.__all__ if name != "FleetEvent"}

    assert set(get_args(events.ClientEvent)) == of_requests | {ServerStuck}
    assert set(get_args(events.FleetEvent)) == of_fleets


def test_every_event_can_be_imported_from_one_place() -> None:
    """`vpsorg_async.events` has each member of both unions by its name."""
    members = {*get_args(events.ClientEvent), *get_args(events.FleetEvent)}

    assert {cls.__name__ for cls in members} | {"ClientEvent", "FleetEvent"} == set(events.__all__)
