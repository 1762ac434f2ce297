"""The pytest plugin in runs of its users: other runners, strict settings, and runs that do not use it."""

from __future__ import annotations

import re
import sys

import pytest

pytest_plugins = "pytester"

BARE = {"asyncio", "aiohttp", "anyio", "attr", "attrs", "cattrs", "msgspec", "ssl", "vpsorg_async.client"}
"""What a run that has nothing to do with this package must not import because of it."""
if sys.version_info >= (3, 14):
    BARE -= {"asyncio", "ssl"}  # pytest imports pdb, and pdb imports these

UNUSED = """
import sys, pytest

def test_nothing_was_imported():
    assert "vpsorg_async.pytest_plugin" in sys.modules
    assert sorted({bare!r} & set(sys.modules)) == []

def test_that_fails():
    assert 1 == 2

@pytest.mark.skip
def test_skipped(): ...
"""

USED = """
import pytest
from vpsorg_async import ServerSpec

SPEC = ServerSpec(name="web-01", plan_id=1, os_id=5, location="us-west")
{runner}

@in_a_loop
@pytest.mark.vpsorg_faults("list", "html", times=1)
async def test_async(vpsorg_client, vpsorg_sandbox):
    async with vpsorg_client() as vps:
        server = await vps.servers.create(SPEC)
        await vps.wait_until(server.id, "active", timeout=30)
    assert len(vpsorg_sandbox.servers) == 1

def test_virtual(vpsorg_run):
    async def scenario(vps, box):
        server = await vps.servers.create(SPEC)
        return await vps.wait_until(server.id, "active", timeout=600)
    assert vpsorg_run(scenario).status == "active"
"""

RUNNERS = {
    "asyncio": "in_a_loop = pytest.mark.asyncio",
    "anyio": """
in_a_loop = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"
""",
}


@pytest.fixture
def alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Runs of pytest in processes of their own, with this plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "")
    return pytester


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(
        "-p", "vpsorg_async.pytest_plugin", "--strict-markers", "--strict-config", "-W", "error", *arguments
    )


@pytest.mark.parametrize("runner", RUNNERS)
def test_with_each_runner(runner: str, alone: pytest.Pytester) -> None:
    """The same tests pass under pytest-asyncio and under anyio's plugin, with strict markers and warnings as errors."""
    alone.makepyfile(USED.format(runner=RUNNERS[runner]))

    settings = ["-o", "asyncio_default_fixture_loop_scope=function"] if runner == "asyncio" else []

    run(alone, "-p", runner, *settings).assert_outcomes(passed=2)


def test_a_run_that_does_not_use_it(alone: pytest.Pytester) -> None:
    """Where no test asks for a fixture, the plugin imports nothing, and the run is what it is without it."""
    alone.makepyfile(UNUSED.format(bare=BARE))
    with_it = run(alone)
    with_it.assert_outcomes(passed=1, failed=1, skipped=1)

    alone.makepyfile(UNUSED.replace('assert "vpsorg', 'assert not "vpsorg').format(bare=BARE))
    without = alone.runpytest_subprocess("-W", "error")
    assert _said(without) == [line.replace("assert not", "assert") for line in _said(with_it)]


def _said(result: pytest.RunResult) -> list[str]:
    """What a run printed, but for its times and the plugins that it lists."""
    text = "\n".join(line for line in result.outlines if not line.startswith("plugins:"))
    return re.sub(r"\d+\.\d+s", "-", text).splitlines()


def test_the_plugin_is_found_by_itself(pytester: pytest.Pytester) -> None:
    """An installed package needs no ``-p``: markers and fixtures are there."""
    pytester.makepyfile("def test_it(vpsorg_sandbox): assert vpsorg_sandbox.url")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    shown = pytester.runpytest_subprocess("--markers")
    shown.stdout.fnmatch_lines(["@pytest.mark.vpsorg_faults(*rules, **when): faults of the VPS.org sandbox*"])


def test_a_failure_shows_the_requests(alone: pytest.Pytester) -> None:
    """The report of a failed test ends with what the sandbox was asked; that of a passed one says nothing."""
    alone.makepyfile(
        """
        import urllib.error, urllib.request

        def ask(box):
            try:
                urllib.request.urlopen(box.url + "/api/v1/servers/").close()
            except urllib.error.HTTPError as refused:
                refused.close()

        def test_fails(vpsorg_sandbox):
            ask(vpsorg_sandbox)
            assert False

        def test_passes(vpsorg_sandbox):
            ask(vpsorg_sandbox)
        """
    )
    result = run(alone)
    result.assert_outcomes(passed=1, failed=1)
    shown = [line for line in result.outlines if "GET    /api/v1/servers/" in line]
    assert len(shown) == 1
    assert re.search(r"#1 .* s  401  GET", shown[0])
    result.stdout.fnmatch_lines(["*Captured vpsorg teardown*"])


def test_traceback_of_a_scenario(alone: pytest.Pytester) -> None:
    """A scenario that fails is shown where it fails, without the event loop under it."""
    alone.makepyfile(
        """
        def test_it(vpsorg_run):
            async def scenario(vps, box):
                assert box.servers == "none"
            vpsorg_run(scenario)
        """
    )
    result = run(alone)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*assert () == 'none'"])
    result.stdout.no_fnmatch_line("*base_events*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


BAD = {
    "": "it names no rule",
    "'creat', 'drop_after'": "operation: must be one of ",
    "'create', 'drop_afte'": "actions[0].do: must be one of",
    "'create', 'drop_after', often=3": "often: is not known here",
    "{'operation': 'create'}, times=3": "times: only allowed with an operation and names of actions",
    "3": "(document): must be an object",
}


def test_bad_markers(alone: pytest.Pytester) -> None:
    """A marker that makes no sense is one sentence that names the test and the place, with no traceback."""
    alone.makepyfile(
        "import pytest\n"
        + "\n".join(
            f"@pytest.mark.vpsorg_faults({given})\ndef test_{n}(vpsorg_sandbox): ...\n"
            for n, given in enumerate(BAD)
        )
    )
    result = run(alone, "-rE")
    result.assert_outcomes(errors=len(BAD))
    text = "\n".join(result.outlines)
    for number, said in enumerate(BAD.values()):
        assert f"@pytest.mark.vpsorg_faults of test_{number}: {said}" in text
    assert "Traceback" not in text


def test_rules_that_no_sandbox_follows(alone: pytest.Pytester) -> None:
    """A marker on a test without a sandbox is an error, as its faults would never happen; a module's marker is not."""
    alone.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.vpsorg_faults("list", "html")
        faulty = pytest.mark.vpsorg_faults("create", "drop_after")

        @pytest.fixture
        def indirect(request):
            return request.getfixturevalue("vpsorg_sandbox")

        @faulty
        def test_without(): ...

        @faulty
        def test_with(vpsorg_env): ...

        @faulty
        def test_in_virtual_time(vpsorg_run): ...

        @faulty
        def test_with_one_that_it_asks_for(indirect): ...

        @pytest.mark.skip
        @faulty
        def test_skipped(): ...

        def test_that_has_no_marker_of_its_own(): ...
        """
    )
    result = run(alone, "-rE")

    result.assert_outcomes(passed=4, skipped=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*vpsorg_faults of test_without: the test uses no sandbox: add vpsorg_sandbox*"]
    )
    assert "Traceback" not in result.stdout.str()


WRONG_SETTINGS = {
    "{'credits': 1, 'fault': []}": "Sandbox has no setting 'credits', 'fault'",
    "{'dialect': 'german'}": "Sandbox(dialect='german') is refused: dialect is one of documented, ",
    "{'latency': -1}": "Sandbox(latency=-1) is refused: latency is a finite number of seconds >= 0, not -1",
    "{'speed': 'fast'}": "Sandbox(speed='fast') is refused: ",
    "{'faults': [3]}": "Sandbox(faults=[3]) is refused: ",
    "None": "a dict is needed, not None",
}


@pytest.mark.parametrize("fixture", ["vpsorg_sandbox", "vpsorg_run"])
def test_wrong_settings(fixture: str, alone: pytest.Pytester) -> None:
    """Settings that are wrong are one sentence that names the test and what is wrong, in real and in virtual time."""
    run_it = f"async def scenario(vps, box): ...\n    if {fixture!r} == 'vpsorg_run': {fixture}(scenario)"
    alone.makepyfile(
        "import pytest\n"
        + "\n".join(
            f"@pytest.mark.parametrize('vpsorg_settings', [{given}])\ndef test_{n}({fixture}):\n    {run_it}\n"
            for n, given in enumerate(WRONG_SETTINGS)
        )
    )
    result = run(alone, "-rEf")
    outcome = "errors" if fixture == "vpsorg_sandbox" else "failed"
    result.assert_outcomes(**{outcome: len(WRONG_SETTINGS)})
    for number, said in enumerate(WRONG_SETTINGS.values()):
        assert re.search(
            rf"^vpsorg_settings of test_{number}\S+: {re.escape(said)}", result.stdout.str(), re.M
        )
    assert "another exception" not in result.stdout.str()


def test_a_scenario_that_cannot_be_awaited(alone: pytest.Pytester) -> None:
    """A scenario without async, and one that was called already, are one sentence that says what is needed."""
    alone.makepyfile(
        """
        def test_not_async(vpsorg_run):
            def scenario(vps, box): ...
            vpsorg_run(scenario)

        def test_called(vpsorg_run):
            async def scenario(vps=None, box=None): ...
            vpsorg_run(scenario())

        def test_awaitable(vpsorg_run):
            async def scenario(vps, box): return 1
            assert vpsorg_run(lambda vps, box: scenario(vps, box)) == 1
        """
    )
    result = run(alone, "-rf")

    result.assert_outcomes(passed=1, failed=2)
    assert (
        result.stdout.str().count("vpsorg_run needs a function defined as async def scenario(vps, box)") >= 2
    )
    assert "Traceback" not in result.stdout.str()


def test_importing_the_plugin_is_cheap(pytester: pytest.Pytester) -> None:
    """Beside pytest itself, the import costs this module and an empty package."""
    script = "import sys, pytest; before = set(sys.modules)\n"
    script += "import vpsorg_async.pytest_plugin; print(*(set(sys.modules) - before))"
    done = pytester.run(sys.executable, "-c", script)

    assert {name.partition(".")[0] for name in done.outlines[0].split()} == {"vpsorg_async"}
    assert set(done.outlines[0].split()) == {
        "vpsorg_async", "vpsorg_async._version", "vpsorg_async.pytest_plugin",
    }  # fmt: skip
