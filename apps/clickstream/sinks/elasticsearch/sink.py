"""The Elasticsearch sink: batches of records as bulk requests.

It writes only while this pipeline's templates are installed: without them a first click would create its index with
guessed types, for good. Every lost connection is a reason to look again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from elastic_transport import ConnectionError as NoConnectionError
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

from clickstream.contracts.pipeline import ElasticsearchSink, Pipeline
from clickstream.contracts.session_records import Retraction
from clickstream.sinks.elasticsearch.bulk import Verdict, error_of, field_of, judge, send, split
from clickstream.sinks.elasticsearch.client import connect, trouble
from clickstream.sinks.elasticsearch.documents import action
from clickstream.sinks.elasticsearch.installation import missing
from clickstream.sinks.elasticsearch.retention import apply_retention
from clickstream.sinks.records import Record, Refused, StoredClick, newest
from clickstream.sinks.sink import CLICK, RETRACTION, SESSION, Outcome

log = logging.getLogger(__name__)


class ElasticsearchStore:
    """One pipeline's Elasticsearch, as the loop sees it."""

    name = "elasticsearch"

    def __init__(
        self,
        pipeline: Pipeline,
        spec: ElasticsearchSink,
        make_client: Callable[[ElasticsearchSink], Elasticsearch] = connect,
    ) -> None:
        self._pipeline = pipeline
        self._names = pipeline.names
        self._spec = spec
        self._make_client = make_client
        self._client: Elasticsearch | None = None

    def write(self, records: Sequence[Record]) -> Outcome:
        """See `Sink`."""
        outcome = Outcome()
        try:
            client = self._connected()
        except (ApiError, TransportError) as error:
            self.close()
            outcome.trouble = trouble(error)
            if outcome.trouble is None:
                raise
        except _NotInstalledError as error:
            self.close()
            outcome.trouble = str(error)
        if outcome.trouble is not None:
            outcome.later = list(records)
            return outcome
        self._write(client, _essential(records, outcome), outcome)
        return outcome

    def upkeep(self) -> None:
        """See `Sink`."""
        client = self._make_client(self._spec)
        try:
            apply_retention(client, self._names, self._spec.retention)
        finally:
            client.close()

    def close(self) -> None:
        """See `Sink`."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> Elasticsearch:
        if self._client is None:
            client = self._make_client(self._spec)
            try:
                absent = missing(client, self._names)
            except (ApiError, TransportError):
                client.close()
                raise
            if absent is not None:
                client.close()
                raise _NotInstalledError(absent)
            self._client = client
        return self._client

    def _write(self, client: Elasticsearch, records: Sequence[Record], outcome: Outcome) -> None:
        actions = [action(record, self._names) for record in records]
        pending = list(split(actions))[::-1]
        while pending:
            start, end = pending.pop()
            try:
                answers = send(client, actions[start:end])
            except (ApiError, TransportError) as error:
                if getattr(error, "status_code", None) == 413 and end - start > 1:
                    middle = (start + end) // 2
                    pending += [(middle, end), (start, middle)]
                    continue
                if getattr(error, "status_code", None) == 413:
                    outcome.refused.append(
                        Refused.by_store(records[start], "too_large", "larger than a request may be")
                    )
                    continue
                outcome.trouble = trouble(error)
                if outcome.trouble is None:
                    raise
                if isinstance(error, NoConnectionError) or getattr(error, "status_code", 0) in {401, 403}:
                    self.close()  # look for the templates, and read the secrets, again
                outcome.later.extend(records[start:])
                return
            for record, answer in zip(records[start:end], answers, strict=True):
                _account(record, judge(answer), answer, outcome)


class _NotInstalledError(Exception):
    pass


def _essential(records: Sequence[Record], outcome: Outcome) -> list[Record]:
    """The records without the session records that a later one of the batch overtakes (counted as known)."""
    clicks = [record for record in records if isinstance(record.content, StoredClick)]
    sessions, surplus = newest(record for record in records if not isinstance(record.content, StoredClick))
    outcome.known[SESSION] += surplus
    return clicks + sessions


def _account(record: Record, verdict: Verdict, answer: dict[str, object] | object, outcome: Outcome) -> None:
    assert isinstance(answer, dict)
    content = record.content
    kind = CLICK if isinstance(content, StoredClick) else RETRACTION if isinstance(content, Retraction) else SESSION
    match verdict:
        case Verdict.NEW | Verdict.KNOWN:
            (outcome.stored if verdict is Verdict.NEW else outcome.known)[kind] += 1
            if kind == CLICK and verdict is Verdict.NEW:
                outcome.acknowledged.append(record)
        case Verdict.LATER:
            error, reason = error_of(answer)
            outcome.trouble = f"HTTP {answer['status']} {error}: {reason[:200]}"
            outcome.later.append(record)
        case Verdict.REFUSED:
            field = field_of(answer)
            where = "the document" if field is None else f"the field {field}"
            outcome.refused.append(
                Refused.by_store(
                    record, error_of(answer)[0], f"the mapping refuses {where}", "$" if field is None else f"$.{field}"
                )
            )
