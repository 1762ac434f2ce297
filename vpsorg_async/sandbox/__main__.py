"""`python -m vpsorg_async.sandbox`: run a sandbox until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from .box import DIALECTS, ORDERS, Sandbox
from .errors import SandboxError
from .machines import MachineSettings

BOOT: Final = "5:20"


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


def serve(
    *,
    servers: int = 0,
    as_json: bool = False,
    boot: str = BOOT,
    no_boot: bool = False,
    ports: str | None = None,
    authorized_keys: Path | None = None,
    dialect: str = "documented",
    **settings: Any,
) -> None:
    """Run a sandbox with the settings of `Sandbox` until Ctrl-C or SIGTERM, and print its address.

    Args:
        servers: The number of active servers at the start.
        as_json: Print one line of JSON instead.
        boot: The boot time, as a number or as `low:high`.
        no_boot: Let no server listen.
        ports: The ports of servers, such as `ssh=2222,http=8080`.
        authorized_keys: A file of SSH keys that log in to every server.
        dialect: The dialect of the API.
        settings: Further settings of `Sandbox`.

    Raises:
        SandboxError: A setting is invalid, or a port is in use.
    """
    box = Sandbox(
        boot=None if no_boot else read_range(boot),
        ports=_read_ports(ports) if ports else None,
        authorized_keys=_read_keys(authorized_keys) if authorized_keys else None,
        dialect=dialect,
        **settings,
    )
    box.world.add(servers)
    # Imports aiohttp now, because a late import would stall the running loop.
    import_module("vpsorg_async.sandbox.web_app")
    asyncio.run(_serve(box, dialect=dialect, as_json=as_json))


def read_range(text: str) -> tuple[float, float]:
    """Read a number, or a range `low:high`. Raises `SandboxError`."""
    low, _, high = text.partition(":")
    try:
        return (float(low), float(high or low))
    except ValueError:
        raise SandboxError(
            f"a boot time is a number of seconds, or a range such as {BOOT}, not {text!r}"
        ) from None


def _read_ports(text: str) -> dict[str, list[int]]:
    ports: dict[str, list[int]] = {}
    try:
        for one in text.split(","):
            service, _, port = one.partition("=")
            ports.setdefault(service, []).append(int(port))
    except ValueError:
        raise SandboxError(f"ports are given as ssh=2222,http=8080, not {text!r}") from None
    return ports


def _read_keys(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SandboxError(f"cannot read {path}: {error}") from None
    return [line for line in lines if line.strip() and not line.startswith("#")]


async def _serve(box: Sandbox, *, dialect: str, as_json: bool) -> None:
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
        said = json.dumps({"url": box.url, "token": box.token}) if as_json else _greeting(box, dialect)
        print(said, flush=True)
        await stop.wait()


def _greeting(box: Sandbox, dialect: str) -> str:
    setting = "" if dialect == "documented" else f" VPSORG_DIALECT={dialect}"
    return (
        f"VPS.org sandbox (an emulator: nothing here is real or costs money)\n"
        f"  url    {box.url}\n"
        f"  token  {box.token}\n"
        f"{_listening(box.machines) if box.machines else ''}"
        f"Try:\n"
        f"  export VPSORG_BASE_URL={box.url} VPSORG_API_TOKEN={shlex.quote(box.token)}{setting}\n"
        f'  curl -H "Authorization: Bearer {box.token}" {box.url}/api/v1/servers/\n'
        f"Press Ctrl-C to stop."
    )


def _listening(machines: MachineSettings) -> str:
    low, high = machines.boot
    ports = ", ".join(f"{service} {port}" for port, service in machines.ports)
    return f"  ports  {ports}: {low:g} to {high:g} s after active, up to {machines.max_listening} servers\n"


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
    add(
        "--boot",
        default=BOOT,
        metavar="S",
        help="seconds from active until a server answers, or a range of them (default: %(default)s)",
    )
    add(
        "--no-boot",
        action="store_true",
        help="let no server answer; their addresses are those of the API page",
    )
    add("--ports", metavar="P", help="ports of servers, as ssh=2222,http=8080 (the default)")
    add("--authorized-keys", type=Path, metavar="FILE", help="SSH keys that log in to every server")
    add("--max-listening", type=int, metavar="N", help="servers that answer at one time (default: 200)")
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
