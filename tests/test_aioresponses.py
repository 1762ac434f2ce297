"""The `mocked` fixture works, and is still needed."""

from __future__ import annotations

import aiohttp
import pytest
from aioresponses import aioresponses

URL = "https://api.example/servers/"


async def test_mocked_answers_and_records_the_request(mocked: aioresponses) -> None:
    """A test sees the request, and its code gets the response that the test gave."""
    mocked.post(URL, status=201, payload={"id": 7})

    async with aiohttp.ClientSession() as session, session.post(URL, json={"name": "web"}) as response:
        status, body = response.status, await response.json()

    assert (status, body) == (201, {"id": 7})
    mocked.assert_called_once_with(URL, method="POST", json={"name": "web"})


async def test_mocked_raises_the_failure_it_was_given(mocked: aioresponses) -> None:
    """A failure that the test gave is raised unchanged."""
    mocked.get(URL, exception=aiohttp.ServerDisconnectedError())

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(URL)


async def test_the_shim_is_still_needed() -> None:
    """aioresponses alone fails on this aiohttp; once it does not, the shim can be removed."""
    failure = ""
    with aioresponses() as mock:
        mock.get(URL, payload={})
        async with aiohttp.ClientSession() as session:
            try:
                (await session.get(URL)).close()
            except TypeError as error:
                failure = str(error)

    assert "stream_writer" in failure, "aioresponses works alone: drop Response in conftest.py, and this test"
