"""The answers of the benchmark server: one server, in the shape of each vendor whose library is compared.

The same facts in every shape, and no more than each library needs to be content: real answers are larger, which is to
the good of the others here.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["SHAPES", "documented", "encode", "listed"]

CREATED, UPDATED = "2025-01-10T14:30:00Z", "2025-01-16T15:45:00Z"


def encode(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def listed(number: int, status: str = "active") -> dict[str, Any]:
    """A row of the documented list."""
    ready = status == "active"
    return {
        "id": number,
        "name": f"web-server-{number}",
        "hostname": f"web{number}.example.com",
        "status": status,
        "ip_address": f"203.0.113.{number % 250 + 1}" if ready else None,
        "location": "us-west" if number % 2 else "us-east",
        "plan": {"id": 1, "name": "Standard VPS", "vcpus": 2, "memory": 4096, "storage": 80},
        "os": {"id": 5, "name": "Ubuntu 22.04 LTS"},
        "created_at": CREATED,
        "updated_at": UPDATED if ready else CREATED,
    }


def documented(number: int, status: str = "active") -> dict[str, Any]:
    """The documented detail answer."""
    row = listed(number, status)
    row["plan"]["bandwidth"] = 2048
    row["ipv6_address"] = "2001:0db8::1"
    row["backups_enabled"] = True
    row["resource_usage"] = {
        "cpu_percent": 23.5,
        "memory_used": 2048,
        "disk_used": 35,
        "bandwidth_used": 450,
    }
    return row


def hcloud(number: int, status: str = "active") -> dict[str, Any]:
    """`hcloud` reads ``GET /servers/{id}``."""
    return {
        "server": {
            "id": number,
            "name": f"web-server-{number}",
            "status": "running" if status == "active" else "initializing",
            "created": CREATED,
            "public_net": {
                "ipv4": {"id": 1, "ip": "203.0.113.10", "blocked": False, "dns_ptr": "web01.example.com"},
                "ipv6": {"id": 2, "ip": "2001:db8::/64", "blocked": False, "dns_ptr": []},
                "floating_ips": [],
                "firewalls": [],
            },
            "private_net": [],
            "server_type": {
                "id": 1, "name": "cx22", "cores": 2, "memory": 4.0, "disk": 80, "architecture": "x86",
            },
            "image": {"id": 5, "name": "ubuntu-22.04", "type": "system", "os_flavor": "ubuntu"},
            "rescue_enabled": False,
            "locked": False,
            "backup_window": "22-02",
            "labels": {},
            "volumes": [],
        }
    }  # fmt: skip


def hcloud_action(number: int, status: str = "active") -> dict[str, Any]:
    """An action of `hcloud`, one for each server."""
    done = status == "active"
    return {
        "id": number,
        "command": "create_server",
        "status": "success" if done else "running",
        "progress": 100 if done else 50,
        "started": CREATED,
        "finished": UPDATED if done else None,
        "resources": [{"id": number, "type": "server"}],
        "error": None,
    }


def hcloud_created(number: int) -> dict[str, Any]:
    """Its answer to a create."""
    action = hcloud_action(number, "provisioning")
    return hcloud(number, "provisioning") | {"action": action, "next_actions": [], "root_password": None}


def scaleway(number: int, status: str = "active") -> dict[str, Any]:
    """`scaleway` reads ``GET /instance/v1/zones/{zone}/servers/{id}``."""
    return {
        "server": {
            "id": str(number),
            "name": f"web-server-{number}",
            "organization": "o",
            "project": "p",
            "allowed_actions": ["poweroff", "reboot"],
            "tags": [],
            "commercial_type": "DEV1-S",
            "creation_date": CREATED,
            "modification_date": UPDATED,
            "dynamic_ip_required": False,
            "hostname": f"web{number}",
            "image": None,
            "protected": False,
            "private_ip": None,
            "public_ip": None,
            "public_ips": [],
            "mac_address": "de:00:00:00:00:01",
            "state": "running" if status == "active" else "starting",
            "location": None,
            "ipv6": None,
            "boot_type": "local",
            "volumes": {},
            "security_group": None,
            "maintenances": [],
            "state_detail": "",
            "arch": "x86_64",
            "placement_group": None,
            "private_nics": [],
            "zone": "fr-par-1",
            "admin_password_encryption_ssh_key_id": None,
            "admin_password_encrypted_value": None,
            "filesystems": [],
            "end_of_service": False,
            "dns": None,
        }
    }


def droplet(number: int, status: str = "active") -> dict[str, Any]:
    """`pydo` reads ``GET /v2/droplets/{id}``."""
    return {
        "droplet": {
            "id": number,
            "name": f"web-server-{number}",
            "memory": 4096,
            "vcpus": 2,
            "disk": 80,
            "locked": False,
            "status": "active" if status == "active" else "new",
            "created_at": CREATED,
            "features": [],
            "backup_ids": [],
            "snapshot_ids": [],
            "image": {"id": 5, "name": "Ubuntu 22.04 LTS"},
            "volume_ids": [],
            "size": {"slug": "s-2vcpu-4gb", "memory": 4096, "vcpus": 2, "disk": 80},
            "size_slug": "s-2vcpu-4gb",
            "networks": {"v4": [{"ip_address": "203.0.113.10", "type": "public"}], "v6": []},
            "region": {"slug": "nyc3", "name": "New York 3"},
            "tags": [],
        }
    }


SHAPES = {"documented": documented, "hcloud": hcloud, "scaleway": scaleway, "droplet": droplet}
