"""Fleets that wait until the sandbox's servers are usable: real sockets, a real SSH server, real time."""

from __future__ import annotations

from pathlib import Path

import asyncssh

from tests.fleet.virtual_account import specs
from vpsorg_async import Client, errors, ready
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults


async def test_a_fleet_is_created_checked_and_reinstalled(tmp_path: Path) -> None:
    """Ports, then cloud-init; a failed cloud-init and a changed host key are hopeless, and named."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "key")
    public = key.export_public_key().decode()
    booted = ready.command(
        "cloud-init status --wait",
        key=tmp_path / "key",
        known_hosts=tmp_path / "hosts",
        pin=True,
        port=2222,
    )
    usable = ready.all_of(ready.ssh(2222), ready.http("/", port=8080), booted)
    quick = Durations(provisioning=(0.1, 0.3), rebooting=(1.0, 1.2))
    async with (
        Sandbox(boot=(0.1, 0.5), cloud_init=0.2, durations=quick, authorized_keys=public) as box,
        Client(box.token, base_url=box.url) as vps,
    ):
        report = await vps.fleet.create(specs(5), timeout=30, ready=usable, ready_timeout=30)
        assert {outcome.stage for outcome in report.outcomes} == {"ready"}
        assert len((tmp_path / "hosts").read_text().splitlines()) == 5

        ids = [server.id for server in report.servers]
        box.world.set_boot(ids[0], cloud_init="error")
        box.world.change_host_key(ids[1])
        report = await vps.fleet.reboot(ids, timeout=30, ready=usable, ready_timeout=30)

        assert {outcome.stage for outcome in report.succeeded} == {"ready"}
        assert [failure.key for failure in report.failed] == ids[:2]
        broken, changed = (failure.error for failure in report.failed)
        assert isinstance(broken, errors.NeverReadyError)
        assert "ended with exit code 1 (failed)" in broken.reason
        assert isinstance(changed, errors.NeverReadyError)
        assert "is not the one in" in changed.reason


async def test_servers_with_ipv6_only_are_checked_at_their_addresses() -> None:
    """Rows of the list have no IPv6 address: the servers of a fleet that have no other one are read by id."""
    async with Sandbox(speed=600, boot=1, ssh=False, ports={"ssh": 2222}) as box:
        servers = box.world.add(30)
        box.faults.add(Rule("list", faults.OddField("ip_address", None)))
        for server in servers:
            only = (
                faults.OddField("ip_address", None),
                faults.OddField("ipv6_address", f"::ffff:{server.ip_address}"),
            )
            box.faults.add(Rule("get", only, path=f"/api/v1/servers/{server.id}/"))
        async with Client(box.token, base_url=box.url, min_interval=0.02) as vps:
            outcomes = [
                outcome
                async for outcome in vps.wait_until_all(
                    [server.id for server in servers],
                    "active",
                    timeout=10,
                    ready=ready.ssh(2222),
                    ready_timeout=5,
                )
            ]

    assert [outcome.stage for outcome in outcomes] == ["ready"] * 30
