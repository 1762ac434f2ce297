"""A fleet as a value: which names are its own, which fleets could share a server, and how files of fleets are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async import FleetSpec, ServerSpec, load_fleets
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.fleet_spec import NamePattern, check_apart

COMMON: dict[str, Any] = {"plan_id": 1, "os_id": 5, "location": "us-west"}


def fleet(name: str = "web-{n:02}", count: int = 3, **fields: Any) -> FleetSpec:
    """A fleet of these names."""
    return FleetSpec(name=name, count=count, **COMMON | fields)


# the pattern, a name, its number in the fleet
NAMES: list[tuple[str, str, int | None]] = [
    ("web-{n:02}", "web-01", 1),
    ("web-{n:02}", "WEB-01", 1),
    ("web-{n:02}", "web-100", 100),
    ("web-{n:02}", "web-00", 0),
    ("web-{n:02}", "web-1", None),
    ("web-{n:02}", "web-001", None),
    ("web-{n:02}", "web-", None),
    ("web-{n:02}", "web-1a", None),
    ("web-{n:02}", "web--1", None),
    ("web-{n:02}", "my-web-01", None),
    ("web-{n:02}", "web-01-old", None),
    ("web-{n:02}", "web-٠١", None),
    ("web-{n}", "web-01", None),
    ("web-{n}", "web-0", 0),
    ("web-{n:d}", "web-7", 7),
    ("web-{n:03d}", "web-007", 7),
    ("{n}-Web", "12-web", 12),
    ("web1{n}", "web12", 2),
    ("a1{n}1b", "a11b", None),
    ("web-{n}", "web-1234567890", None),
]


@pytest.mark.parametrize(("pattern", "name", "number"), NAMES)
def test_a_name_fits_if_its_number_makes_exactly_that_name(
    pattern: str, name: str, number: int | None
) -> None:
    """Nothing else is ever taken for a server of the fleet."""
    assert fleet(pattern).number(name) == number


@given(st.sampled_from(["web-{n}", "web-{n:02}", "{n:03}w", "a1{n}1b"]), st.integers(0, 10**9 - 1))
def test_every_name_of_a_fleet_fits_it(pattern: str, number: int) -> None:
    made = fleet(pattern)

    assert made.number(made.spec(number).name) == number


def test_the_spec_of_a_server() -> None:
    """Its number stands in the name and in the host name."""
    made = fleet(hostname="w{n}.example.com", backups_enabled=True)

    assert made.spec(7) == ServerSpec(
        name="web-07", hostname="w7.example.com", backups_enabled=True, **COMMON
    )
    assert made.number("W7.example.com.") == 7


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": "web"}, "exactly one {n}"),
        ({"name": "web-{n}-{n}"}, "exactly one {n}"),
        ({"name": "web-{x}"}, "exactly one {n}"),
        ({"name": "web-{n:2}"}, "exactly one {n}"),
        ({"name": "web-{n!r}"}, "exactly one {n}"),
        ({"name": "web-{{n}}"}, "no other braces"),
        ({"name": "{n}"}, "a letter beside"),
        ({"name": "-{n}"}, "a letter beside"),
        ({"name": "web_{n}"}, "letters, digits and hyphens"),
        ({"name": 7}, "name is a text"),
        ({"hostname": "web.example.com"}, "hostname 'web.example.com' needs exactly one"),
        ({"hostname": "w {n}.example.com"}, "a hostname is a domain name"),
        ({"count": -1}, "count is a number from 0"),
        ({"count": True}, "count is a number from 0"),
        ({"count": 10**9}, "count is a number from 0"),
        ({"first": -1}, "first is a number from 0"),
        ({"plan_id": 0}, "plan_id"),
        ({"protect": "web-01"}, "protect is a list of names"),
        ({"protect": ["web-1"]}, "'web-1', which is no name of the fleet"),
        ({"alternatives": [{"plan_id": 2}]}, "alternatives is a list of Alternative"),
        ({"alternatives": None}, "alternatives is a list of Alternative"),
        ({"protect": [3]}, "3, which is no name of the fleet"),
    ],
)
def test_what_is_no_fleet(fields: dict[str, Any], problem: str) -> None:
    """Each is refused at once, such as a pattern that fits everything, or a protected name that fits nothing."""
    with pytest.raises(ConfigurationError) as raised:
        fleet(**fields)

    assert problem in str(raised.value)


# two patterns, whether a name could fit both
PAIRS: list[tuple[str, str, bool]] = [
    ("web-{n}", "web-{n}", True),
    ("web-{n}", "web-{n:02}", True),
    ("web-{n}", "WEB-{n}", True),
    ("web-{n}", "db-{n}", False),
    ("web-{n}", "web-{n}-old", False),
    ("web-{n}", "web-1{n}", True),
    ("web-{n}", "web-a{n}", False),
    ("web-{n}-a", "web-{n}-b", False),
    ("web-1-{n}", "web-{n}-5", True),
    ("web-1-{n}", "web-{n}-5x", False),
    ("web-{n}x", "web-1{n}2x", True),
    ("web-{n}x", "web-1{n}a2x", False),
]


@pytest.mark.parametrize(("one", "other", "overlap"), PAIRS)
def test_fleets_that_could_share_a_server(one: str, other: str, overlap: bool) -> None:
    """They are refused, in either order."""
    for pair in ((fleet(one), fleet(other)), (fleet(other), fleet(one))):
        if overlap:
            with pytest.raises(ConfigurationError, match="overlap"):
                check_apart(pair)
        else:
            check_apart(pair)


PART = st.text("a1-", max_size=3)


@given(PART, PART, PART, PART, st.integers(0, 999), st.integers(1, 3), st.integers(1, 3))
def test_patterns_without_an_overlap_share_no_name(
    before: str, after: str, other_before: str, other_after: str, number: int, width: int, other_width: int
) -> None:
    """No name of one pattern fits another one, unless they are said to overlap."""
    one = NamePattern(f"w{before}", after, width)
    other = NamePattern(f"w{other_before}", other_after, other_width)

    assert one.overlaps(other) == other.overlaps(one)
    if not one.overlaps(other):
        assert other.number(one.name(number)) is None


FILE = """
[defaults]
plan_id = 1
os_id = 5
location = "us-west"

[[fleet]]
name = "web-{n:02}"
count = 20
protect = ["web-01"]

[[fleet]]
name = "db-{n}"
count = 2
plan_id = 3
"""


def test_a_file_of_fleets(tmp_path: Path) -> None:
    """A table for each fleet, and defaults for all."""
    (tmp_path / "fleet.toml").write_text(FILE)

    assert load_fleets(tmp_path / "fleet.toml") == (
        fleet(count=20, protect=("web-01",)),
        fleet("db-{n}", 2, plan_id=3),
    )


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("count = 2\n", 'count = "2"\n', '$.fleet[1].count: expected an integer, not "2"'),
        ("count = 2\n", "number = 2\n", "$.fleet[1]: unknown: number"),
        ("count = 2\n", "", "$.fleet[1].count: missing"),
        ("plan_id = 3", 'plan_id = "3"', '$.fleet[1].plan_id: expected an integer, not "3"'),
        ("os_id = 5", "os_id = true", "$.defaults.os_id: expected"),
        (
            "count = 2\n",
            "count = 2\nalternatives = [{ plan_id = 4 }]\n",
            "$.fleet[1].alternatives[0]: an alternative needs a when",
        ),
        ("web-01", "web-1", "$.fleet[0]: protect has 'web-1'"),
        ("[[fleet]]", "[[fleets]]", "$.fleets: unknown"),
        ("count = 20", "count 20", "line 9"),
        ("db-{n}", "web-1{n}", "overlap"),
        ("db-{n}", "db", "$.fleet[1]: name 'db' needs exactly one {n}"),
    ],
)
def test_files_are_read_strictly(tmp_path: Path, old: str, new: str, problem: str) -> None:
    """Each problem is named with its line or its place, and with the file."""
    file = tmp_path / "fleet.toml"
    file.write_text(FILE.replace(old, new))

    with pytest.raises(ConfigurationError) as raised:
        load_fleets(file)

    assert problem in str(raised.value)
    assert "fleet.toml" in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "deep.toml").write_text(f"fleet = {'[' * 100_000}")
    for file in (tmp_path / "missing.toml", tmp_path / "bytes.toml", tmp_path / "deep.toml", tmp_path, 3):
        with pytest.raises(ConfigurationError):
            load_fleets(file)  # type: ignore[arg-type]
