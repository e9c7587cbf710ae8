"""The enrichment of one click, pure: decoded, validated, then one enrichment after the other (`Flow`).

What comes out is the `EnrichedClick`; the session step finishes it. The page precedes the referrer, which is internal
or not by comparison with it; the campaign follows, since a tagged page overrules the referrer. Whatever a raw-clicks
record holds, the result is `EnrichedClick | BadRow`: nothing here raises for data. An encoded click fits into a record
of the topic by construction: a click of at most `MAX_RECORD` bytes, and at most 16 joins with rows of at most
`MAX_WRITTEN`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from clickstream.contracts.clicks import Click, EnrichedClick, decode_click
from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.durations import duration_ms
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.times import FUTURE_TOLERANCE_MS, event_time, storage_day
from clickstream.enrichment import Enrichment, bot, campaign, geo, join, page, referrer, user_agent
from clickstream.enrichment.join import Table
from clickstream.enrichment.validation import validate
from clickstream.runtime.geoip import CountryOf


class Flow:
    """The enrichments of one pipeline, with their caches. `tables` has one entry for each join.

    `most`: values that one cache keeps, at most. One thread at a time.
    """

    def __init__(
        self, pipeline: Pipeline, country_of: CountryOf, tables: Mapping[str, Table], most: int = sys.maxsize
    ) -> None:
        settings = pipeline.enricher
        self._late_after = duration_ms(settings.late_after)
        agents = user_agent.agents(most)
        self._enrichments: tuple[Enrichment, ...] = (
            user_agent.enrichment(agents),
            bot.enrichment(agents, most),
            geo.enrichment(country_of, most),
            page.enrichment(settings.page_categories, most),
            referrer.enrichment(settings.own_domains, most),
            campaign.enrichment(most),
            join.enrichment(settings.joins, tables, most),
        )

    def enrich(self, value: bytes | None, record_time: int | None) -> EnrichedClick | BadRow:
        """The click in a raw-clicks record, enriched.

        `record_time` is the record's own timestamp in ms, if it has one.
        """
        click = self.read(value, record_time)
        if isinstance(click, EnrichedClick):
            for enrich in self._enrichments:
                enrich(click)
        return click

    def read(self, value: bytes | None, record_time: int | None) -> EnrichedClick | BadRow:
        """The click in a raw-clicks record decoded and timestamped, not enriched."""
        record_time = record_time or 0
        click = validate(decode_click(value, record_time), value, record_time)
        return click if isinstance(click, BadRow) else self._begin(click, record_time)

    def _begin(self, click: Click, record_time: int) -> EnrichedClick:
        appended_at = record_time if record_time > 0 else click.received_at
        # A click is received moments before it is produced, so a receipt further from the brokers' time is a wrong
        # clock. Ahead, it must not move stream time; behind (or in a restored topic), the client's own time is better.
        received_at = appended_at if click.received_at > appended_at + FUTURE_TOLERANCE_MS else click.received_at
        if received_at < appended_at - FUTURE_TOLERANCE_MS:
            when = event_time(click.timestamp, None, appended_at)
        else:
            when = event_time(click.timestamp, click.sent_at, received_at)
        return EnrichedClick(
            click.event_id,
            click.timestamp,
            when,
            received_at,
            storage_day(click.timestamp, received_at),
            click.user_id,
            click.session_id,
            click.page,
            "",  # path and category are the page enrichment's
            "",
            click.source,
            click.type,
            late=when < received_at - self._late_after,
            title=click.title,
            referrer=click.referrer,
            user_agent=click.user_agent,
            ip=click.ip,
            country=click.country,
            properties=click.properties,
        )
