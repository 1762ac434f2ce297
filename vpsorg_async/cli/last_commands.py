"""The last command on each server, as the journal has it: what `vpsorg wait` waits for.

======================================================  =======================================================
the receipt in the journal                              what it does to a wait
======================================================  =======================================================
of a command that may still be in progress              the wait ends on what this command has done, not on a
                                                        status from before it
older than `OLDEST`: by then it is done, or never is    dropped; the wait takes any status
of a command after which the server has settled         dropped, as above: something later has happened to it
elsewhere, by its own time stamps
of another server that had the id: this one was         dropped, as above
created after the command
of a server that does not exist any more                the wait ends with that, and the receipt is dropped
======================================================  =======================================================

A receipt is also dropped once a wait has seen its command done. That of a create stays: it takes no wait longer, and
says whose the name is while lists lag.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from ..client import Client
from ..errors import ServerGoneError, VpsOrgError
from ..journal import Journal
from ..lifecycle.calls import WaitOutcome
from ..lifecycle.commands import COMMANDS, GONE, SETTLED
from ..lifecycle.contract import Target
from ..lifecycle.receipts import Receipt
from ..lifecycle.staleness import as_utc, earlier
from ..records import Server, ServerId
from ..specs import id_text, same_id
from ..timing import SystemClock

__all__ = ["APART", "OLDEST", "is_another", "is_over", "last_commands", "note_outcome"]

OLDEST = timedelta(hours=1)
"""The age from which on a command is not waited for: it is much longer than any command takes, and than reads lag."""
APART = timedelta(minutes=1)
"""The difference between this machine's clock and the provider's that is not mistaken for an order of events."""


async def last_commands(
    vps: Client, journal: Journal | None, ids: Collection[ServerId]
) -> Mapping[ServerId, Receipt]:
    """Return the receipts of the commands that a wait for these servers takes into account; drops those that are over.

    Reads the account once if there are any.
    """
    receipts = {} if journal is None else await journal.receipts(ids)
    if journal is None or not receipts:
        return {}
    servers: Collection[Server] = ()
    with contextlib.suppress(VpsOrgError):  # the wait itself shows why
        servers = (await vps.listing()).servers
    known = {id_text(server.id): server for server in servers}
    now = SystemClock().wall()
    for server_id, receipt in list(receipts.items()):
        if is_over(receipt, known.get(id_text(server_id)), now):
            await journal.fulfilled(server_id, receipt)
            del receipts[server_id]
    return receipts


def is_over(receipt: Receipt, server: Server | None, now: datetime) -> bool:
    """Return whether there is nothing left of a command that a wait could be for. Pure.

    Args:
        receipt: The receipt of the command.
        server: The server as it was read last; None where it is not known.
        now: The time of day.
    """
    sent = receipt.acknowledged_at
    if now - sent > OLDEST or is_another(receipt, server):
        return True
    if server is None or server.updated_at is None or receipt.updated_before is None:
        return False
    elsewhere = server.status in SETTLED and server.status not in _target(receipt).statuses
    # a read that lags shows the time stamp from before the command
    return (
        elsewhere
        and earlier(receipt.updated_before, server.updated_at)
        and as_utc(server.updated_at) > sent + APART
    )


def _target(receipt: Receipt) -> Target:
    """Return what the command of a receipt leads to."""
    return Target.of(COMMANDS[receipt.operation].target)


def is_another(receipt: Receipt, server: Server | None) -> bool:
    """Return whether the server was created after the command. Ids begin again where a sandbox was restarted. Pure."""
    if server is None or server.created_at is None:
        return False
    return as_utc(server.created_at) > receipt.acknowledged_at + APART


async def note_outcome(journal: Journal | None, receipt: Receipt | None, outcome: WaitOutcome) -> None:
    """Drop a receipt whose command a wait has seen done, and what is known of a server that does not exist."""
    if journal is None:
        return
    if isinstance(outcome.error, ServerGoneError):
        await journal.forget([outcome.server_id])
    elif receipt is not None and outcome.server is not None and same_id(receipt.server_id, outcome.server.id):
        if outcome.server.status == GONE:
            await journal.forget([outcome.server_id])
        elif receipt.operation != "create" and outcome.server.status in _target(receipt).statuses:
            await journal.fulfilled(outcome.server_id, receipt)
