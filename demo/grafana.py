"""A Grafana for one pipeline on this machine: provisioned with data sources and dashboards, on loopback only.

`make demo` and the dashboards' tests show what a cluster would show, from the same files. Grafana is not installed
here: GRAFANA_HOME names the folder of one. Prometheus is used when there is one on the PATH. The processes are started
and ended by their owners.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from psycopg.conninfo import conninfo_to_dict

from clickstream.contracts.dashboards import KINDS, dashboard_of, dashboard_uid, source_uid
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import Pipeline
from devstack.errors import DevstackError
from devstack.ports import LOOPBACK

DASHBOARDS: Final = Path(__file__).resolve().parents[1] / "grafana" / "dashboards"
SCRAPE_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Grafana:
    """Where it is unpacked (`home`), where its files are written (`folder`), and its port."""

    home: Path
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def dashboard_url(self, names: Names, kind: str) -> str:
        """Address of one of the pipeline's dashboards."""
        return f"{self.url}/d/{dashboard_uid(names, kind)}"

    def command(self) -> list[str]:
        """The command line. Raises DevstackError when the home holds none."""
        program = self.home / "bin" / "grafana"
        if not program.is_file():
            msg = f"GRAFANA_HOME: {program} is not there; name the folder of an unpacked Grafana (10.0 or later)"
            raise DevstackError(msg)
        return [str(program), "server", "--homepath", str(self.home), "--config", str(self.folder / "grafana.ini")]

    def write(self, pipeline: Pipeline, prometheus_url: str | None) -> None:
        """Write its configuration, the data sources and the pipeline's dashboards; without Prometheus all but health.

        Raises DevstackError for a pipeline without both stores.
        """
        names, elasticsearch, postgres = pipeline.names, pipeline.sinks.elasticsearch, pipeline.sinks.postgres
        if elasticsearch is None or postgres is None or postgres.dsn is None:
            msg = "the dashboards need both stores"
            raise DevstackError(msg)
        shutil.rmtree(self.folder, ignore_errors=True)
        provisioning, boards = self.folder / "provisioning", self.folder / "dashboards"
        for each in ("datasources", "dashboards", "plugins", "notifiers", "alerting"):
            (provisioning / each).mkdir(parents=True)
        boards.mkdir()
        sources = data_sources(names, elasticsearch.url, postgres.dsn, prometheus_url)
        _write_json(provisioning / "datasources" / "clickstream.yaml", {"apiVersion": 1, "datasources": sources})
        provider = {"name": "clickstream", "type": "file", "folder": "Clickstream", "options": {"path": str(boards)}}
        _write_json(provisioning / "dashboards" / "clickstream.yaml", {"apiVersion": 1, "providers": [provider]})
        for kind in KINDS:
            if kind == "health" and prometheus_url is None:
                continue
            document = json.loads((DASHBOARDS / f"{kind}.json").read_text(encoding="utf-8"))
            made = dashboard_of(
                document, names, {"prometheus": source_uid(names, "prometheus")}, pipeline.funnels, pipeline.time_zone
            )
            _write_json(boards / f"{kind}.json", made)
        self.folder.joinpath("grafana.ini").write_text(self._settings(boards / "overview.json"), encoding="utf-8")

    def _settings(self, first: Path) -> str:
        sections: dict[str, dict[str, object]] = {
            "paths": {
                "data": self.folder / "data",
                "logs": self.folder / "logs",
                "plugins": self.folder / "plugins",
                "provisioning": self.folder / "provisioning",
            },
            "server": {"http_addr": LOOPBACK, "http_port": self.port},
            "analytics": dict.fromkeys(
                (
                    "enabled",
                    "reporting_enabled",
                    "check_for_updates",
                    "check_for_plugin_updates",
                    "feedback_links_enabled",
                ),
                "false",
            ),
            "security": {"disable_gravatar": "true", "angular_support_enabled": "false"},
            "auth.anonymous": {"enabled": "true", "org_role": "Viewer"},
            "dashboards": {"default_home_dashboard_path": first, "min_refresh_interval": "1s"},
            "news": {"news_feed_enabled": "false"},
            "plugins": {"plugin_admin_enabled": "false", "public_key_retrieval_disabled": "true"},
            "log": {"level": "warn"},
        }
        return "".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()) + "\n"
            for name, values in sections.items()
        )


def data_sources(
    names: Names, elasticsearch_url: str, postgres_dsn: str, prometheus_url: str | None
) -> list[dict[str, Any]]:
    """The pipeline's data sources as Grafana provisions them (grafana/README.md has the table)."""
    dsn = conninfo_to_dict(postgres_dsn)
    found = [
        _source(
            names,
            "postgres",
            "postgres",
            f"{dsn.get('host', LOOPBACK)}:{dsn.get('port', 5432)}",
            {"database": dsn.get("dbname", "postgres"), "sslmode": "disable", "postgresVersion": 1500},
        )
        | {
            "user": dsn.get("user", "postgres"),
            "database": dsn.get("dbname", "postgres"),
            "secureJsonData": {"password": dsn.get("password", "")},
        },
        _source(
            names,
            "clicks",
            "elasticsearch",
            elasticsearch_url,
            {"index": names.clicks_alias, "timeField": "event_time", "maxConcurrentShardRequests": 5},
        ),
        _source(
            names,
            "sessions",
            "elasticsearch",
            elasticsearch_url,
            {"index": names.sessions_alias, "timeField": "start", "maxConcurrentShardRequests": 5},
        ),
    ]
    if prometheus_url is not None:
        found.append(_source(names, "prometheus", "prometheus", prometheus_url, {"timeInterval": f"{SCRAPE_SECONDS}s"}))
    return found


def prometheus_settings(names: Names, targets: Mapping[str, str]) -> dict[str, Any]:
    """What Prometheus scrapes: `targets` is an address by process; labels as it gives them to pods in a cluster."""
    return {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s"},
        "scrape_configs": [
            {
                "job_name": "clickstream",
                "static_configs": [
                    {
                        "targets": [address],
                        "labels": {"namespace": names.namespace, "pod": f"{names.pipeline}-{process}-0"},
                    }
                    for process, address in targets.items()
                ],
            }
        ],
    }


def prometheus_command(program: str, folder: Path, port: int, settings: Mapping[str, Any]) -> list[str]:
    """Write the settings; the command line of Prometheus with them."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "prometheus.yml", settings)
    return [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--log.level=warn",
    ]


def _source(names: Names, source: str, plugin: str, url: str, settings: dict[str, Any]) -> dict[str, Any]:
    uid = source_uid(names, source)
    return {
        "name": f"{names.pipeline} {source}",
        "uid": uid,
        "type": plugin,
        "access": "proxy",
        "url": url,
        "editable": False,
        "jsonData": settings,
    }


def _write_json(path: Path, content: object) -> None:
    """JSON is YAML as well."""
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
