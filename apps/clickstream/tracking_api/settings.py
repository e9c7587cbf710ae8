"""Settings of the tracking API: sources and proxies from the pipeline document, the rest from the environment."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from clickstream.contracts.pipeline import Source
from clickstream.runtime.listening import EVERYWHERE
from clickstream.runtime.settings import (
    ENVIRONMENT_HELP,
    ProcessSettings,
    SettingsError,
    read_int,
    read_process_settings,
    read_secret,
)
from clickstream.tracking_api.access import ANY_ORIGIN, Access, SourceAccess
from clickstream.tracking_api.address import Network

HELP: Final = (
    ENVIRONMENT_HELP
    + """\
environment (tracking-api; its description, /docs and /openapi.json, is on the ops port, the probes are on both):
  CLICKSTREAM_HTTP_HOST, _HTTP_PORT    where it listens; port 0 takes a free one     ::, 8080
  CLICKSTREAM_QUEUE_MAX_MESSAGES       records that may wait for the brokers         100000
  CLICKSTREAM_QUEUE_MAX_KBYTES         their size                                    262144
  CLICKSTREAM_DRAIN_SECONDS            on SIGTERM: serve on, unready, for this long  3
"""
)

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s*]+|null")


@dataclass(frozen=True, slots=True)
class TrackingSettings:
    """Settings of one tracking API process. `port_file`, `ops_port_file`: where ports are written once it listens."""

    process: ProcessSettings
    access: Access
    trusted_proxies: tuple[Network, ...]
    host: str
    port: int
    port_file: Path | None
    ops_port_file: Path | None
    queue_max_messages: int
    queue_max_kbytes: int
    drain_seconds: int


def read_settings(
    env: Mapping[str, str],
    pipeline: str | None = None,
    host: str | None = None,
    port: int | None = None,
    port_file: str | None = None,
    ops_port_file: str | None = None,
) -> TrackingSettings:
    """The settings in `env` and in the pipeline document; arguments that are given win. Raises SettingsError."""
    process = read_process_settings(env, pipeline)
    return TrackingSettings(
        process=process,
        access=_access(process.pipeline.sources),
        trusted_proxies=tuple(_network(text) for text in process.pipeline.tracking_api.trusted_proxies),
        host=host or env.get("CLICKSTREAM_HTTP_HOST") or EVERYWHERE,
        port=read_int(env, "CLICKSTREAM_HTTP_PORT", 8080, 0, 65_535) if port is None else port,
        port_file=Path(port_file) if port_file else None,
        ops_port_file=Path(ops_port_file) if ops_port_file else None,
        queue_max_messages=read_int(env, "CLICKSTREAM_QUEUE_MAX_MESSAGES", 100_000, 1, 10_000_000),
        queue_max_kbytes=read_int(env, "CLICKSTREAM_QUEUE_MAX_KBYTES", 262_144, 1, 2_097_151),
        drain_seconds=read_int(env, "CLICKSTREAM_DRAIN_SECONDS", 3, 0, 600),
    )


def _access(sources: list[Source]) -> Access:
    found: list[SourceAccess] = []
    for source in sources:
        key = source.write_key or ""
        if not key and source.write_key_file:
            key = read_secret(source.write_key_file, f"sources.{source.name}.writeKeyFile")
        if not key:
            msg = f"sources.{source.name}: give writeKey or writeKeyFile, not empty"
            raise SettingsError(msg)
        for other in found:
            if hmac.compare_digest(other.write_key, key.encode()):
                msg = f"sources.{source.name}: has the write key of sources.{other.name}; each needs its own"
                raise SettingsError(msg)
        origins = frozenset(_origin(source.name, origin) for origin in source.allowed_origins)
        found.append(SourceAccess(source.name, key.encode(), origins))
    return Access(tuple(found))


def _origin(source: str, text: str) -> str:
    origin = text.strip().rstrip("/").lower()
    if origin != ANY_ORIGIN and not _ORIGIN.fullmatch(origin):
        msg = f"sources.{source}.allowedOrigins: {text!r} is neither an origin, such as https://shop.example, nor *"
        raise SettingsError(msg)
    return origin


def _network(text: str) -> Network:
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError as error:
        msg = f"trackingApi.trustedProxies: {text!r} is no address or CIDR network"
        raise SettingsError(msg) from error
