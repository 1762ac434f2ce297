"""Fleet commands and the worker on Temporal, as far as no engine is needed; the rest is in tests/temporal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Vpsorg
from vpsorg_async.sandbox import Sandbox

SPECS = ("--name", "web-1", "--plan-id", "1", "--os-id", "5", "--location", "us-west", "--yes")
ENSURE = ("fleet", "ensure", *SPECS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*ENSURE, "--on", "temporal"), "--on temporal needs --id NAME"),
        ((*ENSURE, "--id", "web"), "--id goes with --on temporal"),
        ((*ENSURE, "--detach"), "--detach goes with --on temporal"),
        (
            (*ENSURE, "--on", "temporal", "--id", "web", "--stop-on-failure", "--ready", "tcp:22"),
            "--stop-on-failure, --ready can't be given with --on temporal",
        ),
        (
            ("fleet", "create", *SPECS, "--on", "temporal", "--id", "web", "--no-wait"),
            "--no-wait can't be given",
        ),
        (
            ("fleet", "delete", "1", "--yes", "--on", "temporal", "--id", "web", "--journal", "x.db"),
            "--journal can't",
        ),
        (
            ("fleet", "rolling-reboot", "1", "--on", "temporal", "--id", "web", "--port", "22"),
            "--port can't be given",
        ),
    ],
)
def test_options_that_do_not_go_together(
    vpsorg: Vpsorg, box: Sandbox, words: tuple[str, ...], says: str
) -> None:
    """Nothing is dropped in silence: the command names the option, and sends nothing."""
    ended = vpsorg(*words)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert not box.requests


@pytest.mark.parametrize(
    "words",
    [
        ("worker",),
        ("worker", "--dev"),
        (*ENSURE, "--on", "temporal", "--id", "web"),
        ("fleet", "status", "web"),
        ("fleet", "pause", "web"),
        ("fleet", "resume", "web"),
    ],
    ids=" ".join,
)
def test_without_the_extra(
    vpsorg: Vpsorg, box: Sandbox, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """The command names what has to be installed."""
    monkeypatch.setattr("vpsorg_async.cli.engine_options.find_spec", lambda name: None)
    ended = vpsorg(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == 'vpsorg: Temporal needs an extra: pip install "vpsorg-async[cli,temporal]"\n'
    assert not box.requests


def test_an_address_without_a_port(vpsorg: Vpsorg) -> None:
    """A bad address is a usage error."""
    pytest.importorskip("temporalio", reason="the session temporal has it")
    ended = vpsorg("fleet", "status", "web", "--address", "localhost")
    assert (ended.code, ended.err) == (2, "vpsorg: --address is HOST:PORT, not 'localhost'\n")


@pytest.mark.parametrize("address", ["example.com:7233", "10.0.0.1:7233"])
def test_a_development_server_elsewhere(vpsorg: Vpsorg, box: Sandbox, address: str) -> None:
    """--dev starts one on this machine only."""
    pytest.importorskip("temporalio", reason="the session temporal has it")
    ended = vpsorg("worker", "--dev", "--address", address)
    assert (ended.code, ended.err) == (
        2,
        f"vpsorg: --dev starts a server on this machine: its address can't be {address}\n",
    )


def test_no_program(vpsorg: Vpsorg, box: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--dev says where the program is searched for."""
    pytest.importorskip("temporalio", reason="the session temporal has it")
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.delenv("TEMPORAL_CLI", raising=False)
    ended = vpsorg("worker", "--dev", "--address", "127.0.0.1:1")
    assert ended.code == 2
    assert "--dev needs the program temporal" in ended.err


@pytest.mark.parametrize("command", ["fleet delete", "fleet rolling-reboot"])
def test_a_pattern_that_fits_nothing_begins_no_workflow(vpsorg: Vpsorg, box: Sandbox, command: str) -> None:
    """Nor is an engine needed to find out that there is nothing to do."""
    pytest.importorskip("temporalio", reason="the session temporal has it")
    nowhere = ("--on", "temporal", "--id", "nothing", "--address", "127.0.0.1:1")
    ended = vpsorg(*command.split(), "db-*", *nowhere, "--yes")

    assert (ended.code, "no server's name fits 'db-*'" in ended.err) == (0, True)
