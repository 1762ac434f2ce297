"""The thread in which an async client lives, and the calls that other threads make into it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import os
import threading
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import Future
from typing import Any, TypeVar

from ..client import Client
from ..errors import ClientClosedError, ConfigurationError
from ..shielding import apart, result_of

__all__ = ["END", "Portal"]

T = TypeVar("T")

END: Any = object()
"""What stands for the end of an async iterator."""


class Portal:
    """Opens a client in a thread of its own when it is first needed, and runs calls there. Any thread may call."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._thread: _ClientThread | None = None
        self._closed = False
        # reentrant: a signal handler that closes the client may interrupt its opening
        self._changing = threading.RLock()

    def open(self) -> _ClientThread:
        """Open the client if it is not open yet, and return its thread. Raises what opening a client raises."""
        thread = self._thread
        if thread is None:
            with self._changing:
                if self._closed:
                    raise ClientClosedError("the client is closed; create a new one")
                if self._thread is None:
                    self._thread = _ClientThread(self._client)
                thread = self._thread
        return thread

    def close(self) -> None:
        """Close the client, and wait until it is closed. A second call does nothing."""
        thread = self._thread
        if thread is not None and thread.inherited:
            return  # the process that opened it closes it
        with self._changing:
            self._closed, self._thread = True, None
        if thread is not None:
            thread.close()

    def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call a function in the client's thread, await what it returns, and return that."""
        return self.open().run(call)

    def iterate(self, stream: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Yield what an async generator yields, which is closed when this one is."""
        thread = self.open()
        try:
            while (item := thread.run(lambda: anext(stream, END))) is not END:
                yield item
        finally:
            # not waited for: the garbage collector can close a generator in any thread, also when the program ends
            thread.begin(stream.aclose)

    def __del__(self) -> None:
        thread = self._thread
        if thread is not None and not thread.inherited:
            warnings.warn(f"{self._client!r} was not closed", ResourceWarning, source=self, stacklevel=2)
            thread.stop()


class _ClientThread:
    """An event loop with an open client, in a daemon thread: a program that ends does not wait for it."""

    def __init__(self, client: Client) -> None:
        self._process = os.getpid()
        self._stopped = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._over = False
        self._calls: set[Future[asyncio.Task[Any]]] = set()
        self._ended: Future[None] = Future()
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._live, args=(client, opened), name="vpsorg-client", daemon=True
        )
        self._thread.start()
        try:
            opened.result()
        except BaseException:
            self.stop()
            raise

    def _live(self, client: Client, opened: Future[None]) -> None:
        async def live() -> None:
            async with client:
                opened.set_result(None)
                await self._stopped.wait()

        failure: BaseException | None = None
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(live())
        except BaseException as error:
            # opening or closing failed, or a hook raised what ends a program: it is raised in the threads that call
            failure = error
        self._over = True
        waiting: list[Future[Any]] = [opened, *self._calls]
        for future in waiting:
            if not future.done():
                future.set_exception(failure or ClientClosedError("the client was closed"))
        self._ended.set_result(None) if failure is None else self._ended.set_exception(failure)

    @property
    def inherited(self) -> bool:
        """Whether this is the copy of another process's thread, after a fork: nothing runs in it."""
        return os.getpid() != self._process

    def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call a function here, await what it returns, and return that.

        An exception that interrupts the calling thread, such as `KeyboardInterrupt`, cancels the call. It is raised
        when the call has cleaned up; a second one at once.

        Raises:
            ClientClosedError: The client was closed, before or meanwhile.
            ConfigurationError: The process was forked since, or this thread is the client's own.
        """
        self._check()
        done: Future[asyncio.Task[T]] = Future()
        self._calls.add(done)
        try:
            if self._over:
                raise ClientClosedError("the client is closed; create a new one")
            start, cancel = self._prepared(call, done)
            try:
                self._soon(start)
                concurrent.futures.wait((done,))
            except BaseException:
                cancel()
                concurrent.futures.wait((done,))
                raise
            return result_of(done.result())
        except asyncio.CancelledError:
            raise ClientClosedError("the client was closed during the call") from None
        finally:
            self._calls.discard(done)

    def begin(
        self, call: Callable[[], Awaitable[T]], done: Future[asyncio.Task[T]] | None = None
    ) -> Callable[[], None]:
        """Call a function here, and do not wait for it. Returns what cancels it.

        Args:
            call: The function; it is awaited, in the context variables of the calling thread.
            done: Receives the finished task.
        """
        start, cancel = self._prepared(call, done)
        self._soon(start)
        return cancel

    def _prepared(
        self, call: Callable[[], Awaitable[T]], done: Future[asyncio.Task[T]] | None
    ) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return what starts a call in the loop, and what cancels it from here, whether it was started or not."""
        context, tasks = contextvars.copy_context(), []

        async def work() -> T:
            return await call()

        def start() -> None:
            tasks.append(context.run(apart, work()))
            tasks[0].add_done_callback(finish)

        def finish(task: asyncio.Task[T]) -> None:
            if done is not None and not done.done():
                done.set_result(task)

        def end() -> None:
            # callbacks run in order: without a task by now, there will be none
            if tasks:
                tasks[0].cancel()
            elif done is not None:
                done.cancel()

        return start, lambda: self._soon(end)

    def stop(self) -> None:
        """Close the client, and do not wait for it."""
        self._soon(self._stopped.set)

    def close(self) -> None:
        """Close the client, wait until its thread has ended, and raise what it ended with."""
        self._check()
        self.stop()
        self._ended.result()
        self._thread.join()

    def _check(self) -> None:
        if self.inherited:
            raise ConfigurationError(
                "this client was opened before a fork: create one in each process, after the fork"
            )
        if threading.current_thread() is self._thread:
            raise ConfigurationError(
                "hooks and async checks run in the client's own thread, and a call from there would wait for itself"
            )

    def _soon(self, callback: Callable[[], object]) -> None:
        # once the loop is closed, nothing is left to be done
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback)
