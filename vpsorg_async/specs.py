"""The specs of servers to create, and the checks of ids, names and host names. Pure.

Source: https://www.vps.org/api/v1/docs/servers/
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from .records import Server, ServerId
from .root_error import ConfigurationError, VpsOrgError

__all__ = [
    "Alternative",
    "ServerSpec",
    "check_alternatives",
    "check_bool",
    "check_hostname",
    "check_id",
    "check_name",
    "id_of",
    "id_text",
    "key_of",
    "name_key",
    "same_id",
]

_NAME = re.compile(r"[A-Za-z0-9-]+")
_CODE_LIMIT = 100  # the maximum length of a datacenter code, which is usually short
_DIGITS = 19  # of ids as numbers; longer texts are no integers that a service would count with
_ID_LIMIT = 10**100  # far beyond any id, but short enough to be written as digits
# A host name as people type it: labels of letters, digits, hyphens and underscores, separated by dots.
_HOSTNAME = re.compile(r"(?=.{1,253}\.?\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


def _shown(value: object) -> str:
    """Return the value for a message. Python refuses to print an integer of thousands of digits."""
    try:
        text = repr(value)
    except ValueError:
        return f"{type(value).__name__} with too many digits"
    return text if len(text) <= 100 else f"{text[:99]}…"


# a fleet call compares each name a dozen times
@functools.lru_cache(maxsize=16_384)
def name_key(name: str) -> str:
    """Return the form in which names are compared: services store lower case, and host names without the final dot."""
    return name.strip().rstrip(".").casefold()


def same_id(first: object, second: object) -> bool:
    """Return whether both identify the same server: ids are compared as texts, UUIDs in any case."""
    return first == second or id_text(first) == id_text(second)


def id_text(server_id: object) -> str:
    """Return an id in the form in which ids are compared: a text in lower case. Services may change a UUID's."""
    return str(server_id).casefold()


def key_of(server_id: ServerId) -> ServerId:
    """Return an id as a key: ``"12"`` is the key 12, so that both find the same server."""
    # integers are their own keys: a text for each would be larger, and take longer
    if isinstance(server_id, int):
        return server_id
    is_number = server_id.isdecimal() and server_id.isascii() and server_id[0] != "0"
    return int(server_id) if is_number and len(server_id) < _DIGITS else server_id


def check_name(value: object) -> str:
    """Return a valid server name: letters, digits and hyphens. Raises `ConfigurationError`."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ConfigurationError(
            f"a server name consists of letters, digits and hyphens, not {_shown(value)}"
        )
    return value


def check_hostname(value: object) -> str:
    """Return a valid, fully qualified host name. Raises `ConfigurationError`."""
    if not isinstance(value, str) or not _HOSTNAME.fullmatch(value):
        raise ConfigurationError(
            f"a hostname is a domain name such as 'web01.example.com', not {_shown(value)}"
        )
    return value


def check_bool(value: object, field: str) -> bool:
    """Return a plain True or False. Raises `ConfigurationError`."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{field} is True or False, not {_shown(value)}")
    return value


def check_id(value: object, what: str = "a server id") -> ServerId:
    """Return a positive integer or a non-empty, printable string. Raises `ConfigurationError`."""
    if isinstance(value, bool):
        pass
    elif isinstance(value, int):
        if 0 < value < _ID_LIMIT:
            return value
    elif isinstance(value, str) and value not in (".", "..") and value.strip() and value.isprintable():
        return value
    raise ConfigurationError(f"{what} is a positive integer or a non-empty string, not {_shown(value)}")


def id_of(server: ServerId | Server) -> ServerId:
    """Return the id of a server, or the id that was given. Raises `ConfigurationError`."""
    return check_id(server.id if isinstance(server, Server) else server)


def _valid_name(_: Any, __: Any, value: Any) -> None:
    check_name(value)


def _valid_id(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    check_id(value, attribute.name)


def _valid_location(_: Any, __: Any, value: Any) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _ID_LIMIT:
        return  # for the provider dialect; the documented one refuses it when it builds the request
    fits = isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= _CODE_LIMIT
    if not fits:
        raise ConfigurationError(f"location is a datacenter code such as 'us-west', not {_shown(value)}")


def _valid_hostname(_: Any, __: Any, value: Any) -> None:
    if value is not None:
        check_hostname(value)


def _valid_key(_: Any, __: Any, value: Any) -> None:
    if value is not None:
        check_id(value, "ssh_key_id")


def _keys(value: Iterable[int | str]) -> tuple[int | str, ...]:
    if type(value) is tuple:
        return value
    # a string is iterable, but its letters are not keys
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ConfigurationError(f"ssh_key_ids is a list of ids, not {_shown(value)}")
    return tuple(value)


def _valid_keys(_: Any, __: Any, value: Any) -> None:
    for key in value:
        check_id(key, "ssh_key_ids")


def _valid_backups(_: Any, __: Any, value: Any) -> None:
    if value is not None:
        check_bool(value, "backups_enabled")


def _valid_when(_: Any, __: Any, value: Any) -> None:
    # a coroutine is always true: any refusal would lead to the alternative
    plain = callable(value) and not inspect.iscoroutinefunction(value)
    if not plain and not (isinstance(value, str) and value.strip()):
        raise ConfigurationError(
            "an alternative needs a when: a text that the message of the refusal must contain, or a function of the "
            f"error that is called, not awaited, not {_shown(value)}"
        )


def _optional_id(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        check_id(value, attribute.name)


def _optional_location(_: Any, __: Any, value: Any) -> None:
    if value is not None:
        _valid_location(None, None, value)


@attrs.frozen(kw_only=True)
class Alternative:
    """Another plan or location for a server whose create was refused.

    It is tried only after a definite refusal of the kind that ``when`` names: there is no default, because one bad name
    must not move a whole fleet to a dearer plan.

    Args:
        when: A text that the message of the refusal must contain, whatever its case; or a function that is called with
            the error (`RequestError`) and returns whether the alternative is tried.
        plan_id: The id of the other plan; None: that of the spec.
        location: The other location; None: that of the spec.

    Raises:
        ConfigurationError: A value is invalid, ``when`` is missing, or neither a plan nor a location is given.

    Example:
        ``Alternative(plan_id=2, when="sold out")``
    """

    when: str | Callable[[VpsOrgError], object] = attrs.field(default="", validator=_valid_when)
    plan_id: int | str | None = attrs.field(default=None, validator=_optional_id)
    location: str | int | None = attrs.field(default=None, validator=_optional_location)

    def __attrs_post_init__(self) -> None:
        if self.plan_id is None and self.location is None:
            raise ConfigurationError("an alternative has another plan_id or location, or both")

    def of(self, spec: ServerSpec) -> ServerSpec:
        """Return the spec with this plan or location, and without alternatives."""
        return attrs.evolve(
            spec,
            plan_id=spec.plan_id if self.plan_id is None else self.plan_id,
            location=spec.location if self.location is None else self.location,
            alternatives=(),
        )


def check_alternatives(value: Any) -> tuple[Alternative, ...]:
    """Return alternatives as a tuple. Raises `ConfigurationError`."""
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        raise ConfigurationError(f"alternatives is a list of Alternative, not {_shown(value)}")
    found = tuple(value)
    for one in found:
        if not isinstance(one, Alternative):
            raise ConfigurationError(f"alternatives is a list of Alternative, not of {_shown(one)}")
    return found


@attrs.frozen(kw_only=True)
class ServerSpec:
    """A server to be created.

    Args:
        name: Letters, digits and hyphens.
        plan_id: The id of the plan, as the provider assigns it.
        os_id: The id of the operating system.
        location: A datacenter code such as ``us-west``; in the provider dialect an integer id.
        hostname: A fully qualified host name.
        ssh_key_id: The id of an SSH key to install.
        backups_enabled: None is not sent, and the API treats it as off.
        ssh_key_ids: Several keys; only the provider dialect accepts more than one.
        alternatives: Other plans or locations, which fleet calls try in this order if the create is refused.

    Raises:
        ConfigurationError: A value is invalid.

    Example:
        ``ServerSpec(name="web-01", plan_id=1, os_id=5, location="us-west")``

    Source: https://www.vps.org/api/v1/docs/servers/
    """

    name: str = attrs.field(validator=_valid_name)
    plan_id: int | str = attrs.field(validator=_valid_id)
    os_id: int | str = attrs.field(validator=_valid_id)
    location: str | int = attrs.field(validator=_valid_location)
    hostname: str | None = attrs.field(default=None, validator=_valid_hostname)
    ssh_key_id: int | str | None = attrs.field(default=None, validator=_valid_key)
    backups_enabled: bool | None = attrs.field(default=None, validator=_valid_backups)
    ssh_key_ids: tuple[int | str, ...] = attrs.field(default=(), converter=_keys, validator=_valid_keys)

    alternatives: tuple[Alternative, ...] = attrs.field(default=(), converter=check_alternatives)

    @property
    def variants(self) -> tuple[ServerSpec, ...]:
        """What may be created from the spec: the spec itself, and each alternative; all without alternatives."""
        if not self.alternatives:
            return (self,)
        return (attrs.evolve(self, alternatives=()), *(other.of(self) for other in self.alternatives))

    @property
    def all_ssh_keys(self) -> tuple[int | str, ...]:
        """All SSH keys of both fields."""
        return self.ssh_key_ids if self.ssh_key_id is None else (self.ssh_key_id, *self.ssh_key_ids)
