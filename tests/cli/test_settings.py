"""Where token, address and dialect come from, and what is refused."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async.cli.settings import Account, config_file, keep_dialect
from vpsorg_async.errors import ConfigurationError

PROFILES = """\
# mine
[profiles.default]
token = "vps_default"  # the usual one
base_url = "https://one.example"

[profiles.work]
token = "vps_work"
dialect = "provider"
"""


@pytest.fixture
def profiles() -> Path:
    path = config_file()
    path.parent.mkdir(parents=True)
    path.write_text(PROFILES)
    path.chmod(0o600)
    return path


def test_options_go_before_environment_before_profile(
    profiles: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An option wins over the environment, the environment over the profile `default`, each key by itself."""
    file = tmp_path / "token"
    file.write_text("vps_file\n\n")

    assert Account().settings().token == "vps_default"
    monkeypatch.setenv("VPS_API_TOKEN", "vps_second")
    assert Account().settings().token == "vps_second"
    monkeypatch.setenv("VPSORG_API_TOKEN", " vps_first ")
    found = Account().settings()
    assert (found.token, found.base_url, found.dialect) == (
        "vps_first",
        "https://one.example",
        "documented",
    )
    monkeypatch.setenv("VPSORG_BASE_URL", "https://two.example")
    monkeypatch.setenv("VPSORG_DIALECT", "provider")
    found = Account(token_file=str(file)).settings()
    assert (found.token, found.base_url, found.dialect) == ("vps_file", "https://two.example", "provider")
    found = Account(base_url="https://three.example", dialect="documented").settings()
    assert (found.base_url, found.dialect) == ("https://three.example", "documented")


def test_a_named_profile_goes_before_the_environment(profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a profile means it: neither token nor address of the environment is mixed in."""
    monkeypatch.setenv("VPSORG_API_TOKEN", "vps_env")
    monkeypatch.setenv("VPSORG_BASE_URL", "https://two.example")

    found = Account(profile="work").settings()

    assert (found.token, found.base_url, found.dialect) == ("vps_work", "https://admin.vps.org", "provider")
    assert "vps_work" not in repr(found)


def test_a_token_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--token-file -` reads the first line of stdin."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("vps_piped\nmore\n"))

    assert Account(token_file="-").settings().token == "vps_piped"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_profile_that_others_can_read_is_refused(vpsorg: Any, profiles: Path, mode: int) -> None:
    """A file with tokens that others can read is refused in one line, which says how to mend it; exit code 2."""
    profiles.chmod(mode)

    ended = vpsorg("servers", "list")

    assert (ended.code, ended.out) == (2, "")
    assert f"chmod 600 '{profiles}'" in ended.err
    assert ended.err.count("\n") == 1
    assert "vps_default" not in ended.err


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[profiles.default\n", "line 1"),
        ("[profiles.default]\ntoken = 12\n", "strings"),
        ("[profiles.default]\ntokn = 'x'\n", "tokn"),
        ("token = 'x'\n", "[profiles.NAME]"),
        ("profiles = 3\n", "[profiles.NAME]"),
        ("", "no API token"),
        ("[profiles.default]\n", "no API token"),
    ],
)
def test_a_broken_profile_file(vpsorg: Any, profiles: Path, text: str, named: str) -> None:
    """What is wrong with the file is said in one line, with the place; exit code 2."""
    profiles.write_text(text)

    ended = vpsorg("servers", "list")

    assert (ended.code, ended.out) == (2, "")
    assert named in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("servers list", "VPSORG_API_TOKEN"),
        ("servers list --profile work", "no file"),
        ("servers list --token-file no/such/file", "No such file"),
        ("servers list --token-file .", "directory"),
        ("doctor", "no API token"),
    ],
)
def test_no_token(vpsorg: Any, line: str, named: str) -> None:
    """Without a token one line says where it can be put; exit code 2."""
    ended = vpsorg(*line.split())

    assert (ended.code, ended.out) == (2, "")
    assert named in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("servers list --profile nobody", "default, work"),
        ("servers list --dialect french", "dialect"),
        ("servers list --base-url http://example.com", "clear"),
        ("servers list --base-url nonsense", "base_url"),
    ],
)
def test_bad_settings(vpsorg: Any, profiles: Path, line: str, named: str) -> None:
    """A setting that can't be is named in one line; exit code 2."""
    ended = vpsorg(*line.split())

    assert (ended.code, ended.out) == (2, "")
    assert named in ended.err
    assert ended.err.count("\n") == 1


def test_an_empty_token_file(vpsorg: Any, tmp_path: Path) -> None:
    """An empty file is no token."""
    file = tmp_path / "token"
    file.write_text("\n")

    ended = vpsorg("servers", "list", "--token-file", str(file))

    assert (ended.code, "there is no token in" in ended.err) == (2, True)


def test_the_token_is_no_argument(vpsorg: Any) -> None:
    """There is no option that takes the token itself, which others could read in the list of processes."""
    ended = vpsorg("servers", "list", "--token", "vps_x")

    assert (ended.code, "--token" in ended.err, "vps_x" in ended.err) == (2, True, False)


def test_the_dialect_is_put_into_a_profile(profiles: Path) -> None:
    """Only the dialect of that profile changes; comments and the mode stay."""
    keep_dialect("default", "provider")
    keep_dialect("work", "documented")
    keep_dialect("new", "provider")

    text = profiles.read_text()
    assert text == PROFILES.replace(
        "[profiles.default]\n", '[profiles.default]\ndialect = "provider"\n'
    ).replace('token = "vps_work"\ndialect = "provider"', 'token = "vps_work"\ndialect = "documented"') + (
        '\n[profiles.new]\ndialect = "provider"\n'
    )
    assert profiles.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in profiles.parent.iterdir()] == ["config.toml"]


def test_a_dialect_that_cannot_be_put_is_said() -> None:
    """A file written in another way is left as it is."""
    path = config_file()
    path.parent.mkdir(parents=True)
    text = 'profiles = {default = {token = "x"}}\n'
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match="yourself"):
        keep_dialect("default", "provider")
    assert path.read_text() == text
