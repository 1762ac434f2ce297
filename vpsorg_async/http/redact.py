"""Redacts secrets in text that came over the wire, before any of it can be printed. Pure.

A service can repeat the token in any spelling: escaped for JSON, HTML or a URL, whole or in part, in several layers,
in other letter case, in base64, or cut short. The text is therefore not searched for spellings. It is unescaped layer
by layer, each character keeps the position in the text that it came from, and if a layer shows the token, that part of
the text is redacted. Every step takes time proportional to the length of the text.
"""

from __future__ import annotations

import html
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from itertools import takewhile
from operator import eq

import attrs

__all__ = ["BLANK", "Redactor"]

BLANK = "***"

# The provider's tokens begin with vps_. An answer can contain a server's root password, and an error can echo it.
_TOKEN = re.compile(r"\bvps_[\w.~+/=-]+")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+")
# A value ends with its quote or bracket, or with the text if that was cut short. Every repetition is bounded or
# possessive, so that the time is proportional to the length of the text.
_PASSWORD = re.compile(
    r"""(?isx) (passw(?:or)?d \w{0,40}+ \\?["']? \s*+ [:=] \s*+)
    ( " (?:[^"\\]|\\.)*+ (?:"|\\?\Z) | ' [^']*+ (?:'|\Z) | \\" .*? (?:\\"|\Z)
    | \[ [^\]]*+ (?:\]|\Z) | \{ [^}]*+ (?:\}|\Z) | [^\s,;&}\]]++ )"""
)

KEPT = 4
"""The number of tokens that are redacted, of those that a client has used."""
_LAYERS = 5
"""The maximum of nested escapes that are undone: JSON in JSON, in HTML, in a URL, and one more."""
_LEAST = 5
"""The minimum length of a token cut short that is redacted. A shorter one reveals nothing, and can be chance."""
_LEAST_CODED = 8
"""The same for base64."""
_REMAINDER = 16
"""Characters at the end of a text that can follow a token cut short: half an escape, an ellipsis, a bracket."""

# JSON and its relatives, URLs, HTML
_ESCAPE = re.compile(
    r"""(?isx)
    \\ (?: (?-i:U) 0{4} ([0-9a-f]{4}) | u ([0-9a-f]{4}) | u \{ 0{0,8} ([0-9a-f]{1,4}) \}
         | x ([0-9a-f]{2}) | (?P<octal>[0-3][0-7]{2}) | (?P<plain>[^ux]) )
    | % (?: u ([0-9a-f]{4}) | ([0-9a-f]{2}) )
    | (?P<entity> & (?: \# \d{1,20} | \# x [0-9a-f]{1,20} | [a-z] [a-z0-9]{1,31} ) ;? )"""
)
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_RUN = re.compile(r"[A-Za-z0-9+/]{8,}+=*+")
_STANDARD = str.maketrans("-_", "+/")

Span = tuple[int, int]


@attrs.frozen
class _Layer:
    """A text, and for each of its characters its beginning and end in the original text."""

    text: str
    begins: Sequence[int]
    ends: Sequence[int]

    def inner(self) -> _Layer | None:
        """Return the text with its escapes undone; None if there are none."""
        texts: list[str] = []
        begins: list[int] = []
        ends: list[int] = []
        done = 0
        for escape in _ESCAPE.finditer(self.text):
            start, end = escape.span()
            said = _unescaped(escape)
            texts += (self.text[done:start], said)
            begins += (*self.begins[done:start], *[self.begins[start]] * len(said))
            ends += (*self.ends[done:start], *[self.ends[end - 1]] * len(said))
            done = end
        if not done:
            return None
        begins += self.begins[done:]
        ends += self.ends[done:]
        return _Layer("".join((*texts, self.text[done:])), begins, ends)

    def outermost(self, span: Span) -> Span:
        return self.begins[span[0]], self.ends[span[1] - 1]


def _layers(text: str) -> Iterator[_Layer]:
    """Yield the text, and the results of undoing its escapes repeatedly."""
    layer: _Layer | None = _Layer(text, range(len(text)), range(1, len(text) + 1))
    for _ in range(_LAYERS):
        if layer is not None:
            yield layer
            layer = layer.inner()


def _unescaped(escape: re.Match[str]) -> str:
    said: str = escape[escape.lastindex or 0]
    match escape.lastgroup:
        case "plain":
            return _CONTROL.get(said, said)
        case "entity":
            return html.unescape(said) or said
        case "octal":
            return chr(int(said, 8))
    return chr(int(said, 16))


class Redactor:
    """Redacts the tokens in use, and passwords. Its repr does not show the tokens."""

    __slots__ = ("_coded", "_forms", "_longest", "_tokens", "_whole")

    def __init__(self, token: str) -> None:
        self._tokens: tuple[str, ...] = ()
        self.add(token)

    def add(self, token: str) -> None:
        """Redact this token as well, and forget all but the last `KEPT`: answers to the one before are still due."""
        self._tokens = tokens = (*self._tokens, token)[-KEPT:]
        # a token that contains an escape itself looks different in each layer
        self._forms = {form.text.lower() for each in tokens for form in _layers(each) if form.text}
        self._whole = re.compile("|".join(map(re.escape, sorted(self._forms))), re.IGNORECASE)
        self._longest = max(map(len, tokens))
        self._coded = tuple(coded for each in tokens for coded in _in_base64(each))

    def __repr__(self) -> str:
        return "Redactor(***)"

    def __call__(self, text: str) -> str:
        """Return the text without tokens and passwords."""
        text = self._without_token(text) if self._forms else text
        text = _TOKEN.sub(f"vps_{BLANK}", text)
        text = _BEARER.sub(rf"\1{BLANK}", text)
        return _PASSWORD.sub(rf'\1"{BLANK}"', text)

    def _without_token(self, text: str) -> str:
        found = [layer.outermost(span) for layer in _layers(text) for span in self._places(layer.text)]
        pieces, done = list[str](), 0
        for begin, end in sorted(found):
            if begin >= done:
                pieces += (text[done:begin], BLANK)
            done = max(done, end)
        return "".join((*pieces, text[done:]))

    def _places(self, text: str) -> Iterator[Span]:
        """Yield where the token is in a text without escapes."""
        for match in self._whole.finditer(text):
            yield match.span()
        tail = text[-self._longest - _REMAINDER :].lower()
        for form in self._forms:
            if size := _cut_short(tail, form, _LEAST):
                # some letters are longer in lower case, so the start could be negative
                yield max(0, len(text) - size), len(text)
        for run in _RUN.finditer(text.translate(_STANDARD)):
            if any(coded in run[0] for coded in self._coded):
                yield run.span()
            elif len(text) - run.end() <= _REMAINDER and any(
                _cut_short(run[0], coded, _LEAST_CODED) for coded in self._coded
            ):
                yield run.start(), len(text)


def _in_base64(token: str) -> tuple[str, ...]:
    """Return the part of the token's base64 that does not depend on its surroundings: one for each offset."""
    parts = []
    for before in range(3):
        whole = b64encode(b"\0" * before + token.encode()).decode()
        bits = 8 * (before + len(token.encode()))
        parts.append(whole[-(-8 * before // 6) : bits // 6])
    return tuple(part for part in parts if len(part) >= _LEAST_CODED)


def _cut_short(text: str, word: str, least: int) -> int:
    """Return how long before the end a truncated ``word`` begins in the text; 0 if there is none."""
    at = text.find(word[:least])
    while at >= 0:
        said = sum(takewhile(bool, map(eq, text[at:], word)))
        remainder = text[at + said :].rstrip()
        if len(remainder) <= _REMAINDER and " " not in remainder:
            return len(text) - at
        at = text.find(word[:least], at + 1)
    return 0
