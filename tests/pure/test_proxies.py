"""The choice of a proxy by the variables, and invalid proxy addresses: two tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async.http.proxies import problem_of, select, with_scheme

API = "https://api.vps.example"
LOCAL = "http://127.0.0.1:8080"
SIX = "http://[2001:db8::1]:8080"
BOTH = {"http": "http://plain:1", "https": "http://secure:2", "all": "http://any:3"}


@pytest.mark.parametrize(
    ("url", "variables", "chosen"),
    [
        (API, {}, None),
        (API, BOTH, ("https_proxy", "http://secure:2")),
        (LOCAL, BOTH, ("http_proxy", "http://plain:1")),
        (API, {"http": "http://plain:1"}, None),
        (API, {"all": "http://any:3"}, ("all_proxy", "http://any:3")),
        (LOCAL, {"all": "http://any:3", "https": "http://secure:2"}, ("all_proxy", "http://any:3")),
        (API, {"https": " http://secure:2 "}, ("https_proxy", "http://secure:2")),
        (API, {"https": " ", "all": "http://any:3"}, ("all_proxy", "http://any:3")),
        (API, {"https": "", "all": ""}, None),
        (API, {**BOTH, "no": "*"}, None),
        (API, {**BOTH, "no": "api.vps.example"}, None),
    ],
)
def test_the_variable_that_decides(
    url: str, variables: dict[str, str], chosen: tuple[str, str] | None
) -> None:
    """The scheme's own variable is used, else the one for all; none where the host is exempt."""
    assert select(url, variables) == chosen


EXEMPT = [
    (API, "*"),
    (API, "x.example, *"),
    (API, "api.vps.example"),
    (API, "API.VPS.Example"),
    (API, " api.vps.example "),
    (API, "api.vps.example."),
    (API, "vps.example"),
    (API, ".vps.example"),
    (API, "*.vps.example"),
    (API, ".api.vps.example"),
    (API, "example"),
    (API, "api.vps.example:443"),
    (API, ".vps.example:443"),
    (API, "a.example,,b.example,vps.example"),
    (API, "a.example b.example\tvps.example"),
    ("https://API.vps.example.:8443", "vps.example:8443"),
    ("http://localhost:8080", "localhost"),
    ("http://localhost:8080", "localhost:8080"),
    (LOCAL, "127.0.0.1"),
    (LOCAL, "127.0.0.1:8080"),
    (LOCAL, "127.0.0.0/8"),
    (LOCAL, "127.0.0.9/8"),
    (LOCAL, "10.0.0.0/8, 127.0.0.1/32"),
    (LOCAL, "0.0.0.0/0"),
    (SIX, "2001:db8::1"),
    (SIX, "2001:DB8:0:0::1"),
    (SIX, "[2001:db8::1]"),
    (SIX, "[2001:db8::1]:8080"),
    (SIX, "2001:db8::/32"),
    (SIX, "[2001:db8::]/32"),
    ("http://[::1]:8080", "::1"),
]
NOT_EXEMPT = [
    (API, ""),
    (API, " , "),
    (API, "."),
    (API, "*."),
    (API, "ps.example"),
    (API, "www.api.vps.example"),
    (API, "api.vps"),
    (API, "vps.example.org"),
    (API, "api.vps.example:8443"),
    (API, "api.vps.example:80"),
    (API, "api.vps.example:"),
    (API, "api.vps.example:999999"),
    (API, "10.0.0.0/8"),
    (API, "https://api.vps.example"),
    (API, "[vps.example"),
    (LOCAL, "127.0.0.1:80"),
    (LOCAL, "127.0.0.11"),
    (LOCAL, "0.0.1"),
    (LOCAL, "localhost"),
    (LOCAL, "10.0.0.0/8"),
    (LOCAL, "127.0.0.0/33"),
    (LOCAL, "127.0.0.0/x"),
    (LOCAL, "::/0"),
    ("http://localhost:8080", "127.0.0.1"),
    (SIX, "[2001:db8::1]:80"),
    (SIX, "2001:db8::2"),
    (SIX, "2001:db9::/32"),
    (SIX, "0.0.0.0/0"),
]


@pytest.mark.parametrize(("url", "no_proxy"), EXEMPT)
def test_hosts_that_are_reached_directly(url: str, no_proxy: str) -> None:
    """Names with their subdomains, addresses and networks are exempt, each perhaps on one port only."""
    assert select(url, {**BOTH, "no": no_proxy}) is None


@pytest.mark.parametrize(("url", "no_proxy"), NOT_EXEMPT)
def test_hosts_that_are_not(url: str, no_proxy: str) -> None:
    """Another port, another name with the same ending, or an empty entry exempts no host."""
    assert select(url, {**BOTH, "no": no_proxy}) is not None


@given(st.text(), st.sampled_from([API, LOCAL, SIX]))
def test_any_exemptions_can_be_read(no_proxy: str, url: str) -> None:
    """An invalid entry exempts no host, and breaks nothing."""
    assert select(url, {**BOTH, "no": no_proxy}) in (None, select(url, BOTH))


@pytest.mark.parametrize(
    "address",
    [
        "http://proxy.example",
        "http://proxy.example:3128",
        "http://proxy.example:3128/",
        "HTTP://proxy.example:3128",
        "https://proxy.example:3128",
        "proxy.example:3128",
        "localhost",
        "127.0.0.1:3128",
        "http://[::1]:3128",
        "http://user:secret@proxy.example:3128",
        "user:secret@proxy.example:3128",
        "http://user@proxy.example:3128",
        "http://do%5Cuser:se%2Fcr%40et@proxy.example:3128",
        "http://user:gehe%C3%AFm@proxy.example:3128",
    ],
)
def test_addresses_of_proxies(address: str) -> None:
    """A proxy's address may have a scheme, a port, and credentials."""
    assert problem_of(address) is None
    assert with_scheme(address).lower().startswith("http")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "not the address of an HTTP proxy"),
        ("http://", "not the address of an HTTP proxy"),
        ("ftp://secret.example", "not the address of an HTTP proxy"),
        ("//secret.example:3128", "not the address of an HTTP proxy"),
        ("http://secret:0", "not the address of an HTTP proxy"),
        ("http://user:secret@", "not the address of an HTTP proxy"),
        ("http://user:secret@pröxy.example", "not the address of an HTTP proxy"),
        ("http://user:secret@proxy:x", "percent-encoded"),
        ("http://user:secret@proxy:99999", "percent-encoded"),
        ("http://[secret", "percent-encoded"),
        ("http://user:sec/ret@proxy:3128", "percent-encoded"),
        ("http://user:12/secret@proxy:3128", "percent-encoded"),
        ("http://user:1#secret@proxy:3128", "percent-encoded"),
        ("http://user:1?secret@proxy:3128", "percent-encoded"),
        ("http://do\\user:secret@proxy:3128", "percent-encoded"),
        ("http://user:secret word@proxy:3128", "percent-encoded"),
        ("http://user:secret\n@proxy:3128", "percent-encoded"),
        ("http://us%3Aer:secret@proxy:3128", "user with a colon"),
        ("http://user:secret%E2%82%AC@proxy:3128", "beyond Latin-1"),
        ("socks5://user:secret@proxy:1080", "SOCKS"),
        ("socks5h://secret:1080", "SOCKS"),
        ("socks4://secret:1080", "SOCKS"),
        ("SOCKS5://secret:1080", "SOCKS"),
        (3128, "a string, not int"),
        (b"http://secret:3128", "a string, not bytes"),
    ],
)
def test_addresses_of_none(address: object, words: str) -> None:
    """The error names the problem, and does not repeat the address."""
    problem = problem_of(address)

    assert problem is not None
    assert words in problem
    assert "secret" not in problem


@given(st.text() | st.from_regex(r"(http://)?[u:/@\[\]%#?. a1]{0,12}"))
def test_any_text_is_a_proxy_or_a_problem(address: str) -> None:
    """Any text gives a proxy or a problem, never an exception."""
    assert problem_of(address) is None or str(problem_of(address)).startswith(("is ", "has "))
