"""Hosts as text for other programs: Ansible, Prometheus, SSH, a hosts file, or JSON. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from ..specs import name_key
from .host_entries import HostEntry, is_host_name
from .output import plain

__all__ = ["FORMATS", "Access", "Format", "host_variables", "reachable"]

EXPORTER_PORT = 9100
"""The port of Prometheus' exporter for machines, node_exporter."""
COMMENT = "# Written by vpsorg. Changes are lost when it is written again."


@attrs.frozen(kw_only=True)
class Access:
    """How hosts are reached, as far as it was given: the port, the user who logs in, the file of the private key."""

    port: int | None = None
    user: str | None = None
    key: str | None = None


Format = Callable[[Sequence[HostEntry], Access], str]


def reachable(entries: Sequence[HostEntry]) -> list[HostEntry]:
    """Return the hosts that have an address."""
    return [entry for entry in entries if entry.addresses]


def ansible(entries: Sequence[HostEntry], access: Access) -> str:
    """Return what Ansible expects of an inventory script for ``--list``, with the variables of all hosts.

    Source: https://docs.ansible.com/ansible/latest/dev_guide/developing_inventory.html
    """
    shown = reachable(entries)
    groups: dict[str, list[str]] = {}
    for entry in shown:
        for group in entry.groups:
            groups.setdefault(group, []).append(entry.name)
    document: dict[str, Any] = {
        "_meta": {"hostvars": {entry.name: host_variables(entry, access) for entry in shown}},
        "all": {"children": [*sorted(groups), "ungrouped"]},
        "ungrouped": {"hosts": [entry.name for entry in shown if not entry.groups]},
    }
    return _json(document | {group: {"hosts": groups[group]} for group in sorted(groups)})


def host_variables(entry: HostEntry, access: Access) -> dict[str, Any]:
    """Return the variables of a host for Ansible, which is what it expects for ``--host``."""
    server = entry.server
    given = {
        "ansible_port": access.port,
        "ansible_user": access.user,
        "ansible_ssh_private_key_file": access.key,
    }
    told = {
        "id": server.id,
        "name": server.name,
        "status": str(server.status),
        "hostname": server.hostname,
        "location": server.location,
        "plan": server.plan and server.plan.name,
        "os": server.os and server.os.name,
    }
    return {
        "ansible_host": entry.address,
        **{name: value for name, value in given.items() if value is not None},
        **{f"vpsorg_{name}": value for name, value in told.items() if _is_plain(value)},
        "vpsorg_addresses": list(entry.addresses),
    }


def _is_plain(value: object) -> bool:
    """Return whether Ansible takes the value as it is: a text with ``{`` can be a template, which it executes."""
    return isinstance(value, int) or (isinstance(value, str) and "{" not in value and value.isprintable())


def prometheus(entries: Sequence[HostEntry], access: Access) -> str:
    """Return a file for ``file_sd_configs``.

    What seldom changes is a label of each metric. The rest begins with ``__meta_``, and is there for relabeling only.

    Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config
    """
    rows = []
    for entry in reachable(entries):
        server, port = entry.server, access.port or EXPORTER_PORT
        labels = {
            "name": entry.name,
            "group": entry.pattern,
            "location": server.location,
            "plan": server.plan and server.plan.name,
            "__meta_vpsorg_id": str(server.id),
            "__meta_vpsorg_status": str(server.status),
            "__meta_vpsorg_os": server.os and server.os.name,
        }
        host = f"[{entry.address}]" if ":" in entry.address else entry.address
        rows.append(
            {"targets": [f"{host}:{port}"], "labels": {name: text for name, text in labels.items() if text}}
        )
    return _json(rows)


def ssh(entries: Sequence[HostEntry], access: Access) -> str:
    """Return a configuration file for OpenSSH (ssh_config(5)), to be included by that of a user."""
    lines = [COMMENT]
    for entry in reachable(entries):
        # the values are addresses, numbers and what the user of this command has given
        lines += ["", f"Host {entry.name}", f"    HostName {entry.address}"]
        lines += [] if access.port is None else [f"    Port {access.port}"]
        lines += [] if access.user is None else [f"    User {access.user}"]
        lines += [] if access.key is None else [f'    IdentityFile "{access.key.replace("%", "%%")}"']
    return "\n".join(lines) + "\n"


def hosts(entries: Sequence[HostEntry], access: Access) -> str:
    """Return lines for a hosts file (hosts(5)): each address with the name of the host, and its ``hostname``."""
    others = Counter(name_key(entry.server.hostname or "") for entry in entries)
    taken = {name_key(entry.name) for entry in entries}
    lines = [COMMENT]
    for entry in reachable(entries):
        other = (entry.server.hostname or "").rstrip(".")
        key = name_key(other)
        second = f" {other}" if is_host_name(other) and key not in taken and others[key] == 1 else ""
        lines += [f"{address}\t{entry.name}{second}" for address in entry.addresses]
    return "\n".join(lines) + "\n"


def as_json(entries: Sequence[HostEntry], access: Access) -> str:
    """Return all hosts, also those without an address, each with its groups and with the record of its server."""
    return _json(
        [
            {
                "host": entry.name,
                "address": entry.address or None,
                "addresses": list(entry.addresses),
                "groups": list(entry.groups),
                "server": plain(entry.server),
            }
            for entry in entries
        ]
    )


FORMATS: Mapping[str, Format] = {
    "ansible": ansible,
    "prometheus": prometheus,
    "hosts": hosts,
    "ssh": ssh,
    "json": as_json,
}


def _json(document: Any) -> str:
    return json.dumps(document, indent=2) + "\n"
