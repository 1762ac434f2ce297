"""What the tests of the journal have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from vpsorg_async.journal import Journal
from vpsorg_async.lifecycle.receipts import Receipt

ACCOUNT = "https://www.vps.org"
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def receipt(server_id: int | str, operation: str = "create", second: int = 0) -> Receipt:
    return Receipt(
        server_id=server_id, operation=operation, acknowledged_at=AT.replace(second=second), status="active"
    )


async def opened(file: Path, account: str = ACCOUNT) -> Journal:
    return await Journal.open(file, account=account)


def beside(file: Path) -> set[str]:
    """The files in the folder of the journal, besides the journal itself."""
    return {path.name for path in file.parent.iterdir()} - {file.name}


def run_program(text: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
