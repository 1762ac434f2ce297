"""The limits of a client: what is admitted, and for how long an admitted create counts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async import Limits, Plan, PlanOffer, Server, ServerSpec, ServerStatus
from vpsorg_async.allowance import AccountView, Allowance, Place
from vpsorg_async.errors import ConfigurationError, LimitError

VISIBILITY = 60.0
OFFERS = (
    PlanOffer(id=1, price_hourly=Decimal("0.015")),
    PlanOffer(id=2, price_hourly=Decimal("0.030")),
    PlanOffer(id=3),
)


def spec(name: str, plan: int = 1) -> ServerSpec:
    return ServerSpec(name=name, plan_id=plan, os_id=5, location="us-west")


def server(number: int, name: str = "", plan: int | None = 1) -> Server:
    shown = None if plan is None else Plan(id=plan)
    return Server(id=number, name=name or f"old-{number}", status=ServerStatus("active"), plan=shown)


def view(*servers: Server, at: float = 0.0, gone: tuple[int, ...] = ()) -> AccountView:
    return AccountView(
        servers=servers,
        requested_at=at,
        name_of=lambda one: one.name,
        is_gone=lambda one: one.id in gone,
        offers=OFFERS,
    )


def allowance(**limits: Any) -> Allowance:
    return Allowance(Limits(**limits), VISIBILITY)


def wanted(*names: str, plan: int = 1) -> dict[str, ServerSpec]:
    return {name: spec(name, plan) for name in names}


def free(own: Allowance, seen: AccountView, most: int = 50, now: float = 0.0) -> int:
    """How many servers would be admitted; they are given up again."""
    for number in range(most, -1, -1):
        try:
            own.withdraw(own.admit(wanted(*(f"probe-{n}" for n in range(number))), seen, now))
        except LimitError:
            continue
        return number
    raise AssertionError("more than the limit")


# -- the table ------------------------------------------------------------------------------------------------------


def admitted(own: Allowance, seen: AccountView) -> Place:
    (place,) = own.admit(wanted("web"), seen, seen.requested_at)
    return place


def test_an_admitted_create_counts() -> None:
    """What is admitted is reserved, whether it is sent yet or not."""
    own = allowance(max_servers=10)
    admitted(own, view())

    assert free(own, view(server(1))) == 8


def test_a_new_server_of_the_name_stands_for_the_create() -> None:
    """A list that shows the server before its create was answered does not count it twice."""
    own = allowance(max_servers=10)
    admitted(own, view(server(1)))

    assert free(own, view(server(1), server(2, "web"))) == 8


def test_an_older_server_of_the_name_is_another_one() -> None:
    """A server of the same name that existed before, such as one being deleted, is no answer to the create."""
    own = allowance(max_servers=10)
    admitted(own, view(server(1, "web")))

    assert free(own, view(server(1, "web"))) == 8


def test_one_server_stands_for_one_create() -> None:
    """Two creates of one name are two servers."""
    own = allowance(max_servers=10)
    admitted(own, view())
    admitted(own, view())

    assert free(own, view(server(1, "web"))) == 8


def test_a_withdrawn_create_does_not_count() -> None:
    """What was refused or not sent gives its place back."""
    own = allowance(max_servers=10)
    own.withdraw([admitted(own, view())])

    assert free(own, view()) == 10


@pytest.mark.parametrize(
    ("shown", "gone", "at", "left"),
    [
        ((), (), 100.0, 9),  # the list lags
        ((server(7, "web"),), (), 100.0, 9),
        ((server(7, "renamed"),), (), 100.0, 9),
        ((), (7,), 100.0, 10),
        ((), (), 100.0 + VISIBILITY, 10),  # lists do not lag that long
    ],
)
def test_an_answered_create_counts_until_reads_tell(
    shown: tuple[Server, ...], gone: tuple[int, ...], at: float, left: int
) -> None:
    """An answered create counts until its server is shown or gone, or a list that cannot lag does not show it."""
    own = allowance(max_servers=10)
    admitted(own, view()).settle(server(7, "web"), 100.0)

    assert free(own, view(*shown, at=at, gone=gone), now=at) == left


@pytest.mark.parametrize(
    ("shown", "at", "left"),
    [((), 100.0, 9), ((server(7, "web"),), 100.0, 9), ((), 100.0 + VISIBILITY, 10)],
)
def test_a_create_in_doubt_counts_until_lists_tell(shown: tuple[Server, ...], at: float, left: int) -> None:
    """A create whose outcome is unknown counts like one that was answered."""
    own = allowance(max_servers=10)
    admitted(own, view()).settle(None, 100.0)

    assert free(own, view(*shown, at=at), now=at) == left


def test_a_create_that_is_searched_for_first_counts_once() -> None:
    """A fleet that is run again after an unknown outcome does not need room for two servers of that name."""
    own = allowance(max_servers=1)
    admitted(own, view()).settle(None, 100.0)

    with pytest.raises(LimitError):
        own.admit(wanted("web"), view(), 101.0)
    assert len(own.admit(wanted("web"), view(), 101.0, searched=True)) == 1


def test_a_search_without_a_find_gives_the_place_back() -> None:
    """Only creates in doubt of that name are given up."""
    own = allowance(max_servers=10)
    admitted(own, view()).settle(None, 100.0)
    admitted(own, view())
    own.clear("other")
    assert free(own, view(at=101.0)) == 8
    own.clear("web")

    assert free(own, view(at=101.0)) == 9


def test_an_old_list_does_not_free_what_a_new_one_did() -> None:
    """A list that was requested early and read late still counts what was created meanwhile."""
    own = allowance(max_servers=10)
    admitted(own, view()).settle(server(7, "web"), 100.0)

    assert free(own, view(at=100.0 + VISIBILITY), now=170.0) == 10
    assert free(own, view(at=99.0), now=180.0) == 9


# -- the limits -----------------------------------------------------------------------------------------------------


def test_all_or_none_are_admitted() -> None:
    """Creates that do not fit together are refused together, and reserve nothing."""
    own = allowance(max_servers=3)
    with pytest.raises(LimitError, match="max_servers=3 would be exceeded") as refused:
        own.admit(wanted("a", "b", "c"), view(server(1)), 0.0)

    error = refused.value
    assert (error.limit, error.allowed, error.required) == ("max_servers", Decimal(3), Decimal(4))
    assert len(own.admit(wanted("a", "b"), view(server(1)), 0.0)) == 2


def test_nothing_is_admitted_for_nothing() -> None:
    """A call that creates nothing is not refused because the account is over the limit."""
    assert allowance(max_servers=1).admit({}, view(server(1), server(2)), 0.0) == ()


def test_the_price_is_that_of_all_servers() -> None:
    """The servers of the account, those on their way and those wanted count; what is equal to the limit passes."""
    own = allowance(max_hourly=Decimal("0.090"))
    own.admit(wanted("a"), view(server(1, plan=2)), 0.0)

    with pytest.raises(LimitError, match=r"max_hourly=0\.090 would be exceeded") as refused:
        own.admit(wanted("b", "c", "d", "e"), view(server(1, plan=2)), 0.0)
    assert refused.value.required == Decimal("0.105")
    assert len(own.admit(wanted("b", "c", "d"), view(server(1, plan=2)), 0.0)) == 3


@pytest.mark.parametrize("present", [server(1, plan=None), server(1, plan=3), server(1, plan=9)])
def test_a_server_without_a_known_price_is_refused(present: Server) -> None:
    """What the account costs must be known before anything is added to it."""
    with pytest.raises(LimitError, match=r"price per hour of server 'old-1' \(1\) is not known") as refused:
        allowance(max_hourly=100).admit(wanted("a"), view(present), 0.0)

    assert (refused.value.limit, refused.value.required) == ("max_hourly", None)


@pytest.mark.parametrize("plan", [3, 9])
def test_a_spec_without_a_known_price_is_refused(plan: int) -> None:
    """A plan without a price could cost anything."""
    with pytest.raises(LimitError, match="price per hour of 'a' is not known"):
        allowance(max_hourly=100).admit(wanted("a", plan=plan), view(), 0.0)
    assert allowance(max_servers=100).admit(wanted("a", plan=plan), view(), 0.0)


def test_a_run_has_a_limit_of_its_own() -> None:
    """The creates of one call are counted, whatever the account has."""
    own = allowance(max_creates_per_run=2)
    own.check_run(2)

    with pytest.raises(LimitError, match="max_creates_per_run=2 would be exceeded"):
        own.check_run(3)


def test_a_read_only_client_changes_nothing() -> None:
    """The error names the change."""
    with pytest.raises(LimitError, match="reboot was not sent: the client is read-only") as refused:
        allowance(read_only=True).check_change("reboot")

    assert refused.value.limit == "read_only"
    allowance().check_change("reboot")


@pytest.mark.parametrize(
    "limits",
    [
        {"max_servers": -1},
        {"max_servers": 1.5},
        {"max_servers": True},
        {"max_creates_per_run": "3"},
        {"max_hourly": -0.01},
        {"max_hourly": float("nan")},
        {"max_hourly": Decimal("Infinity")},
        {"max_hourly": "0.5"},
        {"max_hourly": True},
        {"read_only": 1},
    ],
)
def test_a_limit_that_is_none_is_refused(limits: dict[str, Any]) -> None:
    """Each value has its range, and the error names the limit."""
    with pytest.raises(ConfigurationError, match=next(iter(limits))):
        Limits(**limits)


@pytest.mark.parametrize("amount", [0.1, Decimal("0.1")])
def test_an_amount_is_what_was_written(amount: Any) -> None:
    """0.1 is a tenth, not the binary number next to it."""
    assert Limits(max_hourly=amount).max_hourly == Decimal("0.1")


# -- all together ---------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "answer", "doubt", "refuse", "delete", "show"]),
        st.integers(0, 5),
        st.integers(1, 3),
    ),
    max_size=40,
)


@given(STEPS, st.integers(0, 6))
def test_no_order_of_events_passes_the_limit(steps: list[tuple[str, int, int]], most: int) -> None:
    """Whatever is answered, lost, refused, deleted or shown late: there are never more servers than the limit.

    The model has the servers that exist. A create in doubt exists from the moment it is sent; lists lag behind by
    any number of steps.
    """
    own = allowance(max_servers=most)
    exist: dict[int, Server] = {}
    listed: list[Server] = []
    open_places: list[tuple[Place, Server]] = []
    ids = iter(range(1, 1000))
    for now, (what, which, number) in enumerate(steps):
        if what == "admit":
            names = [f"n-{now}-{one}" for one in range(number)]
            try:
                places = own.admit(wanted(*names), view(*listed, at=now), now)
            except LimitError:
                assert number > 0
                continue
            for place, name in zip(places, names, strict=True):
                created = server(next(ids), name)
                exist[int(created.id)] = created
                open_places.append((place, created))
        elif what == "show":
            listed = list(exist.values())
        elif open_places and what in ("answer", "doubt", "refuse"):
            place, created = open_places.pop(which % len(open_places))
            if what == "refuse":
                del exist[int(created.id)]
                listed = [one for one in listed if one.id != created.id]
                own.withdraw([place])
            else:
                place.settle(created if what == "answer" else None, now)
        elif what == "delete":
            # it counts for as long as a list shows it
            settled = [one for one in exist if all(one != created.id for _, created in open_places)]
            if settled:
                del exist[settled[which % len(settled)]]
        assert len(exist) <= most


# -- resizes --------------------------------------------------------------------------------------------------------


def test_a_resize_counts_by_the_difference_of_prices() -> None:
    """Until lists must show it; then the list says what the account costs. It is no further server."""
    own = allowance(max_hourly=Decimal("0.06"), max_servers=3)
    seen = view(server(1), server(2))
    (place,) = own.admit_resizes([1], OFFERS[1], seen).values()
    place.begin()
    place.settle(None, 10.0)

    assert (place.price, place.creates) == (Decimal("0.015"), False)
    assert free(own, view(server(1), server(2), at=20.0)) == 1
    with pytest.raises(LimitError, match="max_hourly"):
        own.admit(wanted("a", plan=2), view(server(1), server(2), at=20.0), 20.0)
    assert own.admit(wanted("a", plan=2), view(server(1), server(2), at=10.0 + VISIBILITY), 80.0)


def test_resizes_of_one_call_are_admitted_together() -> None:
    """All of them, or none; one that gets cheaper makes no room for another."""
    own = allowance(max_hourly=Decimal("0.07"))
    seen = view(server(1), server(2), server(3, plan=2))
    with pytest.raises(LimitError, match="max_hourly"):
        own.admit_resizes([1, 2, 3], OFFERS[1], seen)
    assert [place.price for place in own.admit_resizes(["3"], OFFERS[0], seen).values()] == [0]
    with pytest.raises(LimitError, match="max_hourly"):
        own.admit_resizes([1], OFFERS[1], seen)


@pytest.mark.parametrize(
    ("ids", "offer", "servers"),
    [
        ([1], OFFERS[2], [server(1)]),
        ([1], OFFERS[1], [server(1, plan=None)]),
        ([9], OFFERS[1], [server(1)]),
        ([1], OFFERS[1], [server(1), server(2, plan=3)]),
    ],
    ids=[
        "plan without a price",
        "server without a plan",
        "server that is not listed",
        "another one without a price",
    ],
)
def test_a_resize_whose_price_is_not_known_is_refused(ids: Any, offer: PlanOffer, servers: Any) -> None:
    """As a create is."""
    with pytest.raises(LimitError, match="is not known"):
        allowance(max_hourly=Decimal(1)).admit_resizes(ids, offer, view(*servers))


def test_without_a_limit_of_prices_a_resize_holds_no_place() -> None:
    assert allowance(max_servers=1).admit_resizes([1], OFFERS[1], view(server(1))) == {}
