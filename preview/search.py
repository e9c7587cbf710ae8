"""A few requests to Elasticsearch over one persistent connection.

The prober asks ten times a second beside a pipeline that needs the processor; the official client spends more time on a
request than the server does. There are no retries, there is no TLS.
"""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import msgspec

from devstack.errors import DevstackError


class Search:
    """One connection; not for several threads."""

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 9200, timeout=timeout)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer.

        Raises DevstackError for any other status than 2xx, OSError, http.client.HTTPException.
        """
        content = None if body is None else msgspec.json.encode(body)
        try:
            self._connection.request(method, path, content, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            answer = response.read()
        except BaseException:
            self._connection.close()  # it opens again by itself
            raise
        if response.status >= 300:
            msg = (
                f"Elasticsearch answered {response.status} to {method} {path}: {answer[:300].decode(errors='replace')}"
            )
            raise DevstackError(msg)
        return msgspec.json.decode(answer)

    def search(self, index: str, body: object) -> Any:
        """POST a search on an index or alias; an index that is not there yet has no hits."""
        return self.call("POST", f"/{index}/_search?ignore_unavailable=true", body)

    def close(self) -> None:
        self._connection.close()
