"""The bearer tokens that a sandbox accepts."""

from __future__ import annotations

import secrets

from .errors import SandboxError

__all__ = ["new_token"]


def new_token(wanted: str | None = None) -> str:
    """Return the token that is wanted, or a random `vps_sandbox_...`. Raises `SandboxError` for an unfit one."""
    if wanted is None:
        return f"vps_sandbox_{secrets.token_hex(16)}"
    if not (wanted.isascii() and wanted.isprintable() and wanted and " " not in wanted):
        raise SandboxError("a token is printable ASCII without spaces")
    return wanted
