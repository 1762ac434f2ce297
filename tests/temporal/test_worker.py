"""What a worker does at its beginning and at its end, and what is stored of its work."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client as Engine
from temporalio.converter import DataConverter, DefaultPayloadConverter, PayloadCodec
from temporalio.worker import Replayer, Worker

from tests.temporal.processes import QUEUE, EngineProcess, WorkerProcess
from vpsorg_async import Client, Server, ServerSpec
from vpsorg_async.errors import ConfigurationError, RateLimitError, ServiceError
from vpsorg_async.plain import from_plain, to_plain
from vpsorg_async.sandbox import Sandbox
from vpsorg_async.temporal import FleetRequest, FleetSummary, VpsOrgPlugin
from vpsorg_async.temporal.convert import RecordFailureConverter, RecordPayloadConverter

SPECS = [ServerSpec(name=f"web-{n}", plan_id=1, os_id=5, location="us-west") for n in range(20)]


def with_plugin(engine: Engine, plugin: VpsOrgPlugin) -> Engine:
    config = engine.config()
    config["plugins"] = [plugin]
    return Engine(**config)


async def test_sigterm_hands_over(program: str, tmp_path: Path) -> None:
    """SIGTERM ends a worker gracefully in the middle of a fleet; the next one goes on, and the token is not stored."""
    engine = EngineProcess(program, tmp_path)
    await engine.start()
    try:
        with Sandbox(speed=60, latency=0.2) as box:
            worker = WorkerProcess(engine.address, box)
            await worker.ready()
            client = await engine.client(VpsOrgPlugin(Client.from_env))
            request = FleetRequest(specs=SPECS, timeout=600, settle=1, heartbeat_timeout=4)
            handle = await client.start_workflow("vpsorg.FleetCreate", request, id="web", task_queue=QUEUE)
            while True:
                if len(box.ledger) >= 5:
                    break
                await asyncio.sleep(0.01)
            ended = await asyncio.to_thread(worker.terminate)
            worker = WorkerProcess(engine.address, box)
            try:
                summary = await handle.result()
            finally:
                worker.kill()
            stored, created = engine.data, Counter(change.name for change in box.ledger)
    finally:
        engine.kill()

    assert ended == (0, b"over\n")
    assert summary.succeeded == 20, summary
    assert created == Counter({spec.name: 1 for spec in SPECS})
    assert b"web-19" in stored
    assert box.token.encode() not in stored


async def test_a_worker_without_a_token_is_not_created(engine: Engine) -> None:
    """What the client lacks is raised where the worker is created, not retried for ever in its activities."""
    client = with_plugin(engine, VpsOrgPlugin(Client.from_env))

    with pytest.raises(ConfigurationError, match="VPSORG_API_TOKEN"):
        Worker(client, task_queue=QUEUE)


async def test_a_history_can_be_replayed(engine: Engine, box: Sandbox) -> None:
    """The plugin serves a replayer too, which needs no account."""
    client = with_plugin(engine, VpsOrgPlugin(lambda: Client(box.token, base_url=box.url)))
    async with Worker(client, task_queue=QUEUE):
        request = FleetRequest(specs=SPECS[:3], timeout=600)
        await client.execute_workflow("vpsorg.FleetEnsure", request, id="web", task_queue=QUEUE)
        history = await client.get_workflow_handle("web").fetch_history()

    await Replayer(workflows=[], plugins=[VpsOrgPlugin(Client.from_env)]).replay_workflow(history)


@pytest.mark.parametrize(
    "arguments",
    [{"factory": "x"}, {"factory": Client.from_env, "on_password": print}],
)
def test_a_plugin_checks_its_functions(arguments: dict[str, object]) -> None:
    """The mistake is noticed at once."""
    with pytest.raises(ConfigurationError):
        VpsOrgPlugin(**arguments)  # type: ignore[arg-type]


class OwnConverter(DefaultPayloadConverter):
    """A user's own."""


class Codec(PayloadCodec):
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [*payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [*payloads]


def test_codecs_are_kept_and_other_converters_refused() -> None:
    """Encryption of payloads goes on; two payload converters can't both be used."""
    plugin, codec = VpsOrgPlugin(Client.from_env), Codec()
    config = plugin.configure_client({"data_converter": DataConverter(payload_codec=codec)})  # type: ignore[typeddict-item]

    assert config["data_converter"].payload_codec is codec
    assert config["data_converter"].payload_converter_class is RecordPayloadConverter
    other = dataclasses.replace(DataConverter.default, payload_converter_class=OwnConverter)
    with pytest.raises(ConfigurationError, match="OwnConverter"):
        plugin.configure_client({"data_converter": other})  # type: ignore[typeddict-item]


async def test_records_and_errors_in_payloads() -> None:
    """A record reads back as itself with and without a hint; an error says whether it is worth another try."""
    converter = DataConverter(
        payload_converter_class=RecordPayloadConverter, failure_converter_class=RecordFailureConverter
    )
    server = Server(id=1, name="web", status="active", password="s3cret")  # type: ignore[arg-type]
    summary = FleetSummary(operation="create", succeeded=1, failed=0, skipped=0, failures=())
    payloads = await converter.encode([server, [server], {"one": summary}, summary])

    assert b"s3cret" not in b"".join(payload.data for payload in payloads)
    untyped = await converter.decode(payloads)
    assert untyped[0] == from_plain(to_plain(server))
    assert (untyped[1], untyped[3]) == ([untyped[0]], summary)
    assert untyped[2]["one"]["type"] == "FleetSummary"
    typed = await converter.decode(payloads[:2], [Server, list[Server]])
    assert typed == [untyped[0], [untyped[0]]]


@pytest.mark.parametrize(
    ("error", "final", "after"),
    [
        (ConfigurationError("bad"), True, None),
        (ServiceError("down", status=503), False, None),
        (RateLimitError("slow", status=429, retry_after=7.0), False, 7.0),
    ],
)
async def test_a_failure_says_whether_to_try_again(
    error: Exception, final: bool, after: float | None
) -> None:
    """The retry policy of the engine follows what the error knows."""
    from temporalio.api.failure.v1 import Failure

    failure, plain = Failure(), RecordPayloadConverter()
    RecordFailureConverter().to_failure(error, plain, failure)
    info = failure.application_failure_info

    assert (info.type, info.non_retryable) == (type(error).__name__, final)
    assert info.next_retry_delay.seconds == (after or 0)
    assert from_plain(plain.from_payload(info.details.payloads[0])).args == error.args
