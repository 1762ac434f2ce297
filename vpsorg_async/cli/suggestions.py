"""What a miswritten word was probably meant to be. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean", "unknown_status"]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'active'?`` with the known word that is nearest. Empty if none is near."""
    words = {one.lower(): one for one in known}
    close = get_close_matches(word.lower(), words, 1)
    return f"; did you mean {words[close[0]]!r}?" if close else ""


def unknown_status(word: str, known: Iterable[str]) -> str:
    """Return a sentence on a status that is not known."""
    words = [*known]
    return f"{word!r} is not a known status{did_you_mean(word, words) or '; known are ' + ', '.join(words)}"
