"""No spelling of the token survives redaction; other text stays readable."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpsorg_async.http.redact import BLANK, Redactor

TOKENS = [
    "vps_CANARY0f9d/aB+12",
    "Zq81-CANARY.tok~en_=",
    "ey.CANARY%2F&=41+5d",
    "a-sandbox-token-of-many-letters" * 2,
]

Spell = Callable[[str], str]

CHARACTERS: dict[str, Spell] = {
    "plain": lambda c: c,
    "upper": str.upper,
    "lower": str.lower,
    "json": lambda c: f"\\u{ord(c):04x}",
    "json, upper": lambda c: f"\\u{ord(c):04X}",
    "json, plain": lambda c: c if c.isalnum() else f"\\{c}",
    "javascript": lambda c: f"\\x{ord(c):02x}",
    "javascript, braces": lambda c: f"\\u{{{ord(c):x}}}",
    "python": lambda c: f"\\U{ord(c):08x}",
    "octal": lambda c: f"\\{ord(c):03o}",
    "percent": lambda c: f"%{ord(c):02x}",
    "percent, upper": lambda c: f"%{ord(c):02X}",
    "html, decimal": lambda c: f"&#{ord(c)};",
    "html, zeros": lambda c: f"&#{ord(c):07d};",
    "html, hex": lambda c: f"&#x{ord(c):x};",
    "html, hex, upper": lambda c: f"&#X{ord(c):X};",
    "html, named": lambda c: {"/": "&sol;", "+": "&plus;", "_": "&lowbar;", ".": "&period;", "&": "&amp;"}.get(c, c),
}  # fmt: skip
TEXTS: dict[str, Spell] = {
    "json": lambda t: json.dumps(t)[1:-1],
    "json, slashes": lambda t: json.dumps(t)[1:-1].replace("/", "\\/"),
    "html": html.escape,
    "url": lambda t: quote(t, safe=""),
    "every character, json": lambda t: "".join(map(CHARACTERS["json"], t)),
    "every character, percent": lambda t: "".join(map(CHARACTERS["percent"], t)),
    "every character, html": lambda t: "".join(map(CHARACTERS["html, decimal"], t)),
}
tokens = st.sampled_from(TOKENS)
surroundings = st.text(st.characters(exclude_characters="&%\\", codec="utf-8"), max_size=20)


def shown(token: str, text: str) -> bool:
    """Whether enough of the token can be read in the text to be useful."""
    return any(token[at : at + 8].lower() in text.lower() for at in range(len(token) - 7))


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("spelling", CHARACTERS)
def test_each_spelling_of_a_character(spelling: str, token: str) -> None:
    """With every character spelt in one way, nothing of the token is left, and the words around it stay."""
    spelt = "".join(map(CHARACTERS[spelling], token))

    assert Redactor(token)(f"<Token '{spelt}' is not known.>") == f"<Token '{BLANK}' is not known.>"


@settings(deadline=None)
@given(st.data(), tokens, surroundings, surroundings)
def test_any_mixture_of_spellings(data: st.DataObject, token: str, before: str, after: str) -> None:
    """Each character may be spelt in another way than the one before it."""
    ways = data.draw(st.lists(st.sampled_from(sorted(CHARACTERS)), min_size=len(token), max_size=len(token)))
    spelt = "".join(CHARACTERS[way](character) for way, character in zip(ways, token, strict=True))

    assert spelt not in Redactor(token)(f"{before} {spelt} {after}")


@settings(deadline=None)
@given(tokens, st.lists(st.sampled_from(sorted(TEXTS)), max_size=3), surroundings, surroundings)
def test_escapes_within_escapes(token: str, ways: list[str], before: str, after: str) -> None:
    """In JSON in JSON, in HTML, in a URL, the token is found and blanked."""
    spelt = token
    for way in ways:
        spelt = TEXTS[way](spelt)

    clean = Redactor(token)(f"{before} {spelt} {after}")

    assert spelt not in clean
    assert BLANK in clean


@settings(deadline=None)
@given(tokens, st.booleans(), st.booleans(), st.booleans(), st.binary(max_size=9), st.binary(max_size=9))
def test_base64(token: str, urlsafe: bool, padded: bool, escaped: bool, before: bytes, after: bytes) -> None:
    """A base64 token is found in either alphabet, alone or within other text, padded or not, escaped or not."""
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    for inner in (token, f"Bearer {token}", f"user:{token}", f"{token}:", before + token.encode() + after):
        coded = encode(inner if isinstance(inner, bytes) else inner.encode()).decode()
        coded = coded if padded else coded.rstrip("=")
        text = f"Basic {quote(coded, safe='') if escaped else coded} is wrong"

        assert Redactor(token)(text) == f"Basic {BLANK} is wrong"


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("spelling", [*CHARACTERS, "base64", "basic"])
@pytest.mark.parametrize("tail", ["", '..."}'])
def test_a_token_cut_short_at_the_end(tail: str, spelling: str, token: str) -> None:
    """A text that was cut within the token, or within one of its escapes, does not keep the first part."""
    if "base64" in spelling or "basic" in spelling:
        spelt = base64.b64encode(f"{'user:' if spelling == 'basic' else ''}{token}".encode()).decode()
    else:
        spelt = "".join(map(CHARACTERS[spelling], token))

    redact = Redactor(token)
    for cut in range(1, len(spelt)):
        clean = redact(f"bad request: {spelt[:cut]}{tail}")
        for layer in (clean, html.unescape(clean), clean.replace("\\", "")):
            assert not shown(token, layer)
        assert len(clean) <= len("bad request: ") + len(tail) + 60
        assert clean.startswith("bad request: ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No server 7.",
        r"a\nb \u00e9 %41 &lt;b&gt; %zz \ux &;",
        "vps_",
        "The vps is not the vps_ that you mean: vps",
        "https://x.example/a/b/c?d=e%20f",
        "C:\\new\\table",
        "YmFzZTY0IG9mIHNvbWV0aGluZyBlbHNl",
        "passwords are not supported",
    ],
)
@pytest.mark.parametrize("token", TOKENS)
def test_other_text_is_left_as_it_is(token: str, text: str) -> None:
    """Text without secrets keeps its escapes, its case and its length."""
    assert Redactor(token)(text) == text


@settings(deadline=None)
@given(st.text(st.sampled_from('\\%&#;ux0123456789abcdef{}vps_CANARY0f9d/aB+12 "=')), tokens)
def test_any_text_can_be_read(text: str, token: str) -> None:
    """Redaction fails on no text, and the token in plain letters never comes out."""
    clean = Redactor(token)(text + token)

    assert token.lower() not in clean.lower()


HOSTILE = {
    "backslashes": "\\",
    "percents": "%25",
    "percent signs within": "25",
    "entities": "&amp;",
    "entities within": "amp;",
    "ampersands": "&",
    "long entities": "&" + "a" * 31,
    "numbers": "&#0000000000000000000118;",
    "no number": "&#0",
    "braces": "\\u{0",
    "nearly the token": TOKENS[0][:-1],
    "nearly the token, escaped": "".join(map(CHARACTERS["json"], TOKENS[0][:-1])),
    "letters": "A",
    "padding": "=",
    "tokens": TOKENS[0],
    "base64": base64.b64encode(TOKENS[0].encode() * 3).decode().rstrip("="),
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.timeout(30)
def test_no_text_takes_for_ever(unit: str) -> None:
    """Three times the longest error body that is read takes no noticeable time, however contrived."""
    text = "%" + unit * (200_000 // len(unit))

    assert TOKENS[0] not in Redactor(TOKENS[0])(text)


def test_it_does_not_show_its_token() -> None:
    """The redactor's repr does not show its token."""
    assert repr(Redactor(TOKENS[0])) == "Redactor(***)"


def test_letters_that_grow_in_lower_case() -> None:
    """A letter whose lower case is two letters does not shift the place that is blanked."""
    for size in range(5, 12):
        assert Redactor("CANARY-123456")("CANARY-123456"[:size] + "İ" * 8) == BLANK


@pytest.mark.parametrize("spelling", CHARACTERS)
def test_a_token_that_holds_a_backslash(spelling: str) -> None:
    """A token that contains something like an escape is found in each uniform spelling."""
    token = "ab\\x41/CANARY\\n5d"
    spelt = "".join(map(CHARACTERS[spelling], token))

    assert Redactor(token)(f"Token {spelt} is wrong.") == f"Token {BLANK} is wrong."


def test_without_a_token_there_is_nothing_to_blank() -> None:
    """An empty token blanks nothing."""
    assert Redactor("")("No server 7.") == "No server 7."
