"""Faults produced by third-party programs between the client and the sandbox: HAProxy, nginx, mitmproxy.

`python3 noxfile.py -s faults` runs them, and installs mitmproxy beside; HAProxy and nginx come from the system
(`apt-get install haproxy nginx-light`). A missing program skips its tests, with the reason. The ledger of the sandbox
says what was really applied.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async import Client, RetryPolicy, ServerSpec, Timeout, errors
from vpsorg_async.errors import Sent
from vpsorg_async.sandbox import Rule, Sandbox, faults

pytestmark = pytest.mark.timeout(120)

SPEC = ServerSpec(name="web-01", plan_id=1, os_id=5, location="us-west")
Proxy = Callable[[str, str], str]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def program(name: str) -> str:
    """The path of a program, or a skip that names it."""
    found = os.environ.get(name.upper()) or shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if not found:
        pytest.skip(f"{name} is not installed: nothing is known of faults made by it")
    return found


def serve(command: list[str], port: int) -> Iterator[str]:
    """Run a proxy in the foreground until the test is over."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        try:
            while running.poll() is None:
                with socket.socket() as one:
                    one.settimeout(0.2)
                    if one.connect_ex(("127.0.0.1", port)) == 0:
                        break
            assert running.poll() is None, running.stdout and running.stdout.read().decode()
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """The sandbox in a thread of its own."""
    with Sandbox(speed=100) as box:
        yield box


HAPROXY = """
defaults
  mode http
  timeout connect 500ms
  timeout client 5s
  timeout server 700ms
frontend front
  bind 127.0.0.1:{port}
  {rule}
  default_backend back
backend back
  server one 127.0.0.1:{back}
"""

NGINX = """
daemon off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  limit_req_zone $server_port zone=one:1m rate=1r/m;
  limit_req_status 429;
  server {{
    listen 127.0.0.1:{port};
    location / {{ {rule} proxy_http_version 1.1; proxy_read_timeout 700ms; proxy_pass http://127.0.0.1:{back}; }}
  }}
}}
"""

MITM = """
def response(flow):
    if flow.request.method == "{method}" and flow.request.path.endswith("/servers/"):
        {rule}
"""


@pytest.fixture
def between(box: Sandbox, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Run a proxy in front of the sandbox (or of a port without a listener), and return its address."""
    running: list[Iterator[str]] = []

    def put(name: str, rule: str = "", *, dead: bool = False) -> str:
        path, port = program(name), free_port()
        back = free_port() if dead else int(box.url.rpartition(":")[2])
        if name == "mitmdump":
            addon = tmp_path / "addon.py"
            addon.write_text(MITM.format(method="POST", rule=rule))
            reverse = f"reverse:http://127.0.0.1:{back}"
            settings = ["--set", f"confdir={tmp_path}", "--listen-host", "127.0.0.1"]
            command = [path, "-q", "--mode", reverse, "-p", str(port), "-s", str(addon), *settings]
        else:
            config = tmp_path / "config"
            template = HAPROXY if name == "haproxy" else NGINX
            config.write_text(template.format(port=port, back=back, rule=rule, folder=tmp_path))
            command = (
                [path, "-f", str(config)]
                if name == "haproxy"
                else [path, "-c", str(config), "-p", str(tmp_path)]
            )
        proxy = serve(command, port)
        running.append(proxy)
        return next(proxy)

    yield put
    for proxy in running:
        next(proxy, None)


def client(box: Sandbox, url: str, **given: Any) -> Client:
    options: dict[str, Any] = {
        "retry": RetryPolicy(attempts=2),
        "timeout": Timeout(total=4),
        "max_interval": 1.0,
    }
    return Client(box.token, base_url=url, **options | given)


async def lost(box: Sandbox, url: str) -> errors.OutcomeUnknownError:
    """A create through the proxy, whose outcome is unknown, and which reached the sandbox once."""
    async with client(box, url) as vps:
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await vps.servers.create(SPEC)
    assert sum(request.method == "POST" for request in box.requests) <= 1
    return caught.value


async def test_haproxy_with_a_dead_backend(box: Sandbox, between: Callable[..., str]) -> None:
    """Its 503 page: a read fails after its attempts; the outcome of a create is unknown, and nothing was applied."""
    url = between("haproxy", dead=True)

    async with client(box, url) as vps:
        with pytest.raises(errors.ServiceError) as caught:
            await vps.servers.list()
        assert (caught.value.status, caught.value.attempts) == (503, 2)
    assert isinstance((await lost(box, url)).reason, errors.ServiceError)
    assert box.ledger == ()


@pytest.mark.parametrize("name", ["haproxy", "nginx"])
async def test_a_gateway_time_out_after_the_commit(
    box: Sandbox, between: Callable[..., str], name: str
) -> None:
    """The service was applying the create when the proxy sent 504: sent once, unknown, and adopted by a fleet."""
    url = between(name)
    box.faults.add(Rule("create", faults.NeverAnswer(applied=True), times=2))

    assert "504" in str((await lost(box, url)).reason)
    assert len(box.servers) == 1
    async with client(box, url) as vps:
        report = await vps.fleet.create(
            [ServerSpec(name="web-02", plan_id=1, os_id=5, location="us-west")], timeout=30, settle=5
        )
        assert [outcome.how for outcome in report.succeeded] == ["adopted"]
    assert len(box.servers) == 2


async def test_haproxy_rejects(box: Sandbox, between: Callable[..., str]) -> None:
    """A connection closed without a response: unknown for a create, retried for a read."""
    url = between("haproxy", "http-request silent-drop if METH_POST\n  http-request reject if METH_GET")

    async with client(box, url, timeout=Timeout(total=1)) as vps:
        with pytest.raises(errors.TransportError) as caught:
            await vps.servers.list()
        assert (caught.value.sent, caught.value.attempts) == (Sent.MAYBE, 2)
        with pytest.raises(errors.OutcomeUnknownError):
            await vps.servers.create(SPEC)
    assert box.ledger == ()


async def test_haproxy_limits(box: Sandbox, between: Callable[..., str]) -> None:
    """A 429 with Retry-After is waited for, and was not applied."""
    rule = "http-request return status 429 hdr Retry-After 1 if METH_POST { rand(2) eq 0 }"
    url = between("haproxy", rule)

    async with client(box, url, retry=RetryPolicy()) as vps:
        assert (await vps.servers.create(SPEC)).name == "web-01"
    assert len(box.servers) == 1


async def test_nginx_limits_without_a_hint(box: Sandbox, between: Callable[..., str]) -> None:
    """Its 429 carries no Retry-After; with no patience the caller gets `RateLimitError`, and nothing was applied."""
    url = between("nginx", "limit_req zone=one;")

    async with client(box, url, retry=RetryPolicy(rate_limit_patience=0)) as vps:
        await vps.servers.list()
        with pytest.raises(errors.RateLimitError) as caught:
            await vps.servers.create(SPEC)
        assert (caught.value.sent, caught.value.retry_after) == (Sent.REJECTED, None)
    assert box.ledger == ()


async def test_nginx_closes(box: Sandbox, between: Callable[..., str]) -> None:
    """`return 444` closes without a response."""
    assert isinstance((await lost(box, between("nginx", "return 444;"))).reason, errors.ConnectionLostError)
    assert box.ledger == ()


@pytest.mark.parametrize(
    "rule", ["flow.kill()", "flow.response.status_code = 502", "flow.response.content = b'{\"id\"'"]
)
async def test_mitmproxy_loses_the_answer_after_the_commit(
    box: Sandbox, between: Callable[..., str], rule: str
) -> None:
    """Killed, turned into a 502, or cut: the server exists, the error says that it may, and nothing is sent twice."""
    await lost(box, between("mitmdump", rule))

    assert len(box.servers) == 1
