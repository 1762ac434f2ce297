"""`vpsorg ssh`: log in to a server by its name, as soon as its SSH server answers, with the SSH of this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import attrs
from cyclopts import Parameter

from ..client import Client
from ..config import check_seconds
from ..errors import ConfigurationError, UnexpectedStatusError
from ..lifecycle.commands import COMMANDS, SETTLED
from ..lifecycle.readiness import NotReady
from ..records import Server, ServerId
from .ages import seconds_text
from .chart import ACTIVE
from .host_entries import address_of
from .inventory_command import ACCESS, AccessOptions
from .inventory_formats import Access
from .journal_options import JOURNAL, JournalFile, JournalOptions
from .last_commands import last_commands, note_outcome
from .output import OUTPUT, printable
from .server_names import read, resolve_one
from .settings import ACCOUNT, Account
from .signals import check
from .stdio import emit, note
from .time_options import Seconds

__all__ = ["arguments", "ssh"]

SSH_PORT = 22
ANSWER = 5.0
"""Seconds in which an address has to send its banner."""
SOON = 1.0
"""Seconds of waiting that are not worth a note, and between two notes."""


def ssh(
    server: Annotated[str, Parameter(help="Name or id of the server.")],
    /,
    *command: Annotated[
        str, Parameter(help="Command to execute, instead of a shell, after --.", allow_leading_hyphen=True)
    ],
    login: AccessOptions = ACCESS,
    ssh_option: Annotated[
        tuple[str, ...],
        Parameter(
            name=("--ssh-option", "-o"),
            help="Option of ssh, such as StrictHostKeyChecking=accept-new; can be repeated.",
            show_default=False,
        ),
    ] = (),
    timeout: Annotated[
        Seconds, Parameter(help="Maximum time until the server is active, and from then until SSH answers.")
    ] = 300.0,
    record: JournalOptions = JOURNAL,
    account: Account = ACCOUNT,
) -> int:
    """Log in to a server, or execute a command on it, as soon as it is active and its SSH server answers.

    This runs the ssh of this machine, which asks for unknown host keys as always, and ends with its exit code. The user
    is root unless --user says otherwise.
    """
    program = shutil.which("ssh")
    if program is None:
        raise ConfigurationError("there is no ssh on PATH: install the client of OpenSSH. Nothing was sent")
    user, _, name = server.rpartition("@")
    access = (attrs.evolve(login, user=user) if user else login).access("root")
    check_seconds(timeout, "--timeout")
    read(name)
    settings = account.settings()
    file = record.file(settings)
    server_id = resolve_one(settings, name, OUTPUT)
    address = settings.run(
        lambda vps: _answering(vps, server_id, name, access.port or SSH_PORT, timeout, file)
    )
    _become(program, arguments(access, ssh_option, address, command))


async def _answering(
    vps: Client, server_id: ServerId, name: str, port: int, timeout: float, file: JournalFile
) -> str:
    """Wait until the server is active after the last command on it, and return the address where its SSH answers."""
    from ..ready import ssh as ssh_check
    from ..ready.ports import ssh_address

    answered: list[str] = []
    reasons: list[str] = []

    async def call(server: Server) -> bool:
        try:
            answered[:] = [await ssh_address(server, port, ANSWER)]
        except NotReady as no:
            reasons[:] = [str(no)]
            raise
        return True

    async def tell() -> None:
        said = ""
        while True:
            await asyncio.sleep(SOON)
            word = reasons[0] if reasons else f"it is {vps.last_status(server_id) or 'not seen yet'}"
            if word != said:
                note(printable(f"waiting for the SSH of {name}, at most {seconds_text(timeout)}: {word}"))
            said = word

    telling = asyncio.create_task(tell())
    try:
        async with file.opened(new=False) as journal:
            receipt = (await last_commands(vps, journal, [server_id])).get(server_id)
            found = await vps.servers.get(server_id)
            leads_here = receipt is not None and COMMANDS[receipt.operation].target == ACTIVE
            if found.status in SETTLED - {ACTIVE} and not leads_here:
                raise UnexpectedStatusError(
                    f"{name} is {found.status}; to start it: vpsorg servers start {name}",
                    server_id=server_id,
                    last_seen=found,
                )
            async for outcome in vps.wait_until_all(
                [receipt or server_id],
                "active",
                timeout=timeout,
                ready=attrs.evolve(ssh_check(port, timeout=ANSWER), call=call),
                ready_timeout=timeout,
            ):
                await note_outcome(journal, receipt, outcome)
                if outcome.error is not None:
                    raise outcome.error
    finally:
        telling.cancel()
    return answered[0]


def arguments(access: Access, options: Sequence[str], address: str, command: Sequence[str]) -> list[str]:
    """Return the arguments of ssh. Pure.

    The address comes from the service: raises `ConfigurationError` for anything that is no IP address.
    """
    host = address_of(address)
    if not host:
        raise ConfigurationError(f"the address of the server is none that can be given to ssh: {address!a}")
    given = {"-l": access.user, "-p": access.port, "-i": access.key}
    words = [word for flag, value in given.items() if value is not None for word in (flag, str(value))]
    words += [word for option in options for word in ("-o", option)]
    # after the address, ssh reads options once more
    return [*words, host, *(["--"] if command and command[0].startswith("-") else []), *command]


def _become(program: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by a program: the terminal, the signals and the exit code are those of the program."""
    emit("")
    sys.stderr.flush()
    check()
    # Python ignores it, and a program inherits that
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execv(program, [program, *arguments])
    except OSError as error:
        raise ConfigurationError(f"{program} can't be executed: {error.strerror or error}") from None
