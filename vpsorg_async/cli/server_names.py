"""How servers are named in commands: by id, by name, or by a pattern of names.

=====================  ==============================================================================
written                is
=====================  ==============================================================================
``12345``              an id: digits alone
a UUID                 an id
``id:a1``              an id, whatever it looks like
``web-01``             the name of one server; in the provider dialect its host name
``name:1234``          a name, whatever it looks like
``web-*``              a pattern: all servers whose names fit; ``*`` is any text, ``?`` any character
anything else          refused before anything is sent
=====================  ==============================================================================

A name stands for one server. One that several servers have is refused, because the wrong one could be deleted.
"""

from __future__ import annotations

import enum
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

from ..client import Client
from ..errors import ConfigurationError, NotFoundError, VpsOrgError, is_absence
from ..lifecycle.commands import GONE
from ..listing import Listing
from ..records import Server, ServerId
from ..shielding import side_by_side
from ..specs import check_id, id_text, name_key
from .output import Output
from .settings import Settings
from .specs import ident
from .suggestions import did_you_mean
from .tables import printable
from .wording import some

__all__ = [
    "Found",
    "Kind",
    "NoSuchServerError",
    "Reference",
    "as_written",
    "check_names",
    "check_narrow",
    "find",
    "fits",
    "is_one",
    "is_pattern",
    "read",
    "read_all",
    "read_pattern",
    "resolve",
    "resolve_one",
]

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_PATTERN = re.compile(r"[A-Za-z0-9._*?-]+")
_LONGEST = 80
"""Characters of a miswritten server that are repeated."""


class NoSuchServerError(VpsOrgError):
    """No server of the account has one of the names: ``names``."""

    def __init__(self, message: str, names: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.names: tuple[str, ...] = tuple(names)


class Kind(enum.Enum):
    """What is written for a server."""

    ID = "id"
    NAME = "name"
    PATTERN = "pattern"


@attrs.frozen
class Reference:
    """One or more servers, as they are written. ``value``: the id, the name or the pattern.

    ``optional``: a name that no server has is no error.
    """

    kind: Kind
    value: ServerId
    optional: bool = False

    @property
    def text(self) -> str:
        """The name or the pattern."""
        return str(self.value)


@attrs.frozen
class Found:
    """The servers of some references, each with its record if the account was read for it."""

    servers: Mapping[ServerId, Server | None]
    empty: Sequence[str] = ()
    """The patterns that no server fits."""
    absent: Sequence[str] = ()
    """The optional names that no server has."""

    @property
    def names(self) -> dict[ServerId, str]:
        """The ids, each with the server's name; an empty text where it is not known."""
        return {key: "" if server is None else server.name for key, server in self.servers.items()}


def read(text: str) -> Reference:
    """Read what is written for a server. Pure. Raises `ConfigurationError` for what can be none."""
    kind, colon, rest = text.partition(":")
    if colon and kind == "name" and rest.strip() and rest.isprintable():
        return Reference(Kind.NAME, rest)
    if colon and kind == "id" and _ID.fullmatch(rest):
        return Reference(Kind.ID, check_id(ident(rest)))
    if re.fullmatch("[0-9]+", text):
        if text[0] == "0":
            # 007 must not become the server 7
            raise ConfigurationError(
                f"{text!r} is no id, because it begins with 0: write name:{text} for a server of that name"
            )
        return Reference(Kind.ID, check_id(ident(text)))
    if _UUID.fullmatch(text):
        return Reference(Kind.ID, text)
    if _NAME.fullmatch(text):
        return Reference(Kind.NAME, text)
    if is_pattern(text) and _PATTERN.fullmatch(text):
        return Reference(Kind.PATTERN, text)
    shown = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    raise ConfigurationError(
        f"{shown!r} is no server: give an id (digits, or a UUID), a name, or a pattern of names such as 'web-*'; "
        "nothing was sent"
    )


def read_pattern(text: str, flag: str) -> Reference:
    """Read a pattern, or a name as a pattern that fits it alone. Raises `ConfigurationError`."""
    if not _PATTERN.fullmatch(text):
        raise ConfigurationError(
            f"{flag} {text!r} is no pattern of names: letters, digits, hyphens, dots, * and ? are allowed"
        )
    return Reference(Kind.PATTERN, text)


def as_written(name: str) -> str:
    """Return the name of a server as commands take it: with ``name:`` if it would be read as something else."""
    try:
        reference = read(name)
    except ConfigurationError:
        reference = None
    return name if reference == Reference(Kind.NAME, name) else f"name:{name}"


def read_all(texts: Iterable[str]) -> list[Reference]:
    """Read what is written for several servers. Raises `ConfigurationError`."""
    return [read(text) for text in texts]


def is_one(wanted: Sequence[Reference]) -> bool:
    """Return whether what is written is one server, whatever the account has."""
    return len(wanted) == 1 and wanted[0].kind is not Kind.PATTERN


def is_pattern(text: str) -> bool:
    """Return whether a text has wildcards, so that it can stand for several servers."""
    return "*" in text or "?" in text


def fits(pattern: str, name: str) -> bool:
    """Return whether a name fits a pattern. Names are compared as everywhere: case does not matter."""
    return fnmatch.fnmatchcase(name_key(name), name_key(pattern))


def check_narrow(pattern: str, flag: str = "") -> None:
    """Raise `ConfigurationError` for a pattern that would fit every server: too wide for a delete."""
    if not re.search("[A-Za-z0-9]", pattern):
        raise ConfigurationError(
            f"{flag}{pattern!r} would fit foreign servers: it needs a letter or a digit beside its wildcards"
        )


def find(wanted: Sequence[Reference], listing: Listing) -> Found:
    """Return the servers that references stand for, in their order, each once. Pure.

    An id that the list does not show is kept: the server may exist all the same.

    Raises:
        NoSuchServerError: No server has one of the names.
        ConfigurationError: Several servers have one of the names.
        DecodeError: A name is missing in a list that lacks servers.
    """
    present = [server for server in listing.servers if server.status != GONE]
    by_id = {id_text(server.id): server for server in present}
    by_name = {
        key: hits
        for key, every in listing.by_name().items()
        if (hits := [server for server in every if server.status != GONE])
    }
    found: dict[ServerId, Server | None] = {}
    missing: list[str] = []
    empty: list[str] = []
    absent: list[str] = []
    for reference in wanted:
        if reference.kind is Kind.ID:
            server = by_id.get(id_text(reference.value))
            found[reference.value if server is None else server.id] = server
            continue
        if reference.kind is Kind.PATTERN:
            hits = [server for server in present if fits(reference.text, listing.name_of(server))]
            empty += [] if hits else [reference.text]
        else:
            hits = by_name.get(name_key(reference.text), [])
            (absent if reference.optional else missing).extend([] if hits else [reference.text])
            _check_one(reference.text, hits)
        found.update((server.id, server) for server in hits)
    if missing:
        listing.check_whole(f"a server named {missing[0]} may exist")
        names = list(dict.fromkeys(missing))
        raise NoSuchServerError(_missing(names, [*by_name]), names)
    return Found(found, empty, absent)


def _check_one(name: str, hits: Sequence[Server]) -> None:
    if len(hits) > 1:
        shown = [
            f"{server.id} ({', '.join(filter(None, (server.status, server.address)))})" for server in hits
        ]
        raise ConfigurationError(
            f"{len(hits)} servers are named {name}: {printable(some(shown))}; give an id. Nothing was sent"
        )


def _missing(names: Sequence[str], known: Sequence[str]) -> str:
    hint = did_you_mean(names[0], known) if len(names) == 1 else ""
    return f"no server is named {some(names)}{hint or '; nothing was sent'}"


def resolve(
    settings: Settings, wanted: Sequence[Reference], output: Output, *, named: bool = False, sure: bool = True
) -> Found:
    """Return the servers that references stand for. The account is listed once, and only if that is needed.

    Args:
        settings: The account.
        wanted: The references.
        output: Where a pattern that no server fits is noted.
        named: Whether the records of servers that are given by id are needed, too.
        sure: Whether names are looked up in a complete list only, because another server of the name could exist.

    Raises:
        NoSuchServerError: No server has one of the names.
        ConfigurationError: Several servers have one of the names.
        DecodeError: The list lacks servers.
    """
    by_name = any(reference.kind is not Kind.ID for reference in wanted)
    if not by_name and not named:
        return Found(dict.fromkeys(reference.value for reference in wanted))
    listing = settings.run(lambda vps: vps.listing())
    if by_name and sure:
        listing.check_whole("another server of such a name may exist, so give ids")
    found = find(wanted, listing)
    for pattern in found.empty:
        output.note(f"no server's name fits {pattern!r}")
    if found.absent:
        output.note(f"not in the account: {some(found.absent)}")
    if listing.lacks and by_name:
        output.note(f"the list lacks servers: {listing.lacks}")
    return found


def check_names(settings: Settings, names: Mapping[ServerId, str]) -> None:
    """Read the servers by their ids, right before they are deleted.

    A list can lag behind, and a server can get another name while a question is open. An empty name is not compared.
    A server that does not exist any more is left to the delete.

    Raises:
        ConfigurationError: A server has another name than this one.
        VpsOrgError: A server can't be read.
    """
    renamed: list[str] = []

    async def read_one(vps: Client, server_id: ServerId, name: str) -> None:
        try:
            server = await vps.servers.get(server_id)
        except NotFoundError as error:
            if not is_absence(error):
                raise
            return
        if name_key(server.name) != name_key(name):
            renamed.append(f"{server_id} is named {server.name}, not {name}")

    async def read_all_of_them(vps: Client) -> None:
        await side_by_side(read_one(vps, server_id, name) for server_id, name in names.items() if name)

    if any(names.values()):
        settings.run(read_all_of_them)
    if renamed:
        raise ConfigurationError(
            f"{printable(some(renamed))}: the list was older, or it was renamed meanwhile; nothing was deleted"
        )


def resolve_one(settings: Settings, text: str, output: Output, *, sure: bool = True) -> ServerId:
    """Return the id of the one server that is written. Raises as `resolve` and `read` do, and for a pattern."""
    wanted = read(text)
    if wanted.kind is Kind.PATTERN:
        raise ConfigurationError(
            f"{text!r} can be several servers, and this is for one: give its id or its name"
        )
    (server_id,) = resolve(settings, [wanted], output, sure=sure).servers
    return server_id
