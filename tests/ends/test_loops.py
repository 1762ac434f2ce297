"""A client used on another event loop, in another thread or after a fork is refused immediately, at every entry."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from vpsorg_async import Client, ServerSpec, errors
from vpsorg_async.sandbox import Sandbox

ROOT = str(Path(__file__).parents[2])
SPEC = ServerSpec(name="web-1", plan_id=1, os_id=5, location="us-west")


@attrs.frozen
class Held:
    """The objects that a program may hold from a client on its own loop, and use elsewhere."""

    vps: Client
    number: int | str
    servers: Any
    fleet: Any
    plans: Any
    account: Any
    waits: Any
    changes: Any
    run: Any
    rolling: Any
    report: Any


async def held(vps: Client, number: int | str) -> Held:
    """Create every object that can be held."""
    report = await vps.fleet.reboot([999], timeout=5)
    assert len(report.failed) == 1
    return Held(
        vps=vps,
        number=number,
        servers=vps.servers,
        fleet=vps.fleet,
        plans=vps.plans,
        account=vps.account,
        waits=vps.wait_until_all([number], "active", timeout=5),
        changes=vps.watch(),
        run=vps.fleet.creating([SPEC], timeout=5),
        rolling=vps.fleet.rolling("reboot", [number], timeout=600.0),
        report=report,
    )


ENTRIES: dict[str, Callable[[Held], Any]] = {
    "servers": lambda h: h.vps.servers.list(),
    "servers.list": lambda h: h.servers.list(),
    "servers.get": lambda h: h.servers.get(h.number),
    "servers.create": lambda h: h.servers.create(SPEC),
    "servers.replace": lambda h: h.servers.replace(h.number, name="a", hostname="a.b", backups_enabled=True),
    "servers.update": lambda h: h.servers.update(h.number, name="a"),
    "servers.delete": lambda h: h.servers.delete(h.number),
    "servers.start": lambda h: h.servers.start(h.number),
    "servers.stop": lambda h: h.servers.stop(h.number),
    "servers.reboot": lambda h: h.servers.reboot(h.number),
    "wait_until": lambda h: h.vps.wait_until(h.number, "active", timeout=5),
    "wait_until_all": lambda h: anext(h.vps.wait_until_all([h.number], "active", timeout=5)),
    "wait_until_all, begun before": lambda h: anext(h.waits),
    "watch": lambda h: anext(h.vps.watch()),
    "watch, begun before": lambda h: anext(h.changes),
    "fleet": lambda h: h.vps.fleet.create([SPEC], timeout=5),
    "fleet.create": lambda h: h.fleet.create([SPEC], timeout=5),
    "fleet.create of nothing": lambda h: h.fleet.create([], timeout=5),
    "fleet.create, planned": lambda h: h.fleet.create([SPEC], dry_run=True),
    "fleet.creating": lambda h: h.fleet.creating([SPEC], timeout=5).__aenter__(),
    "fleet.creating, begun before": lambda h: h.run.__aenter__(),
    "fleet.ensure": lambda h: h.fleet.ensure([SPEC], timeout=5),
    "fleet.ensure, planned": lambda h: h.fleet.ensure([SPEC], dry_run=True),
    "fleet.start": lambda h: h.fleet.start([h.number], timeout=5),
    "fleet.stop": lambda h: h.fleet.stop([h.number], timeout=5),
    "fleet.reboot": lambda h: h.fleet.reboot([h.number], timeout=5),
    "fleet.reboot of nothing": lambda h: h.fleet.reboot([], timeout=5),
    "fleet.reboot, not waited for": lambda h: h.fleet.reboot([h.number], timeout=5, wait=False),
    "fleet.delete": lambda h: h.fleet.delete([h.number], timeout=5),
    "fleet.rolling_reboot": lambda h: h.fleet.rolling_reboot([h.number], timeout=600),
    "fleet.rolling, begun before": lambda h: h.rolling.__aenter__(),
    "fleet.rolling.resume": lambda h: h.rolling.resume(),
    "report.retry_failed": lambda h: h.report.retry_failed(),
    "plans": lambda h: h.vps.plans.list(),
    "plans.list": lambda h: h.plans.list(),
    "locations": lambda h: h.vps.locations.list(),
    "operating_systems": lambda h: h.vps.operating_systems.list(),
    "ssh_keys": lambda h: h.vps.ssh_keys.list(),
    "account.me": lambda h: h.account.me(),
    "receipt": lambda h: h.vps.receipt(h.number),
    "last_status": lambda h: h.vps.last_status(h.number),
    "request": lambda h: h.vps.request("GET", "/servers/"),
    "closing": lambda h: h.vps.__aexit__(None, None, None),
}


def entered(call: Callable[[Held], Any], held: Held) -> str:
    """What an entry raises in its first step: an immediate refusal needs no other."""
    try:
        given = call(held)
        if inspect.isawaitable(given):
            steps = given.__await__()
            next(steps)
            steps.close()
            return "it waits for something"
        return f"it gave {given!r}"
    except errors.ConfigurationError as refused:
        return str(refused)
    except BaseException as error:
        return f"it raised {error!r}"


async def all_entered(held: Held) -> dict[str, str]:
    """What each entry raises on the running loop, where it is not a refusal."""
    said = {name: entered(call, held) for name, call in ENTRIES.items()}
    return {name: text for name, text in said.items() if "another event loop" not in text}


async def let_go(held: Held) -> None:
    """Close the client, on its own loop."""
    await held.waits.aclose()
    await held.changes.aclose()
    assert (await held.vps.servers.get(held.number)).id == held.number
    await held.vps.__aexit__(None, None, None)


@contextlib.contextmanager
def at_home() -> Iterator[tuple[Sandbox, Held, Callable[[Coroutine[Any, Any, Any]], Any]]]:
    """A client on a loop that runs in a thread of its own; the function runs there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def there(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    try:
        with Sandbox() as box:
            (server,) = box.world.add(1)
            vps = Client(box.token, base_url=box.url)
            there(vps.__aenter__())
            kept = there(held(vps, server.id))
            yield box, kept, there
            there(let_go(kept))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_another_thread_is_refused_at_every_entry() -> None:
    """Each refusal names the client's own loop and sends nothing, and the client still works on that loop."""
    with at_home() as (box, kept, _):
        asked = len(box.requests)
        assert asyncio.run(all_entered(kept)) == {}
        assert len(box.requests) == asked


def test_a_thread_without_a_loop_is_refused() -> None:
    """A plain function in another thread is refused too, and does not touch what the loop's thread is using."""
    with at_home() as (_, kept, _):
        for name in ("receipt", "last_status", "fleet.rolling.resume", "watch, begun before"):
            assert "another event loop" in entered(ENTRIES[name], kept)


def test_another_loop_of_the_same_thread_is_refused_at_every_entry() -> None:
    """The same where one loop follows another, as in a program with several `asyncio.run` calls."""
    with Sandbox() as box, asyncio.Runner() as first, asyncio.Runner() as second:
        (server,) = box.world.add(1)
        vps = Client(box.token, base_url=box.url)
        first.run(vps.__aenter__())
        kept = first.run(held(vps, server.id))
        asked = len(box.requests)
        assert second.run(all_entered(kept)) == {}
        assert len(box.requests) == asked
        first.run(let_go(kept))


def test_what_is_in_use_is_refused_elsewhere() -> None:
    """Streams in progress on their own loop are refused elsewhere too, and continue on their own loop."""
    used: dict[str, Any] = {}

    async def begin(vps: Client, number: int | str) -> None:
        used["changes"] = vps.watch(interval=0.1)
        assert (await anext(used["changes"])).change == "present"
        used["rolling"] = vps.fleet.rolling("stop", [number], timeout=60)
        await used["rolling"].__aenter__()
        used["creating"] = vps.fleet.creating([SPEC], timeout=60)
        used["run"] = await used["creating"].__aenter__()

    async def end() -> None:
        await used["changes"].aclose()
        await used["rolling"].__aexit__(None, None, None)
        assert len(used["rolling"].report.outcomes) == 1
        await used["creating"].__aexit__(None, None, None)
        assert len(used["run"].report.outcomes) == 1

    async def elsewhere(kept: Held) -> list[str]:
        calls: list[Callable[[Held], Any]] = [
            lambda _: anext(used["changes"]),
            lambda _: anext(used["rolling"]),
            lambda _: used["rolling"].resume(),
            lambda _: used["rolling"].__aexit__(None, None, None),
            lambda _: anext(used["run"]),
            lambda _: used["run"].__aexit__(None, None, None),
        ]
        return [entered(call, kept) for call in calls]

    with at_home() as (_, kept, there):
        there(begin(kept.vps, kept.number))
        for text in asyncio.run(elsewhere(kept)):
            assert "another event loop" in text
        there(end())


FORKED = textwrap.dedent(
    """
    import asyncio, json, os, sys, traceback

    sys.path.append(sys.argv.pop(1))
    from tests.ends.test_loops import all_entered, held, let_go
    from vpsorg_async import Client

    async def main(url, token, number, where):
        vps = Client(token, base_url=url)
        await vps.__aenter__()
        kept = await held(vps, number)
        out, into = os.pipe()
        child = os.fork()
        if not child:
            try:
                if where == "the same loop":
                    said = await all_entered(kept)
                else:
                    said = asyncio.new_event_loop().run_until_complete(all_entered(kept))
                os.write(into, json.dumps(said).encode())
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        os.close(into)
        with open(out) as told:
            print(told.read())
        os.waitpid(child, 0)
        # the parent's client is as it was
        await let_go(kept)
        print("closed")

    url, token, number, where = sys.argv[1:]
    asyncio.run(main(url, token, int(number), where))
    """
)


@pytest.mark.parametrize("where", ["the same loop", "a loop of its own"])
def test_a_forked_child_is_refused_at_every_entry(where: str) -> None:
    """A forked child inherits loop, thread number and connections: it must not write on its parent's."""
    with Sandbox() as box:
        (server,) = box.world.add(1)
        command = [sys.executable, "-Wignore", "-Ic", FORKED, ROOT, box.url, box.token, str(server.id), where]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50)

        assert done.stderr == ""
        assert done.stdout.splitlines() == ["{}", "closed"]
