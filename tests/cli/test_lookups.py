"""Look-ups and the doctor, in both dialects."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async.cli.profile_file import config_file
from vpsorg_async.sandbox import Rule, Sandbox, faults

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@example"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox that speaks the provider's own form."""
    with Sandbox(speed=6000, token="vps_tests", dialect="provider") as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        monkeypatch.setenv("VPSORG_DIALECT", "provider")
        yield box


def test_plans_and_account(vpsorg: Any, box: Sandbox) -> None:
    """Plans have exact prices; the account says whose token it is."""
    plans = vpsorg("plans")
    as_json = json.loads(vpsorg("plans", "--json").out)
    account = vpsorg("account")

    assert plans.out.splitlines()[1].split()[:3] == ["1", "Standard", "VPS"]
    assert [plan["price_monthly"] for plan in as_json] == ["10.0", "20.0"]
    assert "john@example.com" in account.out
    assert (plans.code, account.code) == (0, 0)


def test_the_lookups_of_the_provider_dialect(vpsorg: Any, provider: Sandbox, tmp_path: Path) -> None:
    """Locations, systems and keys are listed; a key is added from its file and deleted."""
    assert json.loads(vpsorg("locations", "--json").out)[0]["id"]
    assert json.loads(vpsorg("os", "--json").out)[0]["operating_system"]
    file = tmp_path / "id.pub"
    file.write_text(KEY + "\n")
    added = json.loads(vpsorg("ssh-keys", "add", "mine", str(file), "--json").out)
    assert [key["name"] for key in json.loads(vpsorg("ssh-keys", "list", "--json").out)] == ["mine"]
    refused = vpsorg("ssh-keys", "delete", added["id"])
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert vpsorg("ssh-keys", "delete", added["id"], "--yes").code == 0
    assert json.loads(vpsorg("ssh-keys", "list", "--json").out) == []


def test_a_private_key_is_not_sent(vpsorg: Any, provider: Sandbox, tmp_path: Path) -> None:
    """The private key instead of the public one is refused before anything is sent."""
    file = tmp_path / "id"
    file.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n")

    ended = vpsorg("ssh-keys", "add", "mine", str(file))
    missing = vpsorg("ssh-keys", "add", "mine", str(tmp_path / "no"))

    assert (ended.code, "private key" in ended.err) == (2, True)
    assert (missing.code, "No such file" in missing.err) == (2, True)
    assert provider.requests == ()


def test_root_passwords_are_kept(vpsorg: Any, provider: Sandbox, tmp_path: Path) -> None:
    """A root password comes once: it goes into a new private file, never into the output."""
    plan = json.loads(vpsorg("plans", "--json").out)[0]["id"]
    system = json.loads(vpsorg("os", "--json").out)[0]["id"]
    flags = ("--plan-id", plan, "--os-id", system, "--location", "1", "--yes", "--json")
    file = tmp_path / "passwords"

    one = vpsorg("servers", "create", "web-1", *flags, "--passwords", str(file))
    many = vpsorg("fleet", "create", "--name", "db-{n}", "--count", "2", *flags, "--passwords", f"{file}2")
    taken = vpsorg("servers", "create", "web-9", *flags, "--passwords", str(file))
    lost = vpsorg("servers", "create", "web-2", *flags)

    assert (one.code, many.code, lost.code) == (0, 0, 0)
    kept = [line.split() for name in (file, Path(f"{file}2")) for line in name.read_text().splitlines()]
    assert sorted(name for _, name, _ in kept) == ["db-1", "db-2", "web-1"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert all(password not in one.out + one.err + many.out + many.err for _, _, password in kept)
    assert (taken.code, "File exists" in taken.err) == (2, True)
    assert "--passwords" in lost.err


@pytest.mark.skipif(os.name != "posix", reason="limits of files are POSIX")
def test_passwords_that_cannot_be_kept(vpsorg: Any, start: Any, provider: Sandbox) -> None:
    """If the file of the passwords is full, they are printed on standard error; the exit code is the work's."""

    def nothing_fits() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    plan = json.loads(vpsorg("plans", "--json").out)[0]["id"]
    system = json.loads(vpsorg("os", "--json").out)[0]["id"]
    flags = ("--plan-id", plan, "--os-id", system, "--location", "1", "--yes", "-q", "--passwords", "kept")
    with start(
        "fleet", "create", "--name", "a-{n}", "--count", "2", *flags, preexec_fn=nothing_fits
    ) as process:
        out, err = process.communicate()

    assert (process.returncode, "2 succeeded" in err, "a-2" in out) == (0, False, True)
    assert (
        err.count("its root password, which is shown only once: ")
        == err.count("--passwords: kept: File too large")
        == 2
    )


def test_passwords_of_servers_that_are_late(
    vpsorg: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server whose wait timed out exists: its password is kept as well."""
    with Sandbox(token="vps_tests", dialect="provider") as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        monkeypatch.setenv("VPSORG_DIALECT", "provider")
        plan = json.loads(vpsorg("plans", "--json").out)[0]["id"]
        system = json.loads(vpsorg("os", "--json").out)[0]["id"]
        flags = ("--plan-id", plan, "--os-id", system, "--location", "1", "--yes", "--timeout", "0.5")
        late = vpsorg("fleet", "create", "--name", "a", *flags, "--passwords", str(tmp_path / "kept"))
        [server] = box.servers

    assert late.code == 3
    assert [line.split()[:2] for line in (tmp_path / "kept").read_text().splitlines()] == [
        [str(server.id), "a"]
    ]


def test_an_ipv6_address_is_shown_where_there_is_no_other(
    vpsorg: Any, provider: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without an IPv4 address is shown with its IPv6 one: in lists, waits, reports, watches and questions."""
    monkeypatch.setattr("vpsorg_async.sandbox.records.Server.ip_address", None)
    [server] = provider.world.add(1)
    key, address = str(server.id), server.ipv6_address

    lines = (
        "servers list",
        f"wait {key}",
        f"fleet stop {key} --yes",
        f"servers get {key}",
        f"servers delete {key}",
    )
    shown = [vpsorg(*line.split()) for line in lines]

    assert address
    assert [
        line for line, ended in zip(lines, shown, strict=True) if address not in ended.out + ended.err
    ] == []


def test_the_doctor_is_content(vpsorg: Any, box: Sandbox) -> None:
    """All good: exit code 0, a line for each check, and the same as one JSON document; nothing is changed."""
    box.world.add(2)

    ended = vpsorg("doctor")
    document = json.loads(vpsorg("doctor", "--json").out)

    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == ["good"] * len(document["checks"])
    assert [check["name"] for check in document["checks"]][:4] == ["name", "connection", "token", "dialect"]
    assert (document["dialect"], document["written"]) == ("documented", None)
    assert box.ledger == ()


def test_the_doctor_writes_the_dialect(
    vpsorg: Any, provider: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dialect that answers is named with what to do, and put into the profile where that is asked for."""
    monkeypatch.delenv("VPSORG_DIALECT")
    file = config_file()
    assert file is not None
    empty = vpsorg("doctor", "--write")
    assert (empty.code, "could not be determined" in empty.err, file.exists()) == (0, True, False)
    provider.world.add(1)

    told = vpsorg("doctor")
    written = vpsorg("doctor", "--write")
    listed = vpsorg("servers", "list", "--json")

    assert "doctor --write" in told.out
    assert (told.code, written.code, listed.code) == (0, 0, 0)
    assert str(config_file()) in written.out
    assert len(json.loads(listed.out)) == 1


def test_a_wrong_dialect_names_the_setting(vpsorg: Any, provider: Sandbox) -> None:
    """An answer in the other dialect is an error that says which."""
    provider.world.add(1)

    ended = vpsorg("servers", "list", "--dialect", "documented")

    assert ended.code == 1
    assert "it looks like the provider dialect: --dialect provider" in ended.err


def test_the_doctor_tells_what_is_wrong(vpsorg: Any, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused token is 5; a closed port, an HTML page and a redirect are 6: each with one line on what to do."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        closed = vpsorg("doctor", "--base-url", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("VPSORG_API_TOKEN", "vps_of_another")
    refused = vpsorg("doctor", "--json")
    monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
    box.faults.add(Rule("list", faults.Garbage()))
    garbage = vpsorg("doctor")

    assert (closed.code, refused.code, garbage.code) == (6, 5, 6)
    assert f"port {port} of 127.0.0.1 does not answer" in closed.out
    assert closed.out.splitlines()[-1].strip().startswith("-> check the port")
    assert json.loads(refused.out)["checks"][-1]["refused"] is True
    assert "vps_of_another" not in refused.out + refused.err
    assert garbage.out.splitlines()[-2].startswith("bad ")
