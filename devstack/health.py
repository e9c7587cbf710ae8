"""Whether a server answers, for the home's own servers and for external ones.

An open port is not a working server. Each check raises UnhealthyError with a reason fit for a message; passwords never
appear in one. Waiting is the caller's, who knows the deadline.
"""

from __future__ import annotations

import base64
import json
import math
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from devstack.errors import UnhealthyError

LOOPBACK_HOSTS = {"127.0.0.1", "localhost", "::1"}


def admin_client(bootstrap_servers: str, timeout: float, security: Mapping[str, str] | None = None) -> AdminClient:
    """Make a Kafka admin client that keeps quiet about connections refused while a broker starts."""
    return AdminClient(
        {
            **(security or {}),
            "bootstrap.servers": bootstrap_servers,
            "socket.timeout.ms": max(1000, math.ceil(timeout * 1000)),
            "log_level": 0,
            "error_cb": _ignore,
        }
    )


def _ignore(_error: object) -> None:
    """Swallow librdkafka's running commentary; the call itself raises what matters."""


def check_kafka(bootstrap_servers: str, timeout: float, security: Mapping[str, str] | None = None) -> None:
    """Ask for the cluster's metadata; `security` are librdkafka's properties for TLS and SASL."""
    _knock(bootstrap_servers, timeout)
    try:
        metadata = admin_client(bootstrap_servers, timeout, security).list_topics(timeout=timeout)
    except (KafkaException, ValueError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        message = f"no metadata from {bootstrap_servers}: {reason}"
        raise UnhealthyError(message) from error
    if not metadata.brokers:
        message = f"{bootstrap_servers} answers, but no broker is registered yet"
        raise UnhealthyError(message)


def _knock(bootstrap_servers: str, timeout: float) -> None:
    """Fail at once if no port is open: librdkafka would go on trying until its timeout."""
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition("://")[2].rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout).close()
        except ValueError as error:
            reason: object = f"{server!r} is not host:port"
            failure: Exception = error
        except OSError as error:
            reason, failure = error, error
        else:
            return
    message = f"no Kafka at {bootstrap_servers}: {reason}"
    raise UnhealthyError(message) from failure


def check_elasticsearch(url: str, timeout: float) -> None:
    """Ask for the version and for a cluster that is at least yellow."""
    root = get_json(url, "/", timeout)
    if "version" not in root:
        message = f"{redact(url)} answers, but is not an Elasticsearch"
        raise UnhealthyError(message)
    wait = max(1, math.floor(timeout) - 1)
    health = get_json(url, f"/_cluster/health?wait_for_status=yellow&timeout={wait}s", timeout)
    if health.get("status") not in {"green", "yellow"} or health.get("timed_out"):
        message = f"{redact(url)}: cluster health is {health.get('status')}"
        raise UnhealthyError(message)


def check_postgres(dsn: str, timeout: float) -> None:
    try:
        with psycopg.connect(dsn, connect_timeout=max(2, math.ceil(timeout))) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        message = f"{redact(dsn)}: {reason}"
        raise UnhealthyError(message) from error


def get_json(url: str, path: str, timeout: float) -> dict[str, Any]:
    """GET a JSON object; user and password may be in the URL; no proxy stands before loopback addresses."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = f"{redact(url)} is not an http(s) URL"
        raise UnhealthyError(message)
    request = urllib.request.Request(_without_user(parts).rstrip("/") + path)  # noqa: S310 - checked above
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    proxies: dict[str, str] | None = {} if parts.hostname in LOOPBACK_HOSTS else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    try:
        with opener.open(request, timeout=timeout) as response:
            body = json.load(response)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        message = f"{redact(url)}: {reason}"
        raise UnhealthyError(message) from error
    return body if isinstance(body, dict) else {}


def _without_user(parts: SplitResult) -> str:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def redact(address: str) -> str:
    """Replace the password of a URL, or of a `key=value` DSN, by three dots."""
    if "://" in address:
        parts = urlsplit(address)
        user, at, host = parts.netloc.rpartition("@")
        name, colon, _password = user.partition(":")
        return parts._replace(netloc=f"{name}{colon}{'...' if colon else ''}{at}{host}").geturl()
    words = ("password=..." if word.lower().startswith("password=") else word for word in address.split(" "))
    return " ".join(words)
