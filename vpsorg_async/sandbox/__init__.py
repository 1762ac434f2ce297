"""An emulator of the VPS.org servers API on real sockets, written from the API page alone.

`async with Sandbox() as box:` (or `with`), then a client at `box.url` with `box.token`; from a shell,
`python -m vpsorg_async.sandbox`. What is not documented at https://www.vps.org/api/v1/docs/servers/ is assumed, and
said to be so where it is assumed. `Sandbox(dialect="provider")` speaks the other form of the API instead, that of the
packages which VPS.org publishes itself. The sandbox imports nothing of the SDK.

It can also play what goes wrong: `faults` has lost and broken answers, gateways in front of the API, and services that
store, list or show servers in other ways than documented.
"""

from . import faults
from .box import Sandbox
from .clock import ManualClock
from .durations import Durations
from .errors import FaultError, SandboxError
from .rules import Rule

__all__ = ["Durations", "FaultError", "ManualClock", "Rule", "Sandbox", "SandboxError", "faults"]
