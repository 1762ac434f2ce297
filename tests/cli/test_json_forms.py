"""The JSON of the commands has exactly the fields that the page of the reference lists."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async.sandbox import Sandbox

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "json.md").read_text("utf-8")
NEW = "--plan-id 1 --os-id 5 --location us-west"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ci"
FLEETS = '[[fleet]]\nname = "db-{n}"\ncount = 2\nplan_id = 1\nos_id = 5\nlocation = "us-west"\n'


def sections() -> dict[str, set[str]]:
    """Return the fields that the page has for each kind of record."""
    found: dict[str, set[str]] = {}
    for section in re.split(r"^##+ ", PAGE, flags=re.M)[1:]:
        names = [
            name
            for row in re.findall(r"^\| (`[^|]*) \|", section, re.M)
            for name in re.findall(r"`([^`]+)`", row)
        ]
        assert len(names) == len(set(names))
        found[section.splitlines()[0].lower()] = set(names)
    return found


FIELDS = sections()


def whole(document: Any) -> Any:
    return document


def first(document: Any) -> Any:
    return document[0]


def outcome(kind: str) -> Callable[[Any], Any]:
    return lambda document: next(row for row in document["outcomes"] if row["outcome"] == kind)


@pytest.mark.parametrize(
    ("line", "kind", "part"),
    [
        ("servers list", "server", first),
        ("servers get 12345", "server", whole),
        ("servers get 12345 12346", "server", first),
        ("servers get web-*", "server", first),
        ("servers update 12345 --backups", "server", whole),
        (f"servers create new {NEW} --yes", "server", whole),
        (f"servers create new {NEW} --yes --wait", "server", whole),
        ("servers stop 12345", "accepted command", whole),
        ("servers reboot 12345 --wait", "server", whole),
        ("servers stop 12345 12346 --yes", "report", whole),
        ("servers delete 12345 --yes", "delete", whole),
        ("servers delete 12345 --yes --wait", "server", whole),
        ("servers delete web-* --yes", "report", whole),
        ("fleet reboot 12345 999 --yes", "report", whole),
        ("fleet reboot 12345 999 --yes", "succeeded", outcome("succeeded")),
        ("fleet reboot 12345 999 --yes", "failed", outcome("failed")),
        (f"fleet create --name a --count 1 {NEW} --yes", "succeeded", outcome("succeeded")),
        ("fleet rolling-reboot 12345 999 --yes", "skipped", outcome("skipped")),
        ("fleet apply --file {fleets} --yes", "report", whole),
        (f"fleet ensure --name a {NEW} --dry-run", "dry run", whole),
        ("fleet plan --file {fleets}", "plan", whole),
        ("fleet plan --file {fleets}", "step", lambda document: document["steps"][0]),
        ("fleet diff --file {fleets}", "step", first),
        ("fleet sweep --older-than 1h --name web-* --dry-run", "sweep", whole),
        ("fleet sweep --older-than 1h --name web-* --yes", "report", whole),
        ("wait 12345 12346", "wait", first),
        ("wait 999 --timeout 1", "wait", first),
        ("inventory --format json", "host", first),
        ("inventory --format json", "server", lambda document: document[0]["server"]),
        ("plans", "offer", first),
        ("account", "account", whole),
    ],
)  # fmt: skip
def test_the_page_has_the_fields(
    vpsorg: Any, box: Sandbox, tmp_path: Path, line: str, kind: str, part: Callable[[Any], Any]
) -> None:
    """No field is missing on the page, and none of the page is missing in the document."""
    for name in ("web-1", "web-2"):
        box.world.add(1, name=name)
    file = tmp_path / "fleets.toml"
    file.write_text(FLEETS)

    ended = vpsorg(*line.format(fleets=file).split(), "--json", "-q")

    assert {*part(json.loads(ended.out))} == FIELDS[kind]


@pytest.mark.parametrize(
    ("line", "kind"), [("locations", "location"), ("os", "system"), ("ssh-keys list", "key")]
)
def test_the_look_ups_of_the_provider(
    vpsorg: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, kind: str
) -> None:
    """The same of what the provider dialect alone has."""
    key = tmp_path / "ci.pub"
    key.write_text(KEY)
    with Sandbox(dialect="provider", token="vps_tests") as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        options = ("--base-url", box.url, "--dialect", "provider", "--json")
        assert vpsorg("ssh-keys", "add", "ci", str(key), *options).code == 0
        found = json.loads(vpsorg(*line.split(), *options).out)

    assert {*found[0]} == FIELDS[kind]


def test_a_line_of_watch(start: Any, box: Sandbox) -> None:
    """`watch` prints one document a line."""
    box.world.add(1)
    watching = start("watch", "--json", "--interval", "0.05")
    line = json.loads(watching.stdout.readline())
    watching.terminate()
    watching.communicate()

    assert {*line} == FIELDS["change"]
    assert {*line["server"]} == FIELDS["server"]


def test_the_page_names_every_kind() -> None:
    """Each kind of record that a command prints has a section, and each section a command."""
    linked = set(re.findall(r"\]\(#([a-z-]+)\)", PAGE))
    assert {name.replace(" ", "-") for name in FIELDS} == linked
