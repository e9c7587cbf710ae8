"""The Elasticsearch client of a pipeline, made from the document and its secret files, and what its errors mean.

The client retries nothing by itself: the loop does, with backoff and without leaving its consumer group.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from elastic_transport import ConnectionTimeout, TransportError
from elasticsearch import ApiError, Elasticsearch

from clickstream.contracts.pipeline import ElasticsearchSink
from clickstream.runtime.credentials import trust
from clickstream.runtime.settings import SettingsError, read_secret

REQUEST_SECONDS: Final = 20.0

_FOR_NOW: Final = frozenset({401, 403, 404, 408, 413, 429})
_ACTION: Final = re.compile(r"action \[([a-z0-9_:/\[\]]{1,80})\] is unauthorized")
_GRANTED: Final = re.compile(r"granted by the (cluster|index) privileges \[([a-z_,]{1,120})\]")


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
        trust(spec.ca_file, "sinks.elasticsearch.caFile")  # the client would only fail at its first request
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
    """A message for a temporary error; None when the request itself is at fault."""
    if isinstance(error, ApiError):
        status = error.status_code
        if status in _FOR_NOW or status >= 500:
            return f"HTTP {status} {error.message}{missing_privilege(_reason(error.body))}"
        return None
    if isinstance(error, ConnectionTimeout):
        return f"no answer within {REQUEST_SECONDS:.0f} s"
    return f"cannot be reached: {error.message}"


def missing_privilege(reason: str) -> str:
    """What Elasticsearch's security says is not allowed, to be put after an error's type; empty if it says no such.

    Of its reason nothing else is told: it names the user, whom a Secret names.
    """
    action = _ACTION.search(reason)
    if action is None:
        return ""
    granted = _GRANTED.search(reason)
    by = "" if granted is None else f"; one of the {granted[1]} privileges {granted[2].replace(',', ', ')} would"
    return f": the user's roles do not allow {action[1]}{by}"


def _reason(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    return str(error.get("reason", "")) if isinstance(error, dict) else ""
