"""The servers of the account that a fleet command is for, and the question before it."""

from __future__ import annotations

from collections.abc import Sequence

from ..client import Client
from ..errors import ConfigurationError
from ..lifecycle.commands import GONE
from ..listing import Listing
from ..records import ServerId
from ..specs import check_id, name_key
from .output import Output, confirm
from .reports import number, some
from .settings import Settings
from .specs import Selection, ident

__all__ = ["ask", "select"]


def select(
    settings: Settings,
    given: Sequence[str],
    selection: Selection,
    output: Output,
    *,
    named: bool = False,
    missing_ok: bool = False,
) -> dict[ServerId, str]:
    """Return the selected ids, each with its name if known. The account is read only if it is needed."""
    ids = dict.fromkeys((check_id(ident(text)) for text in given), "")
    names = list(dict.fromkeys(selection.names(by_hostname=settings.dialect == "provider")))
    if not ids and not names:
        raise ConfigurationError("give ids, --name or --file")
    if not names and not named:
        return ids
    keys, listing = settings.run(_account)
    known = {str(server.id): server.name for server in listing.servers}
    if names and missing_ok:
        listing.check_whole("another server of these names may exist")
    found = {server_id: known.get(str(server_id), "") for server_id in ids}
    missing = []
    for name in names:
        hits = keys.get(name_key(name), [])
        if len(hits) > 1:
            raise ConfigurationError(
                f"{len(hits)} servers have the name {name}: give their ids ({some(hits)})"
            )
        found.update(dict.fromkeys(hits, name))
        missing += [name] if not hits else []
    if missing and not missing_ok:
        raise ConfigurationError(f"not in the account: {some(missing)}; nothing was sent")
    if missing:
        output.note(f"not in the account: {some(missing)}")
    return found


async def _account(vps: Client) -> tuple[dict[str, list[ServerId]], Listing]:
    """Return the ids of all servers by their names, and the list that showed them."""
    listing = await vps.listing()
    named = listing.by_name()
    return {key: [one.id for one in hits if one.status != GONE] for key, hits in named.items()}, listing


def ask(verb: str, found: dict[ServerId, str], how: str, *, yes: bool) -> None:
    """Ask for confirmation, with the servers by name. Raises as `confirm` does."""
    if found:
        listed = [f"{name} ({server_id})" if name else str(server_id) for server_id, name in found.items()]
        confirm(f"{verb} {number(found)}{how}: {some(listed)}?", yes=yes)
