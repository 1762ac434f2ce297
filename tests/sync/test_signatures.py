"""The classes for code that is not async have what the async ones have, with the same parameters and types."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest

import vpsorg_async
from vpsorg_async import ClientOptions, actions, fleet, lookups, servers, sync

PAIRS: list[tuple[type, type]] = [
    (sync.Client, vpsorg_async.Client),
    (sync.Servers, servers.Servers),
    (sync.Actions, actions.Actions),
    (sync.Fleet, fleet.Fleet),
    (sync.Run, fleet.Run),
    (sync.RollingRun, fleet.RollingRun),
    (sync.Plans, lookups.Plans),
    (sync.Locations, lookups.Locations),
    (sync.OperatingSystems, lookups.OperatingSystems),
    (sync.SSHKeys, lookups.SSHKeys),
    (sync.AccountInfo, lookups.AccountInfo),
]
# What one side has alone: a look-up over another session is internal, a report has an async method, and only a client
# that is not async has a method to close it.
ONLY_ASYNC = {"over"}
ONLY_SYNC = {"close", "retry_failed"}


def public(owner: type) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


@pytest.mark.parametrize(("plain", "original"), PAIRS)
def test_the_names_are_the_same(plain: type, original: type) -> None:
    """A method that is added to an async class is added here too."""
    assert public(plain) - ONLY_SYNC == public(original) - ONLY_ASYNC


METHODS = [
    pytest.param(getattr(plain, name), getattr(original, name), id=f"{plain.__name__}.{name}")
    for plain, original in PAIRS
    for name in sorted(public(plain) & public(original))
    if callable(getattr(plain, name))
]


@pytest.mark.parametrize(("plain", "original"), METHODS)
def test_the_parameters_are_the_same(plain: Callable[..., Any], original: Callable[..., Any]) -> None:
    """Names, kinds, defaults and types of the parameters are those of the async method."""
    assert (
        inspect.signature(plain, eval_str=True).parameters
        == inspect.signature(original, eval_str=True).parameters
    )
    assert not inspect.iscoroutinefunction(plain)
    assert plain.__name__ == original.__name__


def test_properties_stay_properties() -> None:
    """What is read without a call there is read without a call here."""
    for plain, original in PAIRS:
        for name in public(plain) & public(original):
            assert isinstance(getattr(plain, name), property) == isinstance(
                getattr(original, name), property
            ), name


def test_the_options_of_a_client_are_those_of_the_async_client() -> None:
    """`sync.Client` takes the token and `ClientOptions`, which is what `Client` takes."""
    taken = inspect.signature(vpsorg_async.Client).parameters
    token, options = inspect.signature(sync.Client).parameters.values()

    assert token.name == next(iter(taken))
    assert options.kind is inspect.Parameter.VAR_KEYWORD
    assert list(get_type_hints(ClientOptions)) == list(taken)[1:]


@pytest.mark.parametrize(("plain", "original"), METHODS)
def test_the_docstrings_have_nothing_async(plain: Callable[..., Any], original: Callable[..., Any]) -> None:
    """Help shows examples that can be run: no ``await``, no ``async with``."""
    text = inspect.getdoc(plain) or ""

    assert text
    assert not {"await", "async"} & set(text.replace("`", " ").split()), text
