"""A 2xx whose body refuses is a failure that quotes the service; a response has to be about the requested server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fleet.virtual_account import virtual
from tests.odd.service import GATEWAY, NOT_FOUND, Reply, Service, connected, listing, reply, row, spec, specs
from vpsorg_async import Client, Failed, errors

REFUSALS: dict[str, Any] = {
    "an envelope": {"status": "error", "message": "us-west is sold out"},
    "failed": {"status": "Failed", "message": "us-west is sold out", "server": None},
    "no success": {"success": False, "message": "us-west is sold out"},
    "an error": {"error": {"code": 7, "message": "us-west is sold out"}},
    "errors": {"errors": ["us-west is sold out"]},
    "a code": {"status": 422, "detail": "us-west is sold out"},
    "a code of its own": {"code": 403, "message": "us-west is sold out"},
    "a code as text": {"code": "409", "message": "us-west is sold out"},
    "no success as text": {"success": "false", "message": "us-west is sold out"},
    "a result": {"result": "error", "message": "us-west is sold out"},
    "in data": {"data": {"success": False, "error": "us-west is sold out"}},
    "field messages": {"plan": ["us-west is sold out"]},
    "texts": ["us-west is sold out"],
    "an id of its own": {"id": "req-1", "status": "error", "message": "us-west is sold out"},
    "the server's id": {"id": 1, "success": False, "message": "us-west is sold out"},
}
EXPLANATIONS: dict[str, Any] = {
    "detail": {"detail": "us-west is sold out"},
    "message": {"message": "us-west is sold out"},
}

CALLS: dict[str, Any] = {
    "start": lambda vps: vps.servers.start(1),
    "stop": lambda vps: vps.servers.stop(1),
    "reboot": lambda vps: vps.servers.reboot(1),
    "delete": lambda vps: vps.servers.delete(1),
    "update": lambda vps: vps.servers.update(1, name="b"),
    "replace": lambda vps: vps.servers.replace(1, name="b", hostname="b.example.com", backups_enabled=True),
}


def refusing(body: Any) -> Any:
    return lambda method, path, _: reply(200, row(1, "a") if method == "GET" else body)


@pytest.mark.parametrize("body", (REFUSALS | EXPLANATIONS).values(), ids=REFUSALS | EXPLANATIONS)
def test_a_create_that_is_explained_away(body: Any) -> None:
    """The outcome is unknown, and the error's reason quotes the service's message."""

    @virtual
    async def play() -> None:
        async with connected(refusing(body)) as (service, vps):
            with pytest.raises(errors.OutcomeUnknownError, match="sold out") as raised:
                await vps.servers.create(spec())
            reason = raised.value.reason
            assert isinstance(reason, errors.APIError)
            assert "sold out" in reason.body
            assert reason.status == 200
            assert service.count("POST") == 1

    play()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("body", REFUSALS.values(), ids=REFUSALS)
def test_a_change_that_is_refused_inside(call: Any, body: Any) -> None:
    """Every other change raises `APIError` with status, body and the service's message, and leaves no receipt."""

    @virtual
    async def play() -> None:
        async with connected(refusing(body)) as (_, vps):
            with pytest.raises(errors.APIError, match="sold out") as raised:
                await call(vps)
            assert (raised.value.status, "sold out" in raised.value.body) == (200, True)
            assert vps.receipt(1) is None

    play()


@pytest.mark.parametrize("operation", ["start", "stop", "reboot", "update", "replace"])
@pytest.mark.parametrize("body", EXPLANATIONS.values(), ids=EXPLANATIONS)
def test_an_explanation_instead_of_a_server(operation: str, body: Any) -> None:
    """Where a server or the documented envelope is expected, a text alone explains why there is none."""

    @virtual
    async def play() -> None:
        async with connected(refusing(body)) as (_, vps):
            with pytest.raises(errors.APIError, match="sold out"):
                await CALLS[operation](vps)

    play()


@pytest.mark.parametrize("operation", ["start", "stop", "reboot", "delete"])
@pytest.mark.parametrize("body", REFUSALS.values(), ids=REFUSALS)
def test_the_provider_dialect_refuses_inside_as_well(operation: str, body: Any) -> None:
    """The response to a power action is undocumented, but a plain refusal is one."""

    @virtual
    async def play() -> None:
        async with connected(refusing(body), dialect="provider") as (_, vps):
            with pytest.raises(errors.APIError, match="sold out"):
                await CALLS[operation](vps)

    play()


FINE: dict[str, Any] = {
    "nothing": b"",
    "an empty object": {},
    "ok": {"status": "OK"},
    "success": {"status": "success", "message": "Server is stopping"},
    "null errors": {"status": "success", "error": None, "errors": []},
    "accepted": {"status": "accepted", "server": {"id": 1, "status": "stopping"}},
    "a code of success as text": {"code": "200"},
    "its status": {"status": "stopping"},
    "in progress": {"status": "in_progress"},
    "an action with an id of its own": {"id": 98, "action": "stop", "status": "queued"},
}


@pytest.mark.parametrize("body", FINE.values(), ids=FINE)
@pytest.mark.parametrize("dialect", ["documented", "provider"])
def test_what_is_no_refusal(body: Any, dialect: str) -> None:
    """A response without a refusal in it is accepted, in either dialect, by stop and by DELETE."""

    @virtual
    async def play() -> None:
        async with connected(refusing(body), dialect=dialect) as (_, vps):
            assert (await vps.servers.stop(1)).server_id == 1
            await vps.servers.delete(1)

    play()


@virtual
async def test_the_services_words_are_redacted() -> None:
    """A token that is echoed in a refusal is blanked."""
    body = {"status": "error", "message": "no such token vps_secret-token"}
    async with connected(refusing(body)) as (_, vps):
        for call in (CALLS["reboot"](vps), vps.servers.create(spec())):
            with pytest.raises(errors.VpsOrgError) as raised:
                await call
            reason: Any = getattr(raised.value, "reason", raised.value)
            assert "secret-token" not in f"{raised.value} {reason.body} {reason.message}"


@virtual
async def test_a_page_is_no_answer_to_a_delete() -> None:
    """An HTML page with a 2xx is a gateway's: the DELETE may or may not have been applied."""
    async with connected(refusing(GATEWAY["a page"])) as (_, vps):
        with pytest.raises(errors.OutcomeUnknownError):
            await vps.servers.delete(1)


# -- about the requested server ---------------------------------------------------------------------------------------


@virtual
async def test_a_read_about_another_server() -> None:
    """Another id in the response to a read is an error, and shows nothing to a wait."""
    async with connected(lambda *_: reply(200, row(2, "b"))) as (_, vps):
        with pytest.raises(errors.DecodeError, match="not the server that was asked for"):
            await vps.servers.get(1)
        with pytest.raises(errors.WaitTimeoutError):
            await vps.wait_until(1, "active", timeout=5)


@pytest.mark.parametrize("operation", ["start", "stop", "reboot", "update", "replace", "delete"])
def test_a_change_answered_with_another_server(operation: str) -> None:
    """The response is about another server: the outcome is unknown, unless the server itself shows it."""

    @virtual
    async def play() -> None:
        other = {"status": "success", "server": {"id": 2, "name": "b", "status": "starting"}}
        body = other if operation in ("start", "stop", "reboot") else row(2, "b")
        state = {"start": "stopped", "stop": "active"}.get(operation, "active")

        def api(method: str, path: str, _: Any) -> Reply:
            return reply(200, row(1, "a", state) if method == "GET" else body)

        async with connected(api) as (_, vps):
            with pytest.raises(errors.OutcomeUnknownError):
                await CALLS[operation](vps)
            assert vps.receipt(1) is None

    play()


@virtual
async def test_uuids_are_compared_in_any_case() -> None:
    """A service may write its ids in another case than they were given in."""
    uuid = "0B5E2F6E-8A00-4000-8000-00000000000A"
    async with connected(
        lambda *_: reply(200, {"uuid": uuid.lower(), "hostname": "a", "status": "active"}), dialect="provider"
    ) as (_, vps):
        assert (await vps.servers.get(uuid)).name == "a"


IDS: dict[str, Any] = {
    "an envelope": {"server": {"id": 4711, "name": "x"}},
    "data": {"data": {"id": 4711}},
    "a list": [{"id": 4711}],
    "server_id": {"server_id": 4711},
    "a float": {"id": 4711.0, "name": "web-1"},
    "a refusal": {"status": "error", "server": {"id": 4711}},
}


@pytest.mark.parametrize("body", IDS.values(), ids=IDS)
def test_an_id_in_any_answer_to_a_create_reaches_the_caller(body: Any) -> None:
    """An id anywhere in the response is named by the unknown outcome."""

    @virtual
    async def play() -> None:
        async with connected(lambda *_: reply(201, body)) as (_, vps):
            with pytest.raises(errors.OutcomeUnknownError) as raised:
                await vps.servers.create(spec())
            assert raised.value.candidates == (4711,)

    play()


WORDS: dict[str, Any] = {
    "a page": "<html><title>us-west is sold out</title>",
    "a text": "us-west is sold out",
    "a string": '"us-west is sold out"',
    "another form": {"code": 4003, "info": "us-west is sold out"},
    "accepted": {"status": "accepted", "message": "us-west is sold out"},
}


@pytest.mark.parametrize("body", WORDS.values(), ids=WORDS)
def test_the_reason_of_an_unknown_create_has_the_body(body: Any) -> None:
    """Whatever a 2xx has instead of a server is quoted, and is in the reason's body."""

    @virtual
    async def play() -> None:
        async with connected(lambda *_: reply(200, body)) as (_, vps):
            with pytest.raises(errors.OutcomeUnknownError, match="sold out") as raised:
                await vps.servers.create(spec())
            assert "sold out" in getattr(raised.value.reason, "body", "")

    play()


@pytest.mark.parametrize(
    "body", [{"message": "Updated."}, {"detail": "Updated."}, {"status": "updated"}, {"id": 1}]
)
def test_an_edit_is_judged_by_the_server_itself(body: Any) -> None:
    """A text after a PATCH or PUT is no refusal where the server shows the change, as far as it shows the field."""

    @virtual
    async def play() -> None:
        shown = row(1, "b") | {"hostname": "b.example.com"}
        async with connected(lambda method, *_: reply(200, shown if method == "GET" else body)) as (_, vps):
            for operation in ("update", "replace"):
                assert (await CALLS[operation](vps)).name == "b"
            assert (await vps.servers.update(1, backups_enabled=True)).id == 1

    play()


CREATES: dict[str, Any] = {
    "listed before": row(1, "web-1"),
    "another name": row(77, "db-1"),
    "no name": {"id": 77, "status": "provisioning"},
    "a name that can't be read": row(77, "x") | {"name": None},
    "a status that can't be read": row(77, "web-1") | {"status": None},
}


@pytest.mark.parametrize("body", CREATES.values(), ids=CREATES)
def test_a_create_answered_with_something_else(body: dict[str, Any]) -> None:
    """The outcome is unknown and its candidates hold the id; nothing is adopted, and a rollback deletes nothing."""

    @virtual
    async def play() -> None:
        def api(method: str, path: str, _: Any) -> Reply:
            if method == "POST":
                return reply(201, body)
            return (
                reply(200, listing(row(1, "db-9")))
                if "servers/?" in path or path.endswith("servers/")
                else NOT_FOUND
            )

        async with connected(api) as (service, vps):
            await vps.servers.list()
            with pytest.raises(errors.OutcomeUnknownError) as raised:
                await vps.servers.create(spec())
            assert raised.value.candidates == (body["id"],)
            report = await vps.fleet.create(specs("web-1", "web-2"), timeout=60, settle=2, min_count=1)
            assert all(isinstance(outcome, Failed) for outcome in report.outcomes)
            assert [outcome.error.candidates for outcome in report.failed] == [(body["id"],)] * 2  # type: ignore[attr-defined]
            assert service.count("DELETE") == 0

    play()


@virtual
async def test_one_id_given_to_two_creates() -> None:
    """With a cached response the second create does not get the first one's server, concurrently or later."""

    def api(method: str, path: str, asked: Any) -> Reply:
        return reply(201, row(5, asked["name"])) if method == "POST" else reply(200, listing())

    async with connected(api) as (_, vps):
        first, second = await asyncio.gather(
            vps.servers.create(spec("web-1")), vps.servers.create(spec("web-2")), return_exceptions=True
        )
        assert {type(first).__name__, type(second).__name__} == {"Server", "OutcomeUnknownError"}
        with pytest.raises(errors.OutcomeUnknownError):
            await vps.servers.create(spec("web-3"))


@virtual
async def test_a_poll_that_shows_a_server_before_its_create_is_answered() -> None:
    """A server that a list shows while its create is in flight is that create's."""
    rows: list[dict[str, Any]] = []

    async def api(method: str, path: str, asked: Any) -> Reply:
        if method != "POST":
            return reply(200, listing(*rows))
        rows.append(row(5, asked["name"]))
        await asyncio.sleep(3)
        return reply(201, rows[0])

    async with connected(api) as (_, vps):
        creating = asyncio.create_task(vps.servers.create(spec()))
        await asyncio.sleep(1)
        assert [server.id for server in await vps.servers.list()] == [5]
        assert (await creating).id == 5


# -- names as services store them -------------------------------------------------------------------------------------


class Account:
    """An account of the provider's form that stores names its own way."""

    def __init__(self, store: Any) -> None:
        self.rows: list[dict[str, Any]] = []
        self._store = store

    def __call__(self, method: str, path: str, asked: Any) -> Reply:
        if method == "POST":
            self.rows.append(
                {"uuid": f"u-{len(self.rows)}", "status": "active"} | self._store(asked["hostname"])
            )
            return reply(201, self.rows[-1])
        if path.partition("?")[0].endswith("servers/"):
            return reply(200, listing(*self.rows))
        return reply(200, next(r for r in self.rows if path.endswith(f"{r['uuid']}/")))


STORES: dict[str, Any] = {
    "as sent": lambda name: {"hostname": name},
    "lower case": lambda name: {"hostname": name.lower()},
    "no final dot": lambda name: {"hostname": name.rstrip(".")},
    "a label beside it": lambda name: {"hostname": name, "name": "vps-4711"},
}


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
def test_a_second_ensure_finds_what_the_first_one_made(store: Any) -> None:
    """Every comparison of names treats them as services store them."""

    @virtual
    async def play() -> None:
        account = Account(store)
        wanted = spec("Web-01", hostname="Web-01.Example.com.", location=1, plan_id="p", os_id="o")
        async with connected(account, dialect="provider") as (service, vps):
            first = await vps.fleet.ensure([wanted], timeout=60)
            second = await vps.fleet.ensure([wanted], timeout=60)
            assert [len(first.succeeded), len(second.succeeded)] == [1, 1]
            assert second.succeeded[0].differences == ()
            assert service.count("POST") == 1
            with pytest.raises(errors.ConfigurationError, match="exist already"):
                await vps.fleet.create([wanted], timeout=60)

    play()


@virtual
async def test_a_lost_create_is_found_by_the_name_that_was_stored() -> None:
    """The search for a create whose answer was lost compares names in the same way."""
    rows: list[dict[str, Any]] = []

    def api(method: str, path: str, asked: Any) -> Reply | None:
        if method == "POST":
            rows.append(row(5, asked["name"].lower()))
            return None
        if path.endswith("servers/"):
            return reply(200, listing(*rows))
        return reply(200, rows[0])

    async with connected(api) as (_, vps):
        report = await vps.fleet.create([spec("Web-1")], timeout=60)
        assert [outcome.how for outcome in report.succeeded] == ["adopted"]


@virtual
async def test_names_that_differ_in_case_alone_are_one() -> None:
    """Two specs whose names a service may store alike are refused before anything is sent."""
    async with Service(lambda *_: reply(200, listing())) as service, Client("t", base_url=service.url) as vps:
        with pytest.raises(errors.ConfigurationError, match="more than once"):
            await vps.fleet.create(specs("web-1", "WEB-1"), timeout=60)
        assert service.requests == []
