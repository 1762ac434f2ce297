"""How one server boots, as data: what a test can make it do. No I/O."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

from . import checks
from .errors import FaultError

CLOUD_INIT: Final = ("done", "degraded", "error", "hangs")
"""How cloud-init can end; `hangs`: it does not."""


# Without slots, so that an action of `faults` can inherit the fields beside those of another class.
@frozen(slots=False, kw_only=True)
class BootPlan:
    """What happens after a server has become active, at each of its boots until it gets another plan.

    Args:
        seconds: The boot time, in seconds of the sandbox's clock; None draws it from the range `Sandbox(boot=...)`.
        never: The server never boots: nothing listens. Cannot be combined with the other fields.
        banner: False: the ssh port accepts connections and sends nothing.
        dies_after: This many seconds after it has booted, the server closes everything and stays `active`.
        cloud_init: How cloud-init ends: "done", "degraded", "error", or "hangs".
    """

    seconds: float | None = field(default=None, validator=checks.optional(checks.seconds))
    never: bool = field(default=False, validator=checks.boolean)
    banner: bool = field(default=True, validator=checks.boolean)
    dies_after: float | None = field(default=None, validator=checks.optional(checks.seconds))
    cloud_init: str = field(default="done", validator=checks.choice(*CLOUD_INIT))

    def __attrs_post_init__(self) -> None:
        others = (self.seconds, self.banner, self.dies_after, self.cloud_init)
        if self.never and others != (None, True, None, "done"):
            raise FaultError("never", "cannot be combined with the other settings of a boot")
