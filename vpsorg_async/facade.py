"""What users call on a client, and on each of its views: servers, fleets, look-ups, waits, requests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import Any

import attrs

from .actions import Actions
from .fleet import Fleet
from .http.exchange import Request, Response
from .lifecycle.calls import WaitOutcome
from .lifecycle.contract import Target, TargetLike
from .lifecycle.durations import Durations
from .lifecycle.events import PollStatistics
from .lifecycle.readiness import READY_TIMEOUT, ReadyCheck, check_ready
from .lifecycle.receipts import Receipt
from .lifecycle.watching import StatusChange
from .listing import Listing
from .lookups import AccountInfo, Locations, OperatingSystems, Plans, SSHKeys
from .raw import raw_request, read_raw, send_raw
from .records import Server, ServerId
from .runtime import Calls, ClientRuntime
from .servers import Servers
from .specs import id_of

__all__ = ["Facade"]


class Facade:
    """The base of `Client`: every call but those that open, close and configure it."""

    @property
    def servers(self) -> Servers:
        """The nine endpoints."""
        return self._calls().servers

    @property
    def actions(self) -> Actions:
        """Hard stops, snapshots and backups; provider dialect only."""
        return self._calls().actions

    @property
    def fleet(self) -> Fleet:
        """Many servers at once."""
        return self._calls().fleet

    @property
    def plans(self) -> Plans:
        """The plans that can be ordered."""
        return self._calls().look_up(Plans)

    @property
    def locations(self) -> Locations:
        """The datacenters; provider dialect only."""
        return self._calls().look_up(Locations)

    @property
    def operating_systems(self) -> OperatingSystems:
        """The operating systems and their versions; provider dialect only."""
        return self._calls().look_up(OperatingSystems)

    @property
    def ssh_keys(self) -> SSHKeys:
        """The ssh keys of the account; provider dialect only."""
        return self._calls().look_up(SSHKeys)

    @property
    def account(self) -> AccountInfo:
        """Whose token this is."""
        return self._calls().look_up(AccountInfo)

    async def listing(self) -> Listing:
        """Read the whole account, and return its servers and whether the list is complete.

        `Servers.list` returns the servers alone. Use this where a missing row must not be read as a missing server.

        Returns:
            The servers; ``.lacks`` says why the list is incomplete, and ``.by_name()`` finds servers by name.

        Raises:
            DecodeError: No row of the list could be read.

        Example:
            ``hits = (await vps.listing()).by_name().get("web-1", [])``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        return await self._calls().endpoints.listing()

    async def request(self, method: str, path: str, json: Any = None) -> Any:
        """Send any request to the API, with the same authentication, retries and errors as all others.

        GET, PUT and DELETE are retried where that is safe. Other methods are not, once they may have been applied.

        Args:
            method: ``"GET"``, ``"PUT"``, ``"DELETE"``, ``"POST"`` or ``"PATCH"``.
            path: A path that begins with a slash; below ``/api/v1`` unless it begins with ``/api/``.
            json: The body, as what ``json.dumps`` takes; None for no body.

        Returns:
            The decoded JSON of the answer; None for an empty body.

        Raises:
            ConfigurationError: Bad input; nothing was sent.
            APIError: The API refused, or failed.
            TransportError: No usable answer came.
            DecodeError: The answer is not JSON.
            OutcomeUnknownError: The deadline of `Client.with_options` passed after a change may have been applied.

        Example:
            ``key = await vps.request("POST", "/account/keys/", json={"name": "ci"})``
        """
        asked = raw_request(method, path, json)
        return read_raw(asked, await send_raw(self._calls().session, asked))

    async def send(self, request: Request) -> Response:
        """Send one request as data, and return the answer as it came. For tools; most programs use `request`.

        Args:
            request: A ``vpsorg_async.http.exchange.Request``: the operation, the method and the path, with its body.

        Returns:
            The status, the headers and the body.

        Raises:
            APIError: The API refused, or failed.
            TransportError: No usable answer came.
            OutcomeUnknownError: The deadline of `Client.with_options` passed after a change may have been applied.
        """
        # a copy: what is noted in it while it is sent is no part of what was asked
        return await send_raw(self._calls().session, attrs.evolve(request))

    # -- waits ------------------------------------------------------------------------------------------------------

    async def wait_until(
        self,
        server: ServerId | Server | Receipt,
        target: TargetLike,
        *,
        timeout: float,
        ready: ReadyCheck | None = None,
        ready_timeout: float = READY_TIMEOUT,
    ) -> Server:
        """Wait until the server is in a status, and return it as it is then.

        A wait after a command of this client ends only on what happened after that command. All waits of a client
        share their polls.

        Args:
            server: An id, a server, or a receipt, also one of another process.
            target: A status word, a `ServerStatus`, several of them, ``"settled"``, ``"gone"`` or a `Target`. For a
                word that is only known at run time: ``Target.of(word)``, which accepts known words only. For a word
                that the provider has added: ``Target({"ready"})``.
            timeout: Seconds until the wait for the target fails; the checks have their own time.
            ready: A check that must also pass, once the server has its status: one of `vpsorg_async.ready`, or a
                function of the server.
            ready_timeout: Seconds from the status until the check must have passed.

        Returns:
            The server as the poll showed it, which may be a row of a list, with fewer fields than ``servers.get``
            returns; for ``"gone"`` the last record, with the status ``gone``.

        Raises:
            WaitTimeoutError: The target was not reached in time, or the check did not pass in time.
            NeverReadyError: The check found that the server has failed for good.
            UnexpectedStatusError: The server settled elsewhere, or was suspended.
            ServerGoneError: The server does not exist.
            AuthenticationError: The API refused the token.
            PermissionDeniedError: The token lacks a permission.
            ConfigurationError: Bad input; nothing was sent.

        Example:
            ``server = await vps.wait_until(12345, "active", timeout=600)``
        """
        policy = check_ready(ready, ready_timeout)
        waiter = self._open().waiter
        wait, verdict = waiter.begin(server, Target.of(target), timeout)
        try:
            outcome = waiter.reached(wait, await verdict)
        finally:
            waiter.poller.leave(wait)
        if ready is not None and policy is not None:
            outcome = await waiter.ready(outcome, ready, policy, operation=wait.operation)
        assert outcome.server is not None
        return outcome.server

    def wait_until_all(
        self,
        servers: Iterable[ServerId | Server | Receipt],
        target: TargetLike,
        *,
        timeout: float,
        ready: ReadyCheck | None = None,
        ready_timeout: float = READY_TIMEOUT,
    ) -> AsyncGenerator[WaitOutcome, None]:
        """Wait for several servers, and yield the outcome of each as it settles.

        A wait that fails is an outcome with an ``error``, and has no effect on the others. After a ``break`` the other
        waits stay open until the generator is closed: use ``contextlib.aclosing``.

        Args:
            servers: Ids, servers or receipts.
            target: As in `wait_until`.
            timeout: Seconds for each server, until its target.
            ready: A check that must also pass, as in `wait_until`. It begins for each server as soon as that has its
                status.
            ready_timeout: Seconds for each server, from its status until the check must have passed.

        Yields:
            One `WaitOutcome` for each server.

        Raises:
            ConfigurationError: Bad input; nothing was sent.

        Example:
            ``async for outcome in vps.wait_until_all([1, 2], "active", timeout=600): ...``
        """
        policy = check_ready(ready, ready_timeout)
        return self._open().waiter.wait_all(servers, Target.of(target), timeout, ready, policy)

    def watch(self, *, interval: float = 5.0) -> AsyncGenerator[StatusChange, None]:
        """Yield every status change of the whole account, without an end.

        The first poll yields every server as ``present``. Changes between two polls are not seen: a server whose
        ``updated_at`` moved though its status did not is yielded as ``touched``, and a time without any poll as
        ``blind``.

        Args:
            interval: Seconds between two lists, which all waits share.

        Raises:
            AuthenticationError: The API refused the token.
            PermissionDeniedError: The token lacks a permission.
            ClientClosedError: The client was closed.

        Example:
            ``async for change in vps.watch(): ...``
        """
        return self._open().waiter.watch(interval)

    @property
    def statistics(self) -> PollStatistics:
        """The polls of this client so far, and the waits that are open now."""
        return self._open().poller.statistics

    def receipt(self, server: ServerId | Server) -> Receipt | None:
        """Return the receipt of the last acknowledged command on this server. Sends nothing.

        A receipt is plain data: another process can wait on it, ``vps.wait_until(receipt, ...)``.

        Returns:
            The receipt; None if a wait of this client has already seen the command done, or if there was no command.

        Example::

            receipt = vps.receipt(12345)
            if receipt is not None:
                message = receipt.to_json()
        """
        found = self._open().account.receipt(id_of(server))
        return None if found is None else found[0]

    def last_status(self, server: ServerId | Server) -> str | None:
        """Return the status in which this client last saw a server; None where it never did. Sends nothing."""
        known = self._open().account.known(id_of(server))
        return None if known is None else known.status

    def expected(self, operation: str, count: int = 1) -> float | None:
        """Return about how many seconds several commands side by side take; None where nothing is known.

        The estimate is from what this client has seen; for creates at first as documented. Sends nothing.

        Args:
            operation: ``"create"``, ``"start"``, ``"stop"``, ``"reboot"`` or ``"delete"``.
            count: The number of servers.

        Example:
            ``vps.expected("create", 20)``
        """
        return self._learned().expected(operation, max(count, 1))

    def _calls(self) -> Calls:
        """Return what sends requests: with the options of this view, if it is one."""
        raise NotImplementedError

    def _open(self) -> ClientRuntime:
        """Return what lives while the client is open. Raises `ClientClosedError`."""
        raise NotImplementedError

    def _learned(self) -> Durations:
        """Return the durations that the client has seen."""
        raise NotImplementedError
