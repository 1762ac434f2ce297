"""What users hand to a fleet call, checked before anything is sent. Pure; all raise `ConfigurationError`."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ..config import check_seconds
from ..errors import ConfigurationError
from ..records import Server, ServerId
from ..specs import id_of
from .events import FleetEvent
from .jobs import Options

__all__ = ["check_function", "check_ids", "no_repeats", "options_of"]


def options_of(
    timeout: object,
    settle: object,
    on_failure: str,
    on_cancel: str,
    on_event: Callable[[FleetEvent], None] | None,
) -> Options:
    """The options of a run."""
    if on_failure not in ("continue", "stop"):
        raise ConfigurationError(f"on_failure is 'continue' or 'stop', not {on_failure!r}")
    if on_cancel not in ("detach", "delete"):
        raise ConfigurationError(f"on_cancel is 'detach' or 'delete', not {on_cancel!r}")
    check_function(on_event, "on_event", awaited=False)
    return Options(
        timeout=check_seconds(timeout, "timeout"),
        settle=check_seconds(settle, "settle", zero=True),
        on_failure=on_failure,
        on_cancel=on_cancel,
        on_event=on_event,
    )


def check_function(given: object, name: str, *, awaited: bool) -> None:
    """None, or something to call; a coroutine function is refused where nobody would await it."""
    if given is not None and (not callable(given) or (not awaited and inspect.iscoroutinefunction(given))):
        what = "an async function" if awaited else "a function that is called, not awaited"
        raise ConfigurationError(f"{name} is {what}, not {given!r}")


def check_ids(ids: Iterable[ServerId | Server]) -> tuple[ServerId, ...]:
    """The ids of the servers, each of them once."""
    if isinstance(ids, str | bytes | Server) or not isinstance(ids, Iterable):
        raise ConfigurationError("a fleet call takes several ids: pass a list")
    wanted = tuple(id_of(given) for given in ids)
    no_repeats([str(server_id) for server_id in wanted], "ids")
    return wanted


def no_repeats(keys: Sequence[str], what: str) -> None:
    """Refuse what is given more than once: each server has one outcome."""
    repeated = sorted(key for key, times in Counter(keys).items() if times > 1)
    if repeated:
        raise ConfigurationError(
            f"these {what} are given more than once: {', '.join(repeated)}; nothing was sent"
        )
