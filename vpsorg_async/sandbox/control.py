"""The sandbox's own control endpoint, `/_sandbox/...`, which the provider does not have::

    GET    /_sandbox/ledger      changes committed so far (`?since=<seq>`)
    GET    /_sandbox/requests    requests so far (`?since=<seq>`)
    GET    /_sandbox/faults      active rules, with counters
    POST   /_sandbox/faults      add rules, or replace the active ones
    DELETE /_sandbox/faults      deactivate all faults
    GET    /_sandbox/listeners   servers that listen, each with its address and its ports
    POST   /_sandbox/reset       start again

The control endpoint needs no token: any program of this machine can control the sandbox. A web page that is open in a
browser on this machine can not. Requests of a page are recognised by headers that a page can't choose, and refused with

- 403 for a `Host` other than `localhost`, 127.0.0.0/8 and `[::1]`, or the host that `allow_remote` permitted: a name
  that an attacker resolves to this machine (DNS rebinding) is still another name
- 403 for an `Origin` that is not loopback; only browsers send one
- 415 for a POST without `Content-Type: application/json`, even if its body is empty, and for a DELETE with a body of
  another type: a page of another origin needs permission to send that type, and the sandbox never gives it
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qs

import attrs

from .api import Answer, Call, answer, parse_json, sorry
from .engine import Engine
from .errors import FaultError
from .hosts import host_of, is_loopback
from .notation import rule_to_json, rules_from_json

PREFIX: Final = "/_sandbox/"


_ORIGIN: Final = re.compile("https?://(.*)", re.IGNORECASE)


def control(engine: Engine, call: Call, own: str = "") -> Answer:
    """Answer a call to the control endpoint of a sandbox that listens on the host `own`."""
    if not _from_here(call, own):
        return sorry(403, "This is for programs of this machine: Host and Origin must be loopback.")
    handlers = _HANDLERS.get(call.path.removeprefix(PREFIX).rstrip("/"))
    if handlers is None:
        return sorry(404)
    handler = handlers.get(call.method)
    if handler is None:
        return sorry(405, headers={"Allow": ", ".join(handlers)})
    needs_json = call.method == "POST" or (call.method == "DELETE" and call.body != b"")
    if needs_json and call.media_type != "application/json":
        return sorry(415, "Send Content-Type: application/json.")
    return handler(engine, call)


def _from_here(call: Call, own: str) -> bool:
    host = host_of(call.host)
    if host is None or not (is_loopback(host) or host == own.lower()):
        return False
    if call.origin is None:
        return True
    origin = _ORIGIN.fullmatch(call.origin)
    return origin is not None and is_loopback(host_of(origin[1]) or "")


def _ledger(engine: Engine, call: Call) -> Answer:
    since = _since(call)
    changes = [attrs.asdict(change) for change in engine.ledger if change.seq > since]
    return answer(200, {"count": len(changes), "results": changes})


def _requests(engine: Engine, call: Call) -> Answer:
    entries = [attrs.asdict(entry) for entry in engine.requests(_since(call))]
    return answer(200, {"count": len(entries), "forgotten": engine.log.forgotten, "results": entries})


def _faults(engine: Engine, call: Call) -> Answer:
    with engine.lock:
        armed = engine.plan.armed
    rules = [{**rule_to_json(one.rule), "matched": one.matched, "fired": one.fired} for one in armed]
    return answer(200, {"rules": rules})


def _arm(engine: Engine, call: Call) -> Answer:
    if call.body is None:
        return sorry(413)
    try:
        rules, replace = rules_from_json(parse_json(call.body))
    except FaultError as error:
        return answer(400, {"detail": str(error), "field": error.field})
    except ValueError as error:
        return answer(400, {"detail": f"The body is not JSON: {error}", "field": "(document)"})
    with engine.lock:
        if replace:
            engine.plan.clear()
        engine.plan.add(*rules)
    return _faults(engine, call)


def _disarm(engine: Engine, call: Call) -> Answer:
    with engine.lock:
        engine.plan.clear()
    return Answer(204, headers={})


def _listeners(engine: Engine, call: Call) -> Answer:
    rows = engine.rim.rows() if engine.rim else []
    return answer(200, {"count": len(rows), "results": rows})


def _reset(engine: Engine, call: Call) -> Answer:
    engine.reset()
    return Answer(204, headers={})


def _since(call: Call) -> int:
    text = parse_qs(call.query).get("since", ["0"])[-1]
    return int(text) if text.isascii() and text.isdigit() else 0


_HANDLERS: Final[Mapping[str, Mapping[str, Callable[[Engine, Call], Answer]]]] = MappingProxyType(
    {
        "ledger": {"GET": _ledger},
        "requests": {"GET": _requests},
        "faults": {"GET": _faults, "POST": _arm, "DELETE": _disarm},
        "listeners": {"GET": _listeners},
        "reset": {"POST": _reset},
    }
)
