"""The servers of the account that a fleet command is for, and the question before it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..errors import ConfigurationError
from ..records import ServerId
from .filters import FILTERS, Filters
from .output import Output, confirm, printable
from .reports import number
from .server_names import Kind, Reference, check_narrow, is_pattern, read_all, read_pattern, resolve
from .settings import Settings
from .specs import Selection

__all__ = ["ask", "is_sole", "select"]


def select(
    settings: Settings,
    given: Sequence[str],
    selection: Selection,
    output: Output,
    filters: Filters = FILTERS,
    *,
    named: bool = False,
    deletes: bool = False,
) -> dict[ServerId, str]:
    """Return the selected ids, each with its name if known. The account is read only if it is needed.

    Args:
        settings: The account.
        given: Servers as they are written: ids, names and patterns.
        selection: The options that select servers by name.
        output: Where it is noted what was not found.
        filters: Which of these servers are left out; without any of these, which of all servers are selected.
        named: Whether the names of servers that are given by id are needed, too.
        deletes: Whether the servers will be deleted: then names of ``selection`` that no server has are only noted,
            and patterns that fit every server are refused.

    Raises:
        ConfigurationError: Nothing is selected, several servers have one of the names, or a pattern is too wide.
        NoSuchServerError: No server has one of the names.
        DecodeError: Names are to be found in a list that lacks servers.
    """
    wanted = [*read_all(given), *_selected(settings, selection, optional=deletes)]
    if not wanted and filters:
        wanted = [Reference(Kind.PATTERN, "*")]
    if not wanted:
        raise ConfigurationError("give ids or names of servers, or --name, --file, --status or --location")
    for reference in wanted:
        if deletes and not filters and reference.kind is Kind.PATTERN:
            check_narrow(reference.text)
    found = resolve(settings, wanted, output, named=named or bool(filters))
    if not filters:
        return found.names
    kept = {key: one.name for key, one in found.servers.items() if one is not None and filters.fits(one)}
    if len(kept) < len(found.servers) and any(one.kind is not Kind.PATTERN for one in wanted):
        output.note(
            f"left out by --status or --location: {len(found.servers) - len(kept)} of {number(found.servers)}"
        )
    for sentence in [] if kept else filters.unknown():
        output.note(sentence)
    return kept


def _selected(settings: Settings, selection: Selection, *, optional: bool) -> list[Reference]:
    if selection.name is not None and is_pattern(selection.name):
        if selection.file is not None or selection.count is not None:
            raise ConfigurationError("--name with a pattern goes neither with --file nor with --count")
        return [read_pattern(selection.name, "--name")]
    names = selection.names(by_hostname=settings.dialect == "provider")
    return [Reference(Kind.NAME, name, optional=optional) for name in names]


def is_sole(found: Collection[ServerId], given: Sequence[str], selection: Selection) -> bool:
    """Return whether a command is for one server that was named by itself, so that nothing has to be asked."""
    written = [*given, *([] if selection.name is None else [selection.name])]
    by_itself = bool(written or selection.file) and not any(map(is_pattern, written))
    return len(found) == 1 and by_itself


def ask(verb: str, found: Mapping[ServerId, str], how: str, *, yes: bool) -> None:
    """Ask for confirmation, with the id and the name of every server. Raises as `confirm` does."""
    if found:
        # all of them: what is left out could be the wrong one
        listed = [
            printable(f"{name} ({server_id})" if name else str(server_id))
            for server_id, name in found.items()
        ]
        confirm(f"{verb} {number(found)}{how}: {', '.join(listed)}?", yes=yes)
