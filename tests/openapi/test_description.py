"""docs/openapi.yaml is the API page and nothing more, and the sandbox and the client agree with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from vpsorg_async import ServerSpec, ServerStatus
from vpsorg_async.dialects import Documented
from vpsorg_async.http.exchange import Operation, Request
from vpsorg_async.pytest_plugin import MakeClient
from vpsorg_async.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text("utf-8"))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
SAMPLES = {
    path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "tests" / "samples").glob("*.json")
}

SHOWN_BY = {
    "list": "ServerList",
    "create": "CreatedServer",
    "detail": "DetailedServer",
    "start": "ActionAnswer",
    "stop": "ActionAnswer",
    "reboot": "ActionAnswer",
    "create-body": "Creation",
    "replace-body": "Replacement",
    "update-body": "Configuration",
}
"""Sample of the page -> schema."""
IN_TABLES_ONLY = {"ssh_key_id"}
"""Fields that the page names in a table and shows in no example."""


def operations() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Every operation by its id: method, path, description."""
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }


def problems(instance: Any, schema: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]},
        format_checker=jsonschema.FormatChecker(),
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]


def walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from walk(child)


def test_there_are_nine_operations() -> None:
    """As many as the page announces, each with an id of its own."""
    assert sorted(operations()) == [
        "create", "delete", "get", "list", "reboot", "replace", "start", "stop", "update",
    ]  # fmt: skip


def test_the_document_holds_together() -> None:
    """Every reference leads somewhere, and every schema is one."""
    for node in walk(DOCUMENT):
        if "$ref" in node:
            found: Any = DOCUMENT
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_of_the_page_fits(sample: str) -> None:
    """The page's own examples are what the description describes."""
    assert problems(SAMPLES[sample], SHOWN_BY[sample]) == []


def test_its_examples_are_those_of_the_page() -> None:
    """Mock servers that answer by example answer as the page does."""
    examples = [node["example"] for node in walk(DOCUMENT) if "example" in node]

    assert sorted(map(json.dumps, examples)) == sorted(map(json.dumps, SAMPLES.values()))


def test_nothing_is_in_it_that_is_not_on_the_page() -> None:
    """Every field that the description names is in an example or a table of the page."""
    named = {field for node in walk(SCHEMAS) for field in node.get("properties", ())}
    shown = {field for node in walk(list(SAMPLES.values())) for field in node}

    assert named == shown | IN_TABLES_ONLY


def test_the_codes_are_those_of_the_page() -> None:
    """Each status code is listed on the page, or marked where an answer is shown without its code."""
    codes = {name: sorted(operation["responses"]) for name, (_, _, operation) in operations().items()}

    assert codes == {
        "list": ["200", "401"],
        "create": ["201", "400", "401", "402"],
        "get": ["200", "401", "404"],
        "replace": ["200", "400", "404"],
        "update": ["default"],
        "delete": ["204", "404"],
        "start": ["200", "400", "404"],
        "stop": ["200", "default"],
        "reboot": ["200", "400", "404"],
    }
    for name in ("update", "stop"):
        assert operations()[name][2]["responses"]["default"]["x-not-documented"]


def test_wrong_documents_do_not_fit() -> None:
    """The schemas say something: what misses a field or has another type is refused."""
    listed = SAMPLES["list"]
    assert problems({**listed, "count": "2"}, "ServerList") == ["$.count: '2' is not of type 'integer'"]
    assert problems({"results": []}, "ServerList") == ["$: 'count' is a required property"]
    assert problems({**SAMPLES["detail"], "plan": {}}, "DetailedServer") != []
    assert problems({**SAMPLES["create-body"], "name": "a_b"}, "Creation") != []


REQUESTS: dict[str, Request] = {
    "list": Documented().list("active", "us-west"),
    "create": Documented().create(
        ServerSpec(
            name="web-01",
            plan_id=1,
            os_id=5,
            location="us-west",
            hostname="web01.example.com",
            ssh_key_id=7,
            backups_enabled=True,
        )
    ),
    "get": Documented().get(12345),
    "replace": Documented().replace(12345, SAMPLES["replace-body"]),
    "update": Documented().update(12345, SAMPLES["update-body"]),
    "delete": Documented().delete(12345),
    "start": Documented().action(Operation.START, 12345),
    "stop": Documented().action(Operation.STOP, 12345),
    "reboot": Documented().action(Operation.REBOOT, 12345),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_client_sends_what_is_described(name: str) -> None:
    """Method, path, parameters and body of every request of the SDK are those of the description."""
    method, path, operation = operations()[name]
    request = REQUESTS[name]
    asked, _, query = request.path.partition("?")

    assert request.method == method
    assert re.fullmatch(path.replace("{server_id}", "12345"), asked)
    assert {pair.partition("=")[0] for pair in query.split("&") if pair} <= {
        parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"
    }
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        sent = json.loads(request.body or b"")
        assert problems(sent, schema["$ref"].rpartition("/")[2]) == []
        # a body with every field that there is leaves none out
        whole = {"create": "Creation", "replace": "Configuration"}
        assert name not in whole or sent.keys() == SCHEMAS[whole[name]]["properties"].keys()
    else:
        assert request.body is None


async def test_the_sandbox_answers_what_is_described(
    vpsorg_sandbox: Sandbox, vpsorg_client: MakeClient
) -> None:
    """A whole life of a server, in raw answers: each has the form and the code that the page gives it."""
    async with vpsorg_client() as vps:

        async def answered(name: str, path: str, json: Any = None) -> Any:
            method, _, operation = operations()[name]
            body = await vps.request(method, path, json=json)
            code = str(vpsorg_sandbox.requests[-1].status)
            assert code in operation["responses"] or "default" in operation["responses"]
            answer = operation["responses"].get(code, {})
            if "$ref" in answer:
                answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
            if "content" in answer:
                reference = answer["content"]["application/json"]["schema"]["$ref"]
                assert problems(body, reference.rpartition("/")[2]) == []
            return body

        for body in (SAMPLES["create-body"], {**SAMPLES["create-body"], "name": "second"}):
            made = await answered("create", "/servers/", json=body)
        one = f"/servers/{made['id']}/"
        await answered("get", one)
        await answered("list", "/servers/")
        await vps.wait_until(made["id"], "active", timeout=30)
        for action, target in (("reboot", "active"), ("stop", "stopped"), ("start", "active")):
            await answered(action, f"{one}{action}/")
            await answered("get", one)
            await vps.wait_until(made["id"], ServerStatus(target), timeout=30)
        await answered("list", "/servers/")
        await answered("replace", one, json=SAMPLES["replace-body"])
        await answered("update", one, json=SAMPLES["update-body"])
        assert await answered("delete", one) is None
