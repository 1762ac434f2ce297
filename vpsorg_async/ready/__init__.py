"""Checks that a server can be used: a port, an SSH banner, an HTTP answer, the exit code of a command.

Each function returns a check for ``ready=`` of waits and fleet calls, and for ``health=`` of rolling operations. A
check is called with the `Server` as it is now, tries its IPv4 and IPv6 address, and says one of three
things:

- yes: it returns True;
- no: it raises `NotReady` with the reason, and is called again later;
- never: it raises `Hopeless` with the reason, which ends the wait at once.

A function of your own is a check as well: it takes a `Server` and returns whether it can be used, async or quick. Any
other exception that it raises is a no, with that reason. It has 30 s for each call; `limited` gives it another limit.

Example::

    usable = ready.all_of(ready.ssh(), ready.http("/healthz", port=8080))
    server = await vps.wait_until(12345, "active", timeout=600, ready=usable)
"""

from __future__ import annotations

from ..lifecycle.readiness import Check, Hopeless, NotReady, ReadyCheck
from .combined import all_of, any_of, limited, stable
from .ports import ssh, tcp
from .remote import command
from .web import http

__all__ = [
    "Check",
    "Hopeless",
    "NotReady",
    "ReadyCheck",
    "all_of",
    "any_of",
    "command",
    "http",
    "limited",
    "ssh",
    "stable",
    "tcp",
    "tcp_port",
]

tcp_port = tcp
"""The name that `tcp` had before there were other checks."""
