"""A tracer or meter that raises: an Exception is logged, any other BaseException is raised after an orderly close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan

from tests.ends.hook_errors import FAILURES, STOPS, paired, played
from tests.fleet.virtual_account import account, accounted, kinds, specs, untracked
from vpsorg_async.otel import OpenTelemetry
from vpsorg_async.sandbox import Rule, faults

TIMEOUT = 900.0

SPAN_METHODS = ("add_event", "end", "set_attribute", "set_attributes", "set_status", "is_recording")
METHODS = (
    "get_tracer",
    "start_span",
    *SPAN_METHODS,
    "get_meter",
    "create_counter",
    "create_histogram",
    "add",
    "record",
)
AT_THE_OPENING = {"get_tracer", "get_meter", "create_counter", "create_histogram"}


class Broken:
    """Providers with one method that raises, when it is armed."""

    def __init__(self, method: str, make: Callable[[], BaseException], *, armed: bool = True) -> None:
        self.method = method
        self.make = make
        self.armed = armed
        self.raised = 0

    def call(self, method: str) -> None:
        """Note that a method was called."""
        if self.armed and method == self.method:
            self.raised += 1
            raise self.make()

    def tracing(self) -> OpenTelemetry:
        """Spans and metrics over these."""
        broken = self

        class Span(NonRecordingSpan):
            def add_event(self, *_: Any, **__: Any) -> None:
                broken.call("add_event")

            def end(self, *_: Any, **__: Any) -> None:
                broken.call("end")

            def set_attribute(self, *_: Any, **__: Any) -> None:
                broken.call("set_attribute")

            def set_attributes(self, *_: Any, **__: Any) -> None:
                broken.call("set_attributes")

            def set_status(self, *_: Any, **__: Any) -> None:
                broken.call("set_status")

            def is_recording(self) -> bool:
                broken.call("is_recording")
                return True

        class Tracer(trace.NoOpTracer):
            def start_span(self, *_: Any, **__: Any) -> trace.Span:
                broken.call("start_span")
                return Span(INVALID_SPAN_CONTEXT)

        class Tracers(trace.NoOpTracerProvider):
            def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
                broken.call("get_tracer")
                return Tracer()

        class Counter(metrics.NoOpCounter):
            def add(self, *_: Any, **__: Any) -> None:
                broken.call("add")

        class Histogram(metrics.NoOpHistogram):
            def record(self, *_: Any, **__: Any) -> None:
                broken.call("record")

        class Meter(metrics.NoOpMeter):
            def create_counter(self, name: str, *_: Any, **__: Any) -> metrics.Counter:
                broken.call("create_counter")
                return Counter(name)

            def create_histogram(self, name: str, *_: Any, **__: Any) -> metrics.Histogram:
                broken.call("create_histogram")
                return Histogram(name)

        class Meters(metrics.NoOpMeterProvider):
            def get_meter(self, name: str, *_: Any, **__: Any) -> metrics.Meter:
                broken.call("get_meter")
                return Meter(name)

        return OpenTelemetry(tracer_provider=Tracers(), meter_provider=Meters())


TROUBLE = (Rule("create", faults.DropAfter(), nth=2), Rule("list", faults.Html(503), nth=3))


@pytest.mark.parametrize(("method", "failure"), paired(METHODS, FAILURES))
def test_tracing_that_fails_is_logged(
    method: str, failure: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever method of a provider raises an error: creates, runs, waits and watchers go on as without it."""
    broken = Broken(method, failure)

    async def play() -> None:
        options = {"tracing": broken.tracing()}
        async with account(*TROUBLE, options=options, latency=0.05) as (box, vps):
            (slow,) = box.world.add(name="slow", status="provisioning")
            wait = asyncio.ensure_future(vps.wait_until(slow.id, "active", timeout=TIMEOUT))
            report = await vps.fleet.create(specs(3), timeout=TIMEOUT)
            assert kinds(report) == {"Succeeded": 3}
            assert (await wait).status == "active"
            ids = [server.id for server in report.servers]
            assert kinds(await vps.fleet.rolling_reboot(ids, timeout=TIMEOUT)) == {"Succeeded": 3}
            changes = vps.watch(interval=1.0)
            assert (await anext(changes)).change == "present"
            await changes.aclose()
            assert (await vps.servers.create(specs(1, "lone")[0])).name == "lone-000"

    assert played(play) is None
    # the rest of OpenTelemetry calls it on any open span; where nothing is recorded it is never called
    assert (broken.raised > 0) == (method != "is_recording")
    assert caplog.text.count("not mine") >= broken.raised


@pytest.mark.parametrize(
    ("method", "stop"), paired([method for method in METHODS if method not in AT_THE_OPENING], STOPS)
)
def test_tracing_that_ends_everything(method: str, stop: Callable[[], BaseException]) -> None:
    """A BaseException from tracing is raised when the run has closed, and each server is in its report."""
    broken = Broken(method, stop, armed=False)
    seen: dict[str, Any] = {}

    async def play() -> None:
        options = {"tracing": broken.tracing()}
        async with account(*TROUBLE, options=options, latency=0.05) as (seen["box"], vps):
            (slow,) = seen["box"].world.add(name="slow", status="provisioning")
            waits = [
                asyncio.ensure_future(vps.wait_until(slow.id, "active", timeout=TIMEOUT)) for _ in range(3)
            ]
            try:
                async with vps.fleet.creating(specs(3), timeout=TIMEOUT) as seen["run"]:
                    broken.armed = True
                    async for _ in seen["run"]:
                        pass
            finally:
                broken.armed = False
                done, _ = await asyncio.wait(waits, timeout=2 * TIMEOUT)
                # every wait has ended, and its exception is retrieved here
                seen["waits"] = [wait.exception() for wait in done]

    raised = played(play)

    assert (type(raised) is type(stop())) == (broken.raised > 0)
    assert accounted(seen["run"].report, specs(3))
    assert untracked(seen["run"].report, seen["box"]) == []
    if "waits" in seen:
        assert len(seen["waits"]) == 3


@pytest.mark.parametrize(("method", "stop"), paired(["end", "set_attributes", "record"], STOPS))
def test_closing_ends_all_waits_where_tracing_ends_everything(
    method: str, stop: Callable[[], BaseException]
) -> None:
    """A client that closes under waits ends each of them, though the tracer raises at the end of the first."""
    broken = Broken(method, stop, armed=False)
    ends: list[BaseException | None] = []

    async def play() -> None:
        waits: list[asyncio.Future[Any]] = []
        try:
            async with account(options={"tracing": broken.tracing()}) as (box, vps):
                (slow,) = box.world.add(name="slow", status="provisioning")
                waits += [
                    asyncio.ensure_future(vps.wait_until(slow.id, "stopped", timeout=TIMEOUT))
                    for _ in range(5)
                ]
                await asyncio.sleep(1)
                broken.armed = True
        finally:
            broken.armed = False
            done, _ = await asyncio.wait(waits, timeout=2 * TIMEOUT)
            ends.extend(wait.exception() for wait in done)

    raised = played(play)

    assert type(raised) is type(stop())
    if not isinstance(raised, KeyboardInterrupt | SystemExit):
        assert len(ends) == 5


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("moment", ["on_start", "on_end"])
def test_a_span_processor_that_fails(moment: str, failure: Callable[[], BaseException]) -> None:
    """The same for a processor in the SDK's own provider."""

    class Processor(SpanProcessor):
        raised = 0

    def fails(*_: Any, **__: Any) -> None:
        Processor.raised += 1
        raise failure()

    processor = Processor()
    setattr(processor, moment, fails)
    provider = TracerProvider()
    provider.add_span_processor(processor)

    async def play() -> None:
        options = {"tracing": OpenTelemetry(tracer_provider=provider)}
        async with account(*TROUBLE, options=options, latency=0.05) as (_, vps):
            report = await vps.fleet.create(specs(3), timeout=TIMEOUT)
            assert kinds(report) == {"Succeeded": 3}

    assert played(play) is None
    assert Processor.raised
