"""The fleet calls that only the provider dialect has: another plan for servers, and snapshots."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Sequence
from typing import Unpack

import attrs

from ..actions import check_label
from ..admission import Admission
from ..config import check_seconds
from ..endpoints import Endpoints
from ..errors import ConfigurationError, OutcomeUnknownError, VpsOrgError
from ..http.session import BeforeSend
from ..lifecycle.readiness import READY_TIMEOUT, NotReady, ReadyCheck, ReadyPolicy, check_check, check_ready
from ..records import PlanOffer, Server, ServerId
from ..sizes import shows_plan
from .bulk_commands import BulkCommands
from .inputs import (
    ActOptions,
    RollingOptions,
    SnapshotOptions,
    check_ids,
    check_known,
    check_rolling,
    health_policy,
    options_of,
)
from .jobs import Call, Job, Work
from .outcomes import Report
from .resumption import Resumption
from .rolling import Health, RollingRun
from .run import Run
from .stream import finish

__all__ = ["ProviderCommands"]


class ProviderCommands(BulkCommands):
    """The calls of `Fleet` that the documented dialect refuses with `ConfigurationError`, before anything is sent."""

    async def resize(
        self,
        ids: Iterable[ServerId | Server],
        plan: ServerId | PlanOffer,
        *,
        timeout: float,
        wait: bool = True,
        **options: Unpack[ActOptions],
    ) -> Report:
        """Give all servers another plan at the same time, and wait until each is settled and shows it.

        The service may restart them; see `rolling_resize` for a few at a time. A resize whose outcome is unknown is not
        sent again.

        Args:
            ids: Ids or servers, each once.
            plan: The id of a plan, or one of ``vps.plans.list()``. What it costs more than the present ones counts for
                ``Limits(max_hourly=)``, for all servers together.
            timeout: Seconds for each server, from its command until it is active, stopped or suspended.
            wait: False returns when the commands are acknowledged.
            **options: ``on_failure``, ``on_event`` and ``journal``; see `ActOptions`.

        Returns:
            One outcome for each server, in the order given.

        Raises:
            ConfigurationError: Bad input, no such plan, or the dialect has no resize; nothing was sent.
            LimitError: A limit of the client forbids it; nothing was sent.

        Example:
            ``report = await vps.fleet.resize(ids, plan, timeout=600)``
        """
        settings = options_of("resize", timeout, options, ActOptions)
        wanted = check_ids(ids)
        offer, admission = await self._admitted(wanted, plan)
        if wait:
            check = self._resized(offer, None)
            policy = check_ready(check, READY_TIMEOUT)
            settings = attrs.evolve(settings, ready=check, ready_policy=policy)
        with contextlib.closing(admission):
            call = _resizing(admission, offer)
            run = self._launcher.acting("resize", wanted, settings, wait=wait, call=call, again=_not_again)
            return await finish(run)

    async def snapshot(
        self,
        ids: Iterable[ServerId | Server],
        *,
        timeout: float = 300.0,
        label: str | None = None,
        **options: Unpack[SnapshotOptions],
    ) -> Report:
        """Take a snapshot of all servers. When one is done cannot be seen here, as with `vps.actions.snapshot`.

        A snapshot whose answer was lost is not requested again: its outcome is `Failed` with `OutcomeUnknownError`.

        Args:
            ids: Ids or servers, each once.
            timeout: Not used for waiting: there is nothing to wait for.
            label: A name for the snapshots; None for none.
            **options: ``on_failure`` and ``on_event``; see `SnapshotOptions`.

        Returns:
            One outcome for each server, in the order given; ``how`` is ``snapshotted``.

        Raises:
            ConfigurationError: Bad input, or the dialect has no snapshots; nothing was sent.

        Example:
            ``report = await vps.fleet.snapshot(ids, label="before-upgrade")``
        """
        check_known("snapshot", options, SnapshotOptions)
        settings = options_of("snapshot", timeout, options, ActOptions)
        self._context.waiter.check()
        wanted = check_ids(ids)
        check_label(label)
        self._context.endpoints.check_command("snapshot")

        async def call(endpoints: Endpoints, server_id: ServerId, before_send: BeforeSend) -> object:
            return await endpoints.snapshot(server_id, before_send, label=label)

        jobs = [
            Job(key=key, server_id=key, command="snapshot", how="snapshotted", call=call) for key in wanted
        ]

        async def prepare(_: Resumption) -> Work:
            return Work(jobs)

        return await finish(Run(self._context, "snapshot", wanted, settings, prepare, again=_not_again))

    async def rolling_resize(
        self,
        ids: Iterable[ServerId | Server],
        plan: ServerId | PlanOffer,
        *,
        timeout: float,
        snapshot: bool | str = False,
        max_unavailable: int | float = 1,
        max_failures: int = 1,
        health: Health | None = None,
        **options: Unpack[RollingOptions],
    ) -> Report:
        """Give the servers another plan a few at a time, if asked with a snapshot of each first.

        A server is available again once it is active, shows the plan, and passes ``health``. All else is as in
        `rolling_reboot`.

        Args:
            ids: Ids or servers, each once; or ``report.remaining`` of an earlier call, which is continued.
            plan: As in `resize`.
            timeout: Seconds for each server, from its resize until it is active.
            snapshot: True, or a label, requests a snapshot right before each resize, and resizes no server whose
                snapshot fails. When a snapshot is done cannot be seen here.
            max_unavailable: As in `rolling_reboot`, as are ``max_failures`` and ``health``.
            **options: See `RollingOptions`.

        Returns:
            One outcome for each server, in the order given.

        Raises:
            ConfigurationError: Bad input, no such plan, or the dialect has no resize; nothing was sent.
            LimitError: A limit of the client forbids it; nothing was sent.

        Example:
            ``report = await vps.fleet.rolling_resize(ids, plan, timeout=600, snapshot="before-resize")``
        """
        self._context.waiter.check()
        wanted, resumption = check_rolling("resize", ids, options)
        _check_rolling(snapshot, health, options)
        offer, admission = await self._admitted(wanted, plan)
        with contextlib.closing(admission):
            run = RollingRun(
                self._context,
                "resize",
                wanted,
                max_unavailable=max_unavailable,
                max_failures=max_failures,
                canary=options.get("canary", 1),
                timeout=check_seconds(timeout, "timeout"),
                health=self._resized(offer, health),
                health_policy=_patience(options),
                on_event=options.get("on_event"),
                record=self._recording("resize", wanted, options),
                resumption=resumption,
                must_resume=options.get("resume", False),
                call=_resizing(admission, offer),
                first=_snapshotting(snapshot),
            )
            return await finish(run)

    async def _admitted(
        self, ids: Sequence[ServerId], plan: ServerId | PlanOffer
    ) -> tuple[PlanOffer, Admission]:
        endpoints = self._context.endpoints.begin()
        return await self._context.admissions.admit_resizes(endpoints, ids, plan)

    def _resized(self, offer: PlanOffer, health: ReadyCheck | None) -> ReadyCheck:
        """Return a check that passes once a server shows its plan, and passes another check."""
        endpoints = self._context.endpoints

        async def resized(server: Server) -> bool:
            # rows of lists do not show the size of a plan
            shown = await endpoints.begin().get(server.id)
            if shows_plan(shown, offer) is False:
                raise NotReady("it shows another plan than the one that it was given")
            said = True if health is None else health(shown)
            return bool(await said) if inspect.isawaitable(said) else bool(said)

        return resized


def _patience(options: RollingOptions) -> ReadyPolicy:
    """Return how the check is repeated: where nothing is said, longer than reads lag behind."""
    policy = health_policy(options)
    if any(
        name in options for name in ("health_retries", "health_timeout", "health_interval", "ready_timeout")
    ):
        return policy
    return ReadyPolicy(warm_up=policy.warm_up, timeout=READY_TIMEOUT)


def _check_rolling(snapshot: object, health: object, options: RollingOptions) -> None:
    """Raise `ConfigurationError` for a snapshot that is neither a bool nor a label, no check, and unknown options."""
    check_known("rolling_resize", options, RollingOptions)
    if health is not None:
        check_check(health, "health")
    if not isinstance(snapshot, bool | str):
        raise ConfigurationError(f"snapshot is True, False or a label, not {snapshot!r}")
    if isinstance(snapshot, str):
        check_label(snapshot)


def _snapshotting(snapshot: bool | str) -> Call | None:
    """Return a function that requests the snapshot of a server before its resize; None if there is none."""
    if snapshot is False:
        return None
    label = snapshot if isinstance(snapshot, str) else None

    async def call(endpoints: Endpoints, server_id: ServerId, before_send: BeforeSend) -> object:
        try:
            return await endpoints.snapshot(server_id, before_send, label=label)
        except OutcomeUnknownError as error:
            # it must not be taken for that of the resize, which the next call would not send then
            raise VpsOrgError(f"server {server_id} was not resized: {error}") from error

    return call


def _resizing(admission: Admission, offer: PlanOffer) -> Call:
    """Return a function that resizes a server."""

    async def call(endpoints: Endpoints, server_id: ServerId, before_send: BeforeSend) -> object:
        return await admission.resize(server_id, endpoints.resize(server_id, before_send, offer=offer))

    return call


async def _not_again(report: Report) -> Report:
    raise ConfigurationError(
        f"a {report.operation} is not tried again as it was: see what its servers show, then pass those that need it"
    )
