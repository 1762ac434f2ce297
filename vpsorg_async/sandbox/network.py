"""The loopback addresses of a sandbox's servers, and the sockets that listen on them.

Each sandbox claims a network of its own, 127.n.0.0/16, so that several sandboxes can use the same ports: 127.77.0.0/16
if no other sandbox has it, so that addresses and pinned host keys repeat, or else a random one. Where the system has
no loopback address other than 127.0.0.1, as on macOS, that one is the address of all servers, and each of their ports
is mapped to a free one.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from random import SystemRandom
from typing import Final

from .catalogue import FIRST_ID, ipv4
from .errors import SandboxError

ONLY: Final = "127.0.0.1"

_FIRST: Final = 77
_NETWORKS: Final = range(78, 254)
_HOSTS: Final = 254
_BACKLOG: Final = 128
_SPARE: Final = 100
"""Open files for everything besides the servers."""


class Network:
    """The addresses of one sandbox. They are certain once the network is claimed."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._chosen = _FIRST
        self._mapped = False
        self._claim: list[socket.socket] = []

    def address(self, number: int) -> str:
        """Return the address of the server with this number."""
        if self._mapped:
            return ONLY
        high, low = divmod(number - FIRST_ID, _HOSTS)
        return f"127.{self._chosen}.{high}.{low + 1}" if high <= 254 else ipv4(number)

    def claim(self) -> bool:
        """Find a network that no other sandbox uses, if possible the same as before. Return if it is another one.

        Raises:
            SandboxError: A port is in use on all addresses, or needs privileges.
        """
        before = (self._chosen, self._mapped)
        # Not seeded: sandboxes with the same seed that start together try different ones.
        choices = [self._chosen, *SystemRandom().sample(_NETWORKS, len(_NETWORKS))]
        for chosen in choices:
            error = self._claimed(f"127.{chosen}.255.254")
            if error is None or error.errno == errno.EADDRNOTAVAIL:
                self._chosen, self._mapped = chosen, error is not None
                break
            if error.errno != errno.EADDRINUSE or chosen == choices[-1]:
                ports = " or ".join(map(str, self._ports))
                raise SandboxError(
                    f"the servers cannot listen on port {ports} of loopback addresses: "
                    f"{error.strerror or error}; choose other ports (ports=), or none (--no-boot)"
                )

        return (self._chosen, self._mapped) != before

    def _claimed(self, address: str) -> OSError | None:
        """Claim the network by the ports of an address that no server has; return the error if that fails."""
        try:
            for port in self._ports:
                self._claim.append(_bound(address, port))
        except OSError as error:
            self.release()
            return error
        return None

    def release(self) -> None:
        """Let other sandboxes use the network."""
        while self._claim:
            self._claim.pop().close()

    def listen(self, address: str, port: int) -> socket.socket:
        """Return a socket that listens on a port of a server, or on the one it is mapped to. Raises OSError."""
        return _bound(address, 0 if self._mapped else port)


def allow_open_files(servers: int, ports: int) -> None:
    """Raise the soft limit of open files, if it is too low for this number of servers. Raises `SandboxError`."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    # The sockets that listen, and a connection to each server.
    needed = servers * (ports + 1) + _SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SandboxError(
            f"{servers} servers that listen need {needed} open files, and the limit of this process is {hard}: "
            f"raise it, or pass a smaller max_listening"
        )
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _bound(address: str, port: int) -> socket.socket:
    listening = socket.socket()
    try:
        if os.name == "posix":
            # Connections of an earlier boot may still be in their final wait. On Windows it has another meaning.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setblocking(False)
        listening.bind((address, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
