"""The program in README.md does what it says, against the sandbox."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from vpsorg_async.sandbox import Sandbox

README = Path(__file__).parents[2] / "README.md"


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.S)


def test_the_readme_program_runs_as_it_stands() -> None:
    """Copied from the README into a file and run with the two variables set, it works, and prints nothing else."""
    (program,) = programs()
    with Sandbox(speed=300) as box:
        ended = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", program],
            env={"VPSORG_API_TOKEN": box.token, "VPSORG_BASE_URL": box.url},
            capture_output=True,
            text=True,
            timeout=50,
        )

        # asyncio's debug mode reports each step of over 100 ms, which a busy machine can cause
        said = re.sub(r"(?m)^Executing .* took [\d.]+ seconds\n", "", ended.stderr)
        assert (ended.returncode, said) == (0, "")
        assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+\n", ended.stdout)
        assert len(box.servers) == 20
        assert sum(request.path.endswith("/reboot/") for request in box.requests) == 19
