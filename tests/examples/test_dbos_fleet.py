"""The DBOS example, as processes that are killed, against the sandbox."""

from __future__ import annotations

import base64
import binascii
import hmac
import random
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.examples.dbos_program import EXAMPLE, POSTGRES, Account
from vpsorg_async import Client, ServerSpec
from vpsorg_async.pytest_plugin import assert_committed, assert_no_duplicates
from vpsorg_async.sandbox import Sandbox

pytest.importorskip("dbos", reason="dbos is not installed: pip install dbos")


@pytest.mark.timeout(120)
def test_kills_make_no_duplicates(tmp_path: Path) -> None:
    """Three kills in the middle of 60 creates, and lists that first show none of them: each is created once."""
    settle = 2
    with Sandbox(speed=600, latency=0.1) as box:
        account = Account(box, tmp_path)

        def stale_until_read(process: subprocess.Popen[str]) -> None:
            # reads show the state of an hour ago until the process has read the account
            read = len(box.requests)
            box.world.lag(3600, lasting=3600)
            account.until(process, lambda: any(entry.status for entry in box.requests[read:]))
            box.world.lag(0)

        for at in sorted(random.Random(1).sample(range(1, 45), 3)):
            with account.started(60, settle) as process:
                stale_until_read(process)
                account.until_created(process, at)
            assert len(box.ledger) < 60
        with account.started(60, settle) as process:
            stale_until_read(process)
            printed, complaints = process.communicate(timeout=50)

        assert (process.returncode, printed) == (0, "60 of 60 servers are active\n"), complaints
        assert_committed(box, create=60)
        assert_no_duplicates(box)


async def test_secrets_are_not_stored(tmp_path: Path) -> None:
    """The database has neither the token nor a root password, in any coding, after a crash and after the end."""
    with Sandbox(speed=600, latency=0.1, dialect="provider") as box:
        async with Client(box.token, base_url=box.url, dialect="provider") as vps:
            plan, system = (await vps.plans.list())[0].id, (await vps.operating_systems.list())[0].id
            one = await vps.servers.create(ServerSpec(name="a", plan_id=plan, os_id=system, location="1"))
        ids = f"plan_id={plan!r}, os_id={system!r}, location='1'"
        script = edited(tmp_path, 'plan_id=1, os_id=5, location="us-west"', ids)
        account = Account(box, tmp_path, script, environ={"VPSORG_DIALECT": "provider"})
        account.killed(12, 1, at=6)
        code, _, complaints = account.ran(12, 1)
        assert code == 0, complaints
        names = [server.name for server in box.servers if server.id != one.id]
        passwords = [password(box, server.id) for server in box.servers]
    stored = dump(tmp_path)

    assert len(names) == 12
    assert all(name in stored for name in names)
    assert one.password == password(box, one.id)
    assert [secret for secret in [box.token, *passwords] if secret in stored] == []


def edited(folder: Path, old: str, new: str) -> Path:
    """The example with a change."""
    text = EXAMPLE.read_text("utf-8")
    assert text.count(old) == 1
    script = folder / "edited.py"
    script.write_text(text.replace(old, new), "utf-8")
    return script


def password(box: Sandbox, server_id: object) -> str:
    """The root password that the sandbox gave a server when it was created; it stores none."""
    return hmac.digest(box.token.encode(), str(server_id).encode(), "sha256").hex()[:20]


def dump(folder: Path) -> str:
    """Everything in the database as text: each value as it is, and decoded."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    url = POSTGRES or f"sqlite:///{folder / 'fleet.sqlite'}"
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    values: list[str] = []
    inspector = sqlalchemy.inspect(engine)
    with engine.connect() as connection:
        for schema in inspector.get_schema_names():
            for table in inspector.get_table_names(schema=schema):
                rows = connection.execute(sqlalchemy.text(f'SELECT * FROM "{schema}"."{table}"'))
                values += [decoded(value) for row in rows for value in row]
    engine.dispose()
    # what was deleted or overwritten may still be in the files
    values += [file.read_bytes().decode("latin-1") for file in folder.glob("fleet.sqlite*")]
    return "\n".join(values)


def decoded(value: object) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    try:
        return text + "\n" + base64.b64decode(text, validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        return text


def test_another_version_of_the_file_goes_on(tmp_path: Path) -> None:
    """A deploy that changes the code does not strand the workflow, because the version is pinned."""
    changed = edited(tmp_path, "attempt += 1", "attempt = attempt + 1")
    with Sandbox(speed=600, latency=0.1) as box:
        account = Account(box, tmp_path)
        account.killed(10, 1, at=4)
        code, printed, complaints = Account(box, tmp_path, changed, name=account.name).ran(10, 1)
        assert (code, printed) == (0, "10 of 10 servers are active\n"), complaints
        assert_committed(box, create=10)


def test_one_process_for_each_executor(tmp_path: Path) -> None:
    """A second process would execute the steps of the first one: it is refused, and sends nothing."""
    ahead = 0.0
    # servers are on their way until an hour is skipped
    with Sandbox(clock=lambda: time.monotonic() + ahead) as box:
        account = Account(box, tmp_path)
        with account.started(4, 1) as first:
            account.until_created(first, 4)
            code, _, complaints = account.ran(4, 1)
            assert (code, complaints) == (1, "another process with this executor is running\n")
            ahead = 3600.0
            assert first.communicate(timeout=200)[0] == "4 of 4 servers are active\n"
        assert_committed(box, create=4)


def test_failures_are_printed_and_recorded(tmp_path: Path) -> None:
    """What was not created has its reason and exit code 1; the same workflow again sends nothing."""
    with Sandbox(speed=600, credit=2) as box:
        account = Account(box, tmp_path)
        code, printed, complaints = account.ran(3, 1)
        assert (code, printed) == (1, "2 of 3 servers are active\n")
        assert "Insufficient credits" in complaints
        requests = len(box.requests)
        assert account.ran(3, 1) == (code, printed, complaints)
        assert len(box.requests) == requests


def test_an_account_that_can_not_be_read(tmp_path: Path) -> None:
    """A token that is refused ends the workflow with a sentence."""
    with Sandbox() as box:
        code, _, complaints = Account(box, tmp_path, environ={"VPSORG_API_TOKEN": "wrong"}).ran(3, 1)

    assert code == 1
    # the log of DBOS comes first
    assert re.fullmatch("GET .* was answered 401: .*", complaints.splitlines()[-1])
