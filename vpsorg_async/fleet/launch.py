"""How each fleet call becomes a `Run`: checks the specs, builds the jobs, sets up `Report.retry_failed`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence

import attrs

from ..errors import ConfigurationError, VpsOrgError
from ..fleet_spec import FleetSpec
from ..journal.protocol import Left, Move, next_move
from ..lifecycle.account import UNMARKED
from ..lifecycle.commands import COMMANDS
from ..lifecycle.contract import Target
from ..lifecycle.creations import Doubt
from ..lookups import Plans
from ..records import Server, ServerId
from ..replace_policy import ReplacePolicy
from ..specs import ServerSpec, name_key, same_id
from .adoption import find_created
from .convergence import Selector
from .guards import Guards
from .inputs import check_ids, no_repeats
from .intents import COMMANDS_LAST, Intents, standing_pairs
from .jobs import Call, Job, Options, RunContext, Work
from .outcomes import Failed, Report, Skipped
from .planning import FleetPlan, Step, StepKind, plan_fleet
from .replace_options import ReplaceOptions
from .resumption import Resumption
from .retry_failed import job_deleting, job_left, job_of, job_waiting, jobs_again, merged, take_up
from .run import Run
from .stream import finish
from .survey import Survey
from .swap_plans import check_standing, old_spec, swap_of, with_swaps
from .swap_run import SwapRun
from .swaps import Swap, Switch

__all__ = ["Launcher"]

_ACTIVE = Target.of("active")

Again = Callable[[Report], Awaitable[Report]]
"""What `Report.retry_failed` calls."""
Record = Callable[[], Awaitable[Intents]]
"""What opens the journal of a run."""


class Launcher:
    """Builds the runs of one client, and keeps two of them from creating the same name."""

    def __init__(self, context: RunContext, plans: Plans) -> None:
        self._context = context
        self._survey = Survey(context, plans)
        self._names = context.names

    async def create_plan(self, specs: Sequence[ServerSpec]) -> FleetPlan:
        """Return what `create` would do, with prices if they can be read."""
        survey = self._survey.begin()
        return await survey.priced((await survey.untaken(specs, Resumption()))[1])

    async def ensure_plan(self, specs: Sequence[ServerSpec]) -> FleetPlan:
        """Return what `ensure` would do, with prices if they can be read."""
        survey = self._survey.begin()
        return await survey.priced((await survey.planned(specs))[1])

    async def find_created(self, spec: ServerSpec, before: Collection[str], settle: float) -> Server | None:
        """Return the server of a create whose answer the caller does not have; see `Fleet.find_created`."""
        # its answer may have come to this client after its caller had given up
        own = await self._survey.begin().created(spec, before)
        return own or await find_created(self._context, spec, before, settle)

    async def plan(
        self,
        fleets: Sequence[FleetSpec],
        guards: Guards,
        replace: ReplaceOptions | None = None,
        journal: str | None = None,
        *,
        priced: bool,
    ) -> FleetPlan:
        """Return what has to happen for these fleets; ``priced``: with prices if they can be read."""
        if (
            replace is not None
            and replace.policy.names == "stable"
            and not self._context.endpoints.can_update
        ):
            raise ConfigurationError("names='stable' needs a PATCH, which the dialect does not have")
        standing = await standing_pairs(journal, self._context) if replace is not None else ()
        survey = self._survey.begin()
        plan = await survey.converged(fleets, guards, replace, standing)
        return await survey.priced(plan) if priced else plan

    def creating(self, wanted: Sequence[ServerSpec], options: Options, target: Target | None) -> Run:
        """Return a run that creates servers, none of whose names may exist, and waits for the target."""

        async def prepare(resumption: Resumption) -> Work:
            made, rest = self._taken_up(wanted, resumption, target)
            listed_at = self._context.clock.now()
            before, plan = await self._survey.begin().untaken(rest, resumption)
            jobs = map(job_of, plan.steps)
            # nearly always all of them wait for this target already
            return Work(
                [
                    *made,
                    *(job if job.target is target else attrs.evolve(job, target=target) for job in jobs),
                ],
                before,
                listed_at,
            )

        return self._run_of(wanted, options, "create", prepare)

    def ensuring(
        self,
        wanted: Sequence[ServerSpec],
        options: Options,
        waiting: Sequence[Job] = (),
        whole: Sequence[ServerSpec] | None = None,
    ) -> Run:
        """Return a run that adopts, starts or creates servers.

        ``waiting`` are the jobs for those that an earlier run has created. ``whole`` are the specs of the fleet that is
        complete after this run, if there are others: a journal has nothing left of them then.
        """

        async def prepare(resumption: Resumption) -> Work:
            made = {job.key: job for job in (*self._taken_up(wanted, resumption, _ACTIVE)[0], *waiting)}
            listed_at = self._context.clock.now()
            before, plan = await self._survey.begin().planned(wanted, made)
            jobs = [self._job(step, resumption, made.get(step.spec.name)) for step in plan.steps]
            return Work(jobs, before, listed_at)

        return self._run_of(wanted, options, "ensure", prepare, whole)

    def applying(
        self, plan: FleetPlan, options: Options, operation: str, switch: Switch | None = None
    ) -> Run:
        """Return a run that applies a plan, if the account still is as it was planned on when the run is entered."""
        specs = [step.spec for step in plan.steps]
        deletes = [step for step in plan.steps if step.kind is StepKind.DELETE]
        selector = Selector(plan.fleets, self._context.endpoints.key_of)

        async def prepare(resumption: Resumption) -> Work:
            check_standing(plan, selector, resumption.pairs)
            listed_at = self._context.clock.now()
            before, now = await self._survey.begin().unchanged(plan)
            leaving = self._leaving(now, resumption)
            jobs, _ = self._taken_up([*now.creates, *leaving], resumption, _ACTIVE)
            taken = {job.key for job in jobs}
            for step in now.steps:
                if step.server is not None and step.kind is StepKind.DELETE:
                    jobs.append(job_deleting(step, resumption.command(step.server.id, "delete")))
                elif step.name not in taken and step.kind is not StepKind.REPLACE:
                    jobs.append(self._job(step, resumption))
            work = Work(jobs, before, listed_at)
            if plan.policy is None:
                return work
            swaps = [self._swap(step, selector, plan.policy, resumption) for step in now.replaces]
            return with_swaps(work, swaps, now, selector, resumption.pairs)

        replaced = [old_spec(step, selector) for step in plan.replaces]
        ids = [server.id for server in (*plan.deletes, *(step.server for step in plan.replaces)) if server]
        claim = self._working_on([*specs, *replaced])
        record = self.recording(
            options.journal, operation, specs=[*specs, *replaced], ids=ids, settle=options.settle
        )
        # what was not deleted or replaced needs another plan
        rest = [step for step in plan.steps if step not in deletes and step.kind is not StepKind.REPLACE]
        again = self._ensure_again([step.spec for step in rest if not step.surplus], options)
        names, careful = [spec.name for spec in specs], attrs.evolve(options, careful_deletes=True)
        if plan.policy is None:
            return Run(
                self._context, operation, names, careful, prepare, claim=claim, record=record, again=again
            )
        return SwapRun(
            self._context,
            operation,
            names,
            careful,
            prepare,
            policy=plan.policy,
            switch=switch,
            claim=claim,
            record=record,
            again=again,
        )

    def _swap(self, step: Step, selector: Selector, policy: ReplacePolicy, resumption: Resumption) -> Swap:
        """Return what is to be done for a server that is replaced."""
        endpoints, old = self._context.endpoints, step.server
        assert old is not None
        known = [] if step.by is None else [step.by]
        (new,) = plan_fleet([step.spec], known, endpoints.key_of, self._context.waiter.heading).steps
        receipt = resumption.receipt(step.spec, endpoints.key_of(step.spec))
        made = self._taken_up([step.spec], resumption, _ACTIVE)[0] if receipt or not known else []
        job, left = (
            self._job(new, resumption, made[0] if made else None),
            resumption.command(old.id, "delete"),
        )
        doubt = endpoints.creations.doubt(endpoints.shown_name(step.spec), self._context.clock.now())
        return swap_of(step, job, left, selector, policy, in_doubt=doubt is not None)

    def acting(
        self,
        operation: str,
        ids: Iterable[ServerId | Server],
        options: Options,
        *,
        wait: bool,
        call: Call | None = None,
        again: Again | None = None,
        holds: Sequence[ServerId] | None = None,
        echo: bool = False,
    ) -> Run:
        """Return a run that sends one command to several servers, by ``call``. It ``holds`` more in its journal."""
        self._context.waiter.check()
        wanted = check_ids(ids)
        target = Target.of(COMMANDS[operation].target) if wait else None
        if operation == "delete" and options.on_failure == "stop":
            options = attrs.evolve(options, careful_deletes=True)

        async def prepare(resumption: Resumption) -> Work:
            left = [job_left(key, operation, target, resumption.command(key, operation)) for key in wanted]
            jobs = [attrs.evolve(job, call=call, echo=echo or job.echo) for job in left]
            rest = [job.server_id for job in jobs if job.command and job.server_id is not None]
            if operation == "reboot" and wait and rest:
                # what each server was before is the evidence for its reboot later; if it can't be read the evidence
                # is weaker, and the cause shows at the commands themselves
                with contextlib.suppress(VpsOrgError):
                    await self._context.waiter.poller.glance(rest)
            return Work(jobs)

        lasting = max(options.timeout, COMMANDS_LAST)
        record = self.recording(options.journal, operation, ids=holds or wanted, lasting=lasting)
        again = again or self._act_again(operation, options, target)
        return Run(self._context, operation, wanted, options, prepare, record=record, again=again)

    def recording(
        self,
        journal: str | None,
        operation: str,
        *,
        specs: Sequence[ServerSpec] = (),
        ids: Sequence[ServerId] = (),
        settle: float = 0.0,
        lasting: float = COMMANDS_LAST,
    ) -> Record | None:
        """Return what opens the journal and gets hold of the names of the specs, and of the servers; None without."""
        if journal is None:
            return None
        return functools.partial(
            Intents.begin, journal, self._context, operation, specs, ids, settle, lasting
        )

    def specs(self, specs: Iterable[ServerSpec]) -> tuple[ServerSpec, ...]:
        """Return the specs; each can be created, and has a name of its own. Raises `ConfigurationError`."""
        self._context.waiter.check()
        if isinstance(specs, str | bytes) or not isinstance(specs, Iterable):
            raise ConfigurationError("a fleet call takes several ServerSpecs: pass a list")
        wanted = tuple(specs)
        for spec in wanted:
            if not isinstance(spec, ServerSpec):
                raise ConfigurationError(f"a fleet call takes ServerSpecs, not {type(spec).__name__}")
            self._context.endpoints.check(spec)
        no_repeats([name_key(spec.name) for spec in wanted], "names")
        no_repeats([self._context.endpoints.key_of(spec) for spec in wanted], "names")
        return wanted

    def fleets(self, fleets: FleetSpec | Iterable[FleetSpec]) -> tuple[FleetSpec, ...]:
        """Return the fleets, whose servers can be created. Raises `ConfigurationError`."""
        self._context.waiter.check()
        if isinstance(fleets, FleetSpec):
            fleets = (fleets,)
        if isinstance(fleets, str | bytes) or not isinstance(fleets, Iterable):
            raise ConfigurationError("pass a FleetSpec, or a list of them")
        wanted = tuple(fleets)
        for fleet in wanted:
            if not isinstance(fleet, FleetSpec):
                raise ConfigurationError(f"pass FleetSpecs, not a {type(fleet).__name__}")
            self._context.endpoints.check(fleet.spec(fleet.first))
        return wanted

    @contextlib.contextmanager
    def _working_on(self, wanted: Sequence[ServerSpec]) -> Iterator[None]:
        """Hold these names. Raises `ConfigurationError` where another run holds one: both would create it."""
        names = {
            self._context.endpoints.key_of(spec): self._context.endpoints.shown_name(spec) for spec in wanted
        }
        busy = sorted(names[key] for key in names.keys() & self._names)
        if busy:
            raise ConfigurationError(
                f"another call of this client is creating servers of these names: {', '.join(busy)}; nothing was sent"
            )
        self._names.update(names)
        try:
            yield
        finally:
            self._names.difference_update(names)

    def _run_of(
        self,
        specs: Sequence[ServerSpec],
        options: Options,
        operation: str,
        prepare: Callable[[Resumption], Awaitable[Work]],
        whole: Sequence[ServerSpec] | None = None,
    ) -> Run:
        names = specs if whole is None else whole
        record = self.recording(options.journal, operation, specs=names, settle=options.settle)
        keys = [spec.name for spec in specs]
        again = self._ensure_again(specs, options)
        claim = self._working_on(specs)
        return Run(self._context, operation, keys, options, prepare, claim=claim, record=record, again=again)

    def _taken_up(
        self, wanted: Sequence[ServerSpec], resumption: Resumption, target: Target | None
    ) -> tuple[list[Job], Sequence[ServerSpec]]:
        """Return the jobs for the servers that an earlier run created, and the specs of the others.

        Those of them whose create is in doubt are searched for before one is sent.
        """
        endpoints, now = self._context.endpoints, self._context.clock.now()
        jobs: list[Job] = []
        rest: list[ServerSpec] = []
        for spec in wanted:
            key, name = endpoints.key_of(spec), endpoints.shown_name(spec)
            receipt, doubted = resumption.receipt(spec, key), resumption.doubted(key)
            if receipt is not None:
                jobs.append(take_up(spec, receipt, target, leaving=key in resumption.leaving))
                continue
            rest.append(spec)
            if doubted is not None and endpoints.creations.own(name, now) is None:
                doubt = Doubt(name, now, doubted.unknown(spec.name), mark=UNMARKED, settle=resumption.settle)
                endpoints.creations.doubted(doubt)
        return jobs, rest

    def _leaving(self, plan: FleetPlan, resumption: Resumption) -> list[ServerSpec]:
        """Return the specs of servers that a list still shows, and that an earlier run was about to replace."""
        key_of = self._context.endpoints.key_of
        waits = [step.spec for step in plan.steps if step.kind is StepKind.WAIT]
        return [spec for spec in waits if key_of(spec) in resumption.leaving]

    def _job(self, step: Step, resumption: Resumption, made: Job | None = None) -> Job:
        """Return the job for a step of a plan, or ``made``, which waits for the server of an earlier run.

        A server that was created just now and is not listed is waited for, too. One that was stopped since is started.
        """
        if made is not None:
            stopped = step.server if step.kind is StepKind.START else None
            return job_of(step) if stopped is not None and same_id(stopped.id, made.server_id) else made
        if step.kind is StepKind.CREATE and not step.after:
            receipt = self._survey.recent(step.spec, resumption)
            if receipt is not None and next_move(Left.RECENT, shown=False, settled=True) is Move.RESUME:
                return take_up(step.spec, receipt, _ACTIVE)
        return job_of(step)

    def _ensure_again(self, specs: Sequence[ServerSpec], options: Options) -> Again:
        by_name = {spec.name: spec for spec in specs}

        async def again(report: Report) -> Report:
            left = [
                outcome
                for outcome in report.outcomes
                if isinstance(outcome, Failed | Skipped) and outcome.key in by_name
            ]
            waiting = [
                job_waiting(outcome)
                for outcome in left
                if isinstance(outcome, Failed) and outcome.acknowledged and outcome.server_id is not None
            ]
            run = self.ensuring([by_name[str(outcome.key)] for outcome in left], options, waiting, specs)
            return merged(report, await finish(run))

        return again

    def _act_again(self, operation: str, options: Options, target: Target | None) -> Again:
        async def again(report: Report) -> Report:
            jobs = jobs_again(report, operation, target)

            async def prepare(_: Resumption) -> Work:
                return Work(jobs)

            # all of them: once these are done as well, the journal has nothing left of the others either
            record = self.recording(
                options.journal, operation, ids=[outcome.key for outcome in report.outcomes]
            )
            keys = [job.key for job in jobs]
            run = Run(self._context, operation, keys, options, prepare, record=record, again=again)
            return merged(report, await finish(run))

        return again
