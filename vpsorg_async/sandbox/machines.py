"""What runs on a server, as a function of its record: when it answers, and how its cloud-init ends. Pure.

An active server boots: from `active_since` plus the boot time on it accepts connections, and cloud-init begins. In
every other status, and before that time, its ports are closed. Both durations are drawn by the seed, separately for
each boot of each server.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Final, cast

from attrs import field, frozen

from .durations import Range, as_range
from .errors import SandboxError
from .records import Server

SERVICES: Final = ("ssh", "http", "tcp")
"""What a port can speak; `tcp` accepts connections and sends nothing."""

DEFAULT_PORTS: Final[Mapping[str, int]] = {"ssh": 2222, "http": 8080}


def _ports(value: object) -> tuple[tuple[int, str], ...]:
    if not isinstance(value, Mapping) or not value:
        raise SandboxError(f"ports maps what a port speaks to its number, {DEFAULT_PORTS!r}, not {value!r}")
    found: dict[int, str] = {}
    for service, given in cast("Mapping[object, object]", value).items():
        if service not in SERVICES:
            raise SandboxError(f"a port speaks one of {', '.join(SERVICES)}, not {service!r}")
        several = isinstance(given, Iterable) and not isinstance(given, (str, bytes))
        for port in cast("Iterable[object]", given) if several else (given,):
            if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
                raise SandboxError(f"a port of a server is a number from 1 to 65535, not {port!r}")
            if port in found:
                raise SandboxError(f"port {port} is given twice")
            found[port] = str(service)
    if not found:
        raise SandboxError("ports names no port")
    return tuple(found.items())


def _lines(value: object) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else value
    if isinstance(texts, Iterable):
        lines = tuple(cast("Iterable[object]", texts))
        if all(isinstance(line, str) for line in lines):
            return cast("tuple[str, ...]", lines)
    raise SandboxError(f"authorized_keys is a public key as text, or several, not {value!r}")


@frozen(kw_only=True)
class MachineSettings:
    """The settings of `Sandbox` that its servers share, checked."""

    boot: Range = field(converter=as_range)
    cloud_init: Range = field(default=(10.0, 30.0), converter=as_range)
    ports: tuple[tuple[int, str], ...] = field(converter=_ports)
    """Each port with what it speaks."""
    ssh: bool | None = None
    authorized_keys: tuple[str, ...] = field(default=(), converter=_lines)
    max_listening: int = 200
    seed: int = 0
    speed: float = 1.0

    def __attrs_post_init__(self) -> None:
        limit: Any = self.max_listening
        if not isinstance(limit, int) or limit < 1:
            raise SandboxError(f"max_listening is a number of servers >= 1, not {limit!r}")
        if self.ssh not in (None, True, False):
            raise SandboxError(f"ssh is True, False or None, not {self.ssh!r}")
        if self.ssh and "ssh" not in dict(self.ports).values():
            raise SandboxError("ssh=True needs a port that speaks ssh")

    def draw(self, server: Server, what: str, span: Range) -> float:
        """Return a duration of the present boot, in seconds of the sandbox's clock."""
        low, high = span
        # One draw per server and boot, so that one server never changes what another one draws.
        draw = Random(f"{self.seed}/{server.number}/{what}/{server.boots}").random()
        return (low if low == high else low + (high - low) * draw) / self.speed


def machine_settings(
    boot: float | Range | None, seed: int, speed: float, **options: Any
) -> MachineSettings | None:
    """Return the settings; None if no server listens. Options that are None have their default."""
    given = {name: value for name, value in options.items() if value is not None}
    if boot is not None:
        return MachineSettings(boot=boot, seed=seed, speed=speed, **{"ports": DEFAULT_PORTS, **given})
    if given:
        raise SandboxError(f"{', '.join(given)}: only with boot=, which lets the servers listen")
    return None


@frozen
class Machine:
    """One boot of one server. All times are seconds of the sandbox's clock."""

    server: Server
    opens: float
    """The beginning of the time in which its ports are open."""
    closes: float
    """The end of that time; infinite unless the server dies."""
    settles: float
    """The end of cloud-init; infinite if it hangs."""

    @property
    def boot(self) -> int:
        """The number of the boot."""
        return self.server.boots

    def listens(self, now: float) -> bool:
        """Return whether the ports are open at `now`."""
        return self.opens <= now < self.closes

    def next_change(self, now: float) -> float:
        """Return the time after `now` at which the ports open or close; infinite if there is none."""
        return min((moment for moment in (self.opens, self.closes) if moment > now), default=math.inf)


def machine_of(server: Server, settings: MachineSettings) -> Machine | None:
    """Return what runs on a server at present; None if it is not active."""
    if server.active_since is None:
        return None
    plan = server.boot
    seconds = settings.draw(server, "boot", settings.boot) if plan.seconds is None else plan.seconds
    opens = math.inf if plan.never else server.active_since + seconds
    closes = math.inf if plan.dies_after is None else opens + plan.dies_after
    hangs = plan.cloud_init == "hangs"
    settles = math.inf if hangs else opens + settings.draw(server, "cloud-init", settings.cloud_init)
    return Machine(server, opens, closes, settles)
