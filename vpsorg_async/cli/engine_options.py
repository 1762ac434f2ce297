"""Which Temporal a command uses: options, the environment, and one sentence for each way in which that fails."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import attrs
from cyclopts import Group, Parameter

from ..client import Client
from ..config import DEFAULT_BASE_URL
from ..errors import ConfigurationError, VpsOrgError
from .settings import Settings
from .signals import skip_finalization

if TYPE_CHECKING:
    from temporalio.client import Client as Engine

__all__ = ["ENGINE", "LOCAL", "DurableOptions", "EngineOptions", "engine_errors", "no_client"]

ADDRESS = "localhost:7233"
GROUP = Group("Temporal", sort_key=4)


@Parameter(name="*", group=GROUP)
@attrs.frozen(kw_only=True)
class EngineOptions:
    """The options of every command that talks to Temporal. The other settings are those of its own tools."""

    address: Annotated[
        str | None,
        Parameter(help="Temporal's HOST:PORT; TEMPORAL_ADDRESS or its profile, else localhost:7233."),
    ] = None
    namespace: Annotated[
        str | None, Parameter(help="Namespace; TEMPORAL_NAMESPACE or its profile, else default.")
    ] = None

    def target(self) -> dict[str, Any]:
        """Return where to connect to, and with which keys. Raises `ConfigurationError`."""
        if find_spec("temporalio") is None:
            raise ConfigurationError('Temporal needs an extra: pip install "vpsorg-async[cli,temporal]"')
        from temporalio.envconfig import ClientConfig

        try:
            found: dict[str, Any] = {**ClientConfig.load_client_connect_config()}
        except (RuntimeError, ValueError, OSError) as error:
            raise ConfigurationError(f"the settings of Temporal can't be read: {error}") from None
        given = {"target_host": self.address, "namespace": self.namespace}
        found |= {key: value for key, value in given.items() if value is not None}
        host, _, port = found.setdefault("target_host", ADDRESS).rpartition(":")
        if not host or not port.isdecimal():
            raise ConfigurationError(f"--address is HOST:PORT, not {found['target_host']!r}")
        return found

    async def connect(self, client: Any) -> Engine:
        """Return a client of the engine, whose workers use this function to create a client of the account.

        Raises:
            ConfigurationError: The extra is missing, or a setting is wrong.
            VpsOrgError: The engine does not answer.
        """
        target = self.target()
        from temporalio.client import Client as Engine

        from ..temporal import VpsOrgPlugin

        # the engine's client has threads that outlive it
        skip_finalization()
        plugin = client if isinstance(client, VpsOrgPlugin) else VpsOrgPlugin(client)
        try:
            return await Engine.connect(**target, plugins=[plugin])
        except RuntimeError as error:
            # the system's own words are the innermost part of a nested text
            inner = re.search('message: "([^"]+)"', str(error))
            why = inner[1] if inner else error
            raise VpsOrgError(
                f"there is no Temporal at {target['target_host']} ({why}); vpsorg worker --dev starts one"
            ) from None


ENGINE = EngineOptions()
"""The default: no option was given."""


@Parameter(name="*", group=GROUP)
@attrs.frozen(kw_only=True)
class DurableOptions(EngineOptions):
    """The options of the commands that can run as a workflow."""

    on: Annotated[
        Literal["temporal"] | None,
        Parameter(help="Let workers of Temporal do it, which outlives this command and its machine."),
    ] = None
    fleet: Annotated[
        str | None,
        Parameter(name="--id", help="Name of the fleet on Temporal: there is one run of it at a time."),
    ] = None
    task_queue: Annotated[
        str | None, Parameter(help="Task queue of the workers; that of the profile by default.")
    ] = None
    detach: Annotated[bool, Parameter(help="Return when the run has begun.", show_default=False)] = False

    def check(self, **refused: object) -> None:
        """Check that the options go together. ``refused``: options that only a run of this process has."""
        if self.on is None:
            named = {"--id": self.fleet, "--detach": self.detach, "--address": self.address}
            given = [name for name, value in named.items() if value]
            if given:
                raise ConfigurationError(f"{given[0]} goes with --on temporal")
            return
        if not self.fleet:
            raise ConfigurationError("--on temporal needs --id NAME, the name of the fleet")
        given = [f"--{name.replace('_', '-')}" for name, value in refused.items() if value]
        if given:
            raise ConfigurationError(f"{', '.join(given)} can't be given with --on temporal")
        self.target()

    def queue(self, settings: Settings) -> str:
        """Return the task queue of an account."""
        return self.task_queue or queue_of(settings)


LOCAL = DurableOptions()
"""The default: the command does it by itself."""


def queue_of(settings: Settings) -> str:
    """Return the usual task queue of a profile. Another service, such as a sandbox, has another one."""
    place = "" if settings.base_url == DEFAULT_BASE_URL else f"-{urlsplit(settings.base_url).netloc}"
    return f"vpsorg-{settings.profile}{place}"


def no_client() -> Client:
    """Stand for the account in commands that only talk to the engine."""
    raise ConfigurationError("this command has no account")


@contextlib.contextmanager
def engine_errors(fleet: str) -> Generator[None]:
    """Turn errors of the engine into those of this package."""
    from temporalio.service import RPCError, RPCStatusCode

    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise ConfigurationError(
                f"Temporal has no run of the fleet {fleet} in progress or kept"
            ) from None
        raise VpsOrgError(f"Temporal refused, or did not answer: {error.message}") from None
