"""The settings of a sink process, beyond those of every process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from clickstream.runtime.settings import ProcessSettings, read_int, read_process_settings
from clickstream.sinks.loop import Limits

ENVIRONMENT_HELP: Final = """\
environment (sinks):
  CLICKSTREAM_SINK_BATCH_RECORDS       most records of a batch                       2000
  CLICKSTREAM_SINK_BATCH_BYTES         most bytes of a batch                         8388608
  CLICKSTREAM_SINK_LINGER_MS           longest wait for a batch to fill              250
  CLICKSTREAM_SINK_MAINTENANCE_SECONDS      how often the retention is applied            3600
"""


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """All settings of a sink process."""

    process: ProcessSettings
    limits: Limits
    maintenance_seconds: int


def read_sink_settings(env: Mapping[str, str], pipeline_path: str | None) -> SinkSettings:
    """From the environment. Raises SettingsError."""
    return SinkSettings(
        process=read_process_settings(env, pipeline_path),
        limits=Limits(
            records=read_int(env, "CLICKSTREAM_SINK_BATCH_RECORDS", 2_000, 1, 100_000),
            size=read_int(env, "CLICKSTREAM_SINK_BATCH_BYTES", 8 << 20, 1, 1 << 30),
            linger_seconds=read_int(env, "CLICKSTREAM_SINK_LINGER_MS", 250, 1, 10_000) / 1_000,
        ),
        maintenance_seconds=read_int(env, "CLICKSTREAM_SINK_MAINTENANCE_SECONDS", 3_600, 1, 86_400),
    )
