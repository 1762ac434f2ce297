"""Everything behind the socket: the world, the endpoints, the fault plan and the log, with one clock and one lock.

No I/O and no waiting: the lock is held only briefly, so that the serving loop and a test's thread can share it. A
request goes through `begin` (logged, and a fault rule selected) and `answer` (applied, or not, as the rule says). The
delays before and after, and the bytes, are in `web_app` and `wire`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol

from attrs import frozen

from . import faults, shaping
from .api import READS, Answer, Api, Call, answer, sorry
from .clock import Clock
from .errors import SandboxError
from .ledger import Change, Command
from .log import Entry, RequestLog
from .records import ServerId
from .rules import FaultPlan, Rule
from .world import World

_NO_ANSWER = (faults.DropBefore, faults.DropAfter, faults.HalfHeaders, faults.Garbage, faults.NeverAnswer)


@frozen
class Exchange:
    """A request that is being served: its number and the rule that applies to it."""

    seq: int
    call: Call
    rule: Rule | None

    @property
    def ending(self) -> faults.Ending | None:
        """What the client gets; None for the plain answer."""
        if self.rule is None:
            return None
        late = self.rule.first(faults.CommitLater)
        return self.rule.ending or (faults.Html(504) if late else None)

    def delay(self, *, after: bool) -> float:
        """Return the real seconds to wait before or after the request is applied."""
        actions = self.rule.actions if self.rule else ()
        return sum(act.seconds for act in actions if isinstance(act, faults.Delay) and act.after == after)


class Rim(Protocol):
    """The part of a sandbox that keeps the sockets of its servers."""

    def follow(self) -> None:
        """Open and close what the present state of the servers requires."""

    def rows(self) -> list[dict[str, Any]]:
        """Return the servers that listen, for the control endpoint."""
        ...


class Engine:
    """The state of one sandbox. Every method is safe to call from any thread."""

    def __init__(
        self,
        make_world: Callable[[], World],
        make_api: Callable[[World, str], Api],
        token: str,
        clock: Clock,
        plan: FaultPlan,
    ) -> None:
        self.lock: threading.RLock = threading.RLock()
        self.token: str = token
        self.clock = clock
        self.plan = plan
        self.log: RequestLog = RequestLog(token)
        self._make_world = make_world
        self._make_api = make_api
        self.rim: Rim | None = None
        """What must follow changes of the servers, while the sandbox runs."""
        self._start()

    def _start(self) -> None:
        self.world: World = self._make_world()
        self.api: Api = self._make_api(self.world, self.token)

    def replace_token(self, token: str) -> None:
        """Accept this token instead of the one before."""
        with self.lock:
            self.token = token
            self.api.accept(token)
            self.log.hide(token)

    def reset(self) -> None:
        """Start again: no servers, no SSH keys, no faults, empty ledger and log, credit as at the start."""
        with self.lock:
            self._start()
            self.log.clear()
            self.plan.clear()
        self.follow()

    @contextmanager
    def changing(self) -> Iterator[tuple[World, float]]:
        """Lock the world for a change, and yield it with the present time."""
        with self.lock:
            yield self.world, self.clock()
        self.follow()

    def follow(self) -> None:
        """Let the sockets of servers follow a change. Call it without the lock."""
        if self.rim is not None:
            self.rim.follow()

    def date(self) -> str:
        """Return the world's time as an HTTP date."""
        return formatdate(self.world.wall(self.clock()), usegmt=True)

    @property
    def ledger(self) -> tuple[Change, ...]:
        """The changes committed so far."""
        with self.lock:
            return tuple(self.world.at(self.clock()).ledger)

    def requests(self, since: int = 0) -> tuple[Entry, ...]:
        """Return the log after request number `since`."""
        with self.lock:
            return self.log.entries({change.request for change in self.ledger}, since)

    def begin(self, call: Call, connection: int, port: int) -> Exchange:
        """Log a request, and select the fault rule that applies to it."""
        with self.lock:
            rule = self.plan.take(call.method, call.path, self.api.operation(call))
            label = rule.label if rule else None
            seq = self.log.open(self.clock(), call.method, call.path, call.query, label, connection, port)
            return Exchange(seq, call, rule)

    def answer(self, exchange: Exchange) -> Answer:
        """Execute the request as far as its rule permits, and return the answer."""
        with self.lock:
            now = self.clock()
            self.world.at(now)
            given = self._apply(exchange, now)
            if exchange.rule is not None:
                given = self._instead(exchange.ending, given, now)
            silent = isinstance(exchange.ending, _NO_ANSWER)
            self.log.answered(exchange.seq, None if silent else given.status)
        self.follow()
        return given

    def _apply(self, exchange: Exchange, now: float) -> Answer:
        rule, seq = exchange.rule, exchange.seq
        if rule is None:
            return self._execute(self.api.understand(exchange.call), now, seq)
        call = shaping.reread(exchange.call, self.api.operation(exchange.call), rule.actions)
        found = self.api.route(call.path)
        lag = rule.first(faults.Lag)
        if lag is not None:
            self.world.lag(lag.seconds, now, lasting=lag.lasting)
        self._strike([act for act in rule.actions if _target(act)], now, 0)
        if found is not None and found.server_id is not None:
            self._strike([act for act in rule.actions if not _target(act)], now, found.server_id)
        command = shaping.reconsider(self.api.understand(call), rule.actions)
        late = rule.first(faults.CommitLater)
        if late is not None:
            if isinstance(command, Command) and command.operation not in READS:
                self.world.apply_later(command, now, late.seconds, seq)
            return sorry(503)
        if rule.ending is not None and not rule.ending.applied:
            return sorry(503)
        given = self._execute(command, now, seq)
        if given.server_id is not None:
            hidden = rule.first(faults.HideCreated)
            if hidden is not None:
                self.world.hide(
                    given.server_id, hidden.seconds, now, by_id=hidden.by_id, in_list=hidden.in_list
                )
            self._strike([act for act in rule.actions if not _target(act)], now, given.server_id)
        if isinstance(command, Command):
            return shaping.reshape(given, call, command.operation, rule.actions)
        return given

    def _execute(self, command: Command | Answer, now: float, seq: int) -> Answer:
        return command if isinstance(command, Answer) else self.api.execute(command, now, seq)

    def _strike(self, actions: list[faults.Action], now: float, named: ServerId) -> None:
        for action in actions:
            server_id = _target(action) or named
            try:
                match action:
                    case faults.SetStatus(word, seconds, then):
                        self.world.set_status(server_id, word, now, seconds=seconds, then=then)
                    case faults.SetBoot():
                        self.world.adjust(server_id, now, boot=action)
                    case faults.Suspend():
                        self.world.suspend(server_id, now)
                    case faults.Vanish():
                        self.world.vanish(server_id, now)
                    case _:
                        pass
            except SandboxError:
                # The server does not exist (any more): the request will fail by itself.
                continue

    def _instead(self, ending: faults.Ending | None, given: Answer, now: float) -> Answer:
        match ending:
            case faults.Html(status):
                return _page(status)
            case faults.Gateway(status, body, content_type, server):
                return Answer(status, body.encode(), {"Content-Type": content_type, "Server": server})
            case faults.Refuse(message, status, word):
                return answer(status, {"status": word, "message": message})
            case faults.Reply(status, body, headers):
                return _reply(status, body, headers)
            case faults.Redirect(location, status):
                return Answer(status, headers={"Location": location})
            case faults.RateLimit(retry_after, as_date):
                return sorry(429, "Request was throttled.", self._retry_after(retry_after, as_date, now))
            case _:
                return given

    def _retry_after(self, value: float | str | None, as_date: bool, now: float) -> dict[str, str]:
        if value is None:
            return {}
        if isinstance(value, str):
            return {"Retry-After": value}
        when = formatdate(self.world.wall(now) + value, usegmt=True) if as_date else f"{value:g}"
        return {"Retry-After": when}


def _target(action: faults.Action) -> ServerId | None:
    return action.server_id if isinstance(action, faults.OnServer) else None


def _page(status: int) -> Answer:
    title = f"{status} {_phrase(status)}"
    html = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Answer(status, html.encode(), {"Content-Type": "text/html; charset=utf-8"})


def _reply(status: int, body: Any, headers: Mapping[str, str]) -> Answer:
    if body is None:
        return sorry(status, _phrase(status), headers)
    if isinstance(body, str):
        return Answer(status, body.encode(), {"Content-Type": "application/json", **headers})
    return answer(status, body, **headers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
