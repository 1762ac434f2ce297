"""Where token, address and dialect come from, and what is refused."""

import errno
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async.cli.profile_file import config_file, keep_dialect
from vpsorg_async.cli.settings import Account
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.sandbox import Rule, Sandbox, faults

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
    assert path is not None
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
    """A file with tokens that others can read is refused in one line, which says how to fix it; exit code 2."""
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
        ("[profiles.default]\ntoken = 12\n", "token in [profiles.default] is a string"),
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
        ("servers list --dialect french", "--dialect: dialect is documented or provider"),
        ("servers list --dialect provder", "did you mean 'provider'?"),
        ("servers list --base-url http://example.com", "clear"),
        ("servers list --base-url nonsense", "--base-url is an address"),
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
    assert path is not None
    path.parent.mkdir(parents=True)
    text = 'profiles = {default = {token = "x"}}\n'
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match="yourself"):
        keep_dialect("default", "provider")
    assert path.read_text() == text


# -- what is optional -----------------------------------------------------------------------------------------------


def _a_file(home: Path) -> None:
    home.write_text("")


def _a_folder(home: Path) -> None:
    (home / ".config" / "vpsorg" / "config.toml").mkdir(parents=True)


def _a_loop(home: Path) -> None:
    (home / ".config").mkdir(parents=True)
    (home / ".config" / "vpsorg").symlink_to("vpsorg")


def _a_dangling_link(home: Path) -> None:
    (home / ".config" / "vpsorg").mkdir(parents=True)
    (home / ".config" / "vpsorg" / "config.toml").symlink_to(home / "nowhere")


def _a_pipe(home: Path) -> None:
    (home / ".config" / "vpsorg").mkdir(parents=True)
    os.mkfifo(home / ".config" / "vpsorg" / "config.toml")


def _read_only(home: Path) -> None:
    home.mkdir(mode=0o500)


HOMES = (_a_file, _a_folder, _a_loop, _a_dangling_link, _a_pipe, _read_only)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home, which is not there yet, and no other place for files."""
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.skipif(sys.platform != "linux", reason="homes are arranged as on Linux here")
@pytest.mark.parametrize("make", HOMES)
def test_no_home_is_needed(vpsorg: Any, box: Sandbox, home: Path, make: Callable[[Path], None]) -> None:
    """With token and address from elsewhere a command works, whatever is in the place of the optional files."""
    make(home)

    assert vpsorg("servers", "list").code == 0
    assert vpsorg("servers", "list", "--profile", "work").code == 2


@pytest.mark.skipif(sys.platform != "linux", reason="homes are arranged as on Linux here")
@pytest.mark.parametrize("value", ["/dev/null", "/nowhere/at/all", "relative", ""])
def test_a_home_that_is_none(
    vpsorg: Any, box: Sandbox, monkeypatch: pytest.MonkeyPatch, home: Path, value: str
) -> None:
    """A HOME that is no folder costs nothing, and no file is put into the working folder."""
    monkeypatch.chdir(home.parent)
    monkeypatch.setenv("HOME", value)

    assert (vpsorg("servers", "list").code, [*home.parent.iterdir()]) == (0, [])


@pytest.mark.skipif(os.name != "posix", reason="the password file is POSIX")
def test_a_user_without_a_home(
    vpsorg: Any, box: Sandbox, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """Where neither HOME nor the list of users knows a home, commands work, and --profile says what is missing."""

    def nobody(_: int) -> None:
        raise KeyError

    box.world.add(1)
    monkeypatch.chdir(home.parent)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)

    listed, named, written = (
        vpsorg("servers", "list"),
        vpsorg("servers", "list", "--profile", "work"),
        vpsorg("doctor", "--write"),
    )
    monkeypatch.delenv("VPSORG_API_TOKEN")
    missing = vpsorg("servers", "list")

    assert (listed.code, listed.err, config_file()) == (0, "", None)
    assert (named.code, "there is no home directory" in named.err) == (2, True)
    assert (written.code, "there is no home directory" in written.err) == (2, True)
    assert (missing.code, "set VPSORG_API_TOKEN" in missing.err) == (2, True)
    assert [*home.parent.iterdir()] == []


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (b"[profiles.default\n", 0o600),
        (PROFILES.encode("utf-16"), 0o600),
        (b"\xff\xfe\xff", 0o600),
        (b"[" * 50_000, 0o600),
        (b"#" * 100_000, 0o600),
        (PROFILES.encode(), 0o644),
    ],
)
def test_a_file_that_is_not_needed(
    vpsorg: Any, box: Sandbox, profiles: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, mode: int
) -> None:
    """What is wrong with the file is a note where token and address come from elsewhere, else it is exit code 2."""
    profiles.write_bytes(content)
    profiles.chmod(mode)

    listed, named = vpsorg("servers", "list"), vpsorg("servers", "list", "--profile", "default")
    monkeypatch.delenv("VPSORG_BASE_URL")
    needed = vpsorg("servers", "list")

    assert (listed.code, listed.err.count("\n"), str(profiles) in listed.err) == (0, 1, True)
    assert (named.code, named.out, named.err.count("\n")) == (2, "", 1)
    assert (needed.code, needed.out, needed.err.count("\n")) == (2, "", 1)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become another user")
def test_no_permission_on_the_way(
    vpsorg: Any, box: Sandbox, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """Another user's home is ignored if the token is given; else the command prints one line."""
    home.mkdir(mode=0o700)
    assert vpsorg("servers", "list").code == 0  # everything is imported
    os.seteuid(65534)
    try:
        listed = vpsorg("servers", "list")
        monkeypatch.delenv("VPSORG_BASE_URL")
        elsewhere = Account().settings()
        monkeypatch.delenv("VPSORG_API_TOKEN")
        needed = vpsorg("servers", "list")
    finally:
        os.seteuid(0)

    assert (listed.code, "Permission denied" in listed.err) == (0, True)
    assert (elsewhere.token, elsewhere.base_url) == (box.token, "https://admin.vps.org")
    assert (needed.code, "Permission denied" in needed.err.splitlines()[-1]) == (2, True)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_as_editors_leave_them(profiles: Path, tmp_path: Path, mark: str, ending: str) -> None:
    """A byte order mark and line ends of Windows are read, and stay when the dialect is put into the file."""
    profiles.write_bytes((mark + PROFILES.replace("\n", ending)).encode())
    assert Account().settings().token == "vps_default"

    keep_dialect("default", "provider")
    keep_dialect("new", "documented")

    text = profiles.read_bytes().decode()
    assert Account().settings().dialect == "provider"
    assert Account(profile="work").settings().token == "vps_work"
    assert text.startswith(mark + "# mine" + ending)
    assert text.count("\n") == text.count(ending) == PROFILES.count("\n") + 4


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_token_files_as_editors_leave_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str, ending: str
) -> None:
    """A token is read from a file or a pipe with any byte order mark and any line end."""
    raw = f"vps_kept{ending}{ending}".encode(encoding)
    (tmp_path / "token").write_bytes(raw)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="ascii"))

    assert Account(token_file=str(tmp_path / "token")).settings().token == "vps_kept"
    assert Account(token_file="-").settings().token == "vps_kept"


def test_a_token_file_that_is_not_text(vpsorg: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that is not text is one line; so is a pipe."""
    (tmp_path / "token").write_bytes(b"\xff\xff")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xff"), encoding="ascii"))

    for place in (str(tmp_path / "token"), "-"):
        ended = vpsorg("servers", "list", "--token-file", place)
        assert (ended.code, "it is not text" in ended.err, ended.err.count("\n")) == (2, True, 1)


# -- the file that doctor --write changes ---------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="links and modes are POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o400])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_the_linked_file_is_changed(
    tmp_path: Path, profiles: Path, there: bool, mode: int
) -> None:
    """Where the file is a link, also one to a file that is not there yet, the file behind it is written."""
    real = tmp_path / "dotfiles" / "vps.toml"
    profiles.unlink()
    profiles.symlink_to(real)
    if there:
        real.parent.mkdir()
        real.write_text(PROFILES)
        real.chmod(mode)
    if there and not os.access(real, os.W_OK):
        with pytest.raises(ConfigurationError, match="can't be written"):
            keep_dialect("work", "documented")
        return

    keep_dialect("work", "documented")

    assert profiles.is_symlink()
    assert 'dialect = "documented"' in real.read_text()
    assert real.stat().st_mode & 0o777 == (mode if there else 0o600)
    assert [path.name for path in real.parent.iterdir()] == ["vps.toml"]


def test_a_folder_that_cannot_be_written(profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no file can be put beside it, the file is changed in place."""
    opened = os.open

    def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "not in this folder")
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)

    keep_dialect("work", "documented")

    assert profiles.read_text() == PROFILES.replace('"provider"', '"documented"')


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX")
def test_what_is_no_file_is_not_replaced(vpsorg: Any, box: Sandbox, profiles: Path) -> None:
    """The doctor reports what it found, then that it could not write it; exit code 2."""
    profiles.unlink()
    os.mkfifo(profiles)
    box.world.add(1)

    ended = vpsorg("doctor", "--write", "--json")

    assert (ended.code, json.loads(ended.out)["dialect"], json.loads(ended.out)["written"]) == (
        2,
        "documented",
        None,
    )
    assert (ended.err.count("\n"), "can't be written" in ended.err) == (1, True)
    assert profiles.is_fifo()


def test_the_providers_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """VPS_API_URL goes with VPS_API_TOKEN: another token, also one from a file, is not sent there."""
    monkeypatch.setenv("VPS_API_URL", "https://their.example/api/v1")
    monkeypatch.setenv("VPS_API_TOKEN", "vps_theirs")
    (tmp_path / "token").write_text("vps_file")
    theirs = Account().settings()
    file = Account(token_file=str(tmp_path / "token")).settings()
    monkeypatch.setenv("VPSORG_API_TOKEN", "vps_mine")
    mine = Account().settings()

    assert (theirs.token, theirs.base_url) == ("vps_theirs", "https://their.example")
    assert (file.token, file.base_url) == ("vps_file", "https://admin.vps.org")
    assert (mine.token, mine.base_url) == ("vps_mine", "https://admin.vps.org")


LIMITED = """\
[profiles.default]
token = "vps_default"

[profiles.default.limits]
max_servers = 2
max_hourly = 0.1
"""


def test_the_limits_of_a_profile_hold(vpsorg: Any, box: Sandbox, profiles: Path) -> None:
    """The limits of `default` hold for a token and an address of the environment as well; the exit code is 5."""
    profiles.write_text(LIMITED)
    create = "fleet create --plan-id 1 --os-id 5 --location us-west --no-wait --yes --name"

    assert vpsorg(*create.split(), "web-{n}", "--count", "2").code == 0
    refused = vpsorg(*create.split(), "more")
    assert (refused.code, len(box.servers)) == (5, 2)
    assert "max_servers=2 would be exceeded" in refused.err
    single = vpsorg("servers", "create", "more", *create.split()[2:8], "--yes")
    assert (single.code, len(box.servers)) == (5, 2)


def test_plans_show_the_limits_of_the_profile(
    vpsorg: Any, box: Sandbox, profiles: Path, tmp_path: Path
) -> None:
    """A dry run and a plan name the limits, and what they forbid: exit code 5, without a question."""
    profiles.write_text(LIMITED)
    fleet = tmp_path / "fleet.toml"
    spec = 'plan_id = 1\nos_id = 5\nlocation = "us-west"\n'
    fleet.write_text(f'[[fleet]]\nname = "web-{{n}}"\ncount = 2\n{spec}')
    create = ("--name", "web-{n}", "--plan-id", "1", "--os-id", "5", "--location", "us-west", "--count")

    fits = vpsorg("fleet", "create", *create, "2", "--dry-run")
    over = vpsorg("fleet", "ensure", *create, "3", "--dry-run")
    document = json.loads(vpsorg("fleet", "ensure", *create, "3", "--dry-run", "--json").out)
    plan = vpsorg("fleet", "plan", "-f", str(fleet))
    scaled = vpsorg("fleet", "scale", "-f", str(fleet), "--to", "3")
    created = vpsorg("fleet", "create", *create, "3")

    line = "limits of [profiles.default]: max_servers=2, max_hourly=0.1\n"
    assert (fits.code, fits.out.endswith(line), "over the limits" in fits.out) == (0, True, False)
    assert (over.code, over.out.endswith(line)) == (5, True)
    assert "over the limits: max_servers=2 would be exceeded" in over.out
    assert "max_servers=2" in document["over_limits"][0]
    assert (plan.code, plan.out.endswith(line)) == (0, True)
    assert (scaled.code, "over the limits: max_servers=2" in scaled.err) == (5, True)
    assert (created.code, "max_servers=2 would be exceeded" in created.err) == (5, True)
    assert [change.operation for change in box.ledger] == []


def test_a_read_only_profile_changes_nothing(vpsorg: Any, box: Sandbox, profiles: Path) -> None:
    """Reads work as usual."""
    box.world.add(1)
    (server,) = box.servers
    profiles.write_text("[profiles.default.limits]\nread_only = true\n")

    assert vpsorg("servers", "list").code == 0
    for line in (
        "servers delete {} --yes",
        "fleet stop {}",
        "servers reboot {}",
        "fleet delete {} --yes",
    ):
        ended = vpsorg(*line.format(server.id).split())
        assert (ended.code, "read-only" in ended.err) == (5, True)
    assert [change.operation for change in box.ledger] == []


def test_an_address_with_a_path_is_named_whole(
    vpsorg: Any, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of a request has the path that the address adds, and where the address comes from."""
    monkeypatch.setenv("VPSORG_BASE_URL", f"{box.url}/cloud")
    ended, doctor = vpsorg("servers", "list"), vpsorg("doctor")

    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert f"the address of the API is {box.url}/cloud/api/v1, by VPSORG_BASE_URL" in ended.err
    assert f"it is {box.url}/cloud\n" in doctor.out
    monkeypatch.setenv("VPSORG_BASE_URL", f"{box.url}/api/v1/servers")
    prefixed = vpsorg("servers", "list")
    assert (prefixed.code, f"VPSORG_BASE_URL is '{box.url}/api/v1/servers'" in prefixed.err) == (2, True)


def test_prices_have_no_documented_currency(vpsorg: Any, box: Sandbox) -> None:
    """Where prices are shown, this is said."""
    create = "fleet create --name web --plan-id 1 --os-id 5 --location us-west"
    plans, dry = vpsorg("plans"), vpsorg(*create.split(), "--dry-run")
    asked, quiet = vpsorg(*create.split()), vpsorg("plans", "-q")

    assert "currency, which the API does not document" in plans.err
    assert "currency, which the API does not document" in dry.out
    assert "in a currency that the API does not document" in asked.err
    assert quiet.err == ""


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ("max_severs = 2", "max_severs is unknown; known are max_servers"),
        ("max_servers = 1.5", "max_servers is a whole number from 0"),
        ("max_hourly = 'much'", "max_hourly is a finite amount"),
        ("read_only = 'yes'", "read_only is True or False"),
    ],
)
def test_a_bad_limit_is_never_left_out(
    vpsorg: Any, box: Sandbox, profiles: Path, limits: str, named: str
) -> None:
    """Token and address come from the environment, but a limit that is not understood ends the command all the same."""
    profiles.write_text(f"[profiles.default.limits]\n{limits}\n")
    ended = vpsorg("servers", "list")

    assert (ended.code, f"[profiles.default.limits]: {named}" in ended.err) == (2, True)


def test_the_dialect_is_put_beside_limits(profiles: Path) -> None:
    """`doctor --write` leaves the limits as they are."""
    profiles.write_text(LIMITED)
    keep_dialect("default", "provider")

    assert profiles.read_text() == LIMITED.replace(
        "[profiles.default]\n", '[profiles.default]\ndialect = "provider"\n'
    )


def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    """What replaces a refused token during a command is found in the file."""
    file = tmp_path / "token"
    file.write_text("vps_old\n")
    source = Account(token_file=str(file), base_url="https://one.example").settings().source

    assert source is not None
    file.write_text("vps_new\n")
    assert source() == "vps_new"


def test_files_of_a_profile(profiles: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative path is one file, whatever the working directory is; ~ is the home directory."""
    monkeypatch.delenv("VPSORG_API_TOKEN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (profiles.parent / "secrets").mkdir()
    (profiles.parent / "secrets" / "token").write_text("vps_near\n")
    (tmp_path / "token").write_text("vps_home\n")
    for place, token in (("secrets/token", "vps_near"), ("~/token", "vps_home")):
        profiles.write_text(f'[profiles.default]\ntoken_file = "{place}"\njournal = "fleet.db"\n')
        settings = Account().settings()
        assert settings.source is not None
        assert settings.source() == token
        assert settings.journal == str(profiles.parent / "fleet.db")


@pytest.mark.parametrize("key", ["token_file", "token_command"])
def test_a_profile_with_a_file_or_a_command(
    key: str, vpsorg: Any, box: Sandbox, profiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile can name where its token is, instead of the token; its token is not in the file of profiles."""
    file = tmp_path / "a token"
    file.write_text(f"{box.token}\n")
    value = str(file) if key == "token_file" else f"cat '{file}'"
    profiles.write_text(f'[profiles.default]\n{key} = "{value}"\nbase_url = "{box.url}"\n')
    monkeypatch.delenv("VPSORG_API_TOKEN")

    assert vpsorg("servers", "list").code == 0
    assert vpsorg("doctor").code == 0
    file.unlink()
    ended = vpsorg("servers", "list")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[-1].startswith("vpsorg: ")
    # a token of the environment takes precedence
    monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
    assert vpsorg("servers", "list").code == 0


def test_a_profile_with_two_tokens(vpsorg: Any, profiles: Path) -> None:
    """It is not clear which one is meant."""
    profiles.write_text('[profiles.default]\ntoken = "vps_x"\ntoken_command = "pass vpsorg"\n')

    ended = vpsorg("servers", "list")

    assert (ended.code, "token_command" in ended.err) == (2, True)


def test_the_doctor_names_what_the_token_permits(vpsorg: Any, box: Sandbox) -> None:
    """Where the account says so, and only there."""
    assert "servers:read, servers:write" in vpsorg("doctor").out
    box.faults.add(Rule("account", faults.Reply(404), times=1))
    ended = vpsorg("doctor")
    assert (ended.code, "it is accepted\n" in ended.out) == (0, True)
