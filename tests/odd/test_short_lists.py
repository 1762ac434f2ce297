"""A list that is known to lack servers proves no absence: no server is created, deleted by name or gone by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fleet.virtual_account import virtual
from tests.odd.service import NOT_FOUND, Reply, connected, listing, reply, row, specs
from vpsorg_async import errors
from vpsorg_async.http.events import ListIncomplete

ROWS = [row(n, f"web-{n}") for n in (1, 2, 3)]


def uuid_row(number: int, **more: Any) -> dict[str, Any]:
    return {"uuid": f"u-{number}", "hostname": f"web-{number}", "status": "active"} | more


def by_count(path: str) -> Any:
    return listing(*ROWS[:2], count=3)


def ignoring_the_page(path: str) -> Any:
    rows = [uuid_row(n) for n in (1, 2)]
    return {"count": 3, "next": None, "results": rows}


def stopping_short(path: str) -> Any:
    page = int(parse_qs(urlsplit(path).query).get("page", ["1"])[0])
    return {"count": 150, "next": None, "results": [uuid_row(n) for n in range(1, 101)] if page == 1 else []}


def without_an_end(path: str) -> Any:
    page = int(parse_qs(urlsplit(path).query).get("page", ["1"])[0])
    if page > 1:
        return None
    return {"count": 150, "next": "?page=2", "results": [uuid_row(n) for n in range(1, 101)]}


def an_unreadable_row(path: str) -> Any:
    return {"results": [*ROWS[:2], row(3, "web-3") | {"id": None}]}


def an_unreadable_name(path: str) -> Any:
    return [*ROWS[:2], row(3, "web-3") | {"name": None}]


def a_second_page_that_counts_nothing(path: str) -> Any:
    page = int(parse_qs(urlsplit(path).query).get("page", ["1"])[0])
    if page == 1:
        return {"count": 150, "next": None, "results": [uuid_row(n) for n in range(1, 101)]}
    return {"count": 0, "next": None, "results": []}


def an_odd_next(path: str) -> Any:
    return listing(*ROWS[:2], count=3, next=True)


def a_count_as_text(path: str) -> Any:
    return listing(*ROWS[:2], count="3")


def a_count_that_is_none(path: str) -> Any:
    return listing(*ROWS[:2], count={"total": 3})


def a_loop(path: str) -> Any:
    return listing(*ROWS[:2], count=None, next="?page=2")


def a_label_beside_an_odd_name(path: str) -> Any:
    return [uuid_row(1), uuid_row(2), uuid_row(3, hostname=["web-777"], name="vps-4711")]


SHORT: dict[str, tuple[str, Callable[[str], Any]]] = {
    "its own count": ("documented", by_count),
    "a page parameter that is ignored": ("provider", ignoring_the_page),
    "pages that stop short": ("provider", stopping_short),
    "a page that is not there": ("provider", without_an_end),
    "a row without an id": ("documented", an_unreadable_row),
    "a row without a name": ("documented", an_unreadable_name),
    "a page that counts nothing": ("provider", a_second_page_that_counts_nothing),
    "a link that is none": ("documented", an_odd_next),
    "a count as text": ("documented", a_count_as_text),
    "a count that can't be read": ("documented", a_count_that_is_none),
    "a loop": ("documented", a_loop),
    "a label beside a name that can't be read": ("provider", a_label_beside_an_odd_name),
}


def account(lists: Callable[[str], Any]) -> Any:
    def api(method: str, path: str, asked: Any) -> Reply:
        if method == "POST":
            return reply(
                201, row(99, asked.get("name", "")) | {"uuid": "u-99", "hostname": asked["hostname"]}
            )
        if urlsplit(path).path.endswith("servers/"):
            body = lists(path)
            return NOT_FOUND if body is None else reply(200, body)
        number = int(urlsplit(path).path.rstrip("/").rpartition("/")[2].removeprefix("u-"))
        return reply(200, uuid_row(number, id=number, name=f"web-{number}"))

    return api


@pytest.mark.parametrize(("dialect", "lists"), SHORT.values(), ids=SHORT)
def test_nothing_is_created_on_the_word_of_a_short_list(dialect: str, lists: Callable[[str], Any]) -> None:
    """`create` and `ensure` raise `DecodeError` before any change; servers in the list are adopted all the same."""

    @virtual
    async def play() -> None:
        place: Any = {"location": 1} if dialect == "provider" else {}
        wanted = specs("web-1", "web-2", "web-777")
        if place:
            wanted = [type(spec)(name=spec.name, plan_id="p", os_id="o", **place) for spec in wanted]
        async with connected(account(lists), dialect=dialect) as (service, vps):
            for call in (
                vps.fleet.ensure(wanted, timeout=60),
                vps.fleet.ensure(wanted, dry_run=True),
                vps.fleet.create(wanted[2:], timeout=60),
                vps.fleet.create(wanted[2:], dry_run=True),
            ):
                with pytest.raises(errors.DecodeError, match="incomplete"):
                    await call
            report = await vps.fleet.ensure(wanted[:2], timeout=60)
            assert [outcome.how for outcome in report.succeeded] == ["adopted", "adopted"]
            assert service.changes == []

    play()


@pytest.mark.parametrize("whole_from", [2, 4])
def test_a_list_that_becomes_whole_in_time(whole_from: int) -> None:
    """After a few passes a list that only lagged is read completely, and the fleet continues."""

    @virtual
    async def play() -> None:
        lists = 0
        rows = list(ROWS[:2])

        def api(method: str, path: str, asked: Any) -> Reply:
            nonlocal lists
            if method == "POST":
                rows.append(row(9, asked["name"]))
                return reply(201, rows[-1])
            lists += path.endswith("servers/")
            return reply(200, listing(*rows, count=len(rows) + (lists < whole_from)))

        async with connected(api) as (_, vps):
            report = await vps.fleet.ensure(specs("web-1", "web-9"), timeout=60)
            assert len(report.succeeded) == 2

    play()


@virtual
async def test_a_short_list_is_reported_once_for_each_change() -> None:
    """A short list is reported when it begins and when it changes, not at each poll."""
    short = 1
    seen: list[Any] = []

    def api(method: str, path: str, _: Any) -> Reply:
        return reply(200, listing(row(1, "a", "provisioning"), row(2, "b", "provisioning"), count=2 + short))

    async with connected(api, on_event=seen.append, max_interval=1.0) as (service, vps):
        for more in (1, 1, 2, 0, 1):
            short = more
            async for _ in vps.wait_until_all([1, 2], "active", timeout=20):
                pass
        reasons = [event.reason for event in seen if isinstance(event, ListIncomplete)]
        assert reasons == ["it counts 3 and shows 2", "it counts 4 and shows 2", "it counts 3 and shows 2"]
        assert len(service.requests) > 50


@virtual
async def test_a_wait_goes_on_with_what_a_short_list_shows() -> None:
    """Servers in the list are waited for by it; one that it lacks is read by its id, and is not gone."""

    def api(method: str, path: str, _: Any) -> Reply:
        if path.endswith("servers/"):
            return reply(200, listing(*ROWS[:2], count=3))
        return reply(200, next(r for r in ROWS if path.endswith(f"/{r['id']}/")))

    async with connected(api) as (_, vps):
        outcomes = [outcome async for outcome in vps.wait_until_all([1, 2, 3], "active", timeout=60)]
        assert [outcome.error for outcome in outcomes] == [None] * 3


@virtual
async def test_a_lost_create_is_not_declared_missing_by_a_short_list() -> None:
    """The search ends without a server and says that the list was incomplete; another `ensure` creates nothing."""
    posts = 0

    def api(method: str, path: str, _: Any) -> Reply | None:
        nonlocal posts
        posts += method == "POST"
        return None if method == "POST" else reply(200, listing(count=1 if posts else 0))

    async with connected(api) as (service, vps):
        report = await vps.fleet.create(specs("web-1"), timeout=60, settle=5)
        (failure,) = report.failed
        assert isinstance(failure.error, errors.OutcomeUnknownError)
        assert "incomplete" in str(failure.error)
        with pytest.raises(errors.DecodeError):
            await report.retry_failed()
        assert service.count("POST") == 1


@virtual
async def test_a_server_that_is_listed_twice_hides_none() -> None:
    """Three rows of three, one server twice: the list is as long as it says, and fleets continue."""
    rows = [*ROWS[:2], ROWS[1]]

    def api(method: str, path: str, asked: Any) -> Reply:
        if method == "POST":
            return reply(201, row(9, asked["name"]))
        return reply(200, listing(*rows) if path.endswith("servers/") else row(9, "web-9"))

    async with connected(api) as (_, vps):
        assert len((await vps.fleet.create(specs("web-9"), timeout=60)).succeeded) == 1
