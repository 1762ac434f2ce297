"""Settings: accepted values, and values that are refused before anything can be sent."""

from __future__ import annotations

import math
import traceback
from typing import Any

import pytest

from vpsorg_async import Backoff, Client, RetryPolicy, Timeout
from vpsorg_async.config import (
    DEFAULT_BASE_URL,
    WaitPolicy,
    check_base_url,
    check_seconds,
    check_token,
    environment_settings,
    from_environment,
)
from vpsorg_async.errors import ConfigurationError

TOKEN = "vps_abc123def456"

NO_SECONDS = [
    math.nan, math.inf, -math.inf, -1, -0.001, 10**400, -(10**400), True, False, "1", "", None, b"1", [1], 1j,
]  # fmt: skip


# -- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", NO_SECONDS, ids=lambda value: type(value).__name__)
def test_what_is_no_number_of_seconds(value: object) -> None:
    """Durations are finite numbers, not below zero; True is not 1."""
    for zero in (False, True):
        with pytest.raises(ConfigurationError, match=r"^timeout is a "):
            check_seconds(value, "timeout", zero=zero)


def test_zero_seconds() -> None:
    """Zero is a duration only where it makes sense."""
    assert check_seconds(0, "grace", zero=True) == 0
    with pytest.raises(ConfigurationError):
        check_seconds(0, "timeout")
    with pytest.raises(ConfigurationError):
        check_seconds(-0.0, "timeout")


@pytest.mark.parametrize("value", [1, 0.001, 1e9, 600])
def test_what_is_a_number_of_seconds(value: float) -> None:
    """Integers are as good as floats, and come out as floats."""
    seconds = check_seconds(value, "timeout")

    assert (seconds, type(seconds)) == (value, float)


@pytest.mark.parametrize("value", [*NO_SECONDS, 0], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("field", ["connect", "total"])
def test_timeouts_are_checked(field: str, value: Any) -> None:
    """A timeout is neither infinite nor zero or negative."""
    with pytest.raises(ConfigurationError, match=field):
        Timeout(**{field: value})


@pytest.mark.parametrize("value", NO_SECONDS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("field", ["min_interval", "max_interval", "grace", "quiet", "visibility"])
def test_wait_policies_are_checked(field: str, value: Any) -> None:
    """The numbers of a wait policy are numbers of seconds, also where the client is given them."""
    with pytest.raises(ConfigurationError, match=field):
        WaitPolicy(**{field: value})
    with pytest.raises(ConfigurationError, match=field):
        Client(TOKEN, **{field: value})


def test_intervals_are_in_order() -> None:
    """The shortest pause is not longer than the longest."""
    with pytest.raises(ConfigurationError, match="min_interval is larger"):
        Client(TOKEN, min_interval=2, max_interval=1)
    Client(TOKEN, min_interval=1, max_interval=1)


def test_a_wait_policy_is_given_once() -> None:
    """The numbers of waits come as a `WaitPolicy` or one by one; both together are refused as ambiguous."""
    Client(TOKEN, waiting=WaitPolicy(grace=30))
    for number in ("min_interval", "max_interval", "grace", "quiet", "visibility"):
        with pytest.raises(ConfigurationError, match=f"^give {number} to the WaitPolicy"):
            Client(TOKEN, waiting=WaitPolicy(), **{number: getattr(WaitPolicy(), number)})
    with pytest.raises(ConfigurationError, match="waiting is a WaitPolicy"):
        Client(TOKEN, waiting=30)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "policy",
    [
        {"attempts": 0}, {"attempts": -1}, {"attempts": 1.5}, {"attempts": True}, {"attempts": "3"}, {"attempts": None},
        {"quota": -1}, {"quota": True}, {"quota": 1.0}, {"quota": None},
        {"max_retry_after": -1}, {"max_retry_after": math.inf}, {"max_retry_after": math.nan},
        {"rate_limit_patience": -1}, {"rate_limit_patience": "60"},
        {"backoff": None}, {"backoff": 1.0},
        {"backoff": Backoff(initial=-1)}, {"backoff": Backoff(maximum=math.inf)},
        {"backoff": Backoff(multiplier=math.nan)},
    ],
    ids=str,
)  # fmt: skip
def test_retry_policies_are_checked(policy: dict[str, Any]) -> None:
    """A policy with no attempts, endless attempts or invalid times is refused when it is created."""
    with pytest.raises(ConfigurationError):
        RetryPolicy(**policy)


@pytest.mark.parametrize("field", ["max_in_flight", "max_body", "max_list_body"])
@pytest.mark.parametrize("value", [0, -1, 1.5, 8.0, True, "8", None, math.inf], ids=repr)
def test_limits_are_checked(field: str, value: Any) -> None:
    """Limits are whole numbers from 1."""
    with pytest.raises(ConfigurationError, match=f"{field} is a whole number from 1"):
        Client(TOKEN, **{field: value})


@pytest.mark.parametrize(
    "options", [{"timeout": 30}, {"timeout": 0}, {"retry": 3}, {"retry": False}], ids=str
)
def test_a_number_is_neither_timeout_nor_policy(options: dict[str, Any]) -> None:
    """A number that would fail at the first call, or be ignored, is refused immediately."""
    with pytest.raises(ConfigurationError, match=r"Timeout|RetryPolicy"):
        Client(TOKEN, **options)


# -- token ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    [None, "", "  ", "\n", 5, b"vps_abc123def456", "vps_abc 123def456", "vps_abc123\ndef456", "vps_abc123\r\nX: y",
     "vps_äbc123def456", "vps_abc123\x00", "vps_abc123\x7f", "vps_\u200babc123", ["vps_abc123"]],
    ids=repr,
)  # fmt: skip
def test_what_is_no_token(token: Any) -> None:
    """A token that is invalid in a header is refused, and the message does not repeat it."""
    with pytest.raises(ConfigurationError, match="API token") as caught:
        Client(token)

    assert "abc123" not in str(caught.value)
    assert "abc123" not in repr(caught.value)


def test_a_token_is_trimmed() -> None:
    """A line end from a file or a shell does no harm."""
    assert check_token(f"  {TOKEN}\r\n") == TOKEN


# -- base_url -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (DEFAULT_BASE_URL, "https://admin.vps.org"),
        ("https://admin.vps.org/", "https://admin.vps.org"),
        (" https://admin.vps.org//\n", "https://admin.vps.org"),
        ("https://proxy.example/vps/", "https://proxy.example/vps"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.8.9.10", "http://127.8.9.10"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://LOCALHOST", "http://LOCALHOST"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_base_urls(given: str, taken: str) -> None:
    """https is accepted anywhere, plain http on this machine; a trailing slash makes no difference."""
    assert check_base_url(given) == taken


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, "string"), (5, "string"), (b"https://admin.vps.org", "string"),
        ("", "address"), ("admin.vps.org", "address"), ("//admin.vps.org", "address"), ("https://", "address"),
        ("https:///api", "address"), ("ftp://admin.vps.org", "address"), ("file:///etc/passwd", "address"),
        ("https://[::1", "not a URL"), ("https://[::1]x", "not a URL"), ("https://[::1]x:443", "not a URL"),
        ("https://[::1]443", "not a URL"), ("https://x[::1]", "not a URL"), ("https://[::1]]:443", "not a URL"),
        ("https://admin.vps.org:port", "not a URL"),
        ("https://admin.vps.org:99999", "not a URL"),
        ("https://user@admin.vps.org", "credentials"), ("https://:secret@admin.vps.org", "credentials"),
        ("https://@admin.vps.org", "credentials"), ("https://evil.example\\@admin.vps.org", "credentials"),
        ("https://admin.vps.org?x=1", "query"), ("https://admin.vps.org?", "query"),
        ("https://admin.vps.org/#top", "fragment"), ("https://admin.vps.org#", "fragment"),
        ("https://admin.vps.org /x", "blanks"), ("https://admin\n.vps.org", "blanks"),
        ("https://admin.vps.org\x00", "blanks"), ("https://evil.example\\.vps.org", "backslashes"),
        ("https://admin.vps.org/api/v1", "without /api/v1"), ("https://admin.vps.org/api/v1/", "without /api/v1"),
        ("http://admin.vps.org", "in the clear"), ("http://192.168.1.5", "in the clear"),
        ("http://0.0.0.0", "in the clear"), ("http://10.127.0.0.1", "in the clear"),
        ("http://127.evil.example", "in the clear"), ("http://127.0.0.1.evil.example", "in the clear"),
        ("http://localhost.evil.example", "in the clear"), ("http://[2001:db8::1]", "in the clear"),
    ],
)  # fmt: skip
def test_what_is_no_base_url(url: Any, reason: str) -> None:
    """An address that would send the token in the clear, elsewhere, or to a wrong path is refused with the reason."""
    with pytest.raises(ConfigurationError, match=reason) as caught:
        Client(TOKEN, base_url=url)

    assert "secret" not in str(caught.value)


def test_plain_http_is_had_by_asking() -> None:
    """``allow_insecure`` permits plain http, and nothing else."""
    assert check_base_url("http://gateway.internal", allow_insecure=True) == "http://gateway.internal"
    assert "gateway.internal" in repr(Client(TOKEN, base_url="http://gateway.internal", allow_insecure=True))
    with pytest.raises(ConfigurationError):
        check_base_url("ftp://gateway.internal", allow_insecure=True)


# -- environment ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "token", "base_url"),
    [
        ({"VPSORG_API_TOKEN": "mine"}, "mine", DEFAULT_BASE_URL),
        ({"VPS_API_TOKEN": "theirs"}, "theirs", DEFAULT_BASE_URL),
        ({"VPSORG_API_TOKEN": "mine", "VPS_API_TOKEN": "theirs"}, "mine", DEFAULT_BASE_URL),
        ({"VPSORG_API_TOKEN": "", "VPS_API_TOKEN": "theirs"}, "theirs", DEFAULT_BASE_URL),
        ({"VPSORG_API_TOKEN": " \n", "VPS_API_TOKEN": "theirs"}, "theirs", DEFAULT_BASE_URL),
        ({"VPSORG_API_TOKEN": "mine", "VPSORG_BASE_URL": ""}, "mine", DEFAULT_BASE_URL),
        ({"VPSORG_API_TOKEN": "mine", "VPSORG_BASE_URL": "http://127.0.0.1:1"}, "mine", "http://127.0.0.1:1"),
        ({"VPSORG_API_TOKEN": "mine", "VPS_BASE_URL": "http://127.0.0.1:1"}, "mine", DEFAULT_BASE_URL),
    ],
)
def test_what_the_environment_says(
    environ: dict[str, str], token: str, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This package's variable overrides the provider's; a variable without a value is not set."""
    found, settings = from_environment(environ)

    assert (found, settings.get("base_url", DEFAULT_BASE_URL)) == (token, base_url)

    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found, settings = from_environment()
    assert (found, settings.get("base_url", DEFAULT_BASE_URL)) == (token, base_url)
    assert repr(Client.from_env()) == f"Client(base_url={base_url!r})"


PROVIDER = {"VPS_API_TOKEN": "theirs", "VPS_API_URL": "https://their.example/api/v1/"}


@pytest.mark.parametrize(
    ("environ", "settings"),
    [
        ({}, {}),
        ({"VPSORG_DIALECT": " provider "}, {"dialect": "provider"}),
        (PROVIDER, {"token": "theirs", "base_url": "https://their.example"}),
        (PROVIDER | {"VPS_API_URL": "https://a.example/x/api/v1"}, {"token": "theirs", "base_url": "https://a.example/x"}),
        (PROVIDER | {"VPS_API_URL": "https://a.example//"}, {"token": "theirs", "base_url": "https://a.example"}),
        (PROVIDER | {"VPS_API_URL": " "}, {"token": "theirs"}),
        (PROVIDER | {"VPSORG_BASE_URL": "https://own.example"}, {"token": "theirs", "base_url": "https://own.example"}),
        (PROVIDER | {"VPSORG_API_TOKEN": "mine"}, {"token": "mine"}),
        (PROVIDER | {"VPSORG_API_TOKEN": " "}, {"token": "theirs", "base_url": "https://their.example"}),
        ({"VPS_API_URL": "https://their.example/api/v1"}, {}),
    ],
)  # fmt: skip
def test_the_providers_address_goes_with_its_token(environ: dict[str, str], settings: dict[str, str]) -> None:
    """VPS_API_URL counts, without /api/v1, only where the token came from VPS_API_TOKEN and no own address is set."""
    assert environment_settings(environ) == settings

    if "token" in settings:
        rest = {key: value for key, value in settings.items() if key != "token"}
        assert from_environment(environ) == (settings["token"], rest)


@pytest.mark.parametrize(
    "environ", [{}, {"VPSORG_API_TOKEN": ""}, {"VPSORG_TOKEN": "x"}, {"VPS_API_TOKEN": " "}]
)
def test_no_token_in_the_environment(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token the error names the variables to set."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError, match=r"set VPSORG_API_TOKEN \(or VPS_API_TOKEN\)"):
        Client.from_env()


def test_options_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options in the program override the environment."""
    monkeypatch.setenv("VPSORG_API_TOKEN", TOKEN)
    monkeypatch.setenv("VPSORG_BASE_URL", "https://from-the-environment.example")

    assert (
        repr(Client.from_env(base_url="https://given.example")) == "Client(base_url='https://given.example')"
    )
    with pytest.raises(ConfigurationError, match="max_in_flight"):
        Client.from_env(max_in_flight=0)


def test_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address from the environment is checked like one from the program."""
    monkeypatch.setenv("VPSORG_API_TOKEN", TOKEN)
    monkeypatch.setenv("VPSORG_BASE_URL", "http://127.0.0.1.evil.example")

    with pytest.raises(ConfigurationError, match="in the clear"):
        Client.from_env()


def test_a_traceback_does_not_show_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools that print the variables of each frame find no token in the frames of this package."""
    monkeypatch.setenv("VPSORG_API_TOKEN", TOKEN)

    with pytest.raises(ConfigurationError) as caught:
        Client.from_env(base_url="ftp://admin.vps.org")

    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "in check_base_url" in shown
    assert "self = Client(" in shown
    assert TOKEN not in shown


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"VPSORG_API_TOKEN": TOKEN, "VPSORG_BASE_URL": "nonsense"}, "VPSORG_BASE_URL is an address such as"),
        (
            {"VPS_API_TOKEN": TOKEN, "VPS_API_URL": "http://vps.example/api/v1"},
            "VPS_API_URL is plain http to",
        ),
    ],
)
def test_a_bad_address_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    """It is called by the name of its variable; an option takes its place."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError, match=named):
        Client.from_env()
    assert "vps.other" in repr(Client.from_env(base_url="https://vps.other"))


@pytest.mark.parametrize("before", ["Bearer ", "bearer\t", "Authorization: Bearer "])
def test_a_token_from_a_header(before: str) -> None:
    """The word of the header that was copied with the token is left out; alone it is no token."""
    assert check_token(f"{before}{TOKEN}\n") == TOKEN
    with pytest.raises(ConfigurationError, match="API token is needed"):
        check_token(before)


def test_a_base_url_with_the_prefix_is_named_whole() -> None:
    """The message has the address as it was given, and as it should be."""
    with pytest.raises(ConfigurationError) as caught:
        check_base_url("https://vps.example/v/api/v1/servers", name="--base-url")
    assert str(caught.value) == (
        "--base-url is 'https://vps.example/v/api/v1/servers': give it without /api/v1, which is added to it: "
        "'https://vps.example/v'"
    )
