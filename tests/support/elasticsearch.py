"""A client of Elasticsearch for tests: an index that was just made, opened or closed has no shard for a moment."""

from __future__ import annotations

import time
from typing import Any

from elastic_transport import ConnectionTimeout, Transport, TransportApiResponse
from elasticsearch import Elasticsearch

PATIENCE_SECONDS = 60.0


class _Patient(Transport):
    """Asks again while the answer is 503, or none; the transport's own retries follow each other at once."""

    def perform_request(self, *arguments: Any, **options: Any) -> TransportApiResponse:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            late = time.monotonic() > deadline
            try:
                answer = super().perform_request(*arguments, **(options | {"max_retries": 0}))
            except ConnectionTimeout:
                if late:
                    raise
            else:
                if late or answer.meta.status != 503:
                    return answer
            time.sleep(0.2)


def patient(url: str) -> Elasticsearch:
    """A client that waits for shards, for a minute."""
    return Elasticsearch(url, transport_class=_Patient, request_timeout=30)
