"""`vpsorg login`, `logout` and `profiles`: what is stored, what is shown, and which profile a command uses."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import vpsorg_async
from vpsorg_async import Client, RetryPolicy
from vpsorg_async.cli.profile_file import choose, config_file, read_profiles, store
from vpsorg_async.cli.settings import Account
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.sandbox import Rule, Sandbox, faults

TOKEN = "vps_0123456789abcdef"
OTHER = "vps_fedcba9876543210"
FILE = """\
# my accounts
[profiles.default]
token = "vps_fedcba9876543210"  # the usual one

[ profiles . "my work" ]  # the other one
dialect = "documented"

[profiles.default.limits]
max_servers = 3
"""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A sandbox whose address is known, but whose token is nowhere."""
    monkeypatch.delenv("VPSORG_API_TOKEN", raising=False)
    monkeypatch.delenv("VPSORG_PROFILE", raising=False)
    with Sandbox(token=TOKEN) as box:
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        yield box


@pytest.fixture
def path() -> Path:
    found = config_file()
    assert found is not None
    return found


@pytest.fixture
def file(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(FILE)
    path.chmod(0o600)
    return path


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a text on standard input."""

    def put(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="ascii"))

    return put


# -- login ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [f"{TOKEN}\n", f"  Bearer {TOKEN}  \r\nmore\n", f"\ufeff{TOKEN}"])
@pytest.mark.parametrize("option", [[], ["--token-stdin"]])
def test_a_token_from_a_pipe(
    vpsorg: Any,
    service: Sandbox,
    path: Path,
    pipe: Any,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    option: Any,
) -> None:
    """It is checked, and stored with the address where it was checked; later commands need nothing else."""
    pipe(text)
    ended = vpsorg("login", *option)

    assert (ended.code, ended.err) == (0, "")
    assert "signed in as john@example.com" in ended.out
    assert TOKEN not in ended.out
    assert path.read_text() == f'[profiles.default]\ntoken = "{TOKEN}"\nbase_url = "{service.url}"\n'
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [entry.path for entry in service.requests] == ["/api/v1/account/me/"]
    monkeypatch.delenv("VPSORG_BASE_URL")
    assert vpsorg("servers", "list").code == 0


def test_a_terminal_does_not_show_the_token(terminal: Any, vpsorg: Any, service: Sandbox, path: Path) -> None:
    """What is typed is not shown, Ctrl-C and an empty line store nothing, and the terminal shows typing afterwards."""
    import termios

    left = terminal("login")
    left.until("(it is not shown): ")
    left.type(TOKEN[:5] + "\x03")
    assert (left.ended(), path.exists()) == (130, False)
    empty = terminal("login")
    empty.until("(it is not shown): ")
    empty.type("\n")
    assert (empty.ended(), "no token was entered" in empty.seen, path.exists()) == (2, True, False)
    closed = terminal("login")
    closed.until("(it is not shown): ")
    closed.type("\x04")
    assert (closed.ended(), "no token was entered" in closed.seen, "Traceback" in closed.seen) == (
        2,
        True,
        False,
    )

    asked = terminal("login")
    assert f"API token for {service.url}" in asked.until("(it is not shown): ")
    asked.type(f"Bearer {TOKEN}\n")
    assert asked.ended() == 0
    assert "signed in as john@example.com" in asked.seen
    assert TOKEN[:5] not in left.seen + asked.seen
    assert f'token = "{TOKEN}"' in path.read_text()
    for one in (left, asked):
        assert termios.tcgetattr(one.mine)[3] & termios.ECHO


@pytest.mark.parametrize(
    ("reply", "code"),
    [(faults.Reply(401), 5), (faults.Reply(403), 5), (faults.Reply(500), 1), (faults.DropBefore(), 1)],
    ids=str,
)
def test_nothing_is_stored_unless_the_token_is_accepted(
    vpsorg: Any,
    service: Sandbox,
    file: Path,
    pipe: Any,
    monkeypatch: pytest.MonkeyPatch,
    reply: Any,
    code: int,
) -> None:
    """A refused token, or a service that does not answer: the file is as it was."""
    monkeypatch.setitem(Client.__init__.__kwdefaults__ or {}, "retry", RetryPolicy(attempts=1))
    service.faults.add(Rule("account", reply))
    pipe(TOKEN)
    ended = vpsorg("login", "--yes")

    assert (ended.code, ended.out, file.read_text()) == (code, "", FILE)
    assert TOKEN not in ended.err


def test_a_refused_token_is_explained(vpsorg: Any, service: Sandbox, file: Path, pipe: Any) -> None:
    """The message says which token it was, and what to do; exit code 5, as for every refused token."""
    pipe("vps_wrong")
    login, listed = vpsorg("login", "--yes"), vpsorg("servers", "list")

    assert (login.code, listed.code) == (5, 5)
    assert "the token comes from this login; nothing was stored" in login.err
    assert "the token comes from [profiles.default]" in listed.err
    assert "expired" in listed.err
    assert "vpsorg login --profile default" in listed.err
    assert listed.err.count("\n") == 1
    # a wait and a fleet have an outcome for each server, and say it once
    for line in ("wait 12345 12346", "fleet stop 12345 12346 --yes --no-journal"):
        several = vpsorg(*line.split())
        assert (several.code, several.err.count("vpsorg login --profile default")) == (5, 1)


@pytest.mark.parametrize("options", [(), ("--debug",)])
def test_a_token_as_an_argument(vpsorg: Any, service: Sandbox, options: tuple[str, ...]) -> None:
    """It is refused, and not repeated."""
    ended = vpsorg("login", service.token, *options)

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "1 argument too many" in ended.err
    assert service.token not in ended.err


@pytest.mark.parametrize("text", ["", "\n", "vps_a b\n", "Bearer \n", "\x00\n"])
def test_what_is_no_token(vpsorg: Any, service: Sandbox, path: Path, pipe: Any, text: str) -> None:
    """It is refused before anything is sent."""
    pipe(text)
    ended = vpsorg("login")

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert (path.exists(), len(service.requests)) == (False, 0)


def test_another_token_is_replaced_only_on_request(
    vpsorg: Any, terminal: Any, service: Sandbox, file: Path, pipe: Any
) -> None:
    """A token can't be shown again: one that would be overwritten is asked for, or needs --yes without a terminal."""
    pipe(TOKEN)
    ended = vpsorg("login")
    assert (ended.code, "add --yes" in ended.err, file.read_text()) == (2, True, FILE)

    asked = terminal("login")
    asked.until("(it is not shown): ")
    asked.type(f"{TOKEN}\n")
    asked.until("Replace it? [y/N]")
    asked.type("n\n")
    assert (asked.ended(), file.read_text()) == (1, FILE)

    pipe(TOKEN)
    assert vpsorg("login", "--yes").code == 0
    base_url = f'base_url = "{service.url}"\n'
    assert file.read_text() == FILE.replace(f'token = "{OTHER}"', f'token = "{TOKEN}"').replace(
        "[profiles.default]\n", f"[profiles.default]\n{base_url}"
    )
    pipe(TOKEN)
    assert vpsorg("login").code == 0  # the same one


def test_a_new_and_an_existing_profile(
    vpsorg: Any, service: Sandbox, file: Path, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--profile and VPSORG_PROFILE name the profile, and no address of the environment is used then."""
    monkeypatch.setenv("VPSORG_BASE_URL", "http://127.0.0.1:1")
    pipe(TOKEN)
    ended = vpsorg("login", "--profile", "my work", "--base-url", service.url)
    assert (ended.code, "vpsorg profiles use 'my work'" in ended.err) == (0, True)
    monkeypatch.setenv("VPSORG_PROFILE", "new")
    pipe(TOKEN)
    assert vpsorg("login", "--base-url", service.url, "--dialect", "provider").code == 0

    stored = f'token = "{TOKEN}"\nbase_url = "{service.url}"\n'
    header = '[ profiles . "my work" ]  # the other one\n'
    assert file.read_text() == (
        FILE.replace(header, header + stored) + f'\n[profiles.new]\n{stored}dialect = "provider"\n'
    )
    assert Account(profile="my work").settings().token == TOKEN
    assert (Account().settings().dialect, Account().settings().profile) == ("provider", "new")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\udc80", " a"])
def test_what_is_no_name_of_a_profile(
    vpsorg: Any, service: Sandbox, path: Path, pipe: Any, name: str
) -> None:
    """It is refused before anything is sent."""
    pipe(TOKEN)
    assert (vpsorg("login", "--profile", name).code, path.exists(), len(service.requests)) == (2, False, 0)


@pytest.mark.parametrize("key", ["token_file", "token_command"])
def test_a_profile_whose_token_is_elsewhere(
    vpsorg: Any, service: Sandbox, file: Path, pipe: Any, key: str
) -> None:
    """A profile has one source of its token: a login does not add another one."""
    text = f'[profiles.default]\n{key} = "x"\n'
    file.write_text(text)
    pipe(TOKEN)
    ended = vpsorg("login")

    assert (ended.code, key in ended.err, file.read_text(), len(service.requests)) == (2, True, text, 0)


def test_a_file_that_cannot_be_changed_is_no_leak(
    vpsorg: Any, service: Sandbox, file: Path, pipe: Any
) -> None:
    """What to write by hand is said without the token."""
    text = f'profiles = {{default = {{base_url = "{service.url}"}}}}\n'
    file.write_text(text)
    pipe(TOKEN)
    ended = vpsorg("login")

    assert (ended.code, "change token" in ended.err, file.read_text()) == (2, True, text)
    assert TOKEN not in ended.err


def test_a_linked_file_stays_linked(
    vpsorg: Any, service: Sandbox, path: Path, pipe: Any, tmp_path: Path
) -> None:
    """The file behind the link is written."""
    path.parent.mkdir(parents=True)
    real = tmp_path / "dotfiles.toml"
    path.symlink_to(real)
    pipe(TOKEN)

    assert vpsorg("login").code == 0
    assert path.is_symlink()
    assert (TOKEN in real.read_text(), real.stat().st_mode & 0o777) == (True, 0o600)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_file_that_others_can_read(vpsorg: Any, service: Sandbox, file: Path, pipe: Any) -> None:
    """No token is asked for, sent, or stored in it."""
    file.chmod(0o644)
    pipe(TOKEN)
    ended = vpsorg("login", "--yes")

    assert (ended.code, "chmod 600" in ended.err, len(service.requests)) == (2, True, 0)


def test_a_login_that_a_variable_hides(
    vpsorg: Any, service: Sandbox, path: Path, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token of the environment takes precedence, so the login says so."""
    monkeypatch.setenv("VPS_API_TOKEN", "vps_x")
    monkeypatch.setenv("VPS_API_URL", "http://127.0.0.1:1/api/v1")
    pipe(TOKEN)
    ended = vpsorg("login")

    assert (ended.code, "VPS_API_TOKEN is set, and is used instead" in ended.err) == (0, True)


def test_the_address_of_another_token_is_not_used(
    terminal: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token that is typed is not sent to the address that belongs to the token of the environment."""
    monkeypatch.delenv("VPSORG_BASE_URL", raising=False)
    monkeypatch.setenv("VPS_API_TOKEN", "vps_x")
    monkeypatch.setenv("VPS_API_URL", "http://127.0.0.1:1/api/v1")
    asked = terminal("login")
    assert "API token for https://admin.vps.org (" in asked.until("(it is not shown): ")
    asked.type("\x03")
    assert (asked.ended(), path.exists()) == (130, False)


def test_a_login_as_json(vpsorg: Any, service: Sandbox, path: Path, pipe: Any) -> None:
    """The document names what was stored, and holds no token."""
    pipe(TOKEN)
    found = json.loads(vpsorg("login", "--json").out)

    assert (found["profile"], found["path"], found["stored"]) == ("default", str(path), ["token", "base_url"])
    assert found["account"]["email"] == "john@example.com"
    assert TOKEN not in str(found)


# -- logout ---------------------------------------------------------------------------------------------------------


def test_logout_removes_one_token(vpsorg: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only that line goes; what else holds a token is named, without it."""
    store("more", {"token": OTHER})
    monkeypatch.setenv("VPSORG_API_TOKEN", TOKEN)
    before = file.read_text()
    ended = vpsorg("logout")

    assert ended.code == 0
    assert file.read_text() == before.replace(f'token = "{OTHER}"  # the usual one\n', "", 1)
    assert ended.err.splitlines() == [
        "there is still a token in: VPSORG_API_TOKEN of the environment",
        "there is still a token in: [profiles.more], the same token",
    ]
    assert OTHER not in ended.out + ended.err
    again = vpsorg("logout", "--json", "--quiet")
    assert (again.code, json.loads(again.out)["removed"]) == (0, False)


def test_logout_of_other_profiles(vpsorg: Any, file: Path) -> None:
    """A profile that does not exist is exit code 2; a file or a command stays, and is named."""
    file.write_text('[profiles.default]\ntoken_file = "token"\n')
    ended = vpsorg("logout", "--yes")

    assert (ended.code, "token_file of [profiles.default]" in ended.err) == (0, True)
    assert vpsorg("logout", "--profile", "nope").code == 2


# -- profiles -------------------------------------------------------------------------------------------------------


def test_profiles_are_listed_without_tokens(vpsorg: Any, file: Path) -> None:
    """One row for each, the active one marked; without a file there is a note."""
    listed, found = vpsorg("profiles", "list"), json.loads(vpsorg("profiles", "list", "--json").out)
    file.unlink()
    none = vpsorg("profiles", "list")

    assert [row.split()[:3] for row in listed.out.splitlines()[1:]] == [
        ["default", "yes", "token"],
        ["my", "work", "no"],
    ]
    assert [(row["name"], row["active"], row["token"]) for row in found] == [
        ("default", True, "token"),
        ("my work", False, None),
    ]
    assert OTHER not in listed.out + str(found)
    assert (none.code, "vpsorg login" in none.err) == (0, True)


def test_another_profile_is_used(
    vpsorg: Any, service: Sandbox, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is used by commands that name none, and the file stays as it was otherwise."""
    store("my work", {"token": TOKEN})
    before = file.read_text()
    for _ in range(2):
        assert vpsorg("profiles", "use", "my work").code == 0
        assert file.read_text() == f'profile = "my work"\n{before}'
    assert vpsorg("servers", "list").code == 0
    assert (Account().settings().profile, Account().settings().limits) == ("my work", None)

    missing = vpsorg("profiles", "use", "my-work")
    assert (missing.code, "default, my work); did you mean 'my work'?" in missing.err) == (2, True)
    assert vpsorg("profiles", "use", "default").code == 0
    assert file.read_text() == f'profile = "default"\n{before}'


def test_an_active_profile_that_is_missing(vpsorg: Any, service: Sandbox, file: Path) -> None:
    """A name that was written by hand and fits no profile is an error, and can be corrected by the command."""
    file.write_text(f'profile = "nope"\n{FILE}')
    ended = vpsorg("servers", "list")

    assert (ended.code, 'profile = "nope"' in ended.err) == (2, True)
    assert vpsorg("profiles", "use", "default").code == 0
    assert read_profiles().active == "default"
    file.write_text("profile = 3\n")
    assert vpsorg("profiles", "list").code == 2


def test_a_profile_is_named_by_a_variable(vpsorg: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VPSORG_PROFILE is like --profile, which takes precedence: nothing else of the environment is mixed in."""
    store("my work", {"token": TOKEN})
    choose("default")
    monkeypatch.setenv("VPSORG_BASE_URL", "https://elsewhere.example")
    monkeypatch.setenv("VPSORG_PROFILE", "my work")
    found = Account().settings()

    assert (found.token, found.base_url, found.profile) == (TOKEN, "https://admin.vps.org", "my work")
    assert Account(profile="default").settings().token == OTHER
    monkeypatch.setenv("VPSORG_PROFILE", "nope")
    ended = vpsorg("servers", "list")
    assert (ended.code, "VPSORG_PROFILE=nope" in ended.err) == (2, True)
    monkeypatch.setenv("VPSORG_PROFILE", " ")
    assert Account().settings().base_url == "https://elsewhere.example"


def test_a_token_that_a_named_profile_hides(
    vpsorg: Any, service: Sandbox, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a token and a profile in the environment, the command says which one is not used."""
    store("my work", {"token": TOKEN, "base_url": service.url})
    monkeypatch.setenv("VPSORG_PROFILE", "my work")
    monkeypatch.setenv("VPSORG_API_TOKEN", "vps_x")
    ended = vpsorg("servers", "list")

    assert (ended.code, "VPSORG_API_TOKEN is not used" in ended.err) == (0, True)


def test_the_settings_in_use_are_shown(vpsorg: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its source, and of a token only the end is shown."""
    monkeypatch.setenv("VPSORG_API_TOKEN", TOKEN)
    monkeypatch.setenv("VPSORG_BASE_URL", "https://elsewhere.example")
    monkeypatch.setenv("VPSORG_JOURNAL", "/tmp/j.db")
    shown = json.loads(vpsorg("profiles", "show", "--json").out)
    text = vpsorg("profiles", "show").out
    named = json.loads(vpsorg("profiles", "show", "default", "--json").out)

    assert shown["settings"] == {
        "token": {"value": "****cdef", "from": "VPSORG_API_TOKEN"},
        "base_url": {"value": "https://elsewhere.example", "from": "VPSORG_BASE_URL"},
        "dialect": {"value": "documented", "from": "default"},
        "journal": {"value": "/tmp/j.db", "from": "VPSORG_JOURNAL"},
        "limits": {"value": {"max_servers": 3}, "from": "[profiles.default]"},
    }
    assert named["settings"]["token"] == {"value": "****3210", "from": "[profiles.default]"}
    assert [TOKEN in text, OTHER in str(named), "max_servers 3" in text] == [False, False, True]
    file.write_text(
        '[profiles.default]\ntoken = "short"\n\n[profiles.none]\n\n[profiles.by]\ntoken_command = "pass x"\n'
    )
    monkeypatch.delenv("VPSORG_API_TOKEN")
    assert "short" not in vpsorg("profiles", "show").out
    assert "vpsorg login" in vpsorg("profiles", "show", "none").err
    assert "pass x" in vpsorg("profiles", "show", "by").out
    assert vpsorg("profiles", "show", "nope").code == 2


@pytest.mark.parametrize("name", ["a.b", "ä", "a b", 'a"b', "a\\b"])
@pytest.mark.parametrize("token", ['a"b', "a\\b", "a'b#c=d"])
def test_names_and_tokens_of_any_characters(path: Path, name: str, token: str) -> None:
    """What is stored is what is read."""
    store(name, {"token": token})
    store(name, {"token": token, "dialect": "provider"})
    choose(name)

    assert read_profiles().profiles == {name: {"token": token, "dialect": "provider"}}
    assert read_profiles().active == name
    store(name, {"token": None, "dialect": None})
    assert read_profiles().profiles == {name: {}}


def test_a_table_in_a_text_is_not_changed(path: Path) -> None:
    """Lines that only look like the profile are found out, and nothing is written."""
    path.parent.mkdir(parents=True)
    text = '[profiles.other]\njournal = """\n[profiles.default]\ntoken = "x"\n"""\n\n[profiles.default]\ntoken = "y"\n'
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match="yourself"):
        store("default", {"token": None})
    assert path.read_text() == text


def test_two_that_change_the_file_at_once(service: Sandbox, tmp_path: Path) -> None:
    """No login undoes another one: a token that is lost can't be shown again."""
    program = (
        "import sys; from vpsorg_async.cli.profile_file import store\n"
        "print(flush=True); sys.stdin.readline()\n"
        "for n in range(20): store(f'{sys.argv[1]}{n}', {'token': 'a' * 20})"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(vpsorg_async.__file__).parents[1])},
        )
        for name in ("a", "b")
    ]
    for one in both:
        assert one.stdout is not None
        one.stdout.readline()
    for one in both:
        assert one.stdin is not None
        one.stdin.write(b"\n")
        one.stdin.flush()
    for one in both:
        one.communicate()

    assert [one.returncode for one in both] == [0, 0]
    assert len(read_profiles().profiles) == 40


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("  token = 'a # b' # mine", '  token = "new"  # mine'),
        ('token="a"#b#c', 'token = "new"  #b#c'),
        ("\ttoken = 'a'", '\ttoken = "new"'),
    ],
)
def test_a_comment_on_the_line_that_is_changed(path: Path, line: str, after: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(f"[profiles.default]\n{line}\n")
    path.chmod(0o600)

    store("default", {"token": "new"})

    assert path.read_text() == f"[profiles.default]\n{after}\n"


def test_a_signal_while_the_file_is_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is as it was, and no other one is left that holds a token."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store("default", {"token": TOKEN})

    assert (file.read_text(), [*file.parent.iterdir()]) == (FILE, [file])
