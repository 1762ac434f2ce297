"""`python -m vpsorg_async.sandbox`: run a sandbox until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from .box import DIALECTS, ORDERS, Sandbox
from .errors import SandboxError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sandbox, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        serve(**vars(options))
    except SandboxError as error:
        print(f"vpsorg sandbox: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output has exited; without this the interpreter would fail again when it flushes.
        sys.stdout = None
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def serve(*, servers: int = 0, as_json: bool = False, **settings: Any) -> None:
    """Run a sandbox with the settings of `Sandbox` until Ctrl-C or SIGTERM, and print its address.

    `servers`: the number of active servers at the start. Raises `SandboxError`.
    """
    box = Sandbox(**settings)
    box.world.add(servers)
    # Imports aiohttp now, because a late import would stall the running loop.
    import_module("vpsorg_async.sandbox.web_app")
    asyncio.run(_serve(box, as_json=as_json))


async def _serve(box: Sandbox, *, as_json: bool) -> None:
    async with box:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is signal.SIG_IGN:
                continue  # a background job that its shell protects from interrupts
            try:
                loop.add_signal_handler(number, stop.set)
            except NotImplementedError:
                # Windows has no such handlers; Ctrl-C arrives as KeyboardInterrupt there.
                continue
        print(json.dumps({"url": box.url, "token": box.token}) if as_json else _greeting(box), flush=True)
        await stop.wait()


def _greeting(box: Sandbox) -> str:
    return (
        f"VPS.org sandbox (an emulator: nothing here is real or costs money)\n"
        f"  url    {box.url}\n"
        f"  token  {box.token}\n"
        f"Try:\n"
        f'  curl -H "Authorization: Bearer {box.token}" {box.url}/api/v1/servers/\n'
        f"Press Ctrl-C to stop."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vpsorg_async.sandbox",
        description="An emulator of the VPS.org servers API on 127.0.0.1.",
    )
    add = parser.add_argument
    add(
        "--port",
        type=int,
        default=8080,
        help="port to listen on; 0 chooses a free port (default: %(default)s)",
    )
    add("--dialect", choices=DIALECTS, default="documented", help="dialect of the API (default: %(default)s)")
    add(
        "--order",
        choices=ORDERS,
        default="oldest",
        help="server that lists show first (default: %(default)s)",
    )
    add("--speed", type=float, default=1.0, help="divides all durations: with 60, a minute takes a second")
    add("--credit", type=int, metavar="N", help="servers that can be paid for before 402 (default: no limit)")
    add(
        "--seed", type=int, default=0, help="seed of the random numbers: repeats a run (default: %(default)s)"
    )
    add("--token", metavar="T", help="token to accept (default: random)")
    add("--latency", type=float, default=0.0, metavar="S", help="delay of each answer, in seconds")
    add("--servers", type=int, default=0, metavar="N", help="active servers at the start (default: none)")
    add(
        "--json",
        action="store_true",
        dest="as_json",
        help="print one line of JSON with url and token instead",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
