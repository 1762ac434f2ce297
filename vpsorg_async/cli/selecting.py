"""The servers of the account that a fleet command is for, and the question before it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..errors import ConfigurationError
from ..records import ServerId
from .output import Output, confirm
from .reports import number
from .server_names import Kind, Reference, check_narrow, is_pattern, read_all, resolve
from .settings import Settings
from .specs import Selection

__all__ = ["ask", "is_sole", "select"]


def select(
    settings: Settings,
    given: Sequence[str],
    selection: Selection,
    output: Output,
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
        named: Whether the names of servers that are given by id are needed, too.
        deletes: Whether the servers will be deleted: then names of ``selection`` that no server has are only noted,
            and patterns that fit every server are refused.

    Raises:
        ConfigurationError: Nothing is selected, several servers have one of the names, or a pattern is too wide.
        NoSuchServerError: No server has one of the names.
        DecodeError: Names are to be found in a list that lacks servers.
    """
    wanted = read_all(given)
    for reference in wanted:
        if deletes and reference.kind is Kind.PATTERN:
            check_narrow(reference.text)
    names = selection.names(by_hostname=settings.dialect == "provider")
    wanted += [Reference(Kind.NAME, name, optional=deletes) for name in names]
    if not wanted:
        raise ConfigurationError("give ids or names of servers, or --name or --file")
    return resolve(settings, wanted, output, named=named).names


def is_sole(found: Collection[ServerId], given: Sequence[str]) -> bool:
    """Return whether a command is for one server that was named by itself, so that nothing has to be asked."""
    return len(found) == 1 and not any(map(is_pattern, given))


def ask(verb: str, found: Mapping[ServerId, str], how: str, *, yes: bool) -> None:
    """Ask for confirmation, with the id and the name of every server. Raises as `confirm` does."""
    if found:
        # all of them: what is left out could be the wrong one
        listed = [f"{name} ({server_id})" if name else str(server_id) for server_id, name in found.items()]
        confirm(f"{verb} {number(found)}{how}: {', '.join(listed)}?", yes=yes)
