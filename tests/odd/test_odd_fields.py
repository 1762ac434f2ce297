"""Identity is strict, description is lenient: an odd field is None and reported once, and hides nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.fleet.virtual_account import virtual
from tests.odd.service import NOT_FOUND, Reply, connected, listing, reply, row, spec
from vpsorg_async import Plan, errors
from vpsorg_async.http.events import AnswerMisfit

ODD: dict[str, Any] = {
    "hostname": {"hostname": 5},
    "ip_address": {"ip_address": ["203.0.113.9"]},
    "location": {"location": {"name": "us-west"}},
    "plan": {"plan": "standard"},
    "plan.memory": {"plan": {"id": 1, "name": "s", "memory": 0.5}},
    "os.id": {"os": {"id": {}, "name": "Debian"}},
    "backups_enabled": {"backups_enabled": "yes"},
    "created_at": {"created_at": "yesterday"},
    "updated_at": {"updated_at": 5},
    "resource_usage": {"resource_usage": []},
}


def served(*rows: dict[str, Any]) -> Any:
    def api(method: str, path: str, _: Any) -> Reply:
        if path.endswith("servers/"):
            return reply(200, listing(*rows))
        found = [r for r in rows if path.endswith(f"/{r['id']}/")]
        return reply(200, found[0]) if found else NOT_FOUND

    return api


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_field_is_none(odd: dict[str, Any]) -> None:
    """Lists, reads, polls and creates give the server without the field, its other fields whole."""

    @virtual
    async def play() -> None:
        rows = [row(1, "a"), row(2, "b") | odd, row(3, "c")]
        seen: list[Any] = []
        async with connected(served(*rows), on_event=seen.append) as (_, vps):
            for _ in range(3):
                assert [server.name for server in await vps.servers.list()] == ["a", "b", "c"]
            server = await vps.servers.get(2)
            (field,) = odd
            kept = {"hostname": "b.example.com", "ip_address": "203.0.113.9", "location": "us-west"}
            for name, value in kept.items():
                assert getattr(server, name) == (None if name == field else value)
            async for outcome in vps.wait_until_all([1, 2, 3], "active", timeout=30):
                assert outcome.error is None
            misfits = [event.problem for event in seen if isinstance(event, AnswerMisfit)]
            assert len(misfits) == len(set(misfits))
            assert {problem.partition(":")[0].partition("]")[2] for problem in misfits} <= {
                f".{field}",
                *(f".{field}.{inner}" for inner in ("memory", "id")),
                "",
            }

    play()


@virtual
async def test_only_the_part_of_a_plan_that_does_not_fit_is_lost() -> None:
    """The reported path names the inner field, and the rest of the plan is there."""
    odd = row(1, "a") | {"plan": {"id": 1, "name": "nano", "memory": 0.5, "vcpus": 1}}
    async with connected(served(odd)) as (_, vps):
        assert (await vps.servers.get(1)).plan == Plan(id=1, name="nano", vcpus=1)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02T03:04:05+00:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("", None),
    ],
)
@pytest.mark.parametrize("dialect", ["documented", "provider"])
def test_times_without_a_zone_or_a_time_are_utc(text: str, meant: datetime | None, dialect: str) -> None:
    """Date-only and naive timestamps are read as UTC; an invalid time is None."""

    @virtual
    async def play() -> None:
        odd = row(1, "a", created_at=text, updated_at=text)
        if dialect == "provider":
            odd = {"uuid": "1", "hostname": "a", "status": "active", "created_at": text, "updated_at": text}
        async with connected(
            lambda _, path, __: reply(200, [odd] if "servers/1" not in path else odd), dialect=dialect
        ) as (_, vps):
            for server in (await vps.servers.get("1"), (await vps.servers.list())[0]):
                assert (server.created_at, server.updated_at) == (meant, meant)

    play()


@pytest.mark.parametrize("dialect", ["documented", "provider"])
def test_the_id_of_a_created_server_reaches_the_caller(dialect: str) -> None:
    """A create whose response has an odd descriptive field returns its server."""

    @virtual
    async def play() -> None:
        new = {"uuid": "u-4711", "hostname": "web-1", "plan_name": 7} if dialect == "provider" else {}
        body = row(4711, "web-1", "provisioning", plan={"id": 1, "memory": 0.5}) | new
        place: Any = {"location": 1} if dialect == "provider" else {}
        async with connected(lambda *_: reply(201, body), dialect=dialect) as (_, vps):
            assert (await vps.servers.create(spec(**place))).id in (4711, "u-4711")

    play()


@virtual
async def test_strict_clients_raise() -> None:
    """With ``strict=True`` any field that does not fit raises `DecodeError`, with its path."""
    async with connected(served(row(1, "a"), row(2, "b") | ODD["plan.memory"]), strict=True) as (_, vps):
        with pytest.raises(errors.DecodeError) as raised:
            await vps.servers.list()
        assert raised.value.problems[0].startswith("$.results[1].plan.memory:")
        with pytest.raises(errors.DecodeError):
            await vps.servers.get(2)


UNREADABLE: dict[str, Any] = {
    "no id": {"id": None},
    "an odd id": {"id": 1.5},
    "no name": {"name": None},
    "an odd name": {"name": 7},
    "no status": {"status": None},
    "an odd status": {"status": ["active"]},
}


@pytest.mark.parametrize("odd", UNREADABLE.values(), ids=UNREADABLE)
def test_a_row_that_can_not_be_read_hides_no_other(odd: dict[str, Any]) -> None:
    """The row is left out of the list and reported once; the others are listed, waited for and found."""

    @virtual
    async def play() -> None:
        rows = [row(1, "a"), row(2, "b") | odd, row(3, "c")]
        seen: list[Any] = []
        async with connected(served(*rows), on_event=seen.append, max_interval=1.0) as (_, vps):
            for _ in range(3):
                assert [server.name for server in await vps.servers.list()] == ["a", "c"]
            async for outcome in vps.wait_until_all([1, 3], "active", timeout=30):
                assert outcome.error is None
            left_out = [event for event in seen if isinstance(event, AnswerMisfit) and event.row]
            assert len(left_out) == 1

    play()


@virtual
async def test_a_search_finds_beside_an_odd_row() -> None:
    """A create whose response was lost is found, whatever the other rows contain."""
    rows = [row(1, "a") | {"id": None}, row(2, "b") | {"plan": 5}]

    def api(method: str, path: str, asked: Any) -> Reply | None:
        if method == "POST":
            rows.append(row(9, asked["name"]))
            return None
        if not path.endswith("servers/"):
            return reply(200, rows[-1])
        return reply(200, rows[1:] if len(rows) == 2 else rows)

    async with connected(api) as (_, vps):
        report = await vps.fleet.create([spec()], timeout=60)
        assert [outcome.how for outcome in report.succeeded] == ["adopted"]


HOSTILE: dict[str, bytes] = {
    "empty rows": b"[" + b"{}," * 400_000 + b"{}]",
    "empty rows in an envelope": b'{"results":[' + b"{}," * 400_000 + b"{}]}",
    "numbers": b"[" + b"1," * 400_000 + b"1]",
    "lists": b"[" + b"[]," * 400_000 + b"[]]",
    "rows without an id": b"[" + b'{"status":"active"},' * 50_000 + b'{"status":"active"}]',
    "a good row first": json.dumps([row(1, "a")])[:-1].encode() + b",{}" * 400_000 + b"]",
    "depth": b"[" * 400_000,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_list_is_given_up_early(body: bytes) -> None:
    """A body that is no list of servers is an error that names few problems, for lists and polls alike."""

    @virtual
    async def play() -> None:
        def api(method: str, path: str, _: Any) -> Reply:
            return (
                reply(200, body)
                if path.endswith("servers/")
                else reply(200, row(int(path.split("/")[-2]), "a"))
            )

        async with connected(api) as (_, vps):
            with pytest.raises(errors.DecodeError) as raised:
                await vps.servers.list()
            assert len(raised.value.problems) <= 10
            outcomes = [outcome async for outcome in vps.wait_until_all([1, 2], "active", timeout=30)]
            assert [outcome.error for outcome in outcomes] == [None, None]

    play()


@virtual
async def test_the_other_dialect_is_named_by_its_own_marks_alone() -> None:
    """A misfit in a documented answer is no sign of the provider dialect; its ``uuid`` is."""
    async with connected(lambda *_: reply(200, row(1, "a") | {"status": None})) as (_, vps):
        with pytest.raises(errors.DecodeError) as raised:
            await vps.servers.get(1)
        assert "provider" not in str(raised.value)
    async with connected(lambda *_: reply(200, [{"uuid": "u-1", "hostname": "a", "status": "active"}])) as (
        _,
        vps,
    ):
        with pytest.raises(errors.DecodeError, match="VPSORG_DIALECT=provider"):
            await vps.servers.list()
