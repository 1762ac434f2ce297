"""`-o`, `--columns`, `--sort` and `--no-headers` of the commands."""

import csv
import io
import json
from typing import Any

import pytest

from vpsorg_async.sandbox import Sandbox

NEW = ("--plan-id", "1", "--os-id", "5", "--location", "us-west")


@pytest.fixture
def filled(box: Sandbox) -> Sandbox:
    """A sandbox with four servers, in no order."""
    for name in ("web-10", "web-2", "db-1", "12345"):
        box.world.add(1, name=name)
    return box


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_forms_of_a_list(vpsorg: Any, filled: Sandbox) -> None:
    """A table, with more columns, as JSON, as CSV, or one name or id a line."""
    usual, wide = vpsorg("servers", "list", "-o", "table"), vpsorg("servers", "list", "-o", "wide")
    as_json, flag = vpsorg("servers", "list", "-o", "json"), vpsorg("servers", "list", "--json")
    as_csv, ids = vpsorg("servers", "list", "-o", "csv"), vpsorg("servers", "list", "-o", "id")
    bare = vpsorg("servers", "list", "--no-headers")

    assert usual.out == vpsorg("servers", "list").out
    assert usual.out.splitlines()[0].split() == ["ID", "NAME", "STATUS", "IP", "LOCATION", "PLAN", "OS"]
    assert wide.out.splitlines()[0].split()[:9] == [*usual.out.splitlines()[0].split(), "HOSTNAME", "IPV4"]
    assert as_json.out == flag.out
    assert [(row["id"], row["name"], row["created"]) for row in rows(as_csv.out)] == [
        (str(server["id"]), server["name"], server["created_at"]) for server in json.loads(as_json.out)
    ]
    assert ids.out.split() == [str(server.id) for server in filled.servers]
    assert bare.out.split() == usual.out.split()[7:]
    assert {ended.err for ended in (usual, wide, as_json, as_csv, ids, bare)} == {""}


def test_names_can_be_passed_on(vpsorg: Any, filled: Sandbox) -> None:
    """What -o name prints is taken by every command for the same server, also where a name looks like an id."""
    written = vpsorg("servers", "list", "-o", "name").out.split()
    assert written == ["web-10", "web-2", "db-1", "name:12345"]

    shown = vpsorg("servers", "get", *written, "-o", "id")
    assert shown.out.split() == [str(server.id) for server in filled.servers]


def test_columns_and_order(vpsorg: Any, filled: Sandbox) -> None:
    """Columns are shown as they are named; the order holds for every form."""
    chosen = vpsorg("servers", "list", "--columns", "status,NAME", "--sort", "name:desc")
    names = vpsorg("servers", "list", "-o", "name", "--sort", "name")
    as_csv = vpsorg("servers", "list", "-o", "csv", "--columns", "name,id", "--sort", "name", "--no-headers")
    as_json = vpsorg("servers", "list", "-o", "json", "--sort", "name")

    assert [line.split() for line in chosen.out.splitlines()] == [
        ["STATUS", "NAME"],
        *(["active", name] for name in ("web-10", "web-2", "db-1", "12345")),
    ]
    assert names.out.split() == ["name:12345", "db-1", "web-2", "web-10"]
    assert [line.split(",")[0] for line in as_csv.out.splitlines()] == ["12345", "db-1", "web-2", "web-10"]
    assert [server["name"] for server in json.loads(as_json.out)] == ["12345", "db-1", "web-2", "web-10"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("servers list -o xml", "xml"),
        ("servers list -o csv --json", "--json or -o csv, not both"),
        ("servers list --columns id,nmae", "did you mean 'name'?"),
        ("servers list --sort stauts", "did you mean 'status'?"),
        ("servers list --sort name:up", "asc or desc"),
        ("servers list --json --columns id", "--columns is for tables and CSV"),
        ("servers list -o name --no-headers", "--no-headers is for tables and CSV"),
        ("account -o csv", "has the forms table and json only"),
        ("watch -o wide", "has the forms table and json only"),
        ("fleet delete 1 --yes --columns nothing", "no column 'nothing'"),
        ("servers delete 1 --yes --sort nothing", "no column 'nothing'"),
        ("fleet create --name web-1 --yes --columns nothing", "no column 'nothing'"),
    ],
)
def test_what_does_not_fit_is_refused_first(vpsorg: Any, filled: Sandbox, line: str, said: str) -> None:
    """A wrong form, column or order is exit code 2, before anything is sent: a change would have lost its report."""
    ended = vpsorg(*line.split(), *(NEW if "create" in line else ()))

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert filled.requests == ()


def test_the_forms_of_a_report(vpsorg: Any, filled: Sandbox) -> None:
    """A report as CSV has the reasons; where it is for programs, they are also on standard error."""
    ids = [str(server.id) for server in filled.servers]
    stopped = vpsorg("fleet", "stop", "web-2", "999", "db-1", "--yes", "-o", "csv")
    started = vpsorg("fleet", "start", "db-1", "web-2", "-o", "id", "--sort", "server")
    named = vpsorg("servers", "stop", "web-2", "db-1", "--yes", "--wait", "-o", "name")
    deleted = vpsorg("servers", "delete", "web-10", "--yes", "-o", "id")
    made = vpsorg("servers", "create", "new", *NEW, "--yes", "-o", "name")

    assert stopped.code == 6
    found = rows(stopped.out)
    assert [(row["server"], row["outcome"], row["id"]) for row in found] == [
        ("web-2", "stopped", ids[1]),
        ("999", "failed", "999"),
        ("db-1", "stopped", ids[2]),
    ]
    assert "404" in found[1]["reason"]
    assert "999: " in stopped.err
    assert started.out.split() == [ids[2], ids[1]]
    assert named.out.split() == ["web-2", "db-1"]
    assert (deleted.out, made.out) == (f"{ids[0]}\n", "new\n")


def test_the_order_of_a_report_in_json(vpsorg: Any, filled: Sandbox) -> None:
    """The outcomes of a report are in the order that was asked for, the rest of it is as always."""
    report = json.loads(
        vpsorg("fleet", "reboot", "web-10", "db-1", "--yes", "-q", "--json", "--sort", "server").out
    )

    assert [row["name"] for row in report["outcomes"]] == ["db-1", "web-10"]
    assert (report["operation"], report["succeeded"]) == ("reboot", 2)


def test_the_forms_of_waits_plans_and_dry_runs(vpsorg: Any, filled: Sandbox) -> None:
    """Every command that prints a table prints it in all of its forms."""
    waited = rows(vpsorg("wait", "web-2", "db-1", "-o", "csv").out)
    plans = rows(vpsorg("plans", "-o", "csv", "--sort", "per_month:desc").out)
    planned = vpsorg("fleet", "create", "--name", "a-{n}", "--count", "2", *NEW, "--dry-run", "-o", "name")

    assert [(row["name"], row["reached"], row["reason"]) for row in waited] == [
        ("web-2", "true", ""),
        ("db-1", "true", ""),
    ]
    prices = [float(row["per_month"]) for row in plans]
    assert prices == sorted(prices, reverse=True)
    assert planned.out.split() == ["a-1", "a-2"]


@pytest.mark.parametrize(("columns", "head"), [(60, 6), (120, 7), (20, 2)])
def test_a_narrow_terminal(terminal: Any, filled: Sandbox, columns: int, head: int) -> None:
    """Columns are left out rather than that a word is broken, unless they were asked for."""
    at = terminal("servers", "list", columns=columns)
    assert at.ended() == 0
    lines = at.seen.replace("\r", "").splitlines()
    assert max(map(len, lines)) <= columns
    assert len(lines[0].split()) == head

    asked = terminal("servers", "list", "--columns", "id,name,ip,location,plan,os", columns=columns)
    assert asked.ended() == 0
    assert len(asked.seen.splitlines()[0].split()) == 6


@pytest.mark.parametrize("columns", [60, 120])
def test_a_sheet_in_a_narrow_terminal(vpsorg: Any, terminal: Any, filled: Sandbox, columns: int) -> None:
    """The values of a server are broken at spaces, below each other; in a pipe each is one line."""
    at = terminal("servers", "get", "web-2", columns=columns)
    assert at.ended() == 0
    lines = at.seen.replace("\r", "").splitlines()
    piped = vpsorg("servers", "get", "web-2").out

    assert max(map(len, lines)) <= columns
    assert " ".join(at.seen.split()) == " ".join(piped.split())
    assert len(lines) > len(piped.splitlines()) or columns == 120
    assert {line[:17].strip() for line in lines} - {""} == {line.split()[0] for line in piped.splitlines()}


def test_without_an_encoding(start: Any, filled: Sandbox) -> None:
    """With LANG=C a table is printed; what it can't encode is replaced."""
    filled.world.set_status(filled.servers[0].id, "réparation")
    process = start("servers", "list", env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"})
    out, err = process.communicate()

    assert (process.returncode, err) == (0, "")
    assert "r?paration" in out
