"""Traces and metrics, as the OpenTelemetry SDK gets them, of a client in virtual time against the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

from tests.fleet.virtual_account import account, specs, virtual
from vpsorg_async import Client, Server, errors, ready
from vpsorg_async.otel import OpenTelemetry
from vpsorg_async.sandbox import Rule, Sandbox
from vpsorg_async.sandbox.faults import DropAfter, Reply

CANARY = "vps_canary_5f1d0c"


class Counted(IdGenerator):
    """Ids in the order in which spans begin: in virtual time many begin at the same moment."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def generate_span_id(self) -> int:
        return next(self._count)

    generate_trace_id = generate_span_id


@attrs.define
class Recorder:
    """The exported spans and metrics, and ways to read them."""

    spans: InMemorySpanExporter = attrs.field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = attrs.field(factory=InMemoryMetricReader)
    provider: TracerProvider = attrs.field(factory=lambda: TracerProvider(id_generator=Counted()))

    def tracing(self) -> OpenTelemetry:
        self.provider.add_span_processor(SimpleSpanProcessor(self.spans))
        meters = MeterProvider(metric_readers=[self.reader])
        return OpenTelemetry(tracer_provider=self.provider, meter_provider=meters)

    def finished(self, name: str = "") -> list[ReadableSpan]:
        return [span for span in self.spans.get_finished_spans() if name in ("", span.name)]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.finished(name)
        return span

    def below(self, parent: ReadableSpan | None) -> list[ReadableSpan]:
        """The children of a span in the order in which they began; of None, the roots."""
        found = [span for span in self.finished() if parent_id(span) == own_id(parent)]
        return sorted(found, key=own_id)

    def tree(self, parent: ReadableSpan | None = None, depth: int = 0) -> list[str]:
        """Every span, indented below its parent, with how it ended and its events."""
        lines = []
        for span in self.below(parent):
            told = f"{span.name} {span.status.status_code.name}"
            lines.append("  " * depth + " ".join([told, *(f"[{event.name}]" for event in span.events)]))
            lines += self.tree(span, depth + 1)
        return lines

    def points(self, name: str) -> dict[tuple[Any, ...], Any]:
        """The points of a metric by the values of their attributes, sorted by name."""
        data = self.reader.get_metrics_data()
        assert data is not None
        found = [
            metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]
        return {
            tuple(value for _, value in sorted((point.attributes or {}).items())): point
            for metric in found
            for point in metric.data.data_points
        }

    def everything(self) -> str:
        """Everything that is exported through OpenTelemetry, as text."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return "\n".join([*(span.to_json() for span in self.finished()), data.to_json()])


def own_id(span: ReadableSpan | None) -> int:
    return 0 if span is None or span.context is None else span.context.span_id


def parent_id(span: ReadableSpan) -> int:
    return 0 if span.parent is None else span.parent.span_id


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


@contextlib.asynccontextmanager
async def traced(*rules: Rule, **settings: Any) -> AsyncIterator[tuple[Recorder, Sandbox, Client]]:
    """A recorder, a sandbox with these faults and settings, and a client that is traced."""
    recorder = Recorder()
    options = {"tracing": recorder.tracing()}
    async with account(*rules, options=options, token=CANARY, **settings) as (box, vps):
        yield recorder, box, vps


@virtual
async def test_a_call_with_a_retried_attempt() -> None:
    """One span for the call, one below it for each attempt, and the pause between them as an event."""
    async with traced(Rule("list", Reply(status=503), times=1)) as (recorder, _, vps):
        await vps.servers.list()

    assert recorder.tree() == ["vpsorg.list UNSET [retry scheduled]", "  GET ERROR", "  GET UNSET"]
    call = recorder.one("vpsorg.list")
    assert call.attributes is not None
    assert call.attributes["vpsorg.attempts"] == 2
    first, second = (dict(span.attributes or {}) for span in recorder.finished("GET"))
    assert first["http.response.status_code"] == 503
    assert first["error.type"] == "503"
    assert "http.request.resend_count" not in first
    assert (second["http.response.status_code"], second["http.request.resend_count"]) == (200, 1)
    assert str(second["url.full"]).endswith("/api/v1/servers/")
    assert second["server.address"] == "127.0.0.1"
    assert {key: point.value for key, point in recorder.points("vpsorg.requests").items()} == {
        ("list", "ServiceError"): 1,
        ("list", "ok"): 1,
    }


@virtual
async def test_a_call_that_failed_says_what_is_known() -> None:
    """The span of a failed call has the error's class, and whether the call may have been applied."""
    async with traced(Rule("create", DropAfter(), times=1)) as (recorder, _, vps):
        with pytest.raises(errors.OutcomeUnknownError):
            await vps.servers.create(specs(1)[0])
        with pytest.raises(errors.NotFoundError):
            await vps.servers.get(1)

    assert recorder.tree() == ["vpsorg.create ERROR", "  POST ERROR", "vpsorg.get ERROR", "  GET ERROR"]
    create, get = (dict(recorder.one(name).attributes or {}) for name in ("vpsorg.create", "vpsorg.get"))
    assert (create["error.type"], create["vpsorg.sent"]) == ("ConnectionLostError", "maybe")
    assert (get["error.type"], get["vpsorg.sent"]) == ("NotFoundError", "rejected")


@virtual
async def test_ready_checks_have_a_span() -> None:
    """It is in the trace of the caller, has each new reason and its time, and ends with the checks."""
    tries = iter([ready.NotReady("refused"), ready.NotReady("refused"), None])

    def check(server: Server) -> bool:
        said = next(tries)
        if said is not None:
            raise said
        return True

    def never(server: Server) -> bool:
        raise ready.Hopeless("disk on fire")

    async with traced() as (recorder, box, vps):
        (server,) = box.world.add()
        with recorder.provider.get_tracer("user").start_as_current_span("job"):
            await vps.wait_until(server.id, "active", timeout=600, ready=check)
        await vps.fleet.reboot([server.id], timeout=600, ready=never)

    passed, failed = recorder.finished("vpsorg.ready")
    assert passed in recorder.below(recorder.one("job"))
    assert failed in recorder.below(recorder.one("vpsorg.fleet.reboot"))
    assert [(event.name, dict(event.attributes or {}).get("vpsorg.note")) for event in passed.events] == [
        ("not ready", "refused"),
        ("ready", None),
    ]
    told = dict(passed.attributes or {})
    assert (told["vpsorg.check"], told["vpsorg.checks"], told["vpsorg.outcome"]) == ("function", 3, "ok")
    assert 1 <= seconds(passed) <= 2
    assert passed.events[-1].timestamp == pytest.approx(passed.end_time, abs=1e6)
    assert dict(failed.attributes or {})["error.type"] == "NeverReadyError"
    assert set(recorder.points("vpsorg.ready.duration")) == {("none", "ok"), ("reboot", "NeverReadyError")}


@virtual
async def test_a_wait_has_its_transitions() -> None:
    """The span of a wait has the statuses that it saw, in the trace of the waiter; polls are separate traces."""
    async with traced() as (recorder, _, vps):
        with recorder.provider.get_tracer("user").start_as_current_span("job"):
            server = await vps.servers.create(specs(1)[0])
            await vps.wait_until(server, "active", timeout=600)

    roots = recorder.below(None)
    assert [span.name for span in roots if span.name != "vpsorg.poll"] == ["job"]
    job = recorder.one("job")
    assert [span.name for span in recorder.below(job)] == ["vpsorg.create", "vpsorg.wait"]
    wait = recorder.one("vpsorg.wait")
    told = dict(wait.attributes or {})
    assert [dict(event.attributes or {})["vpsorg.status"] for event in wait.events] == [
        "provisioning",
        "active",
    ]
    assert told["vpsorg.server.id"] == str(server.id)
    assert (told["vpsorg.target"], told["vpsorg.outcome"], told["vpsorg.evidence"]) == (
        "active",
        "ok",
        "observed",
    )
    assert 120 <= seconds(wait) <= 310
    assert wait.events[-1].timestamp == pytest.approx(wait.end_time, abs=1e6)
    polls = recorder.finished("vpsorg.poll")
    assert len(polls) == told["vpsorg.polls"]
    assert {tuple(span.name for span in recorder.below(poll)) for poll in polls} == {("vpsorg.get",)}
    assert recorder.points("vpsorg.polls")[("ok", "get")].value == len(polls)
    (lag,) = recorder.points("vpsorg.wait.lag").values()
    assert lag.count == 1
    assert 0 < lag.sum <= 30.0
    assert list(recorder.points("vpsorg.wait.duration")) == [("create", "ok")]


@virtual
async def test_waits_that_end_otherwise() -> None:
    """A wait that times out is an error; one that is cancelled ends its span too."""
    async with traced() as (recorder, _, vps):
        server = await vps.servers.create(specs(1)[0])
        with pytest.raises(errors.WaitTimeoutError):
            await vps.wait_until(server, "active", timeout=5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await vps.wait_until(server, "active", timeout=600)

    timed_out, left = recorder.finished("vpsorg.wait")
    assert (timed_out.status.status_code.name, left.status.status_code.name) == ("ERROR", "UNSET")
    assert dict(timed_out.attributes or {})["error.type"] == "WaitTimeoutError"
    assert dict(left.attributes or {})["vpsorg.outcome"] == "left"
    assert recorder.points("vpsorg.wait.lag") == {}


@virtual
async def test_a_fleet_run() -> None:
    """Below the run are its creates and its waits; each unusual step is an event of it."""
    async with traced(Rule("create", DropAfter(), times=1), credit=3) as (recorder, _, vps):
        report = await vps.fleet.create(specs(4), timeout=900)

    assert (len(report.succeeded), len(report.failed)) == (3, 1)
    run = recorder.one("vpsorg.fleet.create")
    told = dict(run.attributes or {})
    assert (told["vpsorg.servers"], told["vpsorg.succeeded"], told["vpsorg.failed"]) == (4, 3, 1)
    assert run.status.status_code.name == "ERROR"
    names = [span.name for span in recorder.below(run)]
    assert names.count("vpsorg.create") == 4
    assert names.count("vpsorg.wait") >= 2
    assert [event.name for event in run.events] == ["answer lost", "server failed", "server adopted"]
    assert seconds(run) == pytest.approx(report.seconds, abs=0.01)
    # the list of existing names comes before the run
    assert "vpsorg.list" in [span.name for span in recorder.below(None)]


@virtual
async def test_the_other_runs() -> None:
    """Actions and rolling operations are runs as well, and their calls are spans below them."""
    async with traced() as (recorder, box, vps):
        ids = [server.id for server in box.world.add(3)]
        await vps.fleet.reboot(ids, timeout=300)
        await vps.fleet.rolling_reboot(ids, max_unavailable=2, timeout=600.0)

    for name in ("vpsorg.fleet.reboot", "vpsorg.fleet.rolling_reboot"):
        below = [span.name for span in recorder.below(recorder.one(name))]
        assert below.count("vpsorg.reboot") == below.count("vpsorg.wait") == 3
        assert recorder.one(name).status.status_code.name == "UNSET"


@virtual
async def test_a_run_that_is_left() -> None:
    """A run that is cancelled ends its span, those of its calls and those of its waits."""
    async with traced() as (recorder, _, vps):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await vps.fleet.create(specs(2), timeout=900)

    run = recorder.one("vpsorg.fleet.create")
    assert dict(run.attributes or {})["vpsorg.outcome"] == "cancelled"
    assert [event.name for event in run.events] == ["server failed", "server failed"]
    assert len(recorder.finished("vpsorg.wait")) == 2


@virtual
async def test_calls_side_by_side_keep_apart() -> None:
    """Concurrent calls are reported below their own spans, not below each other's."""
    async with traced(Rule("get", Reply(status=503), times=3)) as (recorder, box, vps):
        ids = [server.id for server in box.world.add(20)]
        await asyncio.gather(*map(vps.servers.get, ids))

    calls = recorder.finished("vpsorg.get")
    assert len(calls) == len(recorder.below(None)) == 20
    for call in calls:
        attempts = recorder.below(call)
        assert len({dict(span.attributes or {})["url.full"] for span in attempts}) == 1
        assert len(attempts) == dict(call.attributes or {})["vpsorg.attempts"]
    assert len(recorder.finished("GET")) == 23


@virtual
async def test_the_token_is_in_none() -> None:
    """No span and no metric shows the token, even where the service echoes it."""
    echo = Rule("list", Reply(status=500, body=f"sent by {CANARY}"), times=1)
    async with traced(echo, Rule("create", DropAfter(), times=1), credit=2) as (recorder, _, vps):
        await vps.fleet.create(specs(3), timeout=900)
        await vps.request("GET", f"/servers/?token={CANARY}")
        with pytest.raises(errors.NotFoundError):
            await vps.servers.get(99)

    told = recorder.everything()
    assert "vpsorg.fleet.create" in told
    assert CANARY not in told
    assert "Bearer" not in told


@virtual
async def test_the_hook_hears_the_same() -> None:
    """`on_event` receives the same events as without tracing."""
    heard: dict[bool, list[str]] = {}
    for followed in (True, False):
        names: list[str] = heard.setdefault(followed, [])
        options: dict[str, Any] = {"tracing": Recorder().tracing()} if followed else {}
        options["on_event"] = lambda event, names=names: names.append(type(event).__name__)
        async with account(Rule("list", Reply(status=503), times=1), options=options) as (_, vps):
            await vps.servers.list()

    assert heard[True] == heard[False]
    assert heard[True][:2] == ["RequestSent", "AttemptFailed"]


def test_tracing_is_checked() -> None:
    """Invalid tracing options are refused before anything is sent."""
    with pytest.raises(errors.ConfigurationError, match="tracing is an OpenTelemetry"):
        Client("vps_x", tracing="yes")  # type: ignore[arg-type]
