"""What a package index and a reader of the source archive get."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
URL = "https://forge.example/somebody/vpsorg-async"
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a release: the build knows the address of the repository."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-Im", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "VPSORG_ASYNC_URL": URL}, check=True)
    return folder


@pytest.mark.skipif(
    (ROOT / "PKG-INFO").exists(), reason="a source archive keeps the addresses it was built with"
)
def test_the_index_shows_a_readme_whose_links_work(built: Path) -> None:
    """Every link and picture of the README is absolute, at the tag of the version, and its target exists."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_string(archive.read(name).decode())
    links = LINK.findall(str(metadata.get_payload()))
    ours = [link.removeprefix(URL).split("/", 3) for link in links if link.startswith(URL)]

    assert links
    assert all(link.startswith("https://") for link in links)
    assert {(form, ref) for _, form, ref, _ in ours} == {
        ("blob", f"v{metadata['Version']}"),
        ("raw", f"v{metadata['Version']}"),
    }
    assert [path for *_, path in ours if not (ROOT / path.partition("#")[0]).exists()] == []
    assert f"Source, {URL}" in metadata.get_all("Project-URL", [])


def test_another_build_names_no_repository(tmp_path: Path) -> None:
    """Whoever builds a checkout gets the README as it is, and no address that might be somebody else's."""
    env = {name: value for name, value in os.environ.items() if name != "VPSORG_ASYNC_URL"}
    command = [sys.executable, "-Im", "hatchling", "metadata", "urls"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)

    assert done.stdout.count("https://") == 1
    assert "www.vps.org" in done.stdout


def test_the_source_archive_has_what_its_tests_read(built: Path) -> None:
    """Tests, documentation, examples and settings are in the archive, so that it can run its own tests."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    needed = [
        "noxfile.py",
        "hatch_build.py",
        "README.md",
        ".ci/run",
        "docs/conf.py",
        "benchmarks/__main__.py",
    ]
    tests = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")]

    assert [name for name in [*needed, *tests] if name not in names] == []
