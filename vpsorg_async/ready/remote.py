"""The check of a command's exit code, over SSH (extra ``ssh``)."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

from ..config import check_seconds
from ..errors import ConfigurationError
from ..lifecycle.readiness import Check
from ..records import Server
from .addresses import MARGIN, check_port, written
from .host_keys import HostKeysFile

__all__ = ["command"]


def command(
    command: str,
    *,
    known_hosts: str | os.PathLike[str] | None = None,
    pin: bool = False,
    user: str = "root",
    key: str | os.PathLike[str] | None = None,
    ok: int | Collection[int] = (0,),
    retry: int | Collection[int] = (),
    port: int = 22,
    timeout: float = 30.0,
) -> Check:
    """Return a check that a command, executed on the server over SSH, ends with a good exit code.

    Exit codes in ``ok`` pass, those in ``retry`` are tried again, any other one is never. Tried again are also a
    connection that fails, a login that is refused (cloud-init may not have installed the key yet) and a command that
    takes longer than ``timeout``, which gets a SIGTERM. The command has no input and no terminal. Needs the extra:
    ``pip install "vpsorg-async[ssh]"``. ``~/.ssh/config`` is not read.

    The host key is never ignored. With ``pin=True``, the key that a server shows first is added to ``known_hosts``, as
    ``ssh`` does with ``StrictHostKeyChecking=accept-new``. A key that differs from the file's is never accepted;
    without ``pin``, neither is one that the file does not have.

    Args:
        command: The command, for the shell of the user: ``"cloud-init status --wait"`` is 0 once cloud-init is done, 1
            if it failed, and 2 if it is done with errors that it recovered from (which is 0 before cloud-init 23.4).
        known_hosts: The file of host keys; by default ``~/.ssh/known_hosts``.
        pin: Add the key of a server that the file does not know.
        user: The user to log in as.
        key: The file of a private key without passphrase. By default the keys of the SSH agent, and those in
            ``~/.ssh`` that have no passphrase.
        ok: The exit codes that pass.
        retry: The exit codes that are tried again.
        port: The port of the SSH server.
        timeout: Seconds for one try, from connecting to the end of the command.

    Raises:
        ConfigurationError: An argument is wrong, a file is missing, or asyncssh is not installed.

    Example::

        booted = ready.command("cloud-init status --wait", user="admin", known_hosts="hosts", pin=True, ok=(0, 2))

    Source: https://cloudinit.readthedocs.io/en/latest/explanation/failure_states.html
    """
    _check_text(command, "command")
    _check_text(user, "user")
    check_port(port)
    check_seconds(timeout, "timeout")
    passing, repeated = _exit_codes(ok, retry)
    hosts = _hosts_file(known_hosts, pin)
    private = None if key is None else _file(key, "key")
    call = _over_ssh(
        command, passing, repeated, timeout, user=user, port=port, key=private, hosts=hosts, pin=pin
    )
    unusual = {"user": (user, "root"), "port": (port, 22), "ok": (ok, (0,)), "retry": (retry, ())}
    name = written(
        "command", command, **{k: given for k, (given, usual) in unusual.items() if given != usual}
    )
    return Check(name, timeout + MARGIN, call)


def _over_ssh(
    command: str, ok: frozenset[int], retry: frozenset[int], timeout: float, **login: Any
) -> Callable[[Server], Awaitable[bool]]:
    try:
        # imported late: it is an extra, and takes longer than the rest of the package
        from .ssh_login import Login, RemoteCommand
    except ModuleNotFoundError as missing:
        if missing.name != "asyncssh":
            raise
        raise ConfigurationError('ready.command needs asyncssh: pip install "vpsorg-async[ssh]"') from None
    return RemoteCommand(Login(**login), command, ok, retry, timeout)


def _check_text(given: object, name: str) -> None:
    if not isinstance(given, str) or not given.strip() or "\0" in given:
        raise ConfigurationError(f"{name} is a text, not {given!r}")


def _exit_codes(ok: object, retry: object) -> tuple[frozenset[int], frozenset[int]]:
    passing, repeated = _codes(ok, "ok"), _codes(retry, "retry")
    if not passing:
        raise ConfigurationError("ok is an exit code or several: with none of them the check can never pass")
    if passing & repeated:
        raise ConfigurationError(f"exit codes are in ok and in retry: {sorted(passing & repeated)}")
    return passing, repeated


def _codes(given: object, name: str) -> frozenset[int]:
    codes = (given,) if isinstance(given, int) else given
    if isinstance(codes, Collection) and not isinstance(codes, str | bytes):
        listed = frozenset(codes)
        if all(type(code) is int and 0 <= code < 256 for code in listed):
            return listed
    raise ConfigurationError(f"{name} is an exit code from 0 to 255, or several, not {given!r}")


def _file(given: object, name: str) -> Path:
    path = _path(given, name)
    if not path.is_file():
        raise ConfigurationError(f"{name}: there is no file {str(path)!r}")
    return path


def _path(given: object, name: str) -> Path:
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        raise ConfigurationError(f"{name} is the path of a file, not {given!r}")
    return Path(os.fsdecode(given)).expanduser()


def _hosts_file(known_hosts: object, pin: object) -> HostKeysFile:
    if not isinstance(pin, bool):
        raise ConfigurationError(f"pin is True or False, not {pin!r}")
    if not pin:
        if known_hosts is None and not Path("~/.ssh/known_hosts").expanduser().is_file():
            raise ConfigurationError(
                "there is no ~/.ssh/known_hosts: to trust each server at its first contact, pass "
                'known_hosts="a file of your choice", pin=True'
            )
        return HostKeysFile(
            _file("~/.ssh/known_hosts" if known_hosts is None else known_hosts, "known_hosts")
        )
    if known_hosts is None:
        raise ConfigurationError("pin=True adds host keys to a file: name it with known_hosts=")
    path = _path(known_hosts, "known_hosts")
    if not path.parent.is_dir() or (path.exists() and not path.is_file()):
        raise ConfigurationError(f"known_hosts: {str(path)!r} can't be a file of host keys")
    return HostKeysFile(path)
