"""The reads of plans, locations, systems, keys and the account, in both dialects."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from vpsorg_async import Account, PlanOffer
from vpsorg_async.dialects.lookups import Lookups
from vpsorg_async.errors import ConfigurationError, DecodeError
from vpsorg_async.http.exchange import Operation

documented, provider = Lookups("documented"), Lookups("provider")

DOCUMENTED_PLAN = {
    "id": 1,
    "name": "Starter VPS",
    "slug": "starter",
    "vcpus": 1,
    "memory": 2048,
    "storage": 40,
    "bandwidth": 1024,
    "price_monthly": 5.00,
    "price_hourly": 0.007,
    "available": True,
    "locations": ["us-west", "us-east", "eu-central"],
    "description": "For small things",
}
PROVIDER_PLAN = {
    "uuid": "p-1",
    "ram": 4,
    "ram_unit": "GB",
    "cpu": 2,
    "cpu_type_name": "Shared",
    "disk_space": 80,
    "transfer": 2048,
    "monthly_price": "10.00",
    "hourly_price": "0.015",
}


def plan(**fields: Any) -> PlanOffer:
    """The plan in an answer with these fields."""
    ((found,), _) = provider.plans(None).read(json.dumps([fields]).encode())
    return found


def test_a_documented_plan() -> None:
    """The fields of the public page, prices as exact decimals."""
    rows, link = documented.plans("us-west").read(
        json.dumps({"count": 1, "results": [DOCUMENTED_PLAN]}).encode()
    )

    assert documented.plans("us-west").path == "/api/v1/plans/?location=us-west"
    assert (len(rows), link) == (1, None)
    assert rows[0] == PlanOffer(
        id=1,
        name="Starter VPS",
        slug="starter",
        vcpus=1,
        memory=2048,
        storage=40,
        bandwidth=1024,
        price_monthly=Decimal("5"),
        price_hourly=Decimal("0.007"),
        available=True,
        locations=("us-west", "us-east", "eu-central"),
        description="For small things",
    )


def test_a_provider_plan() -> None:
    """The same record from the other names; a missing field is None."""
    assert plan(**PROVIDER_PLAN) == PlanOffer(
        id="p-1",
        vcpus=2,
        memory=4,
        storage=80,
        bandwidth=2048,
        price_monthly=Decimal("10.00"),
        price_hourly=Decimal("0.015"),
    )


@pytest.mark.parametrize(
    ("told", "month"),
    [
        ({"monthly_price": 10}, "10"),
        ({"monthly_price": 10.5}, "10.5"),
        ({"monthly_price": "10.50"}, "10.50"),
        ({"price": "7.00"}, "7.00"),
        ({"monthly_price": "9", "price": "7"}, "9"),
        ({"monthly_price": "$10", "price": "7"}, "7"),
        ({"monthly_price": None}, None),
        ({"monthly_price": ""}, None),
        ({"monthly_price": "NaN"}, None),
        ({"monthly_price": "Infinity"}, None),
        ({"monthly_price": True}, None),
        ({"monthly_price": {"usd": 1}}, None),
        ({}, None),
    ],
)
def test_prices(told: dict[str, Any], month: str | None) -> None:
    """A price that can't be read is unknown, and hides no plan."""
    found = plan(uuid="p-1", **told)

    assert found.price_monthly == (None if month is None else Decimal(month))
    assert found.price_hourly is None


@pytest.mark.parametrize("row", [{}, {"name": "Standard"}, {"uuid": 3}, {"uuid": None, "id": None}, 1])
def test_a_plan_without_an_id(row: Any) -> None:
    """A plan without an id can't be ordered: the response does not fit."""
    with pytest.raises(DecodeError):
        provider.plans(None).read(json.dumps([row]).encode())


def test_locations() -> None:
    """Ids are the integers that a spec accepts."""
    rows, _ = provider.locations().read(
        b'[{"id": 3, "name": "EU", "country_name": "Germany", "country_code": "DE", "is_active": false}, {"id": 4}]'
    )

    assert [(row.id, row.name, row.country_code, row.is_active) for row in rows] == [
        (3, "EU", "DE", False),
        (4, None, None, None),
    ]


def test_operating_systems() -> None:
    """A row for each version; its id is a spec's ``os_id``. A system without versions has none to order."""
    body = {
        "results": [
            {
                "uuid": "s",
                "name": "Debian",
                "versions": [{"uuid": "v1", "name": "12"}, {"id": 2, "name": "13"}],
            },
            {"name": "Plan 9", "versions": None},
            {"name": "Minix"},
        ],
        "next": "/api/v1/operating-systems/?page=2",
    }

    rows, link = provider.operating_systems().read(json.dumps(body).encode())

    assert [(row.id, row.operating_system, row.name) for row in rows] == [
        ("v1", "Debian", "12"),
        (2, "Debian", "13"),
    ]
    assert link == "/api/v1/operating-systems/?page=2"


def test_keys() -> None:
    """Listed, added and deleted; a key's id is escaped into its path."""
    rows, _ = provider.ssh_keys().read(
        b'{"results": [{"uuid": "k1", "name": "mine", "fingerprint": "SHA256:x"}]}'
    )
    add, delete = provider.add_key("mine", "ssh-ed25519 AAAA"), provider.delete_key("k/1")

    assert [(row.id, row.name, row.fingerprint) for row in rows] == [("k1", "mine", "SHA256:x")]
    assert (add.operation, add.method, add.path) == (Operation.CHANGE, "POST", "/api/v1/ssh-keys/")
    assert json.loads(add.body or b"") == {"name": "mine", "public_key": "ssh-ed25519 AAAA"}
    assert (delete.operation, delete.path) == (Operation.DELETE, "/api/v1/ssh-keys/k%2F1/")
    with pytest.raises(DecodeError):
        provider.read_key(b"{}")


@pytest.mark.parametrize(
    ("permissions", "words"),
    [
        (["servers:read", "servers:write"], ("servers:read", "servers:write")),
        ("servers:read, servers:write", ("servers:read", "servers:write")),
        ("", ()),
        ([], ()),
        (None, ()),
    ],
)
def test_the_account(permissions: Any, words: tuple[str, ...]) -> None:
    """The person and the token; the page's samples join the permissions with commas."""
    body = {
        "account": {"email": "john@example.com", "first_name": "John", "created_at": "2024-06-15"},
        "token": {"name": "Production", "permissions": permissions, "last_used": "today"},
    }

    found = documented.read_me(json.dumps(body).encode())

    assert documented.me().path == provider.me().path == "/api/v1/account/me/"
    assert found == Account(
        email="john@example.com", first_name="John", token_name="Production", permissions=words
    )


def test_little_of_an_account_is_enough() -> None:
    """Every field may be missing."""
    assert documented.read_me(b"{}") == Account()


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda: documented.locations(), "no list of locations"),
        (lambda: documented.operating_systems(), "no list of operating-systems"),
        (lambda: documented.ssh_keys(), "no list of ssh-keys"),
        (lambda: documented.add_key("a", "b"), "no list of ssh-keys"),
        (lambda: documented.delete_key(1), "no list of ssh-keys"),
        (lambda: provider.plans("us-west"), "can't filter plans"),
    ],
)
def test_what_a_dialect_has_none_of(ask: Any, reason: str) -> None:
    """An endpoint that a dialect lacks is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match=reason):
        ask()
