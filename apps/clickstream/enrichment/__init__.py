"""What a click alone tells, without any state: the enricher applies it, the tracking API's `/v1/validate` foretells it.

One file an enrichment, each a function that sets fields; `validation.py` is before them, `funnels.py` after them. An
enrichment reads the click and what earlier enrichments found, and sets fields of its own; the order is `flow.py`'s.
Each is a pure function of the click, the pipeline document and read-only tables, and caches what it computed in a
bounded `Memo`. None raises for anything that a click may hold.
"""

from __future__ import annotations

from collections.abc import Callable

from clickstream.contracts.clicks import EnrichedClick

Enrichment = Callable[[EnrichedClick], None]
"""One step of the flow: sets fields of the click. Never raises for what a click may hold."""
