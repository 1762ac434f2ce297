"""Forms of the same fact: addresses, links to the next page, words for a status."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fleet.virtual_account import virtual
from tests.odd.service import NOT_FOUND, Reply, connected, listing, reply, row, spec
from vpsorg_async import errors

# -- addresses --------------------------------------------------------------------------------------------------------

V4, V6 = "203.0.113.9", "2001:db8::9"
ADDRESSES: list[tuple[dict[str, Any], str | None, str | None]] = [
    ({"ip_addresses": [{"ip": V4, "version": 4}, {"ip": V6, "version": 6}]}, V4, V6),
    ({"ip_addresses": [{"ip": V6, "version": 6}, {"ip": V4, "version": 4}]}, V4, V6),
    ({"ip_addresses": [{"ip": V6, "version": 6}]}, None, V6),
    ({"ip_addresses": [{"ip": V4}]}, V4, None),
    ({"ip_addresses": [V4, V6]}, V4, V6),
    ({"ipv4_addresses": [{"ip": V4}], "ipv6_addresses": [{"ip": V6, "version": 6}]}, V4, V6),
    ({"ipv4_addresses": V4, "ipv6_addresses": V6}, V4, V6),
    ({"ipv6_addresses": [f"{V6}/64"]}, None, V6),
    ({"ip_address": V6}, None, V6),
    ({"ipv4": V4}, V4, None),
    ({"ip_addresses": [{}, None, 5, {"ip": None}]}, None, None),
    ({"ip_addresses": None}, None, None),
]


@pytest.mark.parametrize(("told", "v4", "v6"), ADDRESSES)
def test_addresses_of_the_provider_dialect(told: dict[str, Any], v4: str | None, v6: str | None) -> None:
    """Texts, lists, and objects with ip and version; each address by its own family."""

    @virtual
    async def play() -> None:
        body = {"uuid": "u-1", "hostname": "a", "status": "active"} | told
        async with connected(lambda *_: reply(200, body), dialect="provider") as (_, vps):
            server = await vps.servers.get("u-1")
            assert (server.ip_address, server.ipv6_address) == (v4, v6)

    play()


# -- links ------------------------------------------------------------------------------------------------------------

LINKS = [
    "https://127.0.0.1:{port}/api/v1/servers/?page=2",
    "https://127.0.0.1/api/v1/servers/?page=2",
    "http://inner-host:8080/api/v1/servers/?page=2",
    "http://inner-host/another/prefix/api/v1/servers/?page=2",
    "http://inner-host:8000/servers/?page=2",
    "//inner-host/api/v1/servers/?page=2",
    "/api/v1/servers/?page=2",
    "?page=2",
]


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("base", ["", "/vps/outer"])
def test_a_next_link_is_taken_by_path_and_query(link: str, base: str) -> None:
    """Whatever scheme, host and prefix a service behind a proxy writes: the page is read on the client's own origin."""

    @virtual
    async def play() -> None:
        def api(method: str, path: str, _: Any) -> Reply:
            assert path.startswith(f"{base}/api/v1/servers/")
            if "page=2" in path:
                return reply(200, listing(row(2, "b"), count=2, next=None))
            return reply(200, listing(row(1, "a"), count=2, next=link.format(port=8443)))

        async with connected(api) as (service, _), connected(api) as (_, _):
            from vpsorg_async import Client
            from vpsorg_async.virtual_time import LoopClock

            async with Client("t", base_url=service.url + base, clock=LoopClock()) as vps:
                assert [server.name for server in await vps.servers.list()] == ["a", "b"]

    play()


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/",
        "https://evil.example/login?next=/api/v1/servers/",
        "/api/v1/../../admin/",
        "/api/v1/%2e%2e/%2e%2e/admin/",
        "/other/?page=2",
        "https://[::1",
        "javascript:alert(1)",
    ],
)
def test_a_link_outside_of_the_api_is_not_followed(link: str) -> None:
    """The list is incomplete, its rows are listed, and nothing else is requested."""

    @virtual
    async def play() -> None:
        async with connected(lambda *_: reply(200, listing(row(1, "a"), next=link))) as (service, vps):
            assert [server.name for server in await vps.servers.list()] == ["a"]
            with pytest.raises(errors.DecodeError, match="incomplete"):
                await vps.fleet.create([spec()], timeout=60)
            assert {path for _, path in service.requests} == {"/api/v1/servers/"}

    play()


# -- words ------------------------------------------------------------------------------------------------------------

GONE = {"status_words": {"deleted": "gone", "terminated": "gone"}}


@pytest.mark.parametrize("word", ["deleted", "terminated"])
@pytest.mark.parametrize("in_list", [False, True])
def test_a_soft_deleted_server_is_gone(word: str, in_list: bool) -> None:
    """Words mapped to `gone` end a wait for that, are no server to adopt, and are reported by `watch`."""

    @virtual
    async def play() -> None:
        deleted = False
        rows: list[dict[str, Any]] = [row(1, "web-1")]

        def api(method: str, path: str, asked: Any) -> Reply:
            nonlocal deleted
            if method == "DELETE":
                deleted = True
                rows[0]["status"] = word
                return reply(204)
            if method == "POST":
                rows.append(row(2, asked["name"]))
                return reply(201, rows[-1])
            if path.endswith("servers/"):
                return reply(200, listing(*(r for r in rows if in_list or r["status"] != word)))
            found = [r for r in rows if path.endswith(f"/{r['id']}/")]
            return reply(200, found[0]) if found else NOT_FOUND

        async with connected(api, **GONE) as (_, vps):
            changes = []
            watching = vps.watch(interval=5)
            changes.append((await anext(watching)).change)
            report = await vps.fleet.delete([1], timeout=60)
            assert len(report.succeeded) == 1
            changes.append((await anext(watching)).change)
            await watching.aclose()
            assert changes == ["present", "gone"]
            with pytest.raises(errors.ServerGoneError):
                await vps.wait_until(1, "active", timeout=60)
            assert (await vps.servers.get(1)).status == "gone"
            report = await vps.fleet.ensure([spec()], timeout=60)
            assert [outcome.server and outcome.server.id for outcome in report.succeeded] == [2]

    play()


@virtual
async def test_a_filter_by_a_known_word_asks_for_the_services_own() -> None:
    """With ``status_words`` requests use the service's words; with several for one, the filter is applied locally."""
    rows = [row(1, "a", "running"), row(2, "b", "off"), row(3, "c", "halted"), row(4, "d", "provisioning")]

    def api(method: str, path: str, _: Any) -> Reply:
        word = path.partition("status=")[2]
        return reply(200, listing(*(r for r in rows if word in ("", r["status"]))))

    words = {"running": "active", "off": "stopped", "halted": "stopped"}
    async with connected(api, status_words=words) as (service, vps):
        for asked, names in (
            ("active", "a"),
            ("running", "a"),
            ("stopped", "bc"),
            ("off", "b"),
            ("provisioning", "d"),
        ):
            shown = "".join(server.name for server in await vps.servers.list(status=asked))
            assert (asked, shown) == (asked, names)
        assert [path.partition("?")[2] for _, path in service.requests] == [
            "status=running", "status=running", "", "status=off", "status=provisioning",
        ]  # fmt: skip
