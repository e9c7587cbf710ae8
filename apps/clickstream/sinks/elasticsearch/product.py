"""Which servers can be a store: Elasticsearch from version 9 on.

OpenSearch and Elasticsearch 8 refuse the client's media types with errors that name neither product nor version. So
they are asked who they are, by a request that all of them answer, before anything else is sent.
"""

from __future__ import annotations

from typing import Any, Final

from elasticsearch import AuthorizationException, Elasticsearch, UnsupportedProductError

OLDEST: Final = 9
"""The oldest major version: the client's own."""
_SHOWN: Final = 40


def unsupported(client: Elasticsearch) -> str | None:
    """Why the server cannot be a store, for the log; None when it can, or when the user may not ask.

    Raises ApiError, TransportError.
    """
    try:
        # Not the client's own media type: that is what other servers refuse.
        answer = client.perform_request("GET", "/", headers={"accept": "*/*"}).body
    except UnsupportedProductError as error:
        found = _version(error.body)
        name = "OpenSearch" if found.get("distribution") == "opensearch" else "not Elasticsearch"
        return (
            f"the server is {name}{_number(found)}, which is not supported: Elasticsearch {OLDEST} or later is needed"
        )
    except AuthorizationException:
        return None  # without the privilege `monitor`; what is needed is asked for next
    found = _version(answer)
    major = str(found.get("number", "")).partition(".")[0]
    if not major.isdecimal() or int(major) < OLDEST:
        return f"the server is Elasticsearch{_number(found)}, which is not supported: {OLDEST} or later is needed"
    return None


def _version(answer: Any) -> dict[str, Any]:
    found = answer.get("version") if isinstance(answer, dict) else None
    return found if isinstance(found, dict) else {}


def _number(version: dict[str, Any]) -> str:
    number = version.get("number")
    return f" {number[:_SHOWN]}" if isinstance(number, str) and number.isprintable() else " of an unknown version"
