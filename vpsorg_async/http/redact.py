"""Blanks secrets out of text that came over the wire, before anybody can print it. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote

__all__ = ["BLANK", "Redactor"]

BLANK = "***"

# The provider's tokens begin with vps_; a server's root password can stand in an answer or be echoed in an error.
_TOKEN = re.compile(r"\bvps_[\w.~+/=-]+")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+")
# A value ends with its quote or bracket, or with the text where that was cut short. Every repetition is bounded or
# possessive, so that the time spent on a text grows with its length and no faster.
_PASSWORD = re.compile(
    r"""(?isx) (passw(?:or)?d \w{0,40}+ \\?["']? \s*+ [:=] \s*+)
    ( " (?:[^"\\]|\\.)*+ (?:"|\\?\Z) | ' [^']*+ (?:'|\Z) | \\" .*? (?:\\"|\Z)
    | \[ [^\]]*+ (?:\]|\Z) | \{ [^}]*+ (?:\}|\Z) | [^\s,;&}\]]++ )"""
)


class Redactor:
    """Knows the one token in use. Its repr does not show it."""

    __slots__ = ("_spellings",)

    def __init__(self, token: str) -> None:
        # as it is, as JSON may write its slashes, and as a URL does
        self._spellings = {token, token.replace("/", r"\/"), quote(token, safe="")} - {""}

    def __repr__(self) -> str:
        return "Redactor(***)"

    def __call__(self, text: str) -> str:
        """The text without tokens and passwords."""
        for spelling in self._spellings:
            text = text.replace(spelling, BLANK)
        text = _TOKEN.sub(f"vps_{BLANK}", text)
        text = _BEARER.sub(rf"\1{BLANK}", text)
        return _PASSWORD.sub(rf'\1"{BLANK}"', text)
