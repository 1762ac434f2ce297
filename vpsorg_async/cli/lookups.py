"""The look-ups: `vpsorg plans`, `locations`, `os`, `ssh-keys`, `account`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar

from cyclopts import App, Parameter

from ..client import Client
from ..errors import ConfigurationError
from ..records import Location, OperatingSystemVersion, PlanOffer, SSHKey
from .exits import Exit
from .files import read_text
from .output import (
    OUTPUT,
    UNASKED,
    Output,
    TableOutput,
    Unasked,
    View,
    Yes,
    confirm,
    plain,
    sheet,
    unanswered,
)
from .prices import CURRENCY
from .settings import ACCOUNT, Account
from .specs import ident
from .tables import Column, Columns

__all__ = ["account", "locations", "operating_systems", "plans", "ssh_keys"]

ssh_keys: App = App(
    name="ssh-keys", help="Manage the SSH keys of the account (provider dialect).", help_epilogue=""
)


PLAN_COLUMNS: Columns[PlanOffer] = Columns(
    (
        Column("ID", lambda plan: plan.id, rank=0),
        Column("NAME", lambda plan: plan.name, rank=1),
        Column("VCPUS", lambda plan: plan.vcpus, rank=4),
        Column("MEMORY", lambda plan: plan.memory, rank=3),
        Column("STORAGE", lambda plan: plan.storage, rank=5),
        Column("BANDWIDTH", lambda plan: plan.bandwidth, rank=7),
        Column("PER HOUR", lambda plan: plan.price_hourly, rank=6),
        Column("PER MONTH", lambda plan: plan.price_monthly, rank=2),
        Column("AVAILABLE", lambda plan: plan.available, rank=8),
        Column("SLUG", lambda plan: plan.slug, wide=True),
        Column("LOCATIONS", lambda plan: plan.locations, wide=True),
        Column("DESCRIPTION", lambda plan: plan.description, wide=True),
    ),
    id=lambda plan: plan.id,
    name=lambda plan: plan.name,
)
LOCATION_COLUMNS: Columns[Location] = Columns(
    (
        Column("ID", lambda place: place.id, rank=0),
        Column("NAME", lambda place: place.name, rank=1),
        Column("COUNTRY", lambda place: place.country_name, rank=2),
        Column("ACTIVE", lambda place: place.is_active, rank=3),
        Column("CODE", lambda place: place.country_code, wide=True),
    ),
    id=lambda place: place.id,
    name=lambda place: place.name,
)
SYSTEM_COLUMNS: Columns[OperatingSystemVersion] = Columns(
    (
        Column("ID", lambda version: version.id, rank=0),
        Column("SYSTEM", lambda version: version.operating_system, rank=1),
        Column("VERSION", lambda version: version.name, rank=2),
    ),
    id=lambda version: version.id,
    name=lambda version: " ".join(filter(None, (version.operating_system, version.name))),
)
KEY_COLUMNS: Columns[SSHKey] = Columns(
    (
        Column("ID", lambda key: key.id, rank=0),
        Column("NAME", lambda key: key.name, rank=1),
        Column("FINGERPRINT", lambda key: key.fingerprint, rank=2),
    ),
    id=lambda key: key.id,
    name=lambda key: key.name,
)


class PlanOutput(TableOutput):
    """The output options of `vpsorg plans`."""

    COLUMNS: ClassVar[Columns[Any]] = PLAN_COLUMNS


class LocationOutput(TableOutput):
    """The output options of `vpsorg locations`."""

    COLUMNS: ClassVar[Columns[Any]] = LOCATION_COLUMNS


class SystemOutput(TableOutput):
    """The output options of `vpsorg os`."""

    COLUMNS: ClassVar[Columns[Any]] = SYSTEM_COLUMNS


class KeyOutput(TableOutput):
    """The output options of `vpsorg ssh-keys list`."""

    COLUMNS: ClassVar[Columns[Any]] = KEY_COLUMNS


PLANS, LOCATIONS, SYSTEMS, KEYS = PlanOutput(), LocationOutput(), SystemOutput(), KeyOutput()


def plans(
    *,
    location: Annotated[str | None, Parameter(help="Only plans offered at this location.")] = None,
    account: Account = ACCOUNT,
    output: PlanOutput = PLANS,
) -> int:
    """List the plans that can be ordered. The API names neither units nor the currency."""
    found = account.settings().run(lambda vps: vps.plans.list(location))
    output.show_view(View(document=found, rows=found, place=""))
    output.note(CURRENCY)
    return Exit.OK


def locations(*, account: Account = ACCOUNT, output: LocationOutput = LOCATIONS) -> int:
    """List the datacenters (provider dialect)."""
    found = account.settings().run(lambda vps: vps.locations.list())
    output.show_view(View(document=found, rows=found, place=""))
    return Exit.OK


def operating_systems(*, account: Account = ACCOUNT, output: SystemOutput = SYSTEMS) -> int:
    """List the operating system versions (provider dialect)."""
    found = account.settings().run(lambda vps: vps.operating_systems.list())
    output.show_view(View(document=found, rows=found, place=""))
    return Exit.OK


@ssh_keys.command(name=("list", "ls"))
def list_keys(*, account: Account = ACCOUNT, output: KeyOutput = KEYS) -> int:
    """List the SSH keys."""
    found = account.settings().run(lambda vps: vps.ssh_keys.list())
    output.show_view(View(document=found, rows=found, place=""))
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
