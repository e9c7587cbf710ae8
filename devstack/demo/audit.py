"""The check as a whole: read the ledger and both stores, then compare.

Why it exists: the demo, `python -m devstack.demo check` and the tests run the very same. Deliberately absent: waiting;
the stores must be at rest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.pipeline import Pipeline
from clickstream.simulator.ledger import read_ledger
from devstack.demo.check import check
from devstack.demo.check_sessions import Rules
from devstack.demo.read_elasticsearch import read_elasticsearch
from devstack.demo.read_postgres import read_postgres
from devstack.demo.search import Search
from devstack.demo.verdict import Verdict
from devstack.errors import DevstackError


def audit(pipeline: Pipeline, ledger: Path, tell: Callable[[str], object] = lambda _: None) -> Verdict:
    """Check both stores of the pipeline against the ledger. Raises DevstackError when one cannot be read."""
    sinks, names = pipeline.sinks, pipeline.names
    if sinks.elasticsearch is None or sinks.postgres is None or sinks.postgres.dsn is None:
        msg = "the check needs a pipeline with both stores"
        raise DevstackError(msg)
    try:
        entries = read_ledger(ledger)
        tell("reading Elasticsearch")
        search = Search(sinks.elasticsearch.url)
        elasticsearch = read_elasticsearch(search, names)
        search.close()
        tell("reading PostgreSQL")
        with psycopg.connect(sinks.postgres.dsn, connect_timeout=10) as connection:
            postgres = read_postgres(connection, names)
    except (OSError, ValueError, psycopg.Error) as error:
        msg = f"the check could not read everything: {error}"
        raise DevstackError(msg) from error
    tell("comparing")
    rules = Rules(
        gap_ms=duration_ms(pipeline.enricher.session_gap),
        grace_ms=duration_ms(pipeline.enricher.grace),
        by_user=pipeline.enricher.group_by == "user_id",
    )
    return check(entries, elasticsearch, postgres, rules)
