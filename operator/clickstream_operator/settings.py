"""What the operator is told by its environment, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from clickstream.contracts.settings import SettingsError, read_choice, read_int
from clickstream_operator.facts import Images

HELP: Final = """\
environment:
  OPERATOR_APPS_IMAGE          image of the pipelines' processes                    required
  OPERATOR_NAMESPACES          comma-separated namespaces to look after             empty: the whole cluster
  OPERATOR_IMAGE_PULL_POLICY   Always, IfNotPresent or Never                        IfNotPresent
  OPERATOR_IMAGE_PULL_SECRETS  comma-separated names of pull secrets                none
  OPERATOR_RESYNC_SECONDS      how often a pipeline at rest is looked at            15
  OPERATOR_WORKERS             pipelines that are looked at at once                 4
  OPERATOR_OPS_HOST, _OPS_PORT where /healthz, /readyz and /metrics listen          0.0.0.0, 9090
  OPERATOR_LOG_LEVEL           DEBUG, INFO, WARNING, ERROR                          INFO
  OPERATOR_LOG_FORMAT          json or text                                         json
  OTEL_EXPORTER_OTLP_ENDPOINT  send metrics there over OTLP/HTTP                    off

The cluster is the one of the pod's service account, or of KUBECONFIG.
"""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Everything that the operator is told. `namespaces` empty: the whole cluster."""

    images: Images
    namespaces: tuple[str, ...]
    resync_seconds: int
    workers: int
    ops_host: str
    ops_port: int
    log_level: str
    log_format: str
    otlp_endpoint: str | None


def read_settings(env: Mapping[str, str]) -> OperatorSettings:
    """From the environment. Raises SettingsError."""
    image = env.get("OPERATOR_APPS_IMAGE", "").strip()
    if not image:
        msg = "OPERATOR_APPS_IMAGE is not set: it names the image of the pipelines' processes"
        raise SettingsError(msg)
    return OperatorSettings(
        images=Images(
            apps=image,
            pull_policy=read_choice(
                env, "OPERATOR_IMAGE_PULL_POLICY", "IfNotPresent", ("Always", "IfNotPresent", "Never")
            ),
            pull_secrets=_names(env, "OPERATOR_IMAGE_PULL_SECRETS"),
        ),
        namespaces=_names(env, "OPERATOR_NAMESPACES"),
        resync_seconds=read_int(env, "OPERATOR_RESYNC_SECONDS", 15, 1, 3_600),
        workers=read_int(env, "OPERATOR_WORKERS", 4, 1, 64),
        ops_host=env.get("OPERATOR_OPS_HOST") or "0.0.0.0",  # noqa: S104 - a pod listens on its own address
        ops_port=read_int(env, "OPERATOR_OPS_PORT", 9_090, 0, 65_535),
        log_level=read_choice(env, "OPERATOR_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        log_format=read_choice(env, "OPERATOR_LOG_FORMAT", "json", ("json", "text")),
        otlp_endpoint=env.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
    )


def _names(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())
