"""The form of an answer: what can be shown to others, because it holds no values of the account. Pure.

Names of fields, status words, true, false and null stay as they are. Every other value is replaced by
what kind of value it is: ``12345`` by ``int``, ``"203.0.113.10"`` by ``ipv4``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["form_of", "scrub"]

DEPTH = 6
MOST_KEYS = 40
MOST_TEXT = 160
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_WORD = re.compile(r"[A-Za-z][A-Za-z_ -]{0,29}")
_UUID = re.compile(r"(?i)\b[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?P<zone>Z|[+-]\d\d:?\d\d)?)?")
_TEXTS = ("detail", "message", "error", "errors", "msg", "reason", "title")
# in this order: what holds an address is replaced before its digits are
_PRIVATE = (
    (re.compile(r"(?i)\b[a-z][a-z0-9+.-]*://\S+"), "URL"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*"), "EMAIL"),
    (_UUID, "UUID"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), "IP"),
    (re.compile(r"(?i)(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])"), "IP"),
    (re.compile(r"(?i)\bvpsorg-doctor-[a-z0-9]+\b"), "NAME"),
    (re.compile(r"(?i)\b(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}\b"), "HOST"),
    (re.compile(r"\d{3,}"), "N"),
)


def form_of(value: Any, key: str = "", *, texts: bool = False, depth: int = 0) -> Any:
    """Return the form of decoded JSON.

    Args:
        value: The JSON.
        key: The name of the field that holds it.
        texts: Whether messages stay, without what is private in them: for refusals, whose text is all that they have.
        depth: The number of objects and lists around it.
    """
    if depth > DEPTH:
        return "…"
    if isinstance(value, Mapping):
        shown = list(value.items())[:MOST_KEYS]
        return {
            name if _KEY.fullmatch(name) else "…": form_of(inner, name, texts=texts, depth=depth + 1)
            for name, inner in shown
        }
    if isinstance(value, list):
        # the rows of a list are alike
        return [form_of(inner, key, texts=texts, depth=depth + 1) for inner in value[:1]]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return "float" if isinstance(value, float) else "int"
    return _of_text(str(value), key, texts=texts)


def _of_text(text: str, key: str, *, texts: bool) -> str:
    if key in ("status", "result") and _WORD.fullmatch(text):
        return text
    if key.startswith("passw"):
        return "secret"
    if _UUID.fullmatch(text):
        return "uuid"
    if time := _TIME.fullmatch(text):
        return f"time {time['zone'] or 'without a zone'}"
    try:
        return f"ipv{ipaddress.ip_address(text).version}"
    except ValueError:
        pass
    if texts and (key in _TEXTS or not key):
        return scrub(text)
    return "text"


def scrub(text: str) -> str:
    """Return a message without addresses, names of hosts, ids and other numbers, in one line."""
    text = "".join(char if char.isprintable() else " " for char in text)
    for pattern, kind in _PRIVATE:
        text = pattern.sub(kind, text)
    text = " ".join(text.split())
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"
