"""The options of a client as a type are those that the client takes."""

from __future__ import annotations

import inspect

from vpsorg_async import Client, ClientOptions


def test_the_type_of_options_names_every_option() -> None:
    """`from_env` accepts the options of `Client`, no more and no less."""
    parameters = inspect.signature(Client).parameters.values()
    options = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}

    assert ClientOptions.__optional_keys__ == options
    assert ClientOptions.__required_keys__ == frozenset()
