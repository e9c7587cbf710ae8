"""Reads a process's settings from the environment, once, into typed values.

Each process has a frozen dataclass of its own; this module holds what they share and readers with clear errors.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from clickstream.contracts.pipeline import Pipeline, parse_pipeline, read_pipeline
from clickstream.runtime.files import UnreadableFileError, read_file, read_text
from clickstream.runtime.listening import EVERYWHERE
from clickstream.runtime.logs import set_up_logs

log: Final = logging.getLogger(__name__)

ENVIRONMENT_HELP = """\
environment (every process):
  CLICKSTREAM_PIPELINE                 path of the pipeline document (JSON)          required, or --pipeline
  CLICKSTREAM_GEOIP                    country database (MaxMind's format) where the  none (the image has one)
                                       pipeline names none
  CLICKSTREAM_OPS_HOST, _OPS_PORT      where /healthz, /readyz and /metrics listen   ::, 9090
                                       (:: is IPv6 and IPv4, where there is IPv6)
  CLICKSTREAM_LOG_LEVEL                DEBUG, INFO, WARNING, ERROR                   INFO
  CLICKSTREAM_LOG_FORMAT               json or text                                  json
  OTEL_EXPORTER_OTLP_ENDPOINT          send metrics and traces there over OTLP/HTTP  off
"""


_SHOWN_FIELDS: Final = 20
_SHOWN_CHARACTERS: Final = 200


def add_pipeline_argument(parser: argparse.ArgumentParser) -> None:
    """`--pipeline FILE`, for `read_process_settings`."""
    parser.add_argument(
        "--pipeline", metavar="FILE", help="the pipeline document, JSON (default: $CLICKSTREAM_PIPELINE)"
    )


class SettingsError(Exception):
    """A setting is missing or wrong; the message names it."""


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Settings of every process. `unknown_fields`: paths in the pipeline document that this release does not know."""

    pipeline: Pipeline
    unknown_fields: tuple[str, ...]
    ops_host: str
    ops_port: int
    log_level: str
    log_format: str
    otlp_endpoint: str | None

    def set_up_logs(self, process: str) -> None:
        """Set up logging, and warn about fields of the document that have no effect."""
        set_up_logs(process, self.log_level, self.log_format)
        if self.unknown_fields:
            log.warning(
                "fields of the pipeline document are unknown to this release and have no effect: %s",
                ", ".join(name[:_SHOWN_CHARACTERS] for name in self.unknown_fields[:_SHOWN_FIELDS]),
                extra={"fields": {"unknown": len(self.unknown_fields)}},
            )


def read_process_settings(env: Mapping[str, str], pipeline_path: str | None = None) -> ProcessSettings:
    """The shared settings in `env`. Raises SettingsError."""
    path = pipeline_path or env.get("CLICKSTREAM_PIPELINE")
    if not path:
        msg = "no pipeline document: give --pipeline FILE or set CLICKSTREAM_PIPELINE"
        raise SettingsError(msg)
    try:
        document = read_file(path)
        pipeline, unknown = read_pipeline(document)
    except UnreadableFileError as error:
        raise SettingsError(str(error)) from error
    except ValueError as error:
        msg = f"{path}: {error}"
        raise SettingsError(msg) from error
    return ProcessSettings(
        pipeline=_with_countries(pipeline, env.get("CLICKSTREAM_GEOIP") or None),
        unknown_fields=tuple(unknown),
        ops_host=env.get("CLICKSTREAM_OPS_HOST") or EVERYWHERE,
        ops_port=read_int(env, "CLICKSTREAM_OPS_PORT", 9090, 0, 65_535),
        log_level=read_choice(env, "CLICKSTREAM_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        log_format=read_choice(env, "CLICKSTREAM_LOG_FORMAT", "json", ("json", "text")),
        otlp_endpoint=env.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
    )


def _with_countries(pipeline: Pipeline, usual: str | None) -> Pipeline:
    """The same with the database that counts: the pipeline's own, else the usual one; none where none is wanted."""
    wanted = pipeline.tracking_api.privacy.keep_country
    geoip = (pipeline.enricher.geoip or usual) if wanted else None
    return replace(pipeline, enricher=replace(pipeline.enricher, geoip=geoip))


def load_pipeline(path: Path) -> Pipeline:
    """`parse_pipeline` of a JSON file. Raises ValueError with the path when it cannot be read or is wrong."""
    content = read_file(path)
    try:
        return parse_pipeline(content)
    except ValueError as error:
        msg = f"{path}: {error}"
        raise ValueError(msg) from error


def read_int(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """An integer setting between low and high. Raises SettingsError."""
    text = env.get(name)
    if text is None or text == "":
        return default
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        msg = f"{name}={text!r}: must be a whole number from {low} to {high}"
        raise SettingsError(msg)
    return value


def read_choice(env: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    """A setting out of a list. Raises SettingsError."""
    value = env.get(name) or default
    if value not in choices:
        msg = f"{name}={value!r}: must be one of {', '.join(choices)}"
        raise SettingsError(msg)
    return value


def read_secret(path: str, where: str) -> str:
    """The text in a mounted Secret file, line ends at its end cut. `where`: the field that names the file.

    Raises SettingsError that names the field and the path only.
    """
    try:
        secret = read_text(path).rstrip("\r\n")
    except UnreadableFileError as error:
        msg = f"{where}: {error}"
        raise SettingsError(msg) from error
    if not secret:
        msg = f"{where}: {path} is empty"
        raise SettingsError(msg)
    return secret
