"""The look-ups: plans, locations, operating systems, SSH keys, the account."""

from __future__ import annotations

from typing import Self, TypeVar

from .dialects.lookups import Lookup, Lookups
from .errors import ConfigurationError, DecodeError
from .http.exchange import Operation, Request
from .http.paging import MAX_PAGES, next_path
from .http.reply import read_answer
from .http.senders import Sender
from .raw import send_raw
from .records import Account, Location, OperatingSystemVersion, PlanOffer, ServerId, SSHKey
from .specs import check_id

__all__ = ["AccountInfo", "Locations", "OperatingSystems", "Plans", "SSHKeys"]

T = TypeVar("T")


class _Resource:
    """What the client has besides servers, read with one sender of requests."""

    def __init__(self, session: Sender, lookups: Lookups) -> None:
        self._session = session
        self._lookups = lookups

    def over(self, session: Sender) -> Self:
        """Return the same look-up over another session."""
        return type(self)(session, self._lookups)

    async def _all(self, lookup: Lookup[T]) -> tuple[T, ...]:
        rows: list[T] = []
        session = self._session.begin()
        path: str | None = lookup.path
        visited: set[str] = set()
        while path is not None:
            if path in visited or len(visited) == MAX_PAGES:
                raise DecodeError("the pages of the list form a loop", request=f"GET {path}")
            visited.add(path)
            request = Request(Operation.READ, "GET", path)
            page, link = read_answer(request, await session.send(request), lookup.read)
            rows += page
            path = next_path(path, link) if link else None
        return tuple(rows)


class Plans(_Resource):
    """``vps.plans``. Source: https://www.vps.org/api/v1/docs/plans/."""

    async def list(self, location: str | None = None) -> tuple[PlanOffer, ...]:
        """Return all plans, with their prices if the answer has them.

        Args:
            location: A location code; only in the documented dialect.

        Raises:
            ConfigurationError: The provider dialect can't filter by location.

        Example:
            ``for plan in await vps.plans.list(): print(plan.id, plan.name, plan.price_monthly)``
        """
        return await self._all(self._lookups.plans(location))


class Locations(_Resource):
    """``vps.locations``; only in the provider dialect, otherwise its calls raise `ConfigurationError`."""

    async def list(self) -> tuple[Location, ...]:
        """Return all locations."""
        return await self._all(self._lookups.locations())


class OperatingSystems(_Resource):
    """``vps.operating_systems``; only in the provider dialect, otherwise its calls raise `ConfigurationError`."""

    async def list(self) -> tuple[OperatingSystemVersion, ...]:
        """Return all versions of all operating systems."""
        return await self._all(self._lookups.operating_systems())


class SSHKeys(_Resource):
    """``vps.ssh_keys``; only in the provider dialect, otherwise its calls raise `ConfigurationError`."""

    async def list(self) -> tuple[SSHKey, ...]:
        """Return all keys of the account."""
        return await self._all(self._lookups.ssh_keys())

    async def add(self, name: str, public_key: str) -> SSHKey:
        """Add a public key to the account, and return it. The request is sent once.

        Args:
            name: A name for the key; not empty.
            public_key: One line in the format of OpenSSH, such as ``ssh-ed25519 AAAA...``.

        Raises:
            ConfigurationError: An argument is empty, or the dialect has no SSH keys.
        """
        for what, value in (("name", name), ("public_key", public_key)):
            if not isinstance(value, str) or not value.strip():
                raise ConfigurationError(f"{what} is a non-empty string, not {value!r}")
        request = self._lookups.add_key(name, public_key)
        return read_answer(request, await send_raw(self._session, request), self._lookups.read_key)

    async def delete(self, key_id: ServerId) -> None:
        """Delete a key from the account. Raises `NotFoundError` if there is no such key."""
        await send_raw(self._session, self._lookups.delete_key(check_id(key_id, "a key id")))


class AccountInfo(_Resource):
    """``vps.account``. Source: https://www.vps.org/api/account/."""

    async def me(self) -> Account:
        """Return the account and the token in use. Any active token can ask this, whatever its permissions.

        Example:
            ``print((await vps.account.me()).permissions)``
        """
        request = self._lookups.me()
        return read_answer(request, await self._session.send(request), self._lookups.read_me)
