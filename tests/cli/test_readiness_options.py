"""How `--ready` is written, and what is refused before anything is sent."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async import ServerStatus, ready
from vpsorg_async.cli.readiness_options import Readiness, WrittenCheck, parse
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.records import Server
from vpsorg_async.sandbox import Sandbox

NEW = ("--plan-id", "1", "--os-id", "5", "--location", "us-west", "--yes")
CLOUD_INIT = "ssh: cloud-init status --wait"


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("tcp:22", WrittenCheck("tcp", 22)),
        (" tcp:65535 ", WrittenCheck("tcp", 65535)),
        ("http", WrittenCheck("http", None, "/")),
        ("http:8080", WrittenCheck("http", 8080, "/")),
        ("http:8080/healthz?full=1", WrittenCheck("http", 8080, "/healthz?full=1")),
        ("http:/healthz", WrittenCheck("http", None, "/healthz")),
        ("https:443/healthz", WrittenCheck("https", 443, "/healthz")),
        ("https://www.example.org:8443/x", WrittenCheck("https", None, "https://www.example.org:8443/x")),
        ("http://127.0.0.1/", WrittenCheck("http", None, "http://127.0.0.1/")),
        ("http://[::1]/", WrittenCheck("http", None, "http://[::1]/")),
        ("http:8080/x,401", WrittenCheck("http", 8080, "/x", frozenset({401}))),
        ("http:/x,200-202, 404", WrittenCheck("http", None, "/x", frozenset({200, 201, 202, 404}))),
        ("http,2xx", WrittenCheck("http", None, "/", frozenset(range(200, 300)))),
        ("https://h.example/a,b,301", WrittenCheck("https", None, "https://h.example/a,b", frozenset({301}))),
        ("http:/a,b", WrittenCheck("http", None, "/a,b")),
        ("ssh: echo 1,200", WrittenCheck("command", None, "echo 1,200")),
        ("ssh", WrittenCheck("ssh")),
        ("ssh:2222", WrittenCheck("ssh", 2222)),
        (CLOUD_INIT, WrittenCheck("command", None, "cloud-init status --wait")),
        ("ssh:2222: test -e /run/x && uptime", WrittenCheck("command", 2222, "test -e /run/x && uptime")),
        ("ssh: curl http://localhost:80/", WrittenCheck("command", None, "curl http://localhost:80/")),
    ],
)
def test_what_is_written(text: str, check: WrittenCheck) -> None:
    """Each form is read as the table of the module says."""
    assert parse(text) == check


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("22", "tcp:22"),
        (":22", "tcp:22"),
        ("tcp 22", "tcp:22"),
        ("tcp: 22", "tcp:22"),
        ("tpc:22", "tcp:22"),
        ("TCP:22", "tcp:22"),
        ("/healthz", "http:/healthz"),
        ("http:healthz", "http:/healthz"),
        ("http://8080/healthz", "http:8080/healthz"),
        ("http://:8080/x", "http:8080/x"),
        ("htp:8080/x", "http:8080/x"),
        ("ssh: 2222", "ssh:2222"),
        ("ssh:uptime", "ssh: uptime"),
        ("ssh uptime -p", "ssh: uptime -p"),
        ("shh: uptime", "ssh: uptime"),
        ("ssh:2222 uptime", "ssh:2222: uptime"),
        ("ssh:2222:uptime", "ssh:2222: uptime"),
    ],
)
def test_what_is_meant(text: str, meant: str) -> None:
    """A check that is miswritten is refused with what is probably meant, which can be read."""
    with pytest.raises(ConfigurationError) as refused:
        parse(text)

    assert str(refused.value).startswith(f"--ready {text!r}: ")
    assert str(refused.value).endswith(f"; did you mean {meant!r}?")
    parse(meant)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no check"),
        ("ping", "no check"),
        ("cloud-init status --wait", "no check"),
        ("tcp", "port is missing"),
        ("tcp:", "port is missing"),
        ("tcp:ssh", "'ssh'"),
        ("tcp:0", "from 1 to 65535"),
        ("tcp:65536", "from 1 to 65535"),
        ("tcp:22/x", "'22/x'"),
        ("http:8080healthz", "8080healthz"),
        ("http:localhost:8080/x", "localhost"),
        ("http:/x,600", "statuses are written as"),
        ("http:/x,399-200", "not '399-200'"),
        ("http:/x,200-", "not '200-'"),
        ("http:/x,", "not ''"),
        ("ssh:", "command is missing"),
        ("ssh: ", "command is missing"),
        ("ssh:22:", "command is missing"),
        ("ssh:22x", "colon and a space"),
        ("ssh:99999: uptime", "from 1 to 65535"),
        ("9" * 10_000, "no check"),
    ],
)
def test_what_is_refused(text: str, word: str) -> None:
    """What nothing can be made of is refused with the forms that there are, in one line of a bounded length."""
    with pytest.raises(ConfigurationError) as refused:
        parse(text)

    assert word in str(refused.value)
    assert "a check is written as tcp:22, " in str(refused.value)
    assert len(str(refused.value)) < 400


def test_one_check_of_all() -> None:
    """The checks are made in their order, each once, under the names that they were written by."""
    request = Readiness(ready=("tcp:22", "http:8080/x", "tcp:22", "ssh"), ready_timeout=60).request()

    assert repr(request.check) == "all_of(tcp:22, http:8080/x, ssh)"
    assert request.timeout == 60
    assert Readiness().request().check is None


def test_a_hint_repeats_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The options of a command can be given to another one, as a shell reads them."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    hosts = tmp_path / "host keys"
    given = Readiness(
        ready=(CLOUD_INIT, "ssh:2222"),
        ready_timeout=60.5,
        ssh_user="admin",
        ssh_known_hosts=hosts,
        ssh_accept_new=True,
    )

    assert shlex.split(given.request().written) == [
        *("--ready", CLOUD_INIT, "--ready", "ssh:2222", "--ready-timeout", "60.5"),
        *("--ssh-user", "admin", "--ssh-known-hosts", str(hosts), "--ssh-accept-new"),
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--ready-timeout 5", "--ready-timeout goes with --ready"),
        ("--ssh-user me", "--ssh-user goes with --ready"),
        ("--ready ssh --ssh-user me", "--ssh-user goes with a --ready that executes a command"),
        ("--ready ssh --ssh-accept-new", "--ssh-accept-new goes with a --ready that executes a command"),
        ("--ready ssh --ready-timeout 0", "--ready-timeout"),
        ("--ready tcp", "the port is missing"),
        ("--ready http://[x/", "--ready 'http://[x/'"),
        ("--ready 'ssh: x'", "--ssh-known-hosts FILE --ssh-accept-new"),
        ("--ready 'ssh: x' --ssh-accept-new", "name it with --ssh-known-hosts"),
        ("--ready 'ssh: x' --ssh-known-hosts missing", "--ssh-known-hosts: there is no file 'missing'"),
        ("--ready 'ssh: x' --ssh-accept-new --ssh-known-hosts no/folder", "--ssh-known-hosts: 'no/folder'"),
        (
            "--ready 'ssh: x' --ssh-accept-new --ssh-known-hosts h --ssh-key missing",
            "--ssh-key: there is no file 'missing'",
        ),
        (
            "--ready 'ssh: x' --ssh-accept-new --ssh-known-hosts h --ssh-key key",
            "used by way of the SSH agent: add it there, and leave --ssh-key out",
        ),
        ("--ready 'ssh: x' --ssh-accept-new --ssh-known-hosts h --ssh-user ''", "--ssh-user is a text"),
    ],
)
def test_bad_options_send_nothing(
    vpsorg: Any, box: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: str, words: str
) -> None:
    """Exit code 2 and one line, which names the options of the command, before anything is requested."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text("no key")
    box.world.add(1)
    if "FILE" in words:
        # without the file of the user there is nothing to hold a host key against, be the server new or not
        reboot = vpsorg("fleet", "reboot", "12345", *shlex.split(options))
        assert (reboot.code, words in reboot.err) == (2, True)

    for line in (("fleet", "create", "--name", "a", *NEW), ("servers", "create", "a", "--wait", *NEW)):
        ended = vpsorg(*line, *shlex.split(options))

        assert (ended.code, ended.out) == (2, "")
        assert words in ended.err
        assert "known_hosts=" not in ended.err
        assert "pin=" not in ended.err
        assert ended.err.count("\n") == 1
    assert box.requests == ()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("servers create a --plan-id 1 --os-id 5 --location us-west --yes --ready ssh", "add --wait"),
        ("servers reboot 12345 --ready ssh", "add --wait"),
        ("fleet start 12345 --no-wait --ready ssh", "does not go with --no-wait"),
        ("fleet create --name a --plan-id 1 --os-id 5 --location x --yes --no-wait --ready ssh", "--no-wait"),
        ("wait 12345 --for stopped --ready ssh", "leave --for out"),
        ("wait 12345 --ready tcp:x", "--ready 'tcp:x'"),
        ("fleet rolling-reboot 12345 --port 0", "--ready 'tcp:0'"),
        ("fleet stop 12345 --ready ssh", "--ready"),
    ],
)
def test_where_nothing_can_be_checked(vpsorg: Any, box: Sandbox, line: str, words: str) -> None:
    """A check of servers that are not waited for until they are active is refused, and nothing is sent."""
    ended = vpsorg(*line.split())

    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert box.requests == ()


def test_a_missing_extra(vpsorg: Any, box: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without asyncssh a command over SSH is refused with what to install; a banner needs nothing."""
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    monkeypatch.delitem(sys.modules, "vpsorg_async.ready.ssh_login", raising=False)
    hosts = ("--ssh-known-hosts", str(tmp_path / "hosts"), "--ssh-accept-new")

    ended = vpsorg("fleet", "create", "--name", "a", *NEW, "--ready", CLOUD_INIT, *hosts)

    assert (ended.code, ended.out, box.requests) == (2, "", ())
    assert ended.err == (
        f'vpsorg: --ready {CLOUD_INIT!r}: a command over SSH needs asyncssh: pip install "vpsorg-async[ssh]"\n'
    )
    assert Readiness(ready=("ssh",)).request().check is not None


async def test_reasons_name_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the check says of host keys names the option of the command, not that of the function."""

    async def call(server: Server) -> bool:
        raise ready.Hopeless("the host key is not in 'hosts': add it there, or pass pin=True to trust it")

    monkeypatch.setattr(ready, "command", lambda command, **_: ready.Check("command", 1.0, call))
    check = Readiness(ready=("ssh: x",)).request().check
    assert check is not None

    with pytest.raises(
        ready.Hopeless, match=r"^ssh: x: .* add it there, or use --ssh-accept-new to trust it$"
    ):
        await check(Server(id=1, name="a", status=ServerStatus.ACTIVE))
