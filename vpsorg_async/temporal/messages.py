"""What fleet workflows take and return: frozen records, plain JSON for clients in other languages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from ..config import check_seconds
from ..errors import ConfigurationError
from ..fleet.guards import Guards
from ..fleet.rollout import window
from ..fleet_spec import FleetSpec, check_apart
from ..records import ServerId
from ..replace_policy import ReplacePolicy
from ..specs import ServerSpec, check_bool, check_id, id_text

__all__ = ["ApplyRequest", "FleetRequest", "FleetRow", "FleetSummary", "ReplaceRequest", "RollingRequest"]

MAX_CHUNK = 100
MAX_SERVERS = 10_000
"""Of one request, so that it and what the workflow keeps of its servers stay within the engine's limits."""
MIN_HEARTBEAT = 1.0
MOST_AGE = 1e11
"""Seconds, some thousand years: neither dates nor time spans have room for much more."""
MAX_SECONDS = 366 * 86400.0
"""The engine has no durations of centuries, and a workflow that asks for one would hang."""


def _tuple(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ConfigurationError(f"expected a list, not {type(value).__name__}")
    return tuple(value)


def _few(value: tuple[object, ...], what: str) -> None:
    if len(value) > MAX_SERVERS:
        raise ConfigurationError(f"a fleet has at most {MAX_SERVERS} {what}, not {len(value)}: split it")


def _specs(_: object, __: object, value: tuple[object, ...]) -> None:
    _few(value, "specs")
    for spec in value:
        if not isinstance(spec, ServerSpec):
            raise ConfigurationError(f"specs has ServerSpecs, not {type(spec).__name__}")


def _ids(_: object, __: object, value: tuple[object, ...]) -> None:
    _few(value, "ids")
    for server_id in value:
        check_id(server_id)
    if len({id_text(server_id) for server_id in value}) < len(value):
        raise ConfigurationError("an id is given more than once")


def _fleets(_: object, __: object, value: tuple[object, ...]) -> None:
    fleets = []
    for fleet in value:
        if not isinstance(fleet, FleetSpec):
            raise ConfigurationError(f"fleets has FleetSpecs, not {type(fleet).__name__}")
        fleets.append(fleet)
    if not fleets:
        raise ConfigurationError("fleets has at least one FleetSpec")
    check_apart(fleets)
    servers = sum(fleet.count for fleet in fleets)
    if servers > MAX_SERVERS:
        raise ConfigurationError(
            f"fleets have at most {MAX_SERVERS} servers in all, not {servers}: split them"
        )


def _some_fleets(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, FleetSpec) else _tuple(value)


def _bool(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    check_bool(value, attribute.name)


def _some_ids(instance: object, attribute: attrs.Attribute[Any], value: tuple[object, ...]) -> None:
    if not value:
        raise ConfigurationError("ids has no server: a rolling reboot takes at least one")
    _ids(instance, attribute, value)


_MAY_BE_ZERO = ("settle", "warm_up", "health_interval", "drain", "ready_interval")


def _seconds(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    name = attribute.name
    seconds = check_seconds(value, name, zero=name in _MAY_BE_ZERO)
    if seconds > MAX_SECONDS:
        raise ConfigurationError(f"{name} is at most {MAX_SECONDS:g} s, one year, not {seconds:g}")
    if name == "heartbeat_timeout" and seconds < MIN_HEARTBEAT:
        raise ConfigurationError(f"{name} is at least {MIN_HEARTBEAT:g} s, not {seconds:g}")


def _number(least: int, most: float) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ConfigurationError(f"{attribute.name} is a whole number from {least}, not {value!r}")

    return check


def _share(_: object, __: object, value: Any) -> None:
    window(value, 1)


@attrs.frozen(kw_only=True)
class FleetRequest:
    """What ``vpsorg.FleetCreate``, ``vpsorg.FleetEnsure`` and ``vpsorg.FleetDelete`` take.

    Args:
        specs: The servers of a create or ensure, at most 10,000; the names differ.
        ids: The servers of a delete, at most 10,000.
        timeout: Seconds for each server, from its command until it has its status.
        settle: Seconds for which a server of an unanswered create is searched for by its name, before another worker
            creates it; 30. It must be longer than lists of the account lag behind.
        chunk: The number of servers that a worker gets at once, 1 to 100; 50.
        heartbeat_timeout: Seconds without a word of a worker after which another one takes over, at least 1; 15.

    Raises:
        ConfigurationError: A value is out of range.

    Example:
        ``FleetRequest(specs=[...], timeout=600)``, or in JSON ``{"specs": [...], "timeout": 600}``
    """

    specs: tuple[ServerSpec, ...] = attrs.field(default=(), converter=_tuple, validator=_specs)
    ids: tuple[ServerId, ...] = attrs.field(default=(), converter=_tuple, validator=_ids)
    timeout: float = attrs.field(validator=_seconds)
    settle: float = attrs.field(default=30.0, validator=_seconds)
    chunk: int = attrs.field(default=50, validator=_number(1, MAX_CHUNK))
    heartbeat_timeout: float = attrs.field(default=15.0, validator=_seconds)


@attrs.frozen(kw_only=True)
class ApplyRequest:
    """What ``vpsorg.FleetApply`` takes; most are the options of `Fleet.plan`.

    Args:
        fleets: The fleets, a `FleetSpec` or several, at most 10,000 servers in all.
        timeout: Seconds for each server, from its command until it has its status.
        prune: Whether servers that are more than a fleet's count are deleted; False.
        max_deletes: The maximum number of deletes: a number for the whole plan, or a share below 1 of each fleet, at
            least one; 0.1.
        protect: Names of servers that are not deleted.
        remove: Which servers are deleted first: those with the ``highest`` numbers, or the ``newest``.
        allow_empty: Whether a fleet with a count of 0 may lose all of its servers; False.
        wait_for_approval: Whether nothing is sent before the update ``approve``; False. The query ``plan`` shows what
            would be done.
        settle: Seconds for which a server of an unanswered create is searched for by its name, before another worker
            creates it; 30. It must be longer than lists of the account lag behind.
        chunk: The number of servers that a worker gets at once, 1 to 100; 50.
        heartbeat_timeout: Seconds without a word of a worker after which another one takes over, at least 1; 15.

    Raises:
        ConfigurationError: A value is out of range, or the fleets overlap.

    Example:
        ``ApplyRequest(fleets=load_fleets("fleet.toml"), timeout=600, prune=True)``
    """

    fleets: tuple[FleetSpec, ...] = attrs.field(converter=_some_fleets, validator=_fleets)
    timeout: float = attrs.field(validator=_seconds)
    prune: bool = attrs.field(default=False, validator=_bool)
    max_deletes: int | float | None = None
    protect: tuple[str, ...] = attrs.field(default=(), converter=_tuple)
    remove: str = "highest"
    allow_empty: bool = attrs.field(default=False, validator=_bool)
    wait_for_approval: bool = attrs.field(default=False, validator=_bool)
    settle: float = attrs.field(default=30.0, validator=_seconds)
    chunk: int = attrs.field(default=50, validator=_number(1, MAX_CHUNK))
    heartbeat_timeout: float = attrs.field(default=15.0, validator=_seconds)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.remove, str):
            raise ConfigurationError(f"remove is 'highest' or 'newest', not {self.remove!r}")
        Guards.of(self.guards()).check(self.fleets)

    def guards(self) -> dict[str, Any]:
        """Return the options of `Fleet.plan` that say what may be deleted."""
        names = ("prune", "max_deletes", "protect", "remove", "allow_empty")
        return {name: getattr(self, name) for name in names}


@attrs.frozen(kw_only=True)
class ReplaceRequest:
    """What ``vpsorg.RollingReplace`` takes; the bounds are those of `ReplacePolicy`.

    Args:
        fleets: The fleets, a `FleetSpec` or several, at most 10,000 servers in all.
        timeout: Seconds for each server, from its command until it has its status.
        surge: The number of servers that may exist beyond the size of a fleet, or a share of it.
        max_unavailable: The number of servers of a fleet that may be unavailable, or a share of it.
        drain: Seconds between the switch to a new server and the delete of the old one.
        canary: The number of servers that are replaced first, one by one.
        max_failures: The number of failures after which no further replacement begins.
        delete_failed: Whether a new server that did not become ready is deleted again.
        names: ``free``: a new server keeps its own number. ``stable``: it gets the old name once the old one is gone.
        replace_older_than: Seconds; servers of that age are replaced as well, whatever they differ in.
        protect: Names of servers that are not replaced.
        ready: The name of an activity of yours. It is called with the new `Server` once that is active, and returns
            whether it is ready. An exception and a timeout count as False.
        ready_timeout: Seconds for which it is repeated; 300.
        ready_interval: Seconds between two checks; 5.
        ready_check_timeout: Seconds for one check; 30.
        switch: The name of an activity of yours. It is called with the old and the new `Server` once the new one is
            ready, and lets the new one take over. It may be called again for the same pair, when a worker died.
        switch_timeout: Seconds for one call of it; 300.
        settle: Seconds for which a server of an unanswered create is searched for by its name; 30. It must be longer
            than lists of the account lag behind.
        heartbeat_timeout: Seconds without a word of a worker after which another one takes over, at least 1; 15.

    Raises:
        ConfigurationError: A value is out of range, or the fleets overlap.

    Example:
        ``ReplaceRequest(fleets=load_fleets("fleet.toml"), timeout=600, surge=5, switch="move-traffic", drain=60)``
    """

    fleets: tuple[FleetSpec, ...] = attrs.field(converter=_some_fleets, validator=_fleets)
    timeout: float = attrs.field(validator=_seconds)
    surge: int | float = 1
    max_unavailable: int | float = 0
    drain: float = attrs.field(default=0.0, validator=_seconds)
    canary: int = 1
    max_failures: int = 1
    delete_failed: bool = False
    names: str = "free"
    replace_older_than: float | None = None
    protect: tuple[str, ...] = attrs.field(default=(), converter=_tuple)
    ready: str | None = None
    ready_timeout: float = attrs.field(default=300.0, validator=_seconds)
    ready_interval: float = attrs.field(default=5.0, validator=_seconds)
    ready_check_timeout: float = attrs.field(default=30.0, validator=_seconds)
    switch: str | None = None
    switch_timeout: float = attrs.field(default=300.0, validator=_seconds)
    settle: float = attrs.field(default=30.0, validator=_seconds)
    heartbeat_timeout: float = attrs.field(default=15.0, validator=_seconds)

    def __attrs_post_init__(self) -> None:
        self.policy()
        Guards.of({"protect": self.protect}).check(self.fleets)
        if self.replace_older_than is not None:
            older = check_seconds(self.replace_older_than, "replace_older_than")
            if older > MOST_AGE:
                raise ConfigurationError(f"replace_older_than is at most {MOST_AGE:g} s, not {older:g}")
        for name in ("ready", "switch"):
            activity = getattr(self, name)
            if activity is not None and (not isinstance(activity, str) or not activity):
                raise ConfigurationError(f"{name} is the name of an activity, not {activity!r}")

    def policy(self) -> ReplacePolicy:
        """Return the bounds. Raises `ConfigurationError`."""
        names = (field.name for field in attrs.fields(ReplacePolicy))
        return ReplacePolicy(**{name: getattr(self, name) for name in names})


@attrs.frozen(kw_only=True)
class RollingRequest:
    """What ``vpsorg.RollingReboot`` takes; most are those of `Fleet.rolling_reboot`.

    Args:
        ids: The servers, from 1 to 10,000. Those that are not active are skipped, and count as unavailable.
        timeout: Seconds for each server, from its command until it is active again.
        max_unavailable: The number of servers that may be unavailable at once, or a share of all of them (0 to 1).
        max_failures: The number of failures after which nothing more is sent.
        canary: The number of servers that go first, one by one.
        health: The name of an activity of yours. It is called with the `Server` that came back, on the task queue of
            the workflow, and returns whether the server is healthy. An exception and a timeout count as False.
        warm_up: Seconds between the return of a server and its first check.
        health_retries: The maximum number of checks of one server.
        health_timeout: Seconds for one check.
        health_interval: Seconds between two checks.
        heartbeat_timeout: Seconds without a word of a worker after which another one takes over, at least 1; 15.

    Raises:
        ConfigurationError: A value is out of range.
    """

    ids: tuple[ServerId, ...] = attrs.field(converter=_tuple, validator=_some_ids)
    timeout: float = attrs.field(validator=_seconds)
    max_unavailable: int | float = attrs.field(default=1, validator=_share)
    max_failures: int = attrs.field(default=1, validator=_number(1, float("inf")))
    canary: int = attrs.field(default=1, validator=_number(0, float("inf")))
    health: str | None = None
    warm_up: float = attrs.field(default=0.0, validator=_seconds)
    health_retries: int = attrs.field(default=3, validator=_number(1, float("inf")))
    health_timeout: float = attrs.field(default=30.0, validator=_seconds)
    health_interval: float = attrs.field(default=5.0, validator=_seconds)
    heartbeat_timeout: float = attrs.field(default=15.0, validator=_seconds)


@attrs.frozen(kw_only=True)
class FleetRow:
    """The outcome of one server of a fleet workflow.

    Attributes:
        key: The name of the spec, or the id that was given, as the service writes it.
        outcome: ``succeeded``, ``failed`` or ``skipped``.
        server_id: The id of the server, if it is known to exist.
        status: Its last known status.
        ip_address: Its address, once it has one.
        how: ``created``, ``adopted``, ``started``, ``deleted``, ``kept``, ``rebooted`` or ``replaced``.
        error: The class of the error.
        message: What the error says, or why the server was skipped.
        seconds: The time from its command to its outcome.
        old_id: The id of the server that this one replaces.
    """

    key: ServerId
    outcome: str
    server_id: ServerId | None = None
    status: str | None = None
    ip_address: str | None = None
    how: str = ""
    error: str = ""
    message: str = ""
    seconds: float = 0.0
    old_id: ServerId | None = None


@attrs.frozen(kw_only=True)
class FleetSummary:
    """What a fleet workflow returns: totals, and the failures. The query ``report`` has a row for every server.

    Attributes:
        operation: ``create``, ``ensure``, ``delete``, ``apply``, ``rolling reboot`` or ``rolling replace``.
        succeeded: The number of servers that reached their target.
        failed: The number of servers that did not.
        skipped: The number of servers for which nothing was sent.
        failures: The failed servers, at most the first 1,000.
        seconds: The time from the beginning of the workflow to its end.
    """

    operation: str
    succeeded: int
    failed: int
    skipped: int
    failures: tuple[FleetRow, ...]
    seconds: float = 0.0
