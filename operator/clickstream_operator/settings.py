"""The operator's settings: environment variables, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from clickstream.runtime.listening import EVERYWHERE
from clickstream.runtime.settings import SettingsError, read_choice, read_int
from clickstream_operator.inputs import USER, Images
from clickstream_operator.leader import LeaseName

HELP: Final = """\
environment:
  OPERATOR_APPS_IMAGE          image of the pipelines' processes                    required
  OPERATOR_NAMESPACES          comma-separated namespaces to watch                   empty: the whole cluster
  OPERATOR_IMAGE_PULL_POLICY   Always, IfNotPresent or Never                        IfNotPresent
  OPERATOR_IMAGE_PULL_SECRETS  comma-separated names of pull secrets                none
  OPERATOR_RUN_AS_USER         user and group of the pipelines' pods                 10001; empty: the platform's choice
  OPERATOR_RESYNC_SECONDS      how often a pipeline's Secrets are compared          15
  OPERATOR_WORKERS             pipelines that are reconciled at once                4
  OPERATOR_ROLLOUTS            pipelines that a new release changes at once         5
  OPERATOR_LEASE               namespace/name of the Lease that the leader holds    empty: this is the only operator
  OPERATOR_OPS_HOST, _OPS_PORT where /healthz, /readyz and /metrics listen          ::, 9090
  OPERATOR_LOG_LEVEL           DEBUG, INFO, WARNING, ERROR                          INFO
  OPERATOR_LOG_FORMAT          json or text                                         json
  OTEL_EXPORTER_OTLP_ENDPOINT  send metrics there over OTLP/HTTP                    off

The cluster is the one of the pod's service account, or of KUBECONFIG.
"""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """`namespaces` empty: the whole cluster."""

    images: Images
    namespaces: tuple[str, ...]
    resync_seconds: int
    workers: int
    rollouts: int
    lease: LeaseName | None
    ops_host: str
    ops_port: int
    log_level: str
    log_format: str
    otlp_endpoint: str | None


def read_settings(env: Mapping[str, str]) -> OperatorSettings:
    """Raises SettingsError."""
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
            run_as_user=_user(env),
        ),
        namespaces=_names(env, "OPERATOR_NAMESPACES"),
        resync_seconds=read_int(env, "OPERATOR_RESYNC_SECONDS", 15, 1, 3_600),
        workers=read_int(env, "OPERATOR_WORKERS", 4, 1, 64),
        rollouts=read_int(env, "OPERATOR_ROLLOUTS", 5, 1, 1_000),
        lease=_lease(env.get("OPERATOR_LEASE", "")),
        ops_host=env.get("OPERATOR_OPS_HOST") or EVERYWHERE,
        ops_port=read_int(env, "OPERATOR_OPS_PORT", 9_090, 0, 65_535),
        log_level=read_choice(env, "OPERATOR_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        log_format=read_choice(env, "OPERATOR_LOG_FORMAT", "json", ("json", "text")),
        otlp_endpoint=env.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
    )


def _lease(text: str) -> LeaseName | None:
    if not text:
        return None
    namespace, separator, name = text.partition("/")
    if not (namespace and separator and name) or "/" in name:
        msg = f"OPERATOR_LEASE must be namespace/name, not {text!r}"
        raise SettingsError(msg)
    return LeaseName(namespace, name)


def _user(env: Mapping[str, str]) -> int | None:
    """None where it is set and empty."""
    name = "OPERATOR_RUN_AS_USER"
    return None if env.get(name) == "" else read_int(env, name, USER, 1, 2**31 - 1)


def _names(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())
