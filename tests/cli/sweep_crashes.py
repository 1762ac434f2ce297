"""kill -9 at random moments of `vpsorg fleet ensure`, while reads lag; one more run completes the fleet.

Its name keeps it out of the test command: ``python -m pytest tests/cli/sweep_crashes.py`` runs it.
"""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from vpsorg_async.sandbox import Sandbox

pytestmark = [pytest.mark.timeout(3600), pytest.mark.skipif(sys.platform == "win32", reason="kill -9")]

SERVERS = 60
LAG, SETTLE = 10.0, 12.0
LATENCY = 0.3
LAST = 4.0
"""The seconds of a run after which it has sent everything."""
ENSURE = tuple(
    f"fleet ensure --name web-{{n:02}} --count {SERVERS} --plan-id 1 --os-id 5 --location us-west --yes "
    f"--settle {SETTLE} --timeout 600".split()
)


def swept(
    start: Callable[..., "subprocess.Popen[str]"], state: Path, moment: float, *more: str
) -> tuple[int, int]:
    """Kill a run after so many seconds, run it once more; returns how many servers were there before and after."""
    with Sandbox(speed=60, latency=LATENCY, token="vps_tests") as box:
        box.world.lag(LAG, lasting=1e6)
        env = {"XDG_STATE_HOME": str(state), "VPSORG_API_TOKEN": box.token, "VPSORG_BASE_URL": box.url}
        with start(*ENSURE, "-q", *more, env=env) as first:
            # from the first request on: how long it takes to begin depends on the machine
            while not box.requests:
                time.sleep(0.005)
            time.sleep(moment)
            first.kill()
            first.communicate()
        before = len(box.servers)
        with start(*ENSURE, *more, env=env) as second:
            _, said = second.communicate()
        assert second.returncode == 0, said
        names = Counter(server.name for server in box.servers)
        assert len(names) == SERVERS
        return before, sum(names.values())


def test_killed_at_random_moments(
    start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """Sixty servers and no duplicate, wherever it was killed; without the journal the same makes duplicates."""
    chosen = random.Random(21)
    moments = [chosen.uniform(0.0, LAST) for _ in range(20)]
    ends = [swept(start, tmp_path / str(n), moment) for n, moment in enumerate(moments)]
    bare = [
        swept(start, tmp_path / f"bare-{n}", moment, "--no-journal") for n, moment in enumerate(moments[:5])
    ]

    figure(f"servers when it was killed: {sorted(before for before, _ in ends)}")
    figure(f"with the journal: {[after for _, after in ends]} servers of {SERVERS}")
    figure(f"without it: {[after for _, after in bare]}")
    assert [after for _, after in ends] == [SERVERS] * len(ends)
    assert max(after for _, after in bare) > SERVERS
