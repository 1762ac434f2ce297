"""Spans and metric instruments of `otel` whose methods never raise, because users bring their own exporters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from opentelemetry import metrics, trace

from .hooks import safely
from .http.session import SendCancelled

__all__ = ["Metrics", "Span", "never_raising", "outcome_of"]

P = ParamSpec("P")
T = TypeVar("T")

log: logging.Logger = logging.getLogger("vpsorg_async.otel")


def never_raising(call: Callable[P, T]) -> Callable[P, T | None]:
    """Return the same call, whose exceptions are logged, and which then returns None."""
    return safely(call, log)


class Span:
    """A span whose methods never raise, because users bring their own processors and exporters."""

    __slots__ = ("add_event", "end", "inner", "set_attribute", "set_attributes", "set_status")

    def __init__(self, inner: trace.Span) -> None:
        self.inner: Any = inner
        self.add_event: Callable[..., object] = never_raising(inner.add_event)
        self.end: Callable[..., object] = never_raising(inner.end)
        self.set_attribute: Callable[..., object] = never_raising(inner.set_attribute)
        self.set_attributes: Callable[..., object] = never_raising(inner.set_attributes)
        self.set_status: Callable[..., object] = never_raising(inner.set_status)


class Metrics:
    """The metric instruments."""

    def __init__(self, meter: metrics.Meter) -> None:
        self.count_request: Callable[..., object] = _counter(
            meter, "vpsorg.requests", "{request}", "Requests sent, by operation and outcome"
        )
        self.request_duration: Callable[..., object] = _histogram(
            meter, "vpsorg.request.duration", "From the sending of a request to its outcome"
        )
        self.count_poll: Callable[..., object] = _counter(
            meter, "vpsorg.polls", "{poll}", "Polls for the waits, by kind (list, get) and outcome"
        )
        self.wait_duration: Callable[..., object] = _histogram(
            meter, "vpsorg.wait.duration", "How long waits took, by operation and outcome"
        )
        self.ready_duration: Callable[..., object] = _histogram(
            meter, "vpsorg.ready.duration", "How long servers took to get ready, by operation and outcome"
        )
        self.wait_lag: Callable[..., object] = _histogram(
            meter,
            "vpsorg.wait.lag",
            "From the last poll that did not show the target to the end of the wait",
        )


def _counter(meter: metrics.Meter, name: str, unit: str, about: str) -> Callable[..., object]:
    made = never_raising(meter.create_counter)(name, unit, about)
    return never_raising((made or metrics.NoOpCounter(name)).add)


def _histogram(meter: metrics.Meter, name: str, about: str) -> Callable[..., object]:
    made = never_raising(meter.create_histogram)(name, "s", about)
    return never_raising((made or metrics.NoOpHistogram(name)).record)


def outcome_of(error: BaseException) -> str:
    """Return a word for the exception that ended something."""
    words = {asyncio.CancelledError: "cancelled", SendCancelled: "not sent", GeneratorExit: "left"}
    return words.get(type(error), type(error).__name__)
