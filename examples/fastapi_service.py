# /// script
# requires-python = ">=3.11"
# dependencies = ["fastapi>=0.115", "uvicorn>=0.32", "vpsorg-async"]
# ///
"""A web service that creates fleets on request, and streams their progress.

    uvicorn fastapi_service:app

    curl -d '{"name": "shop", "count": 3}' -H 'Content-Type: application/json' localhost:8000/fleets
    curl -N localhost:8000/fleets/shop/progress        # one line of JSON for each step, until the fleet is complete

One client serves all requests. Fleets are created in the background: any number of readers can follow, and a reader
that disconnects stops nothing. A second request for the same fleet completes it; nothing is created twice, even after a
restart. A server is ready when it answers an HTTP request on SERVICE_PORT: 80, or 8080 for those of the sandbox.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from vpsorg_async import Client, Failed, ServerSpec, Skipped, Succeeded, ready
from vpsorg_async.errors import VpsOrgError
from vpsorg_async.fleet import (
    CommandAnswered,
    CommandLost,
    CommandSent,
    FleetEvent,
    ServerActive,
    ServerAdopted,
    ServerNotReady,
    ServerSettled,
)

Name = Annotated[str, Path(pattern="^[A-Za-z0-9-]{1,40}$")]
WORDS = {
    CommandSent: "sent",
    CommandAnswered: "provisioning",
    CommandLost: "answer lost, looking for it",
    ServerAdopted: "found",
    ServerActive: "active",
}
READY = ready.http("/", port=int(os.environ.get("SERVICE_PORT", "80")))


class Order(BaseModel):
    name: str = Field(pattern="^[A-Za-z0-9-]{1,40}$")
    count: int = Field(ge=1, le=50)
    location: str = "us-west"


class Job:
    """One fleet in progress: its lines so far, and an event that signals new ones."""

    def __init__(self, vps: Client, order: Order) -> None:
        self.lines: list[dict[str, Any]] = []
        self.done = False
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._make(vps, order))

    async def _make(self, vps: Client, order: Order) -> None:
        try:
            specs = [
                ServerSpec(name=f"{order.name}-{n}", plan_id=1, os_id=5, location=order.location)
                for n in range(1, order.count + 1)
            ]
            report = await vps.fleet.ensure(specs, timeout=900, ready=READY, on_event=self._heard)
            self._say(fleet=order.name, done=len(report.succeeded), of=len(report.outcomes))
        except VpsOrgError as error:
            self._say(fleet=order.name, error=str(error))
        except asyncio.CancelledError:
            self._say(
                fleet=order.name, error="the service was stopped; request the fleet again to complete it"
            )
            raise
        finally:
            self.done = True
            self._ring()

    def _heard(self, event: FleetEvent) -> None:
        match event:
            case ServerSettled(key=key, outcome=Succeeded(server=server)):
                self._say(server=key, is_="ready", address=server and server.ip_address)
            case ServerSettled(key=key, outcome=Failed(error=error)):
                self._say(server=key, is_="failed", error=str(error))
            case ServerSettled(key=key, outcome=Skipped(reason=reason)):
                self._say(server=key, is_="skipped", error=reason)
            case ServerNotReady(key=key, reason=reason):
                self._say(server=key, is_="not ready yet", reason=reason)
            case _:
                self._say(server=event.key, is_=WORDS[type(event)])

    def _say(self, **line: Any) -> None:
        self.lines.append({name.rstrip("_"): value for name, value in line.items()})
        self._ring()

    def _ring(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self) -> AsyncIterator[str]:
        """Yield all lines from the beginning, and new ones until the end."""
        told = 0
        while True:
            while told < len(self.lines):
                yield json.dumps(self.lines[told]) + "\n"
                told += 1
            if self.done:
                return
            await self._news.wait()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    jobs: dict[str, Job] = {}
    async with Client.from_env() as vps:
        app.state.vps, app.state.jobs = vps, jobs
        yield
        for job in jobs.values():
            job.task.cancel()
        await asyncio.gather(*(job.task for job in jobs.values()), return_exceptions=True)


app = FastAPI(title="Fleets on request", lifespan=lifespan)


@app.post("/fleets", status_code=202)
async def provision(order: Order) -> dict[str, str]:
    """Start to create or to complete a fleet."""
    jobs: dict[str, Job] = app.state.jobs
    if order.name in jobs and not jobs[order.name].done:
        raise HTTPException(409, "this fleet is being made")
    jobs[order.name] = Job(app.state.vps, order)
    return {"progress": f"/fleets/{order.name}/progress"}


@app.get("/fleets/{name}/progress")
async def progress(name: Name) -> StreamingResponse:
    """Stream the progress of the fleet, as lines of JSON."""
    job: Job | None = app.state.jobs.get(name)
    if job is None:
        raise HTTPException(404, "no such fleet was asked for")
    return StreamingResponse(job.follow(), media_type="application/x-ndjson")
