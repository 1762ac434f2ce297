"""The event loop that a client belongs to."""

from __future__ import annotations

import asyncio
import os
import threading

from .errors import ConfigurationError

__all__ = ["LoopOwner"]


class LoopOwner:
    """Remembers the running loop, and refuses calls from elsewhere, which would hang or break its connections."""

    __slots__ = ("_loop", "_process", "_thread")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._process = os.getpid()

    def check(self) -> None:
        """Raise `ConfigurationError` on another event loop, in another thread or after a fork."""
        try:
            # in a forked process no loop is running, even if the fork left one
            if asyncio.get_running_loop() is self._loop:
                return
        except RuntimeError:
            # a plain function that the loop's own thread calls; a fork copies the thread's number
            if threading.get_ident() == self._thread and os.getpid() == self._process:
                return
        raise ConfigurationError(
            "this client was opened on another event loop (in another thread, or before a fork): "
            "open one client for each loop"
        )
