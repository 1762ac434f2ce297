"""An emulator of the VPS.org servers API on real sockets, written from the API page alone.

Use `async with Sandbox() as box:` (or `with`), then a client with `box.token` and `base_url=box.url`; from a shell,
`python -m vpsorg_async.sandbox`. Behaviour that https://www.vps.org/api/v1/docs/servers/ does not document is an
assumption, and the code says so. `Sandbox(dialect="provider")` uses the other form of the API instead, that of the
packages which VPS.org publishes itself. The sandbox imports no other module of the SDK.

It can also inject faults: `faults` has lost and broken answers, gateways in front of the API, and services that store,
list or show servers in other ways than documented.
"""

from . import faults
from .box import Sandbox
from .clock import ManualClock
from .durations import Durations
from .errors import FaultError, SandboxError
from .rules import Rule

__all__ = ["Durations", "FaultError", "ManualClock", "Rule", "Sandbox", "SandboxError", "faults"]
