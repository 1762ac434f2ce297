"""A client for code that is not async where processes end and fork: programs that run on their own."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap

import pytest

from vpsorg_async.sandbox import Sandbox


def run(program: str, box: Sandbox) -> tuple[int, str, str]:
    """The exit code, the output and the errors of a program that has a client ``vps``."""
    start = f"from vpsorg_async.sync import Client\nvps = Client({box.token!r}, base_url={box.url!r})\n"
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", start + textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    return done.returncode, done.stdout, done.stderr


ENDS = {
    "after a call": "vps.servers.list()",
    "amid an iteration": "changes = vps.watch(); next(changes)",
    "amid a run": """
        from vpsorg_async import ServerSpec
        spec = ServerSpec(name="web-1", plan_id=1, os_id=5, location="us-west")
        run = vps.fleet.creating([spec], timeout=60).__enter__()
    """,
    "after a check in a thread": """
        number = vps.servers.list()[0].id
        vps.wait_until(number, "active", timeout=60, ready=lambda server: True)
    """,
    "amid a check in a thread": """
        import threading
        number = vps.servers.list()[0].id
        threading.Thread(
            target=vps.wait_until,
            args=(number, "active"),
            kwargs={"timeout": 60, "ready": lambda server: print("checked", flush=True) or threading.Event().wait()},
            daemon=True,
        ).start()
        while not vps.statistics.waits and not vps.last_status(number):
            pass
    """,
}


@pytest.mark.parametrize("program", ENDS.values(), ids=ENDS)
def test_a_program_that_does_not_close_its_client_ends(program: str, vpsorg_sandbox: Sandbox) -> None:
    """A client that was not closed keeps no program alive, and prints nothing at its end."""
    vpsorg_sandbox.world.add()

    code, _, errors = run(program, vpsorg_sandbox)

    assert (code, errors) == (0, "")


def test_a_fork_is_noticed(vpsorg_sandbox: Sandbox) -> None:
    """A child can't use, and does not close, the client that its parent opened; it can open one that was not."""
    program = f"""
        import os, sys
        other = Client({vpsorg_sandbox.token!r}, base_url={vpsorg_sandbox.url!r})
        vps.servers.list()
        child = os.fork()
        if not child:
            try:
                vps.servers.list()
            except ValueError as error:
                print("fork" in str(error), flush=True)
            with other as own:
                print(own.servers.list(), flush=True)
            vps.close()
            sys.exit()
        print(os.waitpid(child, 0)[1], vps.servers.list(), flush=True)
        vps.close()
    """

    assert run(program, vpsorg_sandbox) == (0, "True\n()\n0 ()\n", "")


def test_an_interrupt_ends_a_program(vpsorg_sandbox: Sandbox) -> None:
    """Ctrl-C in a wait closes the client, and the program ends as others do."""
    server = vpsorg_sandbox.world.add()[0]
    vpsorg_sandbox.world.set_status(server.id, "starting", seconds=math.inf)
    program = f"""
        import os, signal, threading
        def soon():
            while not vps.statistics.waits:
                pass
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=soon).start()
        with vps:
            vps.wait_until({server.id}, "active", timeout=600)
    """

    code, _, errors = run(program, vpsorg_sandbox)

    assert code == -2
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "Unclosed" not in errors
