"""Undoes the coding of a body: gzip or deflate, as asked for. Pure, and in pieces of bounded size.

aiohttp's own decoding is switched off: it depends on which packages happen to be installed, and where one is missing,
an answer that can't be decoded is reported as broken HTTP before its headers can be read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

__all__ = ["ACCEPTED", "PIECE", "Decoder", "Undecodable", "coding_of"]

ACCEPTED = "gzip, deflate"
"""The header that asks for these codings."""
PIECE = 256 * 1024
"""Bytes decoded in one go, so that a small bomb can't become a large body."""

_MEMBERS = 100  # parts of one gzip body; zlib copies what follows each of them
_SAME = {"x-gzip": "gzip"}


class Undecodable(Exception):
    """A body that can't be decoded. ``final``: nor will it be the next time. Its text can quote the header."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


def coding_of(headers: Iterable[str]) -> str:
    """The coding that the ``Content-Encoding`` headers name, in lower case; empty where the body is as it is."""
    words = [word.strip().lower() for header in headers for word in header.split(",")]
    return ", ".join(_SAME.get(word, word) for word in words if word not in ("", "identity"))


class Decoder:
    """Accepts a body as it comes, and returns it decoded, piece by piece. Raises `Undecodable`."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream: Any = None
        self._rest = b""
        self._full = False
        self._members = 1

    def feed(self, data: bytes) -> None:
        """Add the next part of the body, once all pieces of the parts before it were taken."""
        if self._stream is None:
            self._stream = zlib.decompressobj(self._window(data[0]))
        self._rest = data

    def take(self) -> bytes:
        """The next piece; empty where more of the body is needed."""
        # after a full piece zlib may hold back more, even where it has read all of its input
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
        """The body has ended; an empty one needs no decoding."""
        if self._stream is not None and not self._stream.eof:
            raise Undecodable("broke off")

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
