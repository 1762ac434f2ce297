"""A client of the provider's form of the API, written from its description alone: no code of ours, no aiohttp."""

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit


class RefusedError(Exception):
    """An answer other than 2xx: its status and its document."""

    def __init__(self, status: int, document: Any) -> None:
        super().__init__(status, document)
        self.status = status
        self.document = document


class ProviderClient:
    """What the provider's packages do, over one kept connection."""

    def __init__(self, url: str, token: str) -> None:
        self._root = f"{url}/api/v1"
        self._token = token
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def close(self) -> None:
        self._connection.close()

    def call(self, method: str, url: str, document: Any = None) -> Any:
        """One request; `url` is absolute, or a path under /api/v1."""
        url = url if "://" in url else self._root + url
        origin, own = urlsplit(url), urlsplit(self._root)
        assert (origin.scheme, origin.netloc) == (own.scheme, own.netloc), "a link leads elsewhere"
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        target = origin.path + (f"?{origin.query}" if origin.query else "")
        body = None if document is None else json.dumps(document)
        self._connection.request(method, target, body, headers)
        answer = self._connection.getresponse()
        data = answer.read()
        given = json.loads(data) if data else None
        if not 200 <= answer.status < 300:
            raise RefusedError(answer.status, given)
        return given

    def everything(self, path: str) -> Iterator[Any]:
        """The rows of a list, whether it comes in pages or bare."""
        url: str | None = path
        while url is not None:
            given = self.call("GET", url)
            if isinstance(given, list):
                yield from given
                return
            yield from given["results"]
            url = given["next"]

    def create(self, hostname: str, **choice: Any) -> Any:
        """A server of the first plan and system on offer, in the first place that is open."""
        plan = next(self.everything("/plans/"))
        place = next(place for place in self.everything("/locations/") if place["is_active"])
        system = next(self.everything("/operating-systems/"))
        body = {
            "hostname": hostname,
            "location": place["id"],
            "plan": plan["uuid"],
            "os_version": system["versions"][0]["uuid"],
        }
        return self.call("POST", "/servers/", body | choice)

    def get(self, uuid: str) -> Any:
        return self.call("GET", f"/servers/{uuid}/")

    def power(self, uuid: str, action: str) -> None:
        self.call("POST", f"/servers/{uuid}/power/", {"action": action})

    def delete(self, uuid: str) -> None:
        self.call("DELETE", f"/servers/{uuid}/")
