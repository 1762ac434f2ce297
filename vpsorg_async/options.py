"""The options of a client as a type, for `Client.from_env` and for functions of users that pass them on."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from typing import TypedDict

from .config import Limits, RateLimit, RetryPolicy, Timeout, WaitPolicy
from .events import ClientEvent
from .runtime import Tracing
from .timing import Clock

__all__ = ["ClientOptions"]


class ClientOptions(TypedDict, total=False):
    """The keyword arguments of `vpsorg_async.Client`."""

    base_url: str
    dialect: str
    status_words: Mapping[str, str] | None
    strict: bool
    timeout: Timeout | None
    retry: RetryPolicy | None
    max_in_flight: int
    rate: RateLimit | None
    limits: Limits | None
    ready_concurrency: int
    waiting: WaitPolicy | None
    min_interval: float
    max_interval: float
    grace: float
    quiet: float
    visibility: float
    max_body: int
    max_list_body: int
    user_agent: str | None
    headers: Mapping[str, str] | None
    ssl_context: ssl.SSLContext | None
    trust_env: bool
    proxy: str | None
    allow_insecure: bool
    on_event: Callable[[ClientEvent], None] | None
    tracing: Tracing | None
    durations_file: str | os.PathLike[str] | None
    clock: Clock | None
