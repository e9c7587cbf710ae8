"""The index templates: strict mappings, so that a field that nobody declared is an error and never a guess.

The aliases are part of the templates, so every new day has them. `TEMPLATE_VERSION` grows with each change. New fields
are added to existing indices as well; any other change shows in the indices of later days. Only mapping types of
Elasticsearch's core are used.
"""

from __future__ import annotations

from typing import Any, Final

from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import ElasticsearchSink

TEMPLATE_VERSION: Final = 2

_MAX_TERM: Final = 8_191
"""Characters; Lucene takes terms of 32,766 bytes. A longer value is kept and shown, but cannot be searched for."""

_KEYWORD: Final = {"type": "keyword", "ignore_above": _MAX_TERM}
_FLATTENED: Final = {"type": "flattened", "ignore_above": _MAX_TERM}
_BOOLEAN: Final = {"type": "boolean"}
_INTEGER: Final = {"type": "integer"}
_LONG: Final = {"type": "long"}
# Only milliseconds: with the default format the number 2024 would be the year.
_DATE: Final = {"type": "date", "format": "epoch_millis"}

CLICK_FIELDS: Final[dict[str, Any]] = {
    "event_id": _KEYWORD,
    "timestamp": _DATE,
    "event_time": _DATE,
    "received_at": _DATE,
    "storage_day": _KEYWORD,
    "user_id": _KEYWORD,
    "client_session_id": _KEYWORD,
    "page": _KEYWORD,
    "page_path": _KEYWORD,
    "page_category": _KEYWORD,
    "source": _KEYWORD,
    "type": _KEYWORD,
    "session": _KEYWORD,
    "late": _BOOLEAN,
    "bot": _BOOLEAN,
    "bot_kind": _KEYWORD,
    "page_host": _KEYWORD,
    "title": {"type": "text", "fields": {"keyword": _KEYWORD}},
    "referrer": _KEYWORD,
    "referrer_host": _KEYWORD,
    "medium": _KEYWORD,
    "referrer_source": _KEYWORD,
    "campaign": _KEYWORD,
    "campaign_source": _KEYWORD,
    "campaign_medium": _KEYWORD,
    "campaign_term": _KEYWORD,
    "campaign_content": _KEYWORD,
    "user_agent": _KEYWORD,
    "browser": _KEYWORD,
    "browser_version": _KEYWORD,
    "os": _KEYWORD,
    "device": _KEYWORD,
    "ip": {"type": "ip"},
    "country": _KEYWORD,
    "joins": _FLATTENED,
    "properties": _FLATTENED,
}

SESSION_FIELDS: Final[dict[str, Any]] = {
    "id": _KEYWORD,
    "version": _LONG,
    "storage_day": _KEYWORD,
    "retracted": _BOOLEAN,
    "merged_into": _KEYWORD,
    "retracted_at": _DATE,
    "user_id": _KEYWORD,
    "start": _DATE,
    "end": _DATE,
    "duration": _LONG,
    "events": _INTEGER,
    "page_views": _INTEGER,
    "entry_page": _KEYWORD,
    "exit_page": _KEYWORD,
    "referrer_host": _KEYWORD,
    "referrer_source": _KEYWORD,
    "medium": _KEYWORD,
    "campaign": _KEYWORD,
    "device": _KEYWORD,
    "country": _KEYWORD,
    "bot": _BOOLEAN,
    "bounce": _BOOLEAN,
    "closed": _BOOLEAN,
    "funnels": _FLATTENED,
    "funnel_steps": _KEYWORD,
    "merged_ids": _KEYWORD,
}


def templates(names: Names, spec: ElasticsearchSink) -> dict[str, dict[str, Any]]:
    """Name and body of each composable index template."""
    standing = {"bool": {"must_not": {"term": {"retracted": True}}}}
    return {
        names.clicks_alias: _template(names.clicks_alias, spec, CLICK_FIELDS, {}),
        names.sessions_alias: _template(names.sessions_alias, spec, SESSION_FIELDS, {"filter": standing}),
    }


def _template(alias: str, spec: ElasticsearchSink, fields: dict[str, Any], how: dict[str, Any]) -> dict[str, Any]:
    return {
        "index_patterns": [f"{alias}.*"],
        "priority": 500,
        "version": TEMPLATE_VERSION,
        "_meta": {"managed_by": "clickstream setup"},
        "template": {
            "settings": {
                "index": {
                    "number_of_shards": spec.shards,
                    "number_of_replicas": spec.replicas,
                    # Set although it is the default: only an explicit interval keeps idle indices refreshing.
                    "refresh_interval": "1s",
                }
            },
            "mappings": {"dynamic": "strict", "properties": fields},
            "aliases": {alias: how},
        },
    }
