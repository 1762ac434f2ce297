"""Only a JSON object is the API's own response. Pages, texts and empty bodies are a gateway's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.fleet.virtual_account import virtual
from tests.odd.service import GATEWAY, NOT_FOUND, Reply, connected, listing, reply, row, specs
from vpsorg_async import Failed, Skipped, errors

WAITS = {"min_interval": 0.5, "max_interval": 1.0}


def is_list(path: str) -> bool:
    return path.partition("?")[0].rstrip("/").endswith("servers")


def shown(*rows: dict[str, Any]) -> Callable[[str], Reply]:
    """The response of an account with these servers to a read of that path."""

    def answer(path: str) -> Reply:
        if is_list(path):
            return reply(200, listing(*rows))
        found = [r for r in rows if path.rstrip("/").endswith(f"/{r['id']}")]
        return reply(200, found[0]) if found else NOT_FOUND

    return answer


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("body", GATEWAY.values(), ids=GATEWAY)
@pytest.mark.parametrize("count", [1, 3])
def test_a_gateways_answer_ends_no_wait(status: int, body: str, count: int) -> None:
    """A stray 403 or 404 that is no JSON object is a failed poll, of one server and of the list alike."""

    @virtual
    async def play() -> None:
        polls = 0

        def api(method: str, path: str, _: Any) -> Reply:
            nonlocal polls
            polls += 1
            word = "provisioning" if polls < 6 else "active"
            stray = polls in (2, 3)
            return (
                reply(status, body)
                if stray
                else shown(*(row(n, f"web-{n}", word) for n in range(1, 4)))(path)
            )

        async with connected(api, **WAITS) as (_, vps):
            outcomes = [o async for o in vps.wait_until_all(range(1, count + 1), "active", timeout=60)]
            assert [outcome.error for outcome in outcomes] == [None] * count

    play()


@virtual
async def test_one_404_of_the_api_is_asked_about_again_at_once() -> None:
    """A single 404 of the API between two sightings ends no wait; the second read follows without a pause."""
    polls = 0

    def api(method: str, path: str, _: Any) -> Reply:
        nonlocal polls
        polls += 1
        return NOT_FOUND if polls == 2 else reply(200, row(1, "a", "provisioning" if polls < 5 else "active"))

    async with connected(api, **WAITS) as (_, vps):
        assert (await vps.wait_until(1, "active", timeout=60)).status == "active"


@virtual
async def test_the_apis_404_ends_a_wait_when_a_second_read_repeats_it() -> None:
    """Two reads by id, no more: the server that was seen is gone."""
    polls = 0

    def api(method: str, path: str, _: Any) -> Reply:
        nonlocal polls
        polls += 1
        return reply(200, row(1, "a", "provisioning")) if polls < 3 else NOT_FOUND

    async with connected(api, **WAITS) as (service, vps):
        with pytest.raises(errors.ServerGoneError):
            await vps.wait_until(1, "active", timeout=60)
        assert len(service.requests) == 4


@virtual
async def test_the_apis_own_403_ends_a_wait() -> None:
    """The token may not read: further waiting would not help."""

    async with connected(lambda *_: reply(403, {"detail": "no scope"}), **WAITS) as (_, vps):
        with pytest.raises(errors.PermissionDeniedError) as raised:
            await vps.wait_until(1, "active", timeout=60)
        assert raised.value.from_api


@pytest.mark.parametrize(
    ("lists", "json_error", "gone"),
    [("whole", False, True), ("short", False, False), ("shows it", False, False), ("whole", True, False)],
)
def test_an_api_without_a_form_of_its_own(lists: str, json_error: bool, gone: bool) -> None:
    """Where no error ever came as JSON, a 404 through `grace` and a whole list without the server are accepted."""

    @virtual
    async def play() -> None:
        def api(method: str, path: str, _: Any) -> Reply:
            if method == "DELETE":
                return reply(204)
            if method == "POST":
                return reply(400, {"detail": "it is running"})
            if is_list(path):
                others = [row(2, "b"), *([row(1, "a")] if lists == "shows it" else [])]
                return reply(200, listing(*others, count=len(others) + (lists == "short")))
            return reply(404)

        async with connected(api, **WAITS) as (_, vps):
            if json_error:
                with pytest.raises(errors.BadRequestError):
                    await vps.servers.start(2)
            report = await vps.fleet.delete([1], timeout=40)
            assert bool(report.succeeded) == gone
            assert not gone or report.seconds >= 10

    play()


@virtual
async def test_a_404_counts_for_no_later_wait() -> None:
    """Each wait needs `grace` of its own: that a 404 came for a wait that was left proves nothing to the next one."""
    left: list[asyncio.Task[Any]] = []

    async def api(method: str, path: str, _: Any) -> Reply:
        if is_list(path):
            return reply(200, listing(row(2, "b", "provisioning")))
        if left:
            left.pop().cancel()
            await asyncio.sleep(0.1)
        return reply(404)

    async with connected(api, **WAITS) as (_, vps):
        other = asyncio.create_task(vps.wait_until(2, "active", timeout=100))
        left.append(asyncio.create_task(vps.wait_until(1, "gone", timeout=100)))
        await asyncio.wait([*left])
        await asyncio.sleep(30)
        began = asyncio.get_running_loop().time()
        await vps.wait_until(1, "gone", timeout=60)
        assert 10 <= asyncio.get_running_loop().time() - began <= 20
        other.cancel()


@virtual
async def test_a_wrong_base_path_proves_nothing() -> None:
    """Where every path is a page, no server is gone, deleted or missing."""

    async with connected(lambda *_: reply(404, GATEWAY["a page"]), **WAITS) as (service, vps):
        with pytest.raises(errors.WaitTimeoutError) as raised:
            await vps.wait_until(1, "gone", timeout=30)
        assert isinstance(raised.value.last_failure, errors.NotFoundError)
        report = await vps.fleet.delete([1], timeout=30)
        assert not report.succeeded
        with pytest.raises(errors.NotFoundError) as missing:
            await vps.servers.get(1)
        assert not missing.value.from_api
        with pytest.raises(errors.NotFoundError):
            await vps.fleet.ensure(specs("web-1"), timeout=30)
        assert service.count("POST") == 0


@pytest.mark.parametrize("body", GATEWAY.values(), ids=GATEWAY)
def test_a_repeated_delete_is_not_done_by_a_gateways_404(body: str) -> None:
    """The first attempt was lost, and a gateway responds to the next ones: the outcome is unknown."""

    @virtual
    async def play() -> None:
        deletes = 0

        def api(method: str, path: str, _: Any) -> Reply | None:
            nonlocal deletes
            if method != "DELETE":
                return shown(row(1, "a"))(path)
            deletes += 1
            return None if deletes == 1 else reply(404, body)

        async with connected(api, **WAITS) as (_, vps):
            with pytest.raises(errors.OutcomeUnknownError):
                await vps.servers.delete(1)
            report = await vps.fleet.delete([1], timeout=30)
            assert not report.succeeded

    play()


@virtual
async def test_a_repeated_delete_is_done_by_the_apis_404() -> None:
    """The API reports no such server, after an attempt that may have been applied."""
    deletes = 0

    def api(method: str, path: str, _: Any) -> Reply | None:
        nonlocal deletes
        deletes += method == "DELETE"
        return None if deletes == 1 else NOT_FOUND

    async with connected(api, **WAITS) as (_, vps):
        await vps.servers.delete(1)


@virtual
async def test_a_read_is_repeated_after_a_gateways_page() -> None:
    """A page of a gateway is a failed request, like a 502."""
    asked = 0

    def api(method: str, path: str, _: Any) -> Reply:
        nonlocal asked
        asked += 1
        return reply(404, GATEWAY["a page"]) if asked == 1 else reply(200, row(1, "a"))

    async with connected(api) as (_, vps):
        assert (await vps.servers.get(1)).name == "a"


@pytest.mark.parametrize(
    ("body", "others"), [(GATEWAY["a page"], "created"), ({"detail": "no scope"}, "kept back")]
)
def test_a_challenge_page_stops_no_other_create(body: Any, others: str) -> None:
    """The API's own 403 keeps back the creates that have not left; a gateway's fails one."""

    @virtual
    async def play() -> None:
        rows: list[dict[str, Any]] = []

        def api(method: str, path: str, asked: Any) -> Reply:
            if method != "POST":
                return shown(*rows)(path)
            if asked["name"] == "web-1":
                return reply(403, body)
            rows.append(row(len(rows) + 10, asked["name"]))
            return reply(201, rows[-1])

        async with connected(api, max_in_flight=1) as (_, vps):
            report = await vps.fleet.create(specs("web-1", "web-2", "web-3"), timeout=60)
            first, *rest = report.outcomes
            assert isinstance(first, Failed)
            assert all(isinstance(outcome, Skipped) for outcome in rest) == (others == "kept back")
            assert len(report.succeeded) == (2 if others == "created" else 0)

    play()


@virtual
async def test_watching_believes_only_the_api() -> None:
    """A server that the list lacks and a gateway's page hides is not reported gone; the API's 404 reports it."""
    lists = 0

    def api(method: str, path: str, _: Any) -> Reply:
        nonlocal lists
        if is_list(path):
            lists += 1
            return reply(200, listing(row(1, "a"), *([row(2, "b")] if lists == 1 else [])))
        return reply(404, GATEWAY["a text"]) if lists < 4 else NOT_FOUND

    async with connected(api, **WAITS) as (_, vps):
        changes = []
        async for change in vps.watch(interval=5):
            changes.append((str(change.change), change.server_id))
            if change.change == "gone":
                break
        assert changes == [("present", 1), ("present", 2), ("gone", 2)]
        assert lists >= 4


@virtual
async def test_watching_an_api_without_a_form_of_its_own() -> None:
    """Where no error ever came as JSON, a server that lists lack and reads answer by 404 is gone after `grace`."""
    deleted_at = 20.0
    now = asyncio.get_running_loop().time

    def api(method: str, path: str, _: Any) -> Reply:
        if is_list(path):
            return reply(200, listing(row(1, "a"), *([row(2, "b")] if now() < deleted_at else [])))
        return reply(404)

    async with connected(api, **WAITS) as (_, vps):
        gone = None
        async for change in vps.watch(interval=5):
            if change.change == "gone":
                gone = change.server_id
                break
        assert gone == 2
        assert deleted_at + 10 <= now() <= deleted_at + 20
