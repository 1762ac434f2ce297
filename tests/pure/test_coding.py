"""Bodies in the requested codings are decoded exactly; all others are named."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async.http.coding import PIECE, Decoder, Undecodable, coding_of


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "two members": ("gzip", lambda data: gzip.compress(data[:7], mtime=0) + gzip.compress(data[7:], mtime=0)),
}


def decoded(coding: str, parts: list[bytes]) -> bytes:
    decoder, pieces = Decoder(coding), list[bytes]()
    for part in parts:
        decoder.feed(part)
        while piece := decoder.take():
            pieces.append(piece)
    decoder.end()
    assert all(len(piece) <= PIECE for piece in pieces)
    return b"".join(pieces)


@pytest.mark.parametrize("packer", PACKERS)
@given(data=st.binary(), size=st.integers(1, 50))
def test_any_body_in_any_parts(packer: str, data: bytes, size: int) -> None:
    """However the bytes arrive, decoding returns the original body."""
    coding, pack = PACKERS[packer]
    packed = pack(data)

    assert decoded(coding, [packed[at : at + size] for at in range(0, len(packed), size)]) == data


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5_000_000])
@pytest.mark.parametrize("fill", [b" ", bytes(range(256))], ids=["blanks", "bytes"])
def test_large_bodies_come_in_pieces(packer: str, size: int, fill: bytes) -> None:
    """No piece is longer than allowed, and no byte is lost between two of them."""
    coding, pack = PACKERS[packer]
    data = (fill * (size // len(fill) + 1))[:size]

    assert decoded(coding, [pack(data)]) == data


@pytest.mark.parametrize("packer", PACKERS)
def test_a_body_cut_anywhere_is_noticed(packer: str) -> None:
    """Half a body is never mistaken for a complete one."""
    coding, pack = PACKERS[packer]
    packed = pack(b"0123456789" * 3)

    for end in range(1, len(packed)):
        if packer == "two members" and packed[end:] == gzip.compress((b"0123456789" * 3)[7:], mtime=0):
            continue
        with pytest.raises(Undecodable, match="incomplete"):
            decoded(coding, [packed[:end]])


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b'{"id": 1}'),
        ("gzip", zlib.compress(b"x")),
        ("gzip", gzip.compress(b"x", mtime=0) + b"and more"),
        ("gzip", gzip.compress(b"x", mtime=0)[:-8] + b"12345678"),
        ("gzip", gzip.compress(b"", mtime=0) * 10_000),
        ("deflate", b'{"id": 1}'),
        ("deflate", zlib.compress(b"x") + b"and more"),
    ],
)
def test_a_body_that_is_something_else(coding: str, body: bytes) -> None:
    """A body that does not match its coding may come from a broken connection, so the error is not final."""
    with pytest.raises(Undecodable, match=f"is not {coding}, though its header says so") as caught:
        decoded(coding, [body])

    assert not caught.value.final


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br", "gzip, gzip", "\udc80"])
def test_a_coding_that_was_not_asked_for(coding: str) -> None:
    """An unrequested coding is named, and is final; an empty body needs no decoding."""
    with pytest.raises(Undecodable, match="was not asked for") as caught:
        decoded(coding, [b"x"])

    assert caught.value.final
    assert str(caught.value).encode().endswith(repr(coding).encode())
    assert decoded(coding, []) == b""


@pytest.mark.parametrize(
    ("headers", "coding"),
    [
        ([], ""),
        ([""], ""),
        (["identity"], ""),
        (["gzip"], "gzip"),
        ([" GZip "], "gzip"),
        (["x-gzip"], "gzip"),
        (["identity, deflate,"], "deflate"),
        (["gzip", "br"], "gzip, br"),
        (["gzip,br"], "gzip, br"),
    ],
)
def test_headers_name_a_coding(headers: list[str], coding: str) -> None:
    """Case, blanks and words without meaning do not matter; several codings are not one of them."""
    assert coding_of(headers) == coding
