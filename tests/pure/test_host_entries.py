"""Servers as hosts: names that no program misreads, addresses, and groups that Ansible accepts."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async import OperatingSystem, Plan, Server, ServerStatus

pytest.importorskip("cyclopts")  # the modules belong to the command

from vpsorg_async.cli.host_entries import HostEntry, hosts_of, is_host_name
from vpsorg_async.cli.inventory_formats import FORMATS, Access, host_variables

HOSTILE = [
    "",
    " ",
    "-oProxyCommand=touch /tmp/x",
    "--",
    "web\nProxyCommand touch /tmp/x",
    "web\r\n127.0.0.1 example.org",
    "web\x00",
    "web 01",
    "web,db",
    "*",
    "!web",
    "web?",
    "web#1",
    '"web"',
    "web;id",
    "$(id)",
    "`id`",
    "{{ lookup('pipe', 'id') }}",
    "../../x",
    "web[1:9]",
    "wéb",
    "localhost",
    "LOCALHOST.",
    "db.localhost",
    "all",
    "ungrouped",
    "127.0.0.1",
    "2001:db8::1",
    "12345",
    "a" * 64,
    "web..01",
    ".web",
    "web\u2028db",
]


def server(key: int, name: str, address: str | None = "203.0.113.1", **fields: Any) -> Server:
    return Server(id=key, name=name, status=ServerStatus("active"), ip_address=address, **fields)


def entries(*servers: Server) -> dict[str, HostEntry]:
    return {entry.name: entry for entry in hosts_of(servers)}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_could_be_misread_is_replaced(name: str) -> None:
    """The host of a server with a hostile name has its id for a name, and a note says so on one line."""
    hosts = hosts_of([server(7, name)])

    assert [entry.name for entry in hosts] == ["server-7"]
    assert [line.isprintable() and "(7) is server-7" in line for line in hosts[0].notes] == [True]
    assert name.strip() in ("", "--", "*", "all") or name not in FORMATS["ssh"](hosts, Access())


@pytest.mark.parametrize(
    "name", ["web-01", "Web_1", "web-01.example.org", "9lives", "xn--wb-bja.example", "a"]
)
def test_a_host_name_stays(name: str) -> None:
    """The usual names are kept as they are."""
    assert list(entries(server(7, name))) == [name]
    assert is_host_name(name)


@given(
    st.lists(
        st.tuples(st.text(max_size=12) | st.sampled_from([*HOSTILE, "web-1", "web-1-2"]), st.text()),
        max_size=5,
    )
)
def test_no_text_of_the_service_becomes_another_line(given_: list[tuple[str, str]]) -> None:
    """Whatever names, locations and addresses the service shows, each format keeps its form, and no host is lost."""
    servers = [
        server(number, name, "203.0.113.1", location=text, hostname=text, ipv6_address=text)
        for number, (name, text) in enumerate(given_, 1)
    ]
    hosts = hosts_of(servers)

    assert len({entry.name.casefold() for entry in hosts}) == len(servers)
    shown = FORMATS["ssh"](hosts, Access(user="root")).splitlines()
    assert [
        line
        for line in shown
        if not re.fullmatch(r"|#.*|Host [\w.-]+|    HostName 203.0.113.1|    User root", line)
    ] == []
    shown = FORMATS["hosts"](hosts, Access()).splitlines()
    assert [line for line in shown if not re.fullmatch(r"#.*|[0-9a-f.:]+\t[\w.-]+( [\w.-]+)?", line)] == []
    inventory = json.loads(FORMATS["ansible"](hosts, Access()))
    groups = inventory["all"]["children"]
    assert [group for group in groups if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", group)] == []
    assert not {*groups} & {*inventory["_meta"]["hostvars"]}
    assert "{" not in "".join(
        str(value) for one in inventory["_meta"]["hostvars"].values() for value in one.values()
    )


def test_servers_with_one_name_are_told_apart_by_id() -> None:
    """Each of several servers with the same name has its id in its host's name; a name of another server is free."""
    hosts = hosts_of([server(1, "web-1"), server(2, "WEB-1"), server(3, "web-1-2"), server(4, "db")])

    assert [entry.name for entry in hosts] == ["WEB-1-2-2", "db", "web-1-1", "web-1-2"]
    assert [len(entry.notes) for entry in hosts] == [1, 0, 1, 0]


def test_the_order_does_not_depend_on_that_of_the_list() -> None:
    """The same servers give the same hosts, web-2 before web-10."""
    servers = [server(n, f"web-{n}") for n in range(1, 12)]

    assert hosts_of(servers) == hosts_of(reversed(servers))
    assert [entry.name for entry in hosts_of(servers)][-2:] == ["web-10", "web-11"]


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("web-01", "web"),
        ("web01", "web"),
        ("Web_7", "web"),
        ("my-app-12", "my_app"),
        ("web-01-eu", "web_eu"),
        ("01-web", "web"),
        ("k8s-01", "k8s"),
        ("k8s-node", ""),
        ("web-01.example.org", "web"),
        ("db", ""),
        ("é-1", ""),
        ("all-1", "name_all"),
        ("location-us-west-1", "name_location_us_west"),
        ("status-active-1", "name_status_active"),
        ("name-web-1", "name_name_web"),
        ("9x-1", "name_9x"),
        ("12-34", "name_12"),
    ],
)
def test_the_group_by_the_pattern_of_the_name(name: str, group: str) -> None:
    """A name without its number is a group; one that means something else gets a prefix."""
    (entry,) = hosts_of([server(1, name)])

    assert entry.pattern == group
    assert entry.groups == tuple(filter(None, (group, "status_active")))


def test_no_group_has_the_name_of_a_host() -> None:
    """Ansible warns about a group and a host of the same name, and takes the wrong one."""
    hosts = entries(server(1, "web"), server(2, "web-1"), server(3, "location_eu", location="eu"))

    assert hosts["web-1"].pattern == "name_web"
    assert hosts["location_eu"].groups == ("location_eu_2", "status_active")


def test_groups_by_location_plan_and_status() -> None:
    """Each has its prefix, and no character that Ansible refuses."""
    (entry,) = hosts_of([server(1, "db", location="us-west", plan=Plan(id=3, name="Standard VPS (SSD)"))])

    assert entry.groups == ("location_us_west", "plan_standard_vps_ssd", "status_active")


@pytest.mark.parametrize(
    ("v4", "v6", "addresses"),
    [
        ("203.0.113.7", "2001:0db8::1", ("203.0.113.7", "2001:db8::1")),
        (None, "2001:0db8::1", ("2001:db8::1",)),
        ("2001:0db8::1", None, ("2001:db8::1",)),
        (" 203.0.113.7 ", "", ("203.0.113.7",)),
        ("-oProxyCommand=x", None, ()),
        ("203.0.113.7\nProxyCommand x", None, ()),
        ("fe80::1%-oProxyCommand=x", None, ()),
        ("example.org", None, ()),
        (None, None, ()),
    ],
)
def test_only_ip_addresses_are_addresses(v4: str | None, v6: str | None, addresses: tuple[str, ...]) -> None:
    """What the service shows as an address reaches no file unless it is one; a note says what was left out."""
    hosts = hosts_of([server(1, "web-1", v4, ipv6_address=v6)])

    assert hosts[0].addresses == addresses
    assert bool(hosts[0].notes) == (v4 is not None and not addresses)


def test_a_server_with_ipv6_only_is_kept_in_every_format() -> None:
    """Each format writes an IPv6 address in the way that its reader expects."""
    hosts = hosts_of([server(1, "web-1", None, ipv6_address="2001:db8::7")])

    assert (
        json.loads(FORMATS["ansible"](hosts, Access()))["_meta"]["hostvars"]["web-1"]["ansible_host"]
        == "2001:db8::7"
    )
    assert json.loads(FORMATS["prometheus"](hosts, Access()))[0]["targets"] == ["[2001:db8::7]:9100"]
    assert "    HostName 2001:db8::7\n" in FORMATS["ssh"](hosts, Access())
    assert "2001:db8::7\tweb-1\n" in FORMATS["hosts"](hosts, Access())
    assert json.loads(FORMATS["json"](hosts, Access()))[0]["address"] == "2001:db8::7"


def test_a_server_without_an_address_is_in_the_json_alone() -> None:
    """Nothing can connect to it, but nothing is lost either."""
    hosts = hosts_of([server(1, "web-1", None)])

    assert [name for name, form in FORMATS.items() if "web-1" in form(hosts, Access())] == ["json"]
    assert json.loads(FORMATS["json"](hosts, Access()))[0]["address"] is None


def test_the_hosts_file_has_the_host_name_where_it_is_one_of_one_server() -> None:
    """A host name that two servers have, or that is no host name, is left out."""
    hosts = hosts_of(
        [
            server(1, "web-1", "203.0.113.1", hostname="web1.example.org", ipv6_address="2001:db8::1"),
            server(2, "web-2", "203.0.113.2", hostname="twice.example.org"),
            server(3, "web-3", "203.0.113.3", hostname="twice.example.org"),
            server(4, "web-4", "203.0.113.4", hostname="web-1"),
            server(5, "web-5", "203.0.113.5", hostname="x y"),
        ]
    )

    assert FORMATS["hosts"](hosts, Access()).splitlines()[1:] == [
        "203.0.113.1\tweb-1 web1.example.org",
        "2001:db8::1\tweb-1 web1.example.org",
        "203.0.113.2\tweb-2",
        "203.0.113.3\tweb-3",
        "203.0.113.4\tweb-4",
        "203.0.113.5\tweb-5",
    ]


def test_how_to_log_in_is_in_the_formats_that_can_say_it() -> None:
    """Port, user and key are in those of Ansible and SSH; a percent sign of a file's name is no token of SSH."""
    hosts = hosts_of([server(1, "web-1")])
    access = Access(port=2222, user="deploy", key="~/.ssh/100%")

    assert FORMATS["ssh"](hosts, access).split("\n")[2:7] == [
        "Host web-1",
        "    HostName 203.0.113.1",
        "    Port 2222",
        "    User deploy",
        '    IdentityFile "~/.ssh/100%%"',
    ]
    told = host_variables(hosts[0], access)
    assert told["ansible_port"] == 2222
    assert (told["ansible_user"], told["ansible_ssh_private_key_file"]) == ("deploy", "~/.ssh/100%")


def test_texts_that_ansible_would_execute_are_left_out() -> None:
    """A variable with a template is not written: Ansible evaluates it on the machine of the user."""
    template = "{{ lookup('pipe', 'id') }}"
    odd = server(1, template, location=template, hostname=template, os=OperatingSystem(name="Debian 12"))
    (entry,) = hosts_of([odd])

    told = host_variables(entry, Access())

    assert "{" not in json.dumps({**told, "": ""})[1:-1]
    assert told["vpsorg_os"] == "Debian 12"
