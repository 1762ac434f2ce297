"""Checks of the arguments of fleet calls, before anything is sent. Pure; all raise `ConfigurationError`."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypedDict

from ..config import check_seconds
from ..errors import ConfigurationError
from ..lifecycle.readiness import READY_TIMEOUT, ReadyCheck, ReadyPolicy, check_ready
from ..lifecycle.receipts import Receipt
from ..records import Server, ServerId
from ..specs import check_bool, check_id, id_of, id_text
from .events import FleetEvent
from .jobs import Options
from .remaining import Remaining
from .resumption import Resumption
from .stuck import stuck_policy

__all__ = [
    "ActOptions",
    "ApplyOptions",
    "CreateOptions",
    "PlanOptions",
    "RollingOptions",
    "ScaleOptions",
    "SnapshotOptions",
    "StartOptions",
    "StuckOptions",
    "check_before",
    "check_count",
    "check_file",
    "check_function",
    "check_ids",
    "check_known",
    "check_rolling",
    "health_policy",
    "no_repeats",
    "options_of",
]

SETTLE = 15.0
"""Seconds for which a create with a lost answer is searched for by its name."""


class ActOptions(TypedDict, total=False):
    """The further options of `Fleet.start`, `Fleet.stop`, `Fleet.reboot` and `Fleet.delete`."""

    on_failure: Literal["continue", "stop"]
    """``"continue"`` (default) goes on after a failure; ``"stop"`` sends no further command after one."""
    on_event: Callable[[FleetEvent], None] | None
    """Called, not awaited, with each `vpsorg_async.events.FleetEvent`."""
    journal: str | os.PathLike[str] | None
    """The file in which intents and receipts are recorded, so that a run after a crash neither forgets nor repeats."""


class SnapshotOptions(TypedDict, total=False):
    """The further options of `Fleet.snapshot`."""

    on_failure: Literal["continue", "stop"]
    """As in `ActOptions`."""
    on_event: Callable[[FleetEvent], None] | None
    """As in `ActOptions`."""


class StartOptions(ActOptions, total=False):
    """The further options of `Fleet.start` and `Fleet.reboot`: these, and those of `ActOptions`."""

    ready: ReadyCheck | None
    """A check that each server must pass once it is active: one of `vpsorg_async.ready`, or a function."""
    ready_timeout: float
    """Seconds for each server from active until its check must have passed; 300 by default."""


class StuckOptions(TypedDict, total=False):
    """What is done with servers that a call has created and that do not come up."""

    on_stuck: Literal["report", "replace"]
    """``"report"`` (default) leaves them, and their outcomes are `Failed`; ``"replace"`` deletes each, and creates
    another one when it is gone."""
    max_replacements: int
    """The maximum number of servers that the call replaces; 3 by default. Each is a further create that is paid for."""
    max_unhealthy: float
    """The share of the servers, above 0 and at most 1, that may be stuck at the same time, at least one; 0.2 by
    default. If more are stuck, no server is replaced any more, because then the provider is unhealthy."""


class CreateOptions(StartOptions, StuckOptions, total=False):
    """The further options of `Fleet.create`, `Fleet.creating` and `Fleet.ensure`, with those of `StartOptions` and
    `StuckOptions`."""

    settle: float
    """Seconds for which a create with a lost answer is searched for by its name; 15 by default."""
    on_cancel: Literal["detach", "delete"]
    """``"detach"`` (default) leaves the servers that were created; ``"delete"`` deletes them again, within 30 s."""
    receipts: Mapping[str, Receipt] | None
    """Receipts by name of servers that an earlier attempt of this call created: these are only waited for."""
    before: Iterable[ServerId] | None
    """The ids in the account before the earlier attempt: a server of a wanted name that is not among them is its
    result, and adopted."""
    settle_first: float
    """Seconds for which names without a receipt are searched for before a create is sent, because an earlier attempt
    may have sent one until now; 0 by default. It must be longer than lists lag behind."""


class PlanOptions(TypedDict, total=False):
    """The further options of `Fleet.plan`, and those of them that `Fleet.apply` has as well."""

    prune: bool
    """Whether servers that are more than a fleet's count are deleted; False by default."""
    replace: Literal["never", "rolling"]
    """What is done with a server that differs from its spec in its plan, system or location: nothing (``"never"``, the
    default), or a new server takes its place (``"rolling"``), a few at a time. What a PATCH can change is changed then.
    """
    replace_when: timedelta | Callable[[Server], object] | None
    """Which servers are replaced besides: those of at least this age, or those for which this function returns True."""
    surge: int | float
    """The number of servers that may exist beyond the size of their fleet, or a share of it; 1 by default."""
    max_unavailable: int | float
    """The number of servers of a fleet that may be unavailable while others are replaced, or a share; 0 by default."""
    drain: float
    """Seconds between the switch to a new server and the delete of the old one; 0 by default."""
    canary: int
    """The number of servers of each fleet that are replaced first, one by one; 1 by default."""
    max_failures: int
    """The number of failures after which no further server is replaced; 1 by default."""
    delete_failed: bool
    """Whether new servers that failed are deleted again; False by default."""
    names: Literal["free", "stable"]
    """``"free"`` (default): a new server keeps the free number that it gets. ``"stable"``: it gets the old one's name
    once that one is gone."""
    max_deletes: float | None
    """The maximum number of deletes: a number for the whole plan, or a share below 1 of the servers of each fleet, at
    least one; 0.1 by default. A plan with more deletes is refused."""
    protect: Iterable[str] | Callable[[Server], object]
    """Names of servers that are not deleted, or a function that returns whether a server is not deleted."""
    remove: Literal["highest", "newest"] | Callable[[Server], Any]
    """Which servers are deleted first: those with the highest numbers (default), those created last, or those for which
    this function returns the largest values."""
    allow_empty: bool
    """Whether a fleet with a count of 0 may lose all of its servers; False by default."""


class ApplyOptions(StartOptions, PlanOptions, StuckOptions, total=False):
    """The further options of `Fleet.apply`, with those of `StartOptions`, `PlanOptions` and `StuckOptions`."""

    settle: float
    """Seconds for which a create with a lost answer is searched for by its name; 15 by default."""
    switch: Callable[[Server, Server], Awaitable[object] | object] | None
    """Called with the old and the new server once the new one is ready, before the old one is deleted, and awaited. A
    plain function must be quick."""


class ScaleOptions(StartOptions, StuckOptions, total=False):
    """The further options of `Fleet.scale`, with those of `StartOptions` and `StuckOptions`."""

    settle: float
    """Seconds for which a create with a lost answer is searched for by its name; 15 by default."""
    protect: Iterable[str] | Callable[[Server], object]
    """Names of servers that are not deleted, or a function that returns whether a server is not deleted."""
    remove: Literal["highest", "newest"] | Callable[[Server], Any]
    """Which servers are deleted first, as in `PlanOptions`."""
    allow_empty: bool
    """Whether the fleet may be scaled to 0; False by default."""


class RollingOptions(TypedDict, total=False):
    """The further options of `Fleet.rolling_reboot` and `Fleet.rolling`."""

    canary: int
    """The number of servers that go first, one by one; 1 by default."""
    warm_up: float
    """Seconds between the return of a server and its first check; 0 by default."""
    health_retries: int
    """The maximum number of checks of one server; 3 by default."""
    health_timeout: float
    """Seconds for one check; 30 by default."""
    health_interval: float
    """Seconds between two checks; 5 by default."""
    ready_timeout: float | None
    """Seconds until the check must have passed, instead of the three above: it is repeated as by ``ready=`` then."""
    on_event: Callable[[FleetEvent], None] | None
    """Called, not awaited, with each `vpsorg_async.events.FleetEvent`."""
    journal: str | os.PathLike[str] | None
    """The file in which intents and receipts are recorded; a run that did not complete is continued by the next."""
    resume: bool
    """Whether the run must continue an earlier one of the journal, however long ago; with nothing to continue it is
    refused. By default it continues one of the last day, if there is one."""


def check_known(call: str, given: Mapping[str, Any], known: type) -> None:
    """Refuse options that a call does not have. ``known`` is the TypedDict of its options."""
    unknown = sorted(set(given) - known.__optional_keys__)  # type: ignore[attr-defined]
    if unknown:
        raise ConfigurationError(f"{call} knows no option {', '.join(unknown)}")


def options_of(
    call: str, timeout: object, given: Mapping[str, Any], known: type, *, wait: bool = True
) -> Options:
    """Return the options of a run. ``wait``: whether it waits for its servers."""
    check_known(call, given, known)
    if timeout is None:
        raise ConfigurationError(f"timeout is a number of seconds for each server, and {call} needs it")
    on_failure, on_cancel = given.get("on_failure", "continue"), given.get("on_cancel", "detach")
    if on_failure not in ("continue", "stop"):
        raise ConfigurationError(f"on_failure is 'continue' or 'stop', not {on_failure!r}")
    if on_cancel not in ("detach", "delete"):
        raise ConfigurationError(f"on_cancel is 'detach' or 'delete', not {on_cancel!r}")
    on_event = given.get("on_event")
    check_function(on_event, "on_event", awaited=False)
    ready = given.get("ready")
    ready_policy = check_ready(ready, given.get("ready_timeout", READY_TIMEOUT))
    if ready is not None and not wait:
        raise ConfigurationError("ready is checked once a server is active: it does not go with wait=False")
    stuck = stuck_policy(given)
    if stuck is not None and not wait:
        raise ConfigurationError("on_stuck='replace' needs the waits: it does not go with wait=False")
    journal = check_file(given.get("journal"))
    resumption = _resumption(given) if journal is None else None
    if resumption is None and journal is not None and any(given.get(key) for key in _RESUMED):
        raise ConfigurationError(f"a journal knows {', '.join(_RESUMED)} by itself: give one or the other")
    return Options(
        timeout=check_seconds(timeout, "timeout"),
        settle=check_seconds(given.get("settle", SETTLE), "settle", zero=True),
        on_failure=on_failure,
        on_cancel=on_cancel,
        on_event=on_event,
        ready=ready,
        ready_policy=ready_policy,
        journal=journal,
        resumption=resumption,
        stuck=stuck,
    )


_RESUMED = ("receipts", "before", "settle_first")


def check_file(given: object) -> str | None:
    """Return the path of a journal; None where there is none."""
    if given is None:
        return None
    if not isinstance(given, str | os.PathLike) or not os.fsdecode(given):
        raise ConfigurationError(f"journal is the path of a file, not {given!r}")
    return os.fsdecode(given)


def _resumption(given: Mapping[str, Any]) -> Resumption | None:
    """Return what an earlier attempt left, as the caller says; None where nothing is said."""
    receipts, before = given.get("receipts"), given.get("before")
    settle = check_seconds(given.get("settle_first", 0.0), "settle_first", zero=True)
    if receipts is None and before is None and not settle:
        return None
    if not isinstance({} if receipts is None else receipts, Mapping):
        raise ConfigurationError(f"receipts is a mapping of names to receipts, not {type(receipts).__name__}")
    for name, receipt in (receipts or {}).items():
        if not isinstance(name, str) or not isinstance(receipt, Receipt) or receipt.operation != "create":
            raise ConfigurationError(
                f"receipts has a name and the receipt of its create, not {name!r}: {receipt!r}"
            )
        check_id(receipt.server_id)
    ids = None if before is None else check_before(before)
    return Resumption.of_attempt(receipts or {}, ids, settle)


def check_before(before: object) -> list[ServerId]:
    """Return the ids that were in the account before a create."""
    if isinstance(before, str | bytes) or not isinstance(before, Iterable):
        raise ConfigurationError(f"before is a list of ids, not {before!r}")
    return [check_id(server_id) for server_id in before]


def check_count(min_count: object, wanted: int) -> None:
    """Check ``min_count``: None, or a number of servers that can be reached."""
    if min_count is not None and (
        isinstance(min_count, bool) or not isinstance(min_count, int) or not 1 <= min_count <= wanted
    ):
        raise ConfigurationError(
            f"min_count is a number of servers from 1 to the {wanted} asked for, not {min_count!r}"
        )


def check_function(given: object, name: str, *, awaited: bool) -> None:
    """Check a function of the user: None, or a callable; an async one only if it is ``awaited``."""
    if given is not None and (not callable(given) or (not awaited and inspect.iscoroutinefunction(given))):
        what = "an async function" if awaited else "a function that is called, not awaited"
        raise ConfigurationError(f"{name} is {what}, not {given!r}")


def health_policy(given: RollingOptions) -> ReadyPolicy:
    """Return how a health check is repeated."""
    retries = given.get("health_retries", 3)
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 1:
        raise ConfigurationError(f"health_retries is a number of checks from 1, not {retries!r}")
    policy = ReadyPolicy(
        warm_up=check_seconds(given.get("warm_up", 0.0), "warm_up", zero=True),
        interval=check_seconds(given.get("health_interval", 5.0), "health_interval", zero=True),
        check_timeout=check_seconds(given.get("health_timeout", 30.0), "health_timeout"),
        tries=retries,
    )
    ready_timeout = given.get("ready_timeout")
    if ready_timeout is None:
        return policy
    return ReadyPolicy(warm_up=policy.warm_up, timeout=check_seconds(ready_timeout, "ready_timeout"))


def check_ids(ids: Iterable[ServerId | Server]) -> tuple[ServerId, ...]:
    """Return the ids of the servers. Each may be given once."""
    if isinstance(ids, str | bytes | Server) or not isinstance(ids, Iterable):
        raise ConfigurationError("a fleet call takes several ids: pass a list")
    wanted = tuple(id_of(given) for given in ids)
    no_repeats([id_text(server_id) for server_id in wanted], "ids")
    return wanted


def check_rolling(
    operation: str, ids: Iterable[ServerId | Server], given: RollingOptions
) -> tuple[tuple[ServerId, ...], Resumption | None]:
    """Return the servers of a rolling operation, and what an earlier one left of it, if its `Remaining` is given."""
    if check_bool(given.get("resume", False), "resume") and given.get("journal") is None:
        raise ConfigurationError("resume goes with journal=, the file of the run that is continued")
    if not isinstance(ids, Remaining):
        return check_ids(ids), None
    if given.get("journal") is not None:
        raise ConfigurationError(
            "a journal knows by itself what remains: pass ids with it, or report.remaining alone"
        )
    return check_ids(ids.fleet), ids.resumption(operation)


def no_repeats(keys: Sequence[str], what: str) -> None:
    """Refuse keys that are given more than once, because each server has one outcome."""
    repeated = sorted(key for key, times in Counter(keys).items() if times > 1)
    if repeated:
        raise ConfigurationError(
            f"these {what} are given more than once: {', '.join(repeated)}; nothing was sent"
        )
