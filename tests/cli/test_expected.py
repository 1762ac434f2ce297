"""What a client can say about how long commands take, for people to read."""

import pytest

from vpsorg_async import Client
from vpsorg_async.lifecycle.durations import Durations
from vpsorg_async.sandbox import Sandbox

CREATE = ("create", "1", "us-west")
REBOOT = ("reboot", "", "")


def test_creates_are_expected_as_documented() -> None:
    """Before anything was seen a create takes the documented 2 to 5 minutes, and the last of many is a late one."""
    durations = Durations()

    one, many = durations.expected("create", 1), durations.expected("create", 50)

    assert one is not None
    assert many is not None
    assert 120 < one < many < 310


def test_other_commands_are_expected_once_seen() -> None:
    """Nothing is documented of a reboot: nothing is said of it before one was seen."""
    durations = Durations()
    assert durations.expected("reboot", 3) is None

    durations.sighted(REBOOT, 0.0, 20.0, 3)
    during = durations.expected("reboot", 3)
    durations.run_ended(REBOOT)
    after = durations.expected("reboot", 3)

    assert during is not None
    assert after is not None
    assert during >= 20.0
    assert 15.0 < after < 60.0


def test_a_first_sighting_of_another_scale_is_believed() -> None:
    """Where everything runs sixty times as fast, the first server that is done says so."""
    durations = Durations()
    durations.sighted(CREATE, 0.0, 2.0, 20)

    expected = durations.expected("create", 20)

    assert expected == pytest.approx(5.0, abs=1.0)


async def test_a_client_remembers_what_it_saw() -> None:
    """`last_status` returns the status of the last poll without a request; None for an unknown server."""
    async with Sandbox() as box, Client(box.token, base_url=box.url) as vps:
        [server] = box.world.add(1)
        assert vps.last_status(server.id) is None
        await vps.servers.get(server.id)
        assert vps.last_status(server.id) == "active"
        assert vps.expected("create", 0) == vps.expected("create", 1)
        assert len(box.requests) == 1
