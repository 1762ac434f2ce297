"""The durations file is a hint: whatever it is and contains, the client opens and its waits work."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fleet.virtual_account import account, client, specs, virtual

CONTENTS = {
    "tiny": json.dumps(
        [["create", "", "", [1e-320] * 20], ["create", "1", "us-west", [5e-324] * 12]]
    ).encode(),
    "one tiny": b'[["create", "", "", [5e-324]]]',
    "not a number": b'[["create", "", "", [NaN, Infinity, -Infinity]]]',
    "huge": b'[["create", "", "", [1e308, ' + b"9" * 5000 + b"]]]",
    "endless": json.dumps([["create", "1", "us-west", [1e-300, 7199.9] * 60]]).encode(),
    "deep": b"[" * 100_000,
    "mixed": b'[["create", "", "", [true, null, "x", -1, 0, {}]], [1, 2, 3, 4], ["create"], {}, "create"]',
    "surrogate": b'[["create", "\\ud800", "", [3.0]]]',
    "UTF-16": '[["create", "", "", [3.0]]]'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf[["create", "", "", [3.0]]]',
    "large": b" " * 5_000_000 + b"[]",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@virtual
async def test_a_damaged_file_does_no_harm(tmp_path: Path, content: bytes) -> None:
    """Whatever the file holds, a server is waited for within its time, and the file is written again."""
    kept = tmp_path / "durations.json"
    kept.write_bytes(content)
    async with account() as (box, _), client(box, durations_file=kept) as vps:
        created = await vps.servers.create(specs(1)[0])
        assert (await vps.wait_until(created.id, "active", timeout=400)).status == "active"

    assert [row[0] for row in json.loads(kept.read_bytes())][:1] == ["create"]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _file_for_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


PLACES: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a pipe": _pipe,
    "a link to itself": lambda path: path.symlink_to(path),
    "a file for a folder": _file_for_folder,
    "no folder": lambda path: path.parent.rmdir(),
}


def _kind(place: Path) -> int | None:
    try:
        return stat.S_IFMT(place.lstat().st_mode)
    except OSError:
        return None


@pytest.mark.skipif(os.name != "posix", reason="links and pipes are POSIX")
@pytest.mark.parametrize("make", PLACES.values(), ids=PLACES)
@virtual
async def test_a_place_that_cannot_hold_it_does_no_harm(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    """Where no file can be written, the client opens and closes, and existing files stay."""
    place = tmp_path / "cache" / "durations.json"
    place.parent.mkdir()
    make(place)
    before = _kind(place)

    async with account() as (box, _), client(box, durations_file=place) as vps:
        assert await vps.servers.list() == ()

    assert _kind(place) == before


@virtual
async def test_a_path_that_is_none_does_no_harm() -> None:
    """An impossible path is treated like a missing file."""
    async with account() as (box, _), client(box, durations_file="no\0path") as vps:
        assert await vps.servers.list() == ()


@pytest.mark.skipif(os.name != "posix", reason="links are POSIX")
@virtual
async def test_a_link_stays(tmp_path: Path) -> None:
    """Where the file is a link, the linked file is written."""
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("[]")
    link.symlink_to(real)
    async with account() as (box, _), client(box, durations_file=link) as vps:
        created = await vps.servers.create(specs(1)[0])
        await vps.wait_until(created.id, "active", timeout=400)

    assert link.is_symlink()
    assert "create" in real.read_text()


@pytest.mark.parametrize("trap", ["a link", "a pipe"])
@virtual
async def test_what_stands_beside_the_file_is_not_touched(tmp_path: Path, trap: str) -> None:
    """A link or a pipe under a guessable name neither receives the durations nor blocks the client."""
    kept, beside = tmp_path / "durations.json", tmp_path / "durations.json.new"
    precious = tmp_path / "precious"
    precious.write_text("precious")
    if trap == "a link":
        beside.symlink_to(precious)
    else:
        os.mkfifo(beside)
    async with account() as (box, _), client(box, durations_file=kept) as vps:
        created = await vps.servers.create(specs(1)[0])
        await vps.wait_until(created.id, "active", timeout=400)

    assert json.loads(kept.read_bytes())
    assert precious.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == [kept.name, beside.name, precious.name]
