"""The account's SSH keys, which only the provider's dialect shows."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from .catalogue import uuid
from .errors import NotFound

KEY_CHANGES: Final = ("add_ssh_key", "delete_ssh_key")
"""The operations that change SSH keys, and no server."""


@frozen(kw_only=True)
class SshKey:
    """A public key."""

    uuid: str
    name: str
    public_key: str
    created_at: float
    """POSIX seconds."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint as `ssh-keygen -l` shows it; an assumption, because its form is not published."""
        digest = hashlib.sha256(base64.b64decode(self.public_key.split()[1])).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


class Keyring:
    """The keys of the account, in the order in which they were added."""

    def __init__(self) -> None:
        self._keys: dict[str, SshKey] = {}
        self._entered = 0

    def __contains__(self, name: str) -> bool:
        return name in self._keys

    def __getitem__(self, name: str) -> SshKey:
        return self._keys[name]

    @property
    def all(self) -> tuple[SshKey, ...]:
        """The keys, oldest first."""
        return tuple(self._keys.values())

    def change(self, operation: str, fields: Mapping[str, Any], wall: float) -> SshKey:
        """Add or delete a key, and return it. Raises `NotFound`."""
        if operation == "add_ssh_key":
            self._entered += 1
            key = SshKey(uuid=uuid("ssh-key", self._entered), created_at=wall, **fields)
            self._keys[key.uuid] = key
            return key
        try:
            return self._keys.pop(fields["uuid"])
        except KeyError:
            raise NotFound(f"No SSH key {fields['uuid']}.") from None
