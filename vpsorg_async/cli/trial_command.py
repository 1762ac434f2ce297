"""`vpsorg doctor --live`: create a server, see what the service does with it, and delete it at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import attrs

from ..client import Client
from ..config import WaitPolicy
from ..doctor import LiveExamination, LiveReport, Observer, Pace, Ruling, choose, left_over, new_name
from ..errors import ConfigurationError
from ..records import PlanOffer, Server
from ..specs import ServerSpec
from .exits import Exit
from .output import Output, confirm, is_terminal
from .prices import cost
from .settings import Account, Settings
from .specs import ident
from .stdio import last_lines, note

__all__ = ["Wanted", "examine_live"]

PACE = Pace()
"""How long the trial waits; what a real service needs."""


PHASES = {
    "before": "read the account",
    "create": "create the server, and read until it is active",
    "active": "list by status, and start a server that runs",
    "update": "change its name (PATCH)",
    "replace": "change it back (PUT)",
    "stopped": "list by status, and reboot a server that is off",
    "delete": "delete it, and read until it is gone",
    "deleted": "delete it again",
}
"""What is done in each phase, where its name does not say it."""


@attrs.frozen(kw_only=True)
class Wanted:
    """The server that the user asked for; None for the cheapest."""

    plan: str | None = None
    os: str | None = None
    location: str | None = None


@attrs.frozen(kw_only=True)
class _Chosen:
    spec: ServerSpec
    offers: Sequence[PlanOffer]
    price: str
    left: Sequence[Server]


def examine_live(account: Account, wanted: Wanted, *, yes: bool, output: Output) -> int:
    """Examine the service with a server that is deleted at the end, and return the exit code.

    Raises:
        ConfigurationError: There is no terminal to confirm on, or nothing to choose a server from.
        Declined: The user has answered no.
        VpsOrgError: What has ended the examination early.
    """
    settings = account.settings()
    if not yes and not is_terminal():
        raise ConfigurationError(
            "a server is created, which costs money, and there is no terminal to confirm on: add --yes. "
            "Nothing was sent"
        )
    # words of the profile would hide those of the service
    settings = attrs.evolve(settings, status_words=None)
    chosen = settings.run(lambda vps: _choose(vps, settings, wanted))
    for server in chosen.left:
        output.note(f"left by an earlier run: {server.name}. To delete it: {_to_delete(server.id, settings)}")
    spec = chosen.spec
    confirm(
        f"Create {spec.name} (plan {spec.plan_id}, system {spec.os_id}, {spec.location}),\n"
        f"and delete it after about ten minutes?\n{chosen.price}",
        yes=yes,
    )
    return _Examined(settings, chosen, output).run()


class _Examined:
    """One run: what it prints, however it ends."""

    def __init__(self, settings: Settings, chosen: _Chosen, output: Output) -> None:
        self._settings = settings
        self._chosen = chosen
        self._output = output
        self._observer = Observer()
        self._examination: LiveExamination | None = None

    def run(self) -> int:
        """Run it, and return the exit code."""
        examination: LiveExamination = self._settings.run(
            self._work,
            last_words=self._remains,
            tracing=self._observer.options["tracing"],
            on_event=self._observer.options["on_event"],
        )
        if examination.remains:
            return Exit.UNKNOWN
        if examination.error is not None:
            raise examination.error
        denied = any(verdict.ruling is Ruling.DENIED for _, verdict in examination.report.verdicts)
        return Exit.PARTIAL if denied else Exit.OK

    async def _work(self, vps: Client) -> LiveExamination:
        visibility = self._settings.visibility
        self._examination = examination = LiveExamination(
            vps,
            self._observer,
            self._chosen.spec,
            dialect=self._settings.dialect,
            visibility=WaitPolicy().visibility if visibility is None else visibility,
            offers=self._chosen.offers,
            pace=PACE,
            on_phase=self._show_phase,
        )
        try:
            await examination.run()
        except asyncio.CancelledError:
            self._output.note("interrupted; the report is of what was seen before")
            raise
        finally:
            self._report(examination)
        return examination

    def _show_phase(self, phase: str) -> None:
        if phase == "cleanup":
            note(f"deleting {self._chosen.spec.name}: a second Ctrl-C would leave it in the account")
        else:
            self._output.note(f"{PHASES.get(phase, phase)} ...")

    def _report(self, examination: LiveExamination) -> None:
        report: LiveReport = examination.report
        document: Any = report.to_dict()
        self._output.report(document, report.lines())
        self._remains()

    def _remains(self) -> None:
        """Say at the very end which server may be left, and how to delete it."""
        examination = self._examination
        if examination is None or not examination.remains:
            return
        name, server_id = self._chosen.spec.name, examination.server_id
        known = f"{name} may exist" if server_id is None else f"{name} ({server_id}) may still exist"
        last_lines(
            f"{known}, and costs money. To delete it:",
            _to_delete(name if server_id is None else server_id, self._settings),
        )


def _to_delete(server: int | str, settings: Settings) -> str:
    return f"vpsorg servers delete {server}{settings.options}"


async def _choose(vps: Client, settings: Settings, wanted: Wanted) -> _Chosen:
    """Choose the server, and read its price."""
    servers = (await vps.listing()).servers
    offers = await vps.plans.list()
    listed = settings.dialect == "provider"
    spec = choose(
        new_name(),
        offers,
        plan=None if wanted.plan is None else ident(wanted.plan),
        os=None if wanted.os is None else ident(wanted.os),
        location=wanted.location if wanted.location is None or not listed else ident(wanted.location),
        systems=await vps.operating_systems.list() if listed and wanted.os is None else (),
        places=await vps.locations.list() if listed and wanted.location is None else (),
        servers=servers,
    )
    return _Chosen(spec=spec, offers=offers, price=await cost(vps, [spec]), left=left_over(servers))
