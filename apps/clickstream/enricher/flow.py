"""The flow of one click, pure: decode → validate → user agent → bot → geo → page → referrer → campaign → join.

What comes out is a `Draft`; the session step finishes it. The page precedes the referrer, which is internal or not by
comparison with it; the campaign follows, since a tagged page overrules the referrer. Whatever a raw-clicks record holds,
the answer is `Draft | BadRow`: nothing here raises for data. What a draft is written as fits into a record of the topic
by construction: a click of at most `MAX_RECORD` bytes, and at most 16 joins with rows of at most `MAX_WRITTEN`.
Deliberately absent: Faust, Kafka, any clock.
"""

from __future__ import annotations

from collections.abc import Mapping

from clickstream.contracts.clicks import Click, decode_click
from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.durations import duration_ms
from clickstream.contracts.geoip import CountryOf
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.times import FUTURE_TOLERANCE_MS, event_time, storage_day
from clickstream.enricher.enrichments import bot, campaign, geo, join, page, referrer, user_agent
from clickstream.enricher.enrichments.draft import Draft, Enrichment
from clickstream.enricher.enrichments.join import Table
from clickstream.enricher.validation import validate


class Flow:
    """The enrichments of one pipeline, with their caches. `tables` has one entry for each join. One thread at a time."""

    def __init__(self, pipeline: Pipeline, country_of: CountryOf, tables: Mapping[str, Table]) -> None:
        settings = pipeline.enricher
        self._late_after = duration_ms(settings.late_after)
        agents = user_agent.agents()
        self._enrichments: tuple[Enrichment, ...] = (
            user_agent.enrichment(agents),
            bot.enrichment(agents),
            geo.enrichment(country_of),
            page.enrichment(settings.page_categories),
            referrer.enrichment(),
            campaign.enrichment(),
            join.enrichment(settings.joins, tables),
        )

    def enrich(self, value: bytes | None, record_time: int | None) -> Draft | BadRow:
        """The click in a raw-clicks record, enriched. `record_time` is the record's own timestamp in ms, if it has one."""
        record_time = record_time or 0
        click = validate(decode_click(value, record_time), value, record_time)
        if isinstance(click, BadRow):
            return click
        draft = self._begin(click, record_time)
        for enrich in self._enrichments:
            enrich(draft)
        return draft

    def _begin(self, click: Click, record_time: int) -> Draft:
        appended_at = record_time if record_time > 0 else click.received_at
        # A click is received moments before it is produced, so a receipt further from the brokers' time is a wrong clock.
        # Ahead, it must not move stream time; behind (or in a topic that was restored), the client's own time says more.
        received_at = appended_at if click.received_at > appended_at + FUTURE_TOLERANCE_MS else click.received_at
        if received_at < appended_at - FUTURE_TOLERANCE_MS:
            when = event_time(click.timestamp, None, appended_at)
        else:
            when = event_time(click.timestamp, click.sent_at, received_at)
        return Draft(
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
