"""`vpsorg wait`: wait until servers reach a status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import attrs
from cyclopts import Parameter

from ..client import Client
from ..errors import AuthenticationError, ConfigurationError, WaitError
from ..journal import Journal
from ..lifecycle.calls import WaitOutcome
from ..lifecycle.commands import COMMANDS
from ..lifecycle.contract import MOVING, SETTLED, Target
from ..lifecycle.receipts import Receipt
from ..records import ServerId
from ..shielding import side_by_side
from .chart import ACTIVE, READY
from .earlier_runs import LISTED
from .exits import Exit
from .journal_options import JOURNAL, JournalFile, JournalOptions
from .last_commands import last_commands, note_outcome
from .live import Tally, showing
from .output import View, plain
from .readiness_options import READINESS, Readiness, ReadyRequest
from .reports import some, to_continue
from .server_names import Kind, NoSuchServerError, Reference, read_all, resolve
from .server_tables import WAITED, ReportRow, WaitOutput, wait_columns
from .settings import ACCOUNT, Account, Settings
from .signals import interrupted, run
from .specs import Servers
from .stdio import last_lines
from .suggestions import unknown_status
from .time_options import WaitTimeout

__all__ = ["wait"]


def wait(
    ids: Servers,
    /,
    *,
    target: Annotated[
        list[str] | None,
        Parameter(
            name="--for",
            help="A status word, settled, or gone; can be repeated. By default what the last command on a server leads "
            "to, as the journal has it, else active.",
            show_default=False,
        ),
    ] = None,
    timeout: WaitTimeout = 600.0,
    readiness: Readiness = READINESS,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
    output: WaitOutput = WAITED,
) -> int:
    """Wait until the last command on servers is done, or until they reach a status.

    After a command of this machine, such as servers reboot, the wait ends on what happened after that command. All
    waits share one poll of the account. The exit code says whether all servers reached the status.
    """
    words = _known(target or [])
    unless = "" if {*words} <= {ACTIVE} else "is checked once a server is active: leave --for out"
    request = readiness.request(unless=unless)
    given, settings = read_all(ids), account.settings()
    file = record.file(settings)
    wanted = _servers(settings, given, file, output)
    _refuse_texts(wanted, settings)
    tally = Tally("wait", wanted, timeout=timeout, ready=request)
    waits = _Waits(wanted, words, timeout, request, tally)
    reported = False

    def show_once() -> None:
        nonlocal reported
        if not reported:
            reported = True
            left = _left([key for key in wanted if key not in waits.outcomes], tally)
            ended = {**waits.outcomes, **left}
            _show([ended[key] for key in wanted if key in ended], tally, request, output)
            if left and not output.quiet:
                options = f"{file.written}{settings.options}"
                last_lines("to continue the wait:", to_continue([*left], target or (), request, options))

    async def work(vps: Client) -> None:
        async with file.opened(new=False) as journal:
            try:
                async with showing(vps, tally, quiet=output.quiet, watched=wanted):
                    await waits.run(vps, journal)
            finally:
                show_once()

    settings.run(work, on_event=tally.heard, last_words=show_once)
    errors = [outcome.error for outcome in waits.outcomes.values() if outcome.error is not None]
    if any(isinstance(error, AuthenticationError) for error in errors):
        output.note(settings.about_token)
    return Exit.of_all(errors, len(wanted))


def _servers(
    settings: Settings, given: Sequence[Reference], file: JournalFile, output: WaitOutput
) -> list[ServerId]:
    """Return the servers to wait for: also those that were created just now, and that no list shows yet."""
    try:
        return [*resolve(settings, given, output, sure=False).servers]
    except NoSuchServerError as error:
        names = error.names

        async def created() -> Mapping[str, Receipt]:
            async with file.opened(new=False) as journal:
                return {} if journal is None else await journal.created(names, within=LISTED.total_seconds())

        known = run(created())
        if not {*names} <= {*known}:
            raise
        output.note(f"not in the list yet: {some([f'{name} ({known[name].server_id})' for name in names])}")
        known_ids = {name: Reference(Kind.ID, receipt.server_id) for name, receipt in known.items()}
        rest = [known_ids.get(one.text, one) if one.kind is Kind.NAME else one for one in given]
        return [*resolve(settings, rest, output, sure=False).servers]


@attrs.define(eq=False)
class _Waits:
    """The waits of one command, each for the words, or without any for what the last command leads to."""

    wanted: Sequence[ServerId]
    words: Sequence[str]
    timeout: float
    request: ReadyRequest
    tally: Tally
    outcomes: dict[ServerId, WaitOutcome] = attrs.field(factory=dict)
    """The outcomes so far."""

    async def run(self, vps: Client, journal: Journal | None) -> None:
        """Wait for all servers. An error of one is in its outcome."""
        receipts = await last_commands(vps, journal, self.wanted)
        groups: dict[tuple[str, ...], list[ServerId]] = {}
        for server_id in self.wanted:
            groups.setdefault(self._target(receipts.get(server_id)), []).append(server_id)
        await side_by_side(self._follow(vps, journal, receipts, *group) for group in groups.items())

    def _target(self, receipt: Receipt | None) -> tuple[str, ...]:
        # what is checked is active
        if receipt is None or self.request.check is not None:
            return tuple(self.words) or (ACTIVE,)
        return tuple(self.words) or (COMMANDS[receipt.operation].target,)

    async def _follow(
        self,
        vps: Client,
        journal: Journal | None,
        receipts: Mapping[ServerId, Receipt],
        target: Sequence[str],
        ids: Sequence[ServerId],
    ) -> None:
        keys = {str(key): key for key in ids}
        check = self.request.watched(
            lambda server, reason: self.tally.checked(keys.get(str(server.id), server.id), reason)
        )
        subjects = [receipts.get(server_id, server_id) for server_id in ids]
        async for outcome in vps.wait_until_all(
            subjects,
            Target.of(target),
            timeout=self.timeout,
            ready=check,
            ready_timeout=self.request.timeout,
        ):
            key = keys.get(str(outcome.server_id), outcome.server_id)
            self.outcomes[key] = outcome
            self.tally.settled(key, _word(outcome))
            await note_outcome(journal, receipts.get(key), outcome)


def _refuse_texts(ids: Sequence[ServerId], settings: Settings) -> None:
    """Raise `ConfigurationError` if a text is given where ids are numbers: the wait would look for it in vain."""
    texts = [server_id for server_id in ids if isinstance(server_id, str)]
    if texts and settings.dialect == "documented":
        raise ConfigurationError(
            f"not an id: {some(texts)}; ids are numbers here, and vpsorg servers list shows them with the names"
        )


def _known(words: list[str]) -> list[str]:
    """Return the words of targets. Raises `ConfigurationError` if one is not known."""
    known = [*sorted(SETTLED | MOVING), "settled", "gone"]
    for word in words:
        if word not in known:
            raise ConfigurationError(f"--for: {unknown_status(word, known)}")
    return words


def _word(outcome: WaitOutcome) -> str:
    if outcome.error is not None:
        return "failed"
    return READY if outcome.stage == READY else str(outcome.server and outcome.server.status)


def _left(keys: Sequence[ServerId], tally: Tally) -> dict[ServerId, WaitOutcome]:
    """Return the outcomes of waits that a signal has interrupted; none if there was no signal."""
    if interrupted() is None:
        return {}
    return {
        key: WaitOutcome(
            server_id=key,
            error=WaitError(
                f"server {key}: the wait was interrupted; {tally.state(key)}",
                server_id=key,
                reason=tally.reason(key),
            ),
            seconds=tally.seconds,
            stage=tally.stage(key),
        )
        for key in keys
    }


def _show(outcomes: list[WaitOutcome], tally: Tally, request: ReadyRequest, output: WaitOutput) -> None:
    rows = [_waited(outcome, tally) for outcome in outcomes]
    document = [_row(outcome) for outcome in outcomes]
    view = View(
        document=document,
        rows=rows,
        place="",
        after=[row.reason for row in rows if row.reason],
        usual=wait_columns(checked=request.check is not None),
    )
    output.show_view(view if rows else attrs.evolve(view, text=()))


def _waited(outcome: WaitOutcome, tally: Tally) -> ReportRow:
    server = outcome.server or getattr(outcome.error, "last_seen", None)
    row = ReportRow(
        key=outcome.server_id,
        outcome="failed" if outcome.error is not None else "reached",
        id=outcome.server_id,
        # a wait that was interrupted has seen a status at most
        status=tally.word(outcome.server_id),
        seconds=outcome.seconds,
        reason="" if outcome.error is None else str(outcome.error),
    )
    if server is not None:
        row = attrs.evolve(row, name=server.name, status=server.status, address=server.address)
    return attrs.evolve(row, stage=READY if outcome.stage == READY else row.status)


def _row(outcome: WaitOutcome) -> dict[str, Any]:
    error = outcome.error
    return {
        "id": outcome.server_id,
        "reached": error is None,
        "seconds": round(outcome.seconds, 3),
        "stage": outcome.stage,
        "evidence": outcome.evidence,
        "timeline": [str(seen) for seen in outcome.timeline],
        "server": None if outcome.server is None else plain(outcome.server),
        "error": None if error is None else type(error).__name__,
        "message": None if error is None else str(error),
        "reason": error.reason if isinstance(error, WaitError) else "",
    }
