"""The look-ups besides servers: paths and shapes, in both dialects. Pure.

The plans and the account are documented (https://www.vps.org/api/v1/docs/plans/, https://www.vps.org/api/account/).
The rest is known only from the provider dialect, and is read tolerantly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Generic, TypeVar

import attrs

from ..codec import Decoder, dumps
from ..config import API_PREFIX
from ..errors import ConfigurationError, DecodeError
from ..http.exchange import Operation, Request, segment, with_query
from ..records import Account, Location, OperatingSystemVersion, PlanOffer, ServerId, SSHKey
from .base import whole

__all__ = ["Lookup", "Lookups"]

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class _Plan:
    id: int | str | None = None
    uuid: str | None = None
    name: str | None = None
    slug: str | None = None
    vcpus: int | None = None
    memory: int | None = None
    storage: int | None = None
    bandwidth: int | float | None = None
    price_monthly: Decimal | None = None
    price_hourly: Decimal | None = None
    # of the provider dialect, which has no published answers: what can't be read is left out
    cpu: Any = None
    ram: Any = None
    disk_space: Any = None
    transfer: Any = None
    monthly_price: Any = None
    price: Any = None
    hourly_price: Any = None
    available: bool | None = None
    locations: list[str] | None = None
    description: str | None = None

    def records(self) -> Iterable[PlanOffer]:
        yield PlanOffer(
            id=_id(self.uuid, self.id),
            name=self.name,
            slug=self.slug,
            vcpus=whole(self.vcpus, self.cpu),
            memory=whole(self.memory, self.ram),
            storage=whole(self.storage, self.disk_space),
            bandwidth=whole(self.bandwidth, self.transfer),
            price_monthly=_price(self.price_monthly, self.monthly_price, self.price),
            price_hourly=_price(self.price_hourly, self.hourly_price),
            available=self.available,
            locations=None if self.locations is None else tuple(self.locations),
            description=self.description,
        )


@attrs.frozen(kw_only=True)
class _Location:
    id: int | str
    name: str | None = None
    country_name: str | None = None
    country_code: str | None = None
    is_active: bool | None = None

    def records(self) -> Iterable[Location]:
        yield Location(**attrs.asdict(self))


@attrs.frozen(kw_only=True)
class _Version:
    uuid: str | None = None
    id: int | str | None = None
    name: str | None = None


@attrs.frozen(kw_only=True)
class _OperatingSystem:
    name: str | None = None
    versions: list[_Version] | None = None

    def records(self) -> Iterable[OperatingSystemVersion]:
        for version in self.versions or ():
            yield OperatingSystemVersion(
                id=_id(version.uuid, version.id), name=version.name, operating_system=self.name
            )


@attrs.frozen(kw_only=True)
class _Key:
    uuid: str | None = None
    id: int | str | None = None
    name: str | None = None
    fingerprint: str | None = None

    def records(self) -> Iterable[SSHKey]:
        yield SSHKey(id=_id(self.uuid, self.id), name=self.name, fingerprint=self.fingerprint)


@attrs.frozen(kw_only=True)
class _Person:
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    company_name: str | None = None


@attrs.frozen(kw_only=True)
class _Token:
    name: str | None = None
    permissions: list[str] | str | None = None


@attrs.frozen(kw_only=True)
class _Me:
    account: _Person = attrs.field(factory=_Person)
    token: _Token = attrs.field(factory=_Token)


@attrs.frozen(kw_only=True)
class _Rows(Generic[T]):
    results: list[T]
    next: str | None = None


_plans: Decoder[Any] = Decoder(_Rows[_Plan] | list[_Plan])
_locations: Decoder[Any] = Decoder(_Rows[_Location] | list[_Location])
_systems: Decoder[Any] = Decoder(_Rows[_OperatingSystem] | list[_OperatingSystem])
_keys: Decoder[Any] = Decoder(_Rows[_Key] | list[_Key])
_key: Decoder[_Key] = Decoder(_Key)
_me: Decoder[_Me] = Decoder(_Me)


@attrs.frozen
class Lookup(Generic[T]):
    """A list that can be requested: its first path, and how a page is read into rows and a ``next`` link."""

    path: str
    read: Callable[[bytes], tuple[list[T], str | None]]


class Lookups:
    """The look-ups of one dialect. Raises `ConfigurationError` for those that it does not have."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect

    def plans(self, location: str | None) -> Lookup[PlanOffer]:
        """Return the plans; by location only in the documented dialect."""
        if location is not None and self._dialect == "provider":
            raise ConfigurationError("the provider dialect can't filter plans by location")
        return Lookup(with_query(f"{API_PREFIX}/plans/", location=location), _rows(_plans))

    def locations(self) -> Lookup[Location]:
        """Return the locations."""
        return Lookup(
            self._provider("locations", "plans name the locations where they are offered"), _rows(_locations)
        )

    def operating_systems(self) -> Lookup[OperatingSystemVersion]:
        """Return the operating systems with their versions."""
        return Lookup(self._provider("operating-systems", "ask the provider for os ids"), _rows(_systems))

    def ssh_keys(self) -> Lookup[SSHKey]:
        """Return the keys of the account."""
        return Lookup(self._provider("ssh-keys", "keys are created in the dashboard"), _rows(_keys))

    def add_key(self, name: str, public_key: str) -> Request:
        """Add a public key."""
        path = self._provider("ssh-keys", "keys are created in the dashboard")
        return Request(Operation.CHANGE, "POST", path, dumps({"name": name, "public_key": public_key}))

    def read_key(self, body: bytes) -> SSHKey:
        """Read the answer to `add_key`."""
        return next(iter(_key(body).records()))

    def delete_key(self, key_id: ServerId) -> Request:
        """Delete a key."""
        path = self._provider("ssh-keys", "keys are created in the dashboard")
        return Request(Operation.DELETE, "DELETE", f"{path}{segment(key_id)}/")

    def me(self) -> Request:
        """Request the account and the token in use."""
        return Request(Operation.READ, "GET", f"{API_PREFIX}/account/me/")

    def read_me(self, body: bytes) -> Account:
        """Read the answer to `me`."""
        me = _me(body)
        # the page's samples join the permissions with commas
        given = me.token.permissions or ()
        words = given.split(",") if isinstance(given, str) else given
        return Account(
            **attrs.asdict(me.account),
            token_name=me.token.name,
            permissions=tuple(word.strip() for word in words if word.strip()),
        )

    def _provider(self, name: str, instead: str) -> str:
        if self._dialect != "provider":
            raise ConfigurationError(f"the documented API has no list of {name}; {instead}")
        return f"{API_PREFIX}/{name}/"


def _rows(decode: Callable[[bytes], Any]) -> Callable[[bytes], tuple[list[Any], str | None]]:
    def read(body: bytes) -> tuple[list[Any], str | None]:
        page = decode(body)
        rows, link = (page, None) if isinstance(page, list) else (page.results, page.next)
        return [record for row in rows for record in row.records()], link

    return read


def _id(uuid: str | None, number: int | str | None) -> int | str:
    found = uuid or number
    if found is None:
        raise DecodeError("the answer does not fit", problems=["$.uuid: a row without an id"])
    return found


def _price(*values: Any) -> Decimal | None:
    for value in values:
        with contextlib.suppress(ArithmeticError):
            price = Decimal(str(value))
            if price.is_finite():
                return price
    return None
