"""Lists in pages, while servers appear and vanish between them: the provider's dialect, both orders."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from tests.dialects.speech import Speech, gets
from tests.io.raw_server import Line, RawServer, answer
from tests.lifecycle.harness import virtual
from vpsorg_async import Client, errors
from vpsorg_async.http.events import RequestAnswered, RequestSent
from vpsorg_async.http.retry import RetryPolicy
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults

orders = pytest.mark.parametrize("order", ["oldest", "newest"])


@attrs.define
class Churn:
    """Changes the account each time a page was answered, as long as it is let."""

    change: Callable[[], None] = lambda: None
    times: float = 0
    pages: int = 0

    def __call__(self, event: Any) -> None:
        if isinstance(event, RequestAnswered) and event.operation == "list":
            self.pages += 1
            if self.pages <= self.times:
                self.change()


class Spares:
    """Servers that come and go beside those that a test is about."""

    def __init__(self, box: Sandbox, count: int) -> None:
        self.box = box
        self.left = [server.id for server in box.world.add(count, name="spare")]
        self.made = 0

    def come(self) -> None:
        self.made += 1
        self.box.world.add(name=f"new-{self.made}")

    def go(self) -> None:
        self.box.world.vanish(self.left.pop(0))

    def go_last(self) -> None:
        self.box.world.vanish(self.left.pop())

    def both(self) -> None:
        self.come()
        self.go()
        self.go()

    def swap(self) -> None:
        self.come()
        self.go()

    def shrink(self) -> None:
        for _ in range(30):
            self.go_last()


CHANGES = ["come", "go", "both", "shrink"]
UNSEEN = "swap"
"""What no page tells: one comes as another one goes. A list can lack a server then; a wait asks for it by its id."""


@orders
@virtual
async def test_a_quiet_list_is_whole(provider: Speech, order: str) -> None:
    """Three pages of at most a hundred, each asked for once: every server, once."""
    async with provider.account(order=order) as (box, vps):
        box.world.add(250)

        servers = await vps.servers.list()

        assert len(servers) == 250
        assert {server.id for server in servers} == {server.id for server in box.servers}
        queries = sorted(entry.query for entry in box.requests)
        assert queries == [f"page={page}&page_size=100" for page in (1, 2, 3)]


@pytest.mark.parametrize(("servers", "requests"), [(0, 1), (1, 1), (100, 1), (101, 2), (1000, 10)])
@virtual
async def test_what_a_poll_costs(provider: Speech, servers: int, requests: int) -> None:
    """A request for each hundred: a thousand servers are ten."""
    async with provider.account() as (box, vps):
        box.world.add(servers)

        assert len(await vps.servers.list()) == servers
        assert gets(box) == requests


@virtual
async def test_pages_are_fetched_side_by_side(provider: Speech) -> None:
    """Once the first page has the count, all other requests leave before one of them is answered."""
    events: list[str] = []

    def note(event: Any) -> None:
        if isinstance(event, RequestSent | RequestAnswered):
            events.append(type(event).__name__)

    async with provider.account(options={"on_event": note}) as (box, vps):
        box.world.add(1000)
        await vps.servers.list()

    sent, back = "RequestSent", "RequestAnswered"
    assert events == [sent, back, *[sent] * 9, *[back] * 9]


@virtual
async def test_the_schedule_knows_the_price(provider: Speech) -> None:
    """Where few of a thousand are waited for, each is read by its id: a list would be ten requests."""
    async with provider.account(durations=Durations(rebooting=30)) as (box, vps):
        there = [server.id for server in box.world.add(1000)]

        many = await vps.fleet.reboot(there[:100], timeout=600)
        lists, singles = gets(box), len(box.requests) - gets(box) - 100
        few = await vps.fleet.reboot(there[100:105], timeout=600)

        assert [len(report.succeeded) for report in (many, few)] == [100, 5]
        assert (lists > 10, lists % 10, singles) == (True, 0, 0)
        assert gets(box) == lists


@orders
@pytest.mark.parametrize("change", CHANGES)
@virtual
async def test_a_list_that_shifts_while_it_is_read(provider: Speech, order: str, change: str) -> None:
    """Who is there all the time is in the list, once; who never was is not."""
    churn = Churn(times=4)
    async with provider.account(order=order, options={"on_event": churn}) as (box, vps):
        spares = Spares(box, 130)
        steady = {server.id for server in box.world.add(150, name="web")}
        ever = {server.id for server in box.servers}
        churn.change = getattr(spares, change)

        shown = [server.id for server in await vps.servers.list()]

        ever |= {server.id for server in box.servers}
        assert len(shown) == len(set(shown))
        assert steady <= set(shown) <= ever
        if churn.pages > 4:
            # the last pass was quiet
            assert set(shown) == {server.id for server in box.servers}


@orders
@pytest.mark.parametrize("change", ["come", "go", "both"])
@virtual
async def test_a_list_that_never_comes_to_rest(
    provider: Speech, order: str, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After some passes the known servers are returned, with a warning: a gone server rather than a hidden one."""
    churn = Churn(times=1000)
    async with provider.account(order=order, options={"on_event": churn}) as (box, vps):
        spares = Spares(box, 130)
        steady = {server.id for server in box.world.add(150, name="web")}
        churn.change = getattr(spares, change)

        shown = {server.id for server in await vps.servers.list()}

        assert steady <= shown
        assert churn.pages <= 3 * 4
        assert [record.levelname for record in caplog.records] == ["WARNING"]


@orders
@pytest.mark.parametrize("change", ["come", "both", "shrink", UNSEEN])
@virtual
async def test_no_wait_loses_or_invents_a_server(provider: Speech, order: str, change: str) -> None:
    """Each of 250 waits ends as its server does, whatever comes and goes between the pages of every poll."""
    churn = Churn(times=40)
    durations = Durations(provisioning=(20, 40))
    async with provider.account(order=order, durations=durations, options={"on_event": churn}) as (box, vps):
        spares = Spares(box, 130 if change != "shrink" else 1230)
        watched = [server.id for server in box.world.add(250, name="web", status="provisioning")]
        doomed = set(watched[40:60])
        churn.change = getattr(spares, change)
        wait = vps.wait_until_all(watched, "active", timeout=900)
        await vps.servers.list()
        for server_id in doomed:
            box.world.vanish(server_id)

        outcomes = {outcome.server_id: outcome async for outcome in wait}

        assert outcomes.keys() == set(watched)
        failed = {key: type(outcome.error) for key, outcome in outcomes.items() if outcome.error is not None}
        assert failed == dict.fromkeys(doomed, errors.ServerGoneError)
        for key, outcome in outcomes.items():
            assert outcome.error is not None or outcome.server.id == key  # type: ignore[union-attr]
        assert churn.pages > 4


@orders
@virtual
async def test_a_fleet_in_an_account_that_moves(provider: Speech, order: str) -> None:
    """Many created, with lost answers, rebooted and deleted while others come and go: one outcome each, no double."""
    churn = Churn(times=100)
    lost = Rule("create", faults.DropAfter(), every=10)
    durations = Durations(provisioning=(20, 40))
    options = {"on_event": churn}
    async with provider.account(lost, order=order, durations=durations, options=options) as (box, vps):
        spares = Spares(box, 250)
        churn.change = spares.both if order == "oldest" else spares.come
        specs = provider.specs(60)

        made = await vps.fleet.create(specs, timeout=900)
        ids = [server.id for server in made.servers]
        back = await vps.fleet.reboot(ids, timeout=600)
        gone = await vps.fleet.delete(ids, timeout=600)

        assert [len(report.succeeded) for report in (made, back, gone)] == [60] * 3
        assert {outcome.how for outcome in made.succeeded} == {"created", "adopted"}
        for operation in ("create", "reboot", "delete"):
            assert sum(change.operation == operation for change in box.ledger) == 60
        assert not [server for server in box.servers if server.name.startswith("web")]


@virtual
async def test_a_page_that_fails(provider: Speech) -> None:
    """A page that can't be read fails the list with its error, and the other pages are cancelled."""
    rule = Rule("list", faults.Reply(503), nth=4)
    options = {"retry": RetryPolicy(attempts=1), "max_in_flight": 2}
    async with provider.account(rule, options=options) as (box, vps):
        box.world.add(1000)
        with pytest.raises(errors.ServiceError):
            await vps.servers.list()
        before = gets(box)
        await asyncio.sleep(60)

        # the two that were in flight may arrive
        assert gets(box) <= before + 2 < 10


@virtual
async def test_a_refused_token_between_pages(provider: Speech) -> None:
    """What is no mere shift is not taken for one."""
    async with provider.account(Rule("list", faults.Reply(401), nth=2)) as (box, vps):
        box.world.add(250)
        with pytest.raises(errors.AuthenticationError):
            await vps.servers.list()


@virtual
async def test_a_list_that_is_cancelled(provider: Speech) -> None:
    """No page is asked for any more."""
    async with provider.account(Rule("list", faults.NeverAnswer(), nth=3)) as (box, vps):
        box.world.add(300)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await vps.servers.list()
        before = gets(box)
        await asyncio.sleep(120)
        assert gets(box) == before


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [
        {"uuid": f"u{number}", "hostname": f"h{number}", "status": "active"} for number in range(first, last)
    ]


def paged(size: int, total: int, **more: Any) -> Callable[[Line], Any]:
    """A script that shows pages of its own size, whatever is asked for."""
    turn = iter(range(1, 100))

    async def script(line: Line) -> None:
        page = next(turn)
        shown = rows((page - 1) * size, min(page * size, total))
        line.send(answer(200, json.dumps({"count": total, "results": shown, **more}).encode()))

    return script


async def test_pages_shorter_than_asked_for() -> None:
    """A service that shows fewer rows than asked for is read to its end all the same."""
    async with (
        RawServer(paged(20, 90)) as server,
        Client("vps_x", base_url=server.url, dialect="provider", max_in_flight=1) as vps,
    ):
        assert len(await vps.servers.list()) == 90
        assert len(server.requests) == 5


@pytest.mark.parametrize("count", [10**9, 10**18, 2**70])
async def test_a_count_without_end(count: int) -> None:
    """A count beyond any sense is an answer that does not fit, not a request for each of its pages."""
    body = json.dumps({"count": count, "results": rows(0, 100)}).encode()

    async def script(line: Line) -> None:
        line.send(answer(200, body))

    async with RawServer(script) as server, Client("vps_x", base_url=server.url, dialect="provider") as vps:
        with pytest.raises(errors.DecodeError):
            await vps.servers.list()
        assert len(server.requests) == 1


async def test_a_list_without_a_count_is_followed() -> None:
    """If only ``next`` announces more, the link is followed on the client's own origin."""
    turns = iter([("/api/v1/servers/?page=2", rows(0, 100)), (None, rows(100, 130))])

    async def script(line: Line) -> None:
        link, shown = next(turns)
        line.send(answer(200, json.dumps({"next": link, "results": shown}).encode()))

    async with RawServer(script) as server, Client("vps_x", base_url=server.url, dialect="provider") as vps:
        assert len(await vps.servers.list()) == 130
