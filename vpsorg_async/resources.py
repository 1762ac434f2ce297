"""What a client and its views give access to: servers, fleets, look-ups, and requests that are not modelled."""

from __future__ import annotations

from typing import Any

from .fleet import Fleet
from .http.exchange import Request, Response
from .listing import Listing
from .lookups import AccountInfo, Locations, OperatingSystems, Plans, SSHKeys
from .raw import raw_request, read_raw, send_raw
from .runtime import Calls
from .servers import Servers

__all__ = ["Resources"]


class Resources:
    """The base of `Client`: everything that sends requests of its own."""

    @property
    def servers(self) -> Servers:
        """The nine endpoints."""
        return self._calls().servers

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
        """Read the whole account, and return its servers with what is known of the list itself.

        `Servers.list` returns the servers alone. Use this where a server that the list does not show must not be
        taken for one that does not exist.

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
        """Any request to the API, with the same authentication, retries and errors: decoded JSON, None for no body.

        ``path`` begins with a slash and is taken below ``/api/v1`` unless it begins with ``/api/``. GET, PUT and
        DELETE are repeated where that is safe; other methods are not, once they may have been carried out.
        """
        asked = raw_request(method, path, json)
        return read_raw(asked, await send_raw(self._calls().session, asked))

    async def send(self, request: Request) -> Response:
        """One request as data: the answer as it came. For tools; `request` is the friendlier way."""
        return await send_raw(self._calls().session, request)

    def _calls(self) -> Calls:
        raise NotImplementedError
