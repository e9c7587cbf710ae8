"""A dashboard with its stores: which panels it has, and what each of them shows.

A panel's own time range (`timeFrom`, such as 5m) counts back from the end of the dashboard's, like Grafana's from now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg

from clickstream.contracts.dashboards import dashboard_of
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import Funnel
from preview.ask_elasticsearch import ask_elasticsearch, body_of
from preview.ask_postgres import ask_postgres, sql_of
from preview.search import Search
from preview.tables import Table
from preview.variables import ALL, Choice, Range, Variables, duration_ms

FOLDER: Final = Path(__file__).resolve().parents[1] / "grafana" / "dashboards"


class Stores:
    """One pipeline's stores, open for reading. For one thread."""

    def __init__(self, names: Names, elasticsearch_url: str, postgres_dsn: str) -> None:
        self.names = names
        self.search = Search(elasticsearch_url)
        self.connection = psycopg.connect(postgres_dsn, autocommit=True)
        self.connection.execute("SET timezone TO 'UTC'")

    def index(self, source: str) -> str:
        """The alias behind an Elasticsearch data source."""
        return self.names.clicks_alias if source == "clicks" else self.names.sessions_alias

    def close(self) -> None:
        self.search.close()
        self.connection.close()


class Board:
    """One dashboard, for one pipeline."""

    def __init__(self, kind: str, names: Names, funnels: Sequence[Funnel] = (), time_zone: str = "UTC") -> None:
        self.kind = kind
        document = json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))
        self.dashboard = dashboard_of(document, names, funnels=funnels, time_zone=time_zone)
        self.panels: dict[int, Mapping[str, Any]] = {panel["id"]: panel for panel in self.dashboard["panels"]}

    def choices(self, stores: Stores, range_: Range, chosen: Mapping[str, Choice]) -> dict[str, Choice]:
        """What is chosen for each variable that a reader chooses: the given, or what Grafana would begin with."""
        made = dict(chosen)
        for variable in self.dashboard["templating"]["list"]:
            name = variable["name"]
            if name in made or variable["type"] != "query":
                continue
            if variable.get("includeAll"):
                made[name] = ALL
            else:
                options = self.options(name, stores, range_, made)
                made[name] = options[0] if options else ""
        return made

    def options(self, name: str, stores: Stores, range_: Range, chosen: Mapping[str, Choice]) -> list[str]:
        """The values that a variable's query finds. Raises psycopg.Error, DevstackError, OSError."""
        variable = next(each for each in self.dashboard["templating"]["list"] if each["name"] == name)
        variables = Variables(self.dashboard, chosen)
        if variable["datasource"]["type"] == "postgres":
            table = ask_postgres(stores.connection, sql_of({"rawSql": variable["query"]}, variables, range_, 1_000))
            return [str(value) for value in table.columns[0].values]
        wanted = json.loads(variable["query"])
        target = {
            "query": "",
            "timeField": "event_time",
            "metrics": [{"type": "count"}],
            "bucketAggs": [
                {
                    "type": "terms",
                    "field": wanted["field"],
                    "settings": {"size": wanted["size"], "orderBy": "_count", "order": "desc"},
                }
            ],
        }
        table = ask_elasticsearch(
            stores.search, stores.index("clicks"), target, body_of(target, variables, range_, 1_000)
        )
        return [str(value) for value in table.columns[0].values]

    def ask(self, panel_id: int, stores: Stores, range_: Range, chosen: Mapping[str, Choice]) -> list[Table]:
        """What each target of the panel answers. Raises psycopg.Error, DevstackError, OSError."""
        panel = self.panels[panel_id]
        variables = Variables(self.dashboard, chosen)
        if "timeFrom" in panel:
            range_ = Range(range_.until_ms - duration_ms(panel["timeFrom"]), range_.until_ms, range_.points)
        answers = []
        for target in panel["targets"]:
            source = target["datasource"]["uid"].strip("${}")
            interval = range_.interval_ms(panel.get("interval"))
            if source == "postgres":
                answers.append(ask_postgres(stores.connection, sql_of(target, variables, range_, interval)))
            else:
                body = body_of(target, variables, range_, interval)
                answers.append(ask_elasticsearch(stores.search, stores.index(source), target, body))
        return answers
