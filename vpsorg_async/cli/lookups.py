"""The look-ups: `vpsorg plans`, `locations`, `os`, `ssh-keys`, `account`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ..client import Client
from ..errors import ConfigurationError
from .exits import Exit
from .files import read_text
from .output import OUTPUT, UNASKED, Output, Unasked, Yes, columns, confirm, plain, sheet, unanswered
from .settings import ACCOUNT, Account
from .specs import ident

__all__ = ["account", "locations", "operating_systems", "plans", "ssh_keys"]

ssh_keys: App = App(
    name="ssh-keys", help="Manage the SSH keys of the account (provider dialect).", help_epilogue=""
)


def plans(
    *,
    location: Annotated[str | None, Parameter(help="Only plans offered at this location.")] = None,
    account: Account = ACCOUNT,
    output: Output = OUTPUT,
) -> int:
    """List the plans that can be ordered. The API names neither units nor the currency."""
    found = account.settings().run(lambda vps: vps.plans.list(location))
    rows = [
        (
            p.id,
            p.name,
            p.vcpus,
            p.memory,
            p.storage,
            p.bandwidth,
            p.price_hourly,
            p.price_monthly,
            p.available,
        )
        for p in found
    ]
    names = ("ID", "NAME", "VCPUS", "MEMORY", "STORAGE", "BANDWIDTH", "PER HOUR", "PER MONTH", "AVAILABLE")
    output.show(found, columns(names, rows))
    return Exit.OK


def locations(*, account: Account = ACCOUNT, output: Output = OUTPUT) -> int:
    """List the datacenters (provider dialect)."""
    found = account.settings().run(lambda vps: vps.locations.list())
    rows = [(place.id, place.name, place.country_name, place.is_active) for place in found]
    output.show(found, columns(("ID", "NAME", "COUNTRY", "ACTIVE"), rows))
    return Exit.OK


def operating_systems(*, account: Account = ACCOUNT, output: Output = OUTPUT) -> int:
    """List the operating system versions (provider dialect)."""
    found = account.settings().run(lambda vps: vps.operating_systems.list())
    rows = [(version.id, version.operating_system, version.name) for version in found]
    output.show(found, columns(("ID", "SYSTEM", "VERSION"), rows))
    return Exit.OK


@ssh_keys.command(name=("list", "ls"))
def list_keys(*, account: Account = ACCOUNT, output: Output = OUTPUT) -> int:
    """List the SSH keys."""
    found = account.settings().run(lambda vps: vps.ssh_keys.list())
    output.show(found, columns(("ID", "NAME", "FINGERPRINT"), [(k.id, k.name, k.fingerprint) for k in found]))
    return Exit.OK


@ssh_keys.command(name="add")
def add_key(
    name: Annotated[str, Parameter(help="Name of the key.")],
    file: Annotated[Path, Parameter(help="File of the public key, such as ~/.ssh/id_ed25519.pub.")],
    *,
    account: Account = ACCOUNT,
    output: Unasked = UNASKED,
) -> int:
    """Add a public SSH key."""
    text = read_text(Path(os.path.expanduser(file))).strip()
    if "PRIVATE KEY" in text:
        raise ConfigurationError(
            f"{file} is a private key; nothing was sent. Give the public key, which ends in .pub"
        )

    async def add(vps: Client) -> None:
        with unanswered(f"the request to add the key {name}"):
            key = await vps.ssh_keys.add(name, text)
        output.report(key, sheet(plain(key)))

    account.settings().run(add)
    return Exit.OK


@ssh_keys.command(name=("delete", "rm"))
def delete_key(
    key_id: Annotated[str, Parameter(help="Id of the key.")],
    /,
    *,
    yes: Yes = False,
    account: Account = ACCOUNT,
    output: Output = OUTPUT,
) -> int:
    """Delete a key from the account. Servers that have the key keep it."""
    settings = account.settings()
    confirm(f"Delete the SSH key {key_id}?", yes=yes)

    async def delete(vps: Client) -> None:
        with unanswered(f"the request to delete the key {key_id}"):
            await vps.ssh_keys.delete(ident(key_id))
        output.report({"key_id": ident(key_id), "status": "deleted"}, [f"{key_id} is deleted"])

    settings.run(delete)
    return Exit.OK


def account(*, account: Account = ACCOUNT, output: Output = OUTPUT) -> int:
    """Show the owner and the permissions of the token."""
    found = account.settings().run(lambda vps: vps.account.me())
    output.show(found, sheet(plain(found)))
    return Exit.OK
