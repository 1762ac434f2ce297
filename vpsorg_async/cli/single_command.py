"""One command on one server, recorded in the journal, if there is one.

The server, or the name, is held until the command is done, or was acknowledged if nobody waits for it. What the user
was told does not stand in the way of the next command: only a create that may have happened is looked for, and a
command that was interrupted while it was waited for is waited for again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import attrs

from ..client import Client
from ..errors import OutcomeUnknownError, RequestError, Sent, ServerGoneError, VpsOrgError, is_absence
from ..journal import Acknowledged, Intent, Journal, JournalRun
from ..lifecycle.commands import MOVING, SETTLED
from ..lifecycle.contract import Target
from ..lifecycle.receipts import Receipt
from ..records import ActionAccepted, Server, ServerId
from ..specs import ServerSpec
from .earlier_runs import Recording, fulfil, of_command, recent, seen_done
from .output import Output, unanswered

SEARCHES = "the same command again searches for its server before it creates another one"

__all__ = ["Accepted", "acting", "creating"]

VISIBLE = Target.of([*SETTLED, *MOVING])


@attrs.frozen(kw_only=True)
class Accepted:
    """What became of a command: its answer, if it has one, and what a wait for it takes."""

    answer: ActionAccepted | Server | None
    subject: ServerId | Receipt


@contextlib.asynccontextmanager
async def acting(
    vps: Client,
    recording: Recording,
    operation: str,
    server_id: ServerId,
    output: Output,
) -> AsyncGenerator[Accepted]:
    """Send a command to a server, unless an earlier run has that was interrupted while it waited.

    Raises:
        OutcomeUnknownError: The answer was lost, or a reboot of an earlier run is in doubt. It is said once.
        ConfigurationError: Another command works on this server; nothing was sent.
        VpsOrgError: What the command raises.
    """
    async with recording.file.opened() as journal:
        run = await recording.file.begin(journal, operation, ids=[server_id])
        if journal is None or run is None:
            if recording.waited:
                await _read_before(vps, operation, server_id)
            yield Accepted(answer=await _send(vps, operation, server_id), subject=server_id)
            return
        async with _ended(run, interrupted_only=True):
            left = of_command(run.standing_commands, operation)
            if await seen_done(journal, left):
                left = {}
            try:
                accepted = await _act(vps, run, recording, operation, server_id, left.get(server_id))
                if accepted.answer is None and isinstance(accepted.subject, Receipt):
                    output.note(f"{operation}: taken up from an earlier run that ended early: not sent again")
                yield accepted
            except VpsOrgError as error:
                if is_absence(error) or isinstance(error, ServerGoneError):
                    await journal.forget([server_id])
                raise
        if recording.waited:
            await _done(journal, operation, server_id)


async def _act(
    vps: Client,
    run: JournalRun,
    recording: Recording,
    operation: str,
    server_id: ServerId,
    left: Intent | Acknowledged | None,
) -> Accepted:
    if left is not None and recent([left], recording.seconds):
        if isinstance(left, Acknowledged) and recording.waited:
            return Accepted(answer=None, subject=left.receipt)
        if isinstance(left, Intent) and operation == "reboot":
            raise OutcomeUnknownError(
                f"reboot of {server_id!r} was about to be sent at {left.at:%Y-%m-%d %H:%M:%S} UTC by a command that "
                "ended before the answer was recorded: check the server; the same command again reboots it",
                subject=server_id,
                sent_at=left.at,
            )
    await _read_before(vps, operation, server_id)  # also for a wait of another process
    await run.intend(server_id, operation)
    try:
        answer = await _send(vps, operation, server_id)
    except VpsOrgError as error:
        _withdraw(run, server_id, operation, error)
        raise
    receipt = vps.receipt(server_id)
    if receipt is not None:
        run.acknowledged(server_id, receipt)
    return Accepted(answer=answer, subject=server_id)


async def _read_before(vps: Client, operation: str, server_id: ServerId) -> None:
    """Read the server before a reboot: its record is the evidence, later, that the reboot happened."""
    if operation == "reboot":
        # why it can't be read shows at the reboot itself
        with contextlib.suppress(VpsOrgError):
            await vps.servers.get(server_id)


async def _send(vps: Client, operation: str, server_id: ServerId) -> ActionAccepted | None:
    with unanswered(f"the {operation} of {server_id}"):
        answer: ActionAccepted | None = await getattr(vps.servers, operation)(server_id)
    return answer


@contextlib.asynccontextmanager
async def creating(
    vps: Client, recording: Recording, spec: ServerSpec, timeout: float, output: Output
) -> AsyncGenerator[Accepted]:
    """Create a server, unless an earlier run has that ended early: then that server is taken up.

    Raises:
        OutcomeUnknownError: The answer was lost. The next run searches for the server first.
        ConfigurationError: Another command works on this name; nothing was sent.
        VpsOrgError: What the command raises.
    """
    async with recording.file.opened() as journal:
        run = await recording.file.begin(journal, "create", names=recording.names)
        if run is None:
            with unanswered(f"the create of {spec.name}"):
                server = await vps.servers.create(spec)
            yield Accepted(answer=server, subject=server.id)
            return
        (name,) = recording.names
        async with _ended(run):
            taken_up = await _taken_up(vps, run, recording, spec, timeout, output)
            if taken_up is not None:
                yield taken_up
                return
            await run.note_before([server.id for server in (await vps.listing()).servers])
            await run.intend(name, "create")
            try:
                with unanswered(f"the create of {spec.name}", SEARCHES):
                    server = await vps.servers.create(spec)
            except VpsOrgError as error:
                _withdraw(run, name, "create", error)
                if isinstance(error, OutcomeUnknownError):
                    output.note(SEARCHES)
                raise
            receipt = vps.receipt(server.id) or Receipt.of(server, "create")
            run.acknowledged(name, receipt)
            yield Accepted(answer=server, subject=server.id)


async def _taken_up(
    vps: Client, run: JournalRun, recording: Recording, spec: ServerSpec, timeout: float, output: Output
) -> Accepted | None:
    """Return the server that an earlier run has created; None if there is none."""
    (name,) = recording.names
    left = run.standing.get(name)
    if isinstance(left, Acknowledged):
        try:
            server = await vps.wait_until(left.receipt, VISIBLE, timeout=timeout)
        except ServerGoneError:
            return None
        receipt = left.receipt
    elif left is None:
        return None
    else:
        output.note(
            f"a create of {name}, sent at {left.at:%Y-%m-%d %H:%M:%S} UTC, is in doubt: its server is searched for up "
            f"to {recording.seconds:g} s before another create is sent"
        )
        found = await vps.fleet.find_created(spec, before=left.before, settle=recording.seconds)
        if found is None:
            return None
        server, receipt = found, Receipt.of(found, "create")
        run.acknowledged(name, receipt)
    output.note(f"{name} was created as {server.id} by an earlier run that ended early: nothing is sent")
    return Accepted(answer=server, subject=receipt)


def _withdraw(run: JournalRun, subject: ServerId, operation: str, error: VpsOrgError) -> None:
    """Remove the intent of a command that was certainly not applied."""
    if not (isinstance(error, RequestError) and error.sent is Sent.MAYBE):
        run.withdrawn(subject, operation)


@contextlib.asynccontextmanager
async def _ended(run: JournalRun, *, interrupted_only: bool = False) -> AsyncGenerator[None]:
    """End the run with the block. It is complete if the block succeeds, or fails and is not interrupted."""
    async with run:
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:
            if interrupted_only:
                await run.end(complete=True)
            raise
        await run.end(complete=True)


async def _done(journal: Journal, operation: str, server_id: ServerId) -> None:
    """Remove the receipt of a command that was seen done."""
    if operation == "delete":
        await journal.forget([server_id])
    else:
        await fulfil(journal, [server_id])
