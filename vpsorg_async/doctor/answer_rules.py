"""The judges of single answers: errors, lists, names, fields. Each is a pure function of the observations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..config import API_PREFIX
from ..counting import counted
from ..http.reply import http_date
from ..specs import id_text, name_key
from .forms import form_of
from .observations import Exchange, Observations
from .verdicts import Verdict, confirmed, denied, not_seen

__all__ = [
    "absence_is_json",
    "addresses",
    "answers_fit",
    "counts",
    "errors_are_json",
    "filters",
    "good_is_good",
    "ids_agree",
    "names_kept",
    "next_links",
    "no_operation",
    "no_redirects",
    "no_units",
    "password_once",
    "prices",
    "rate_limits",
    "times_have_a_zone",
]

HANDLES = (
    "task",
    "task_id",
    "operation",
    "operation_id",
    "action_id",
    "job",
    "job_id",
    "request_id",
    "event_id",
)
"""Fields that would name an operation."""


def _shown(exchange: Exchange) -> str:
    """Return an answer in short: the request, its status, and the form of its body."""
    body = "" if exchange.kind == "empty" else f" {exchange.kind}"
    if exchange.kind == "json":
        body = f" {json.dumps(form_of(exchange.data, texts=not exchange.good))}"
    return f"{exchange.method} {exchange.path}: {exchange.status}{body}"


def _refusals(observed: Observations) -> list[Exchange]:
    return [one for one in observed.exchanges if one.status is not None and 400 <= one.status < 500]


def errors_are_json(observed: Observations) -> Verdict:
    """Judge whether each refusal was a JSON object."""
    refusals = _refusals(observed)
    for one in refusals:
        if not isinstance(one.data, dict):
            return denied(_shown(one))
    return confirmed(_shown(refusals[0])) if refusals else not_seen("nothing was refused")


def absence_is_json(observed: Observations) -> Verdict:
    """Judge how a read of a server that does not exist was answered."""
    absences = [step for step in observed.phase("delete", "deleted", "cleanup") if step.absent]
    answers = [one for step in absences for one in step.exchanges if one.status == 404]
    for one in answers:
        if not isinstance(one.data, dict):
            return denied(_shown(one))
    return confirmed(_shown(answers[0])) if answers else not_seen("no read was answered by 404")


def good_is_good(observed: Observations) -> Verdict:
    """Judge whether a good status has contained a refusal."""
    for step in observed.steps:
        if step.refused is not None and step.refused < 300:
            return denied(_shown(step.exchanges[-1]))
    good = sum(one.good for one in observed.exchanges)
    return confirmed(counted(good, "answer")) if good else not_seen("no answer had a good status")


def no_redirects(observed: Observations) -> Verdict:
    """Judge whether a request was redirected."""
    for one in observed.exchanges:
        if one.status is not None and 300 <= one.status < 400:
            return denied(f"{one.method} {one.path}: {one.status}")
    answers = sum(one.status is not None for one in observed.exchanges)
    return confirmed(counted(answers, "answer")) if answers else not_seen("no answer came")


def answers_fit(observed: Observations) -> Verdict:
    """Judge whether each field has the form of the records."""
    unfit = [*observed.misfits]
    for step in observed.steps:
        unfit += getattr(step.error, "problems", ())
    if unfit:
        return denied("; ".join(dict.fromkeys(unfit)))
    read = sum(step.server is not None for step in observed.steps)
    return confirmed(counted(read, "record")) if read else not_seen("no record was read")


def rate_limits(observed: Observations) -> Verdict:
    """Judge whether each 429 says how long to wait."""
    limited = [one for one in observed.exchanges if one.status == 429]
    for one in limited:
        value = one.headers.get("retry-after", "").strip()
        if not value.replace(".", "", 1).isdecimal() and http_date(value) is None:
            return denied("a 429 without a Retry-After" if not value else "its Retry-After can't be read")
    if limited:
        return confirmed(f"Retry-After: {limited[0].headers['retry-after'].strip()}")
    return not_seen("no request was limited")


def _lists(observed: Observations) -> list[Exchange]:
    return [one for one in observed.exchanges if one.operation == "list" and one.good]


def counts(observed: Observations) -> Verdict:
    """Judge whether lists show as many servers as they count."""
    if observed.incomplete:
        # the number of servers is nobody's business
        return denied("; ".join(re.sub(r"\d+", "N", reason) for reason in observed.incomplete))
    lists = _lists(observed)
    for one in lists:
        count, further = one.object.get("count"), one.object.get("next")
        paged = further is not None or one.object.get("previous") is not None
        if isinstance(count, int) and one.rows is not None and not paged and count != one.rows:
            return denied(
                f"{one.path}: it counts {abs(count - one.rows)} {'more' if count > one.rows else 'fewer'}"
            )
    fitting = [one for one in lists if isinstance(one.object.get("count"), int)]
    return confirmed(counted(len(fitting), "list")) if fitting else not_seen("no list had a count")


def next_links(observed: Observations) -> Verdict:
    """Judge where the links to further pages lead."""
    links = [link for one in _lists(observed) if isinstance(link := one.object.get("next"), str)]
    for link in links:
        to, here = urlsplit(urljoin(observed.origin, link)), urlsplit(observed.origin)
        if (to.scheme, to.netloc) != (here.scheme, here.netloc):
            return denied("a link leads to another origin")
        if not to.path.startswith(f"{API_PREFIX}/"):
            return denied(f"a link leads to a path that is not below {API_PREFIX}/")
    return confirmed(counted(len(links), "link")) if links else not_seen("no list had a second page")


def filters(observed: Observations) -> Verdict:
    """Judge whether lists by status have the server in the right ones."""
    tried = 0
    for phase, own in (("active", "active"), ("stopped", "stopped")):
        now = observed.settled({"active": "create", "stopped": "stop"}[phase])
        for word in ("active", "stopped"):
            step = observed.done(phase, f"list {word}")
            if step is None or now != own:
                continue
            tried += 1
            if (step.server is not None) is not (word == own):
                has = "has" if step.server is not None else "lacks"
                return denied(f"status={word} {has} a server that is {own}")
    return confirmed(counted(tried, "list")) if tried else not_seen("no list by status was read")


def names_kept(observed: Observations) -> Verdict:
    """Judge whether names are shown as they were sent."""
    asked = {"create": observed.spec.name, "update": None, "replace": observed.spec.name}
    kind, _, chance = observed.spec.name.rpartition("-")
    asked["update"] = f"{kind}-{chance.upper()}"
    compared = 0
    for phase, name in asked.items():
        if observed.done(phase, phase) is None or name is None:
            continue
        for step in observed.phase(phase):
            if step.server is None or step.call == "list":
                continue
            compared += 1
            shown = step.server.name
            if shown != name:
                same = "in other letters" if name_key(shown) == name_key(name) else "as another name"
                return denied(f"the name of the {phase} is shown {same}")
    return confirmed(counted(compared, "record")) if compared else not_seen("no name was read")


def ids_agree(observed: Observations) -> Verdict:
    """Judge whether the id is the same in each answer."""
    created = observed.done("create", "create")
    if created is None or created.server is None:
        return not_seen("the answer to the create did not show the server")
    shown = [step.server.id for step in observed.steps if step.server is not None]
    if any(id_text(one) != id_text(created.server.id) for one in shown):
        return denied("the server has several ids")
    kind = "a number" if isinstance(created.server.id, int) else "a text"
    return confirmed(f"{kind}, in {counted(len(shown), 'record')}")


def addresses(observed: Observations) -> Verdict:
    """Judge whether an active server has an address."""
    active = [step for step in observed.steps if step.call == "get" and step.server]
    active = [step for step in active if step.server is not None and step.server.status == "active"]
    if not active:
        return not_seen("the server was never read as active")
    lacking = [step for step in active if step.server is not None and step.server.address is None]
    if lacking:
        return denied(f"it had none in {len(lacking)} of {counted(len(active), 'read')} as active")
    return confirmed(counted(len(active), "read"))


def prices(observed: Observations) -> Verdict:
    """Judge whether the list of plans has the price of the server's plan."""
    offer = next((one for one in observed.offers if one.id == observed.spec.plan_id), None)
    if not observed.offers:
        return not_seen("no list of plans was read")
    if offer is None or offer.price_hourly is None:
        return denied("the plan has no price per hour in the list of plans")
    return confirmed("the plan has a price per hour")


def _objects(observed: Observations, *operations: str) -> Iterator[tuple[Exchange, Mapping[str, Any]]]:
    """Yield every object in good answers to these operations."""
    for one in observed.exchanges:
        if one.operation in operations and one.good:
            yield from ((one, inner) for inner in _nested(one.data))


def _nested(value: Any, depth: int = 0) -> Iterable[Mapping[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values() if depth < 4 else ():
            yield from _nested(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value[:1]:
            yield from _nested(inner, depth + 1)


CHANGES = ("create", "replace", "update", "start", "stop", "reboot", "delete")


def no_operation(observed: Observations) -> Verdict:
    """Judge whether the answer to a change names an operation to follow."""
    for one, inner in _objects(observed, *CHANGES):
        for name in HANDLES:
            if inner.get(name) is not None:
                return denied(f"{one.method} {one.path}: {name}")
    answers = sum(one.operation in CHANGES and one.good for one in observed.exchanges)
    return confirmed(counted(answers, "answer")) if answers else not_seen("no change was accepted")


def no_units(observed: Observations) -> Verdict:
    """Judge whether an answer names a unit."""
    for one, inner in _objects(observed, "get", "list", "create"):
        for name in inner:
            if name.endswith(("_unit", "_mb", "_gb")):
                return denied(f"{one.method} {one.path}: {name}")
    read = sum(one.operation in ("get", "list", "create") and one.good for one in observed.exchanges)
    return confirmed(counted(read, "answer")) if read else not_seen("no record was read")


def times_have_a_zone(observed: Observations) -> Verdict:
    """Judge whether times are ISO 8601 with a time zone."""
    seen = 0
    for one, inner in _objects(observed, "get", "list", "create"):
        for name in ("created_at", "updated_at"):
            value = inner.get(name)
            if value is None:
                continue
            seen += 1
            if not _has_zone(value):
                return denied(f"{one.method} {one.path}: {name} is {form_of(value)}")
    return confirmed(counted(seen, "time")) if seen else not_seen("no time was shown")


def _has_zone(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def password_once(observed: Observations) -> Verdict:
    """Judge whether the answer to the create has the root password, and no other one."""
    created = observed.done("create", "create")
    if created is None or created.server is None:
        return not_seen("the answer to the create did not show the server")
    if created.server.password is None:
        return denied("the answer to the create has none")
    if any(step.server.password for step in observed.steps if step.call == "get" and step.server):
        return denied("later reads have it, too")
    return confirmed("only the answer to the create has it")
