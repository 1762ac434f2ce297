"""Decodes gzip and deflate bodies, as asked for. Pure, in pieces of bounded size.

aiohttp's own decoding is switched off. It depends on which packages happen to be installed, and if one is missing,
aiohttp reports an answer that can't be decoded as broken HTTP before its headers can be read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

__all__ = ["ACCEPTED", "PIECE", "Decoder", "Undecodable", "coding_of"]

ACCEPTED = "gzip, deflate"
"""The value of the ``Accept-Encoding`` header."""
PIECE = 256 * 1024
"""The maximum number of bytes decoded at once, so that a small bomb can't become a large body."""

_MEMBERS = 100  # the maximum of members in one gzip body, because zlib copies what follows each of them
_SAME = {"x-gzip": "gzip"}


class Undecodable(Exception):
    """A body that can't be decoded. ``final``: a retry would fail too. The text can quote the header."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


def coding_of(headers: Iterable[str]) -> str:
    """Return the coding that the ``Content-Encoding`` headers name, in lower case; empty if the body is not coded."""
    words = [word.strip().lower() for header in headers for word in header.split(",")]
    return ", ".join(_SAME.get(word, word) for word in words if word not in ("", "identity"))


class Decoder:
    """Decodes a body as it arrives, piece by piece. Raises `Undecodable`."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream: Any = None
        self._rest = b""
        self._full = False
        self._members = 1

    def feed(self, data: bytes) -> None:
        """Add the next part of the body. All pieces of the earlier parts must have been taken."""
        if self._stream is None:
            self._stream = zlib.decompressobj(self._window(data[0]))
        self._rest = data

    def take(self) -> bytes:
        """Return the next piece; empty if more of the body is needed."""
        # after a full piece zlib may hold back more, even if it has read all of its input
        while self._rest or self._full:
            if self._stream.eof:
                self._next_member()
            try:
                piece: bytes = self._stream.decompress(self._rest, PIECE)
            except zlib.error:
                raise self._not_as_announced() from None
            self._rest = self._stream.unconsumed_tail or self._stream.unused_data
            self._full = len(piece) == PIECE and not self._stream.eof
            if piece:
                return piece
        return b""

    def end(self) -> None:
        """Mark the end of the body. Raises `Undecodable` if the body is incomplete; an empty body is accepted."""
        if self._stream is not None and not self._stream.eof:
            raise Undecodable("is incomplete")

    def _window(self, first: int) -> int:
        if self._coding == "gzip":
            return zlib.MAX_WBITS + 16
        if self._coding != "deflate":
            raise Undecodable(f"is in a coding that was not asked for: {self._coding!r}", final=True)
        # many services leave out the zlib header
        return zlib.MAX_WBITS if first & 0x0F == 8 else -zlib.MAX_WBITS

    def _next_member(self) -> None:
        self._members += 1
        if self._coding != "gzip" or self._members > _MEMBERS:
            raise self._not_as_announced()
        self._stream = zlib.decompressobj(zlib.MAX_WBITS + 16)

    def _not_as_announced(self) -> Undecodable:
        return Undecodable(f"is not {self._coding}, though its header says so")
