"""The sandbox against docs/openapi.yaml, with requests that schemathesis makes up: ``noxfile.py -s contract``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings

from vpsorg_async.sandbox import Durations, Sandbox

schemathesis = pytest.importorskip(
    "schemathesis", reason="schemathesis is not installed: python3 noxfile.py -s contract"
)

DOCUMENT: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "docs" / "openapi.yaml").read_text("utf-8")
)


def assumed() -> dict[str, Any]:
    """The description, with what the sandbox assumes beyond the page: 401 is an answer to all nine."""
    for item in DOCUMENT["paths"].values():
        for method in item.keys() - {"parameters"}:
            item[method]["responses"].setdefault("401", {"description": "assumed"})
    return DOCUMENT


SCHEMA = schemathesis.openapi.from_dict(assumed())
MANY = settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
# which plans, systems and locations there are is the provider's matter: a body that fits may well be refused
NOT_OURS = schemathesis.checks.CHECKS.get_by_names(["positive_data_acceptance"])
# a request that was fixed is no longer the invalid one that it was generated as, and a list accepts any parameter
LENIENT = schemathesis.checks.CHECKS.get_by_names(["positive_data_acceptance", "negative_data_rejection"])


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(durations=Durations(provisioning=0, starting=0, stopping=0, rebooting=0)) as running:
        yield running


@pytest.fixture(scope="module")
def seen() -> dict[str, set[int]]:
    """The codes that each operation was answered with."""
    return defaultdict(set)


def send(case: Any, box: Sandbox, but: Any) -> Any:
    """Send it, and check the answer by all checks but those."""
    return case.call_and_validate(
        base_url=box.url, headers={"Authorization": f"Bearer {box.token}"}, excluded_checks=but
    )


@SCHEMA.parametrize()  # type: ignore[untyped-decorator]
@MANY
def test_any_request(case: Any, box: Sandbox, seen: dict[str, set[int]]) -> None:
    """Whatever is asked for, valid or not, is answered as described: codes, types and forms."""
    name = case.operation.definition.raw["operationId"]
    seen[name].add(send(case, box, LENIENT if name == "list" else NOT_OURS).status_code)


@SCHEMA.parametrize()  # type: ignore[untyped-decorator]
@MANY
def test_requests_that_can_succeed(case: Any, box: Sandbox, seen: dict[str, set[int]]) -> None:
    """The same for servers that exist and bodies that name what is for sale."""
    name = case.operation.definition.raw["operationId"]
    status = "stopped" if name == "start" else "active"
    case.path_parameters = (
        {"server_id": box.world.add(1, status=status)[0].id} if case.path_parameters else {}
    )
    if isinstance(case.body, dict):
        real = {"plan_id": 1, "os_id": 5, "location": "us-west", "hostname": "web.example.com"}
        case.body = {field: real.get(field, value) for field, value in case.body.items()}
    seen[name].add(send(case, box, LENIENT).status_code)


def test_every_operation_succeeded(seen: dict[str, set[int]]) -> None:
    """The answers that were checked are not all refusals."""
    good = {"create": 201, "delete": 204}

    assert {name: good.get(name, 200) in codes for name, codes in seen.items()} == dict.fromkeys(seen, True)
    assert len(seen) == 9
