"""Servers from flags and from files of specs."""

import json
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async import ServerSpec
from vpsorg_async.cli.specs import Selection, Specification
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.spec_tables import read_specs

WEB: dict[str, Any] = {"name": "web-1", "plan_id": 1, "os_id": 5, "location": "us-west"}
FLAGS: dict[str, Any] = {"plan_id": "1", "os_id": "5", "location": "us-west"}

TOML = """\
[defaults]
plan_id = 1
os_id = 5
location = "us-west"

[[servers]]
name = "web-1"

[[servers]]
name = "web-2"
plan_id = 2
backups_enabled = true
"""


def test_a_list_and_a_table_read_alike() -> None:
    """Specs are a list, or stand under `servers` with defaults for all."""
    keys: tuple[int | str, ...] = (1, "x")
    expected = [
        ServerSpec(**WEB),
        ServerSpec(name="b", plan_id=1, os_id=5, location="us-west", ssh_key_ids=keys),
    ]
    rest = {key: value for key, value in WEB.items() if key != "name"}

    assert read_specs([WEB, {**WEB, "name": "b", "ssh_key_ids": [1, "x"]}]) == expected
    assert (
        read_specs({"defaults": rest, "servers": [{"name": "web-1"}, {"name": "b", "ssh_key_ids": [1, "x"]}]})
        == expected
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([{**WEB, "plan_id": "12"}], '$[0].plan_id: expected an integer, not "12"'),
        ([WEB, {**WEB, "os_id": True}], "$[1].os_id: expected an integer or a string, not true"),
        ([{**WEB, "plan_id": 1.0}], "$[0].plan_id: expected an integer or a string, not 1.0"),
        ([{**WEB, "backups_enabled": "false"}], '$[0].backups_enabled: expected true or false, not "false"'),
        ([{**WEB, "backups_enabled": 0}], "$[0].backups_enabled: expected true or false, not 0"),
        ([{**WEB, "name": 7}], "$[0].name: expected a string, not 7"),
        ([{**WEB, "ssh_key_ids": "abc"}], '$[0].ssh_key_ids: expected a list, not "abc"'),
        ([{**WEB, "plan": 1}], "$[0]: unknown: plan; known are name, plan_id"),
        ([{"name": "web-1"}], "$[0].plan_id: missing"),
        (
            [{**WEB, "name": "web_1"}],
            "$[0]: a server name consists of letters, digits and hyphens, not 'web_1'",
        ),
        ([3], "$[0]: expected a table"),
        ([], "$: the list is empty"),
        (3, "$: expected a list of servers"),
        ({"server": [WEB]}, "$.server: unknown; known are servers and defaults"),
        ({"servers": [WEB], "defaults": 3}, "$.defaults: expected a table"),
        ({"servers": [{"name": "a"}], "defaults": {"os_id": []}}, "$.defaults.os_id: expected"),
    ],
)
def test_specs_are_read_strictly(data: object, problem: str) -> None:
    """Nothing is converted or ignored: each problem is a line with its path."""
    with pytest.raises(ConfigurationError) as raised:
        read_specs(data)

    assert problem in str(raised.value)


def test_problems_are_counted() -> None:
    """A file with many errors is reported in ten lines and a number; a wrong default is reported once."""
    wrong: dict[str, Any] = {**WEB, "os_id": 1.5}
    with pytest.raises(ConfigurationError) as raised:
        read_specs([{**WEB, "os_id": None} for _ in range(30)])
    with pytest.raises(ConfigurationError) as default:
        read_specs({"defaults": wrong, "servers": [{"name": "a"}, {"name": "b"}]})

    assert len(str(raised.value).splitlines()) == 10
    assert str(raised.value).endswith(" and 20 more")
    assert str(default.value) == "$.defaults.os_id: expected an integer or a string, not 1.5"


def test_files(tmp_path: Path) -> None:
    """TOML and JSON hold the same."""
    toml, as_json = tmp_path / "fleet.toml", tmp_path / "fleet.json"
    toml.write_text(TOML)
    specs = Specification(file=toml).specs()
    as_json.write_text(json.dumps([WEB, {**WEB, "name": "web-2", "plan_id": 2, "backups_enabled": True}]))

    assert [(spec.name, spec.plan_id, spec.backups_enabled) for spec in specs] == [
        ("web-1", 1, None),
        ("web-2", 2, True),
    ]
    assert Specification(file=as_json).specs() == specs
    assert Selection(file=toml).names() == ["web-1", "web-2"]


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("a.toml", "[[servers]\nname = 1", "line 1"),
        ("a.toml", 'x = 1\ny = "a\n', "line 2"),
        ("a.json", '[{"name": 1,\n"x" 2}]', "line 2"),
        ("a.json", '[{"name": "a", "name": "b"}]', "twice"),
        ("a.json", "[" * 100_000, "a.json"),
        ("a.yaml", "- name: x", ".toml"),
        ("a.toml", "[[servers]]\nname = 5", "$.servers[0].name: expected a string, not 5"),
    ],
)
def test_a_broken_file(vpsorg: Any, box: Any, tmp_path: Path, name: str, text: str, named: str) -> None:
    """A file that can't be read as specs is one line with the place, exit code 2, and nothing is sent."""
    file = tmp_path / name
    file.write_text(text)

    ended = vpsorg("fleet", "create", "--file", str(file), "--yes")

    assert (ended.code, ended.out) == (2, "")
    assert named in ended.err
    assert ended.err.count("\n") == 1
    assert box.requests == ()


def test_numbered_names() -> None:
    """`{n}` is the number, with as many digits as it says; the hostname follows it."""
    specs = Specification(
        name="web-{n:02}", count=3, first=9, hostname="web{n}.example.com", ssh_key_id="7", **FLAGS
    ).specs()

    assert [spec.name for spec in specs] == ["web-09", "web-10", "web-11"]
    assert [spec.hostname for spec in specs] == ["web9.example.com", "web10.example.com", "web11.example.com"]
    assert {(spec.plan_id, spec.os_id, spec.ssh_key_id, spec.backups_enabled) for spec in specs} == {
        (1, 5, 7, None)
    }
    assert [spec.name for spec in Specification(name="db", **FLAGS).specs()] == ["db"]
    assert Selection(name="web-{n}", count=2).names() == ["web-1", "web-2"]
    assert Selection().names() == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("kind", ["toml", "json"])
def test_files_as_editors_leave_them(tmp_path: Path, encoding: str, kind: str) -> None:
    """A file with a byte order mark and line ends of Windows is read."""
    text = {
        "toml": '[defaults]\r\nplan_id = 1\r\nos_id = 5\r\nlocation = "us-west"\r\n[[servers]]\r\nname = "a"\r\n',
        "json": '[\r\n{"name": "a", "plan_id": 1, "os_id": 5, "location": "us-west"}]\r\n',
    }[kind]
    file = tmp_path / f"fleet.{kind}"
    file.write_bytes(text.encode(encoding))

    assert [spec.name for spec in Specification(file=file).specs()] == ["a"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--name web --count 2", "{n}"),
        ("--name web-{m}", "only {n}"),
        ("--name web-{n.real}", "only {n}"),
        ("--name web-{n", "'web-{n'"),
        ("--name web-{}", "only {n}"),
        ("--name web-{n:09999}", "{n:02}"),
        ("--name web-{n:x!}", "'web-{n:x!}'"),
        ("--name web_{n}", "letters, digits and hyphens"),
        ("--name web --count 0", "--count"),
        ("--name web --count 100000", "--count"),
        ("", "--name"),
        ("--file x.toml --count 3", "--count"),
        ("--file x.toml", "No such file"),
    ],
)
def test_bad_names(vpsorg: Any, box: Any, line: str, named: str) -> None:
    """A pattern or a number that makes no sense is one line; exit code 2, and nothing is sent."""
    flags = () if line.startswith("--file") else ("--plan-id", "1", "--os-id", "5", "--location", "us-west")

    ended = vpsorg("fleet", "create", *line.split(), *flags, "--yes")

    assert (ended.code, ended.out) == (2, "")
    assert named in ended.err
    assert ended.err.count("\n") == 1
    assert box.requests == ()
