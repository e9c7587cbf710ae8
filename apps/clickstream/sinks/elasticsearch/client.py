"""The Elasticsearch client of a pipeline, made from the document and its secret files, and what its errors mean.

The client retries nothing by itself: the loop does, with patience and as a living member of its consumer group.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from elastic_transport import ConnectionTimeout, TransportError
from elasticsearch import ApiError, Elasticsearch

from clickstream.contracts.credentials import trust
from clickstream.contracts.pipeline import ElasticsearchSink
from clickstream.contracts.settings import SettingsError, read_secret

REQUEST_SECONDS: Final = 20.0

_FOR_NOW: Final = frozenset({401, 403, 404, 408, 413, 429})


def connect(spec: ElasticsearchSink) -> Elasticsearch:
    """A client; nothing is sent yet. Raises SettingsError, which names files but never their content."""
    parts = urlsplit(spec.url)
    if parts.username is not None or parts.password is not None:
        msg = "sinks.elasticsearch.url must hold no credentials: name usernameFile and passwordFile, or apiKeyFile"
        raise SettingsError(msg)
    options: dict[str, Any] = {}
    if spec.api_key_file is not None:
        options["api_key"] = read_secret(spec.api_key_file, "sinks.elasticsearch.apiKeyFile")
    elif spec.username_file is not None and spec.password_file is not None:
        options["basic_auth"] = (
            read_secret(spec.username_file, "sinks.elasticsearch.usernameFile"),
            read_secret(spec.password_file, "sinks.elasticsearch.passwordFile"),
        )
    elif spec.username_file is not None or spec.password_file is not None:
        msg = "sinks.elasticsearch: usernameFile and passwordFile belong together"
        raise SettingsError(msg)
    if spec.ca_file is not None:
        trust(spec.ca_file, "sinks.elasticsearch.caFile")  # the client would only tell at its first request
        options["ca_certs"] = spec.ca_file
    try:
        # The client insists on a port; a URL without one means its scheme's.
        default = {"http": 80, "https": 443}.get(parts.scheme)
        url = (
            spec.url
            if parts.port is not None or not parts.hostname
            else f"{parts.scheme}://{parts.netloc}:{default}{parts.path}"
        )
        return Elasticsearch(url, request_timeout=REQUEST_SECONDS, max_retries=0, retry_on_timeout=False, **options)
    except (ValueError, OSError) as error:
        msg = f"sinks.elasticsearch: {error}"
        raise SettingsError(msg) from error


def trouble(error: ApiError | TransportError) -> str | None:
    """What to tell people when the error may pass by itself; None when it is a fault of the request."""
    if isinstance(error, ApiError):
        status = error.status_code
        if status in _FOR_NOW or status >= 500:
            return f"HTTP {status} {error.message}"
        return None
    if isinstance(error, ConnectionTimeout):
        return f"no answer within {REQUEST_SECONDS:.0f} s"
    return f"cannot be reached: {error.message}"
