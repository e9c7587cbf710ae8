"""The Elasticsearch sink: batches of records as bulk requests.

It writes only while this pipeline's templates are installed: without them a first click would create its index with
guessed types, for good. They are checked again after every lost connection.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from elastic_transport import ConnectionError as NoConnectionError
from elastic_transport import ConnectionTimeout, TransportError
from elasticsearch import ApiError, Elasticsearch

from clickstream.contracts.pipeline import ElasticsearchSink, Pipeline
from clickstream.sinks.elasticsearch.bulk import (
    MAX_BYTES,
    NoAnswerError,
    Verdict,
    error_of,
    field_of,
    judge,
    send,
    split,
    takes_requests,
)
from clickstream.sinks.elasticsearch.client import connect, missing_privilege, trouble
from clickstream.sinks.elasticsearch.documents import action, index_of
from clickstream.sinks.elasticsearch.identity import COMPARED, Identity
from clickstream.sinks.elasticsearch.installation import missing
from clickstream.sinks.elasticsearch.lost_days import split_off
from clickstream.sinks.elasticsearch.product import unsupported
from clickstream.sinks.elasticsearch.retention import apply_retention
from clickstream.sinks.records import Record, Refused, StoredClick, newest
from clickstream.sinks.replayed import newest_replays
from clickstream.sinks.sink import CLICK, SESSION, MaintenanceError, Outcome, kind_of
from clickstream.sinks.validation import kept_ms

log = logging.getLogger(__name__)

WRITE_SECONDS: Final = 60.0
"""After that long a write returns what it has not begun: the consumer must poll."""
_SMALLEST_REQUEST: Final = 64 << 10
_ROUNDS: Final = 4
"""Rounds of comparing replayed clicks: a missing one may get a second id, once another of the batch has taken its
first."""
_REPLACED: Final = 200
"""The status of a replaced document; a new one's is 201."""


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
        self.retention = spec.retention
        self._kept = kept_ms(pipeline, spec.retention)
        self._make_client = make_client
        self._identity = Identity(pipeline.names, pipeline.enricher.group_by)
        self._client: Elasticsearch | None = None
        self._request_bytes = MAX_BYTES
        self.beat: Callable[[], None] = lambda: None

    def target(self, record: Record) -> str:
        """The index; see `Sink`."""
        return index_of(record, self._names)

    def write(self, records: Sequence[Record]) -> Outcome:
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
        deadline = time.monotonic() + WRITE_SECONDS
        essential = _essential(records, outcome)
        replays, surplus = newest_replays(record for record in records if record.replay is not None)
        outcome.known[CLICK] += surplus
        try:
            fit, refused = split_off(client, self._names, essential, self._kept)
        except (ApiError, TransportError) as error:
            self._stop(error, outcome, essential + replays)
            return outcome
        outcome.refused += refused
        conflicts = self._write(client, [(record, action(record, self._names)) for record in fit], outcome, deadline)
        if conflicts:
            self._resolve(client, conflicts, outcome, deadline)
        if replays:
            self._replace(client, replays, outcome, deadline)
        return outcome

    def maintain(self) -> None:
        client = self._make_client(self._spec)
        try:
            apply_retention(client, self._names, self._spec.retention)
        except (ApiError, TransportError) as error:
            raise MaintenanceError(trouble(error) or type(error).__name__) from error
        finally:
            client.close()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> Elasticsearch:
        if self._client is None:
            client = self._make_client(self._spec)
            try:
                absent = unsupported(client) or missing(client, self._names)
            except (ApiError, TransportError):
                client.close()
                raise
            if absent is not None:
                client.close()
                raise _NotInstalledError(absent)
            self._client = client
        return self._client

    def _write(
        self, client: Elasticsearch, items: Sequence[tuple[Record, bytes]], outcome: Outcome, deadline: float
    ) -> list[Record]:
        """Write records, each by its action. Returns the clicks whose id a document already has."""
        records = [record for record, _ in items]
        actions = [each for _, each in items]
        pending = list(split(actions, self._request_bytes))[::-1]
        conflicts: list[Record] = []
        while pending:
            start, end = pending.pop()
            if time.monotonic() > deadline:
                outcome.trouble = f"the store is slow: no more than this was done in {WRITE_SECONDS:.0f} s"
                outcome.later += conflicts + records[start:]
                return []
            self.beat()
            try:
                answers = send(client, actions[start:end])
            except (ApiError, TransportError, NoAnswerError) as error:
                if self._is_of_the_records(client, error):
                    if end - start > 1:
                        middle = (start + end) // 2
                        pending += [(middle, end), (start, middle)]
                    else:
                        outcome.refused.append(_refused_whole(records[start], error))
                    continue
                self._stop(error, outcome, conflicts + records[start:])
                return []
            self._request_bytes = min(MAX_BYTES, self._request_bytes * 2)
            for record, answer in zip(records[start:end], answers, strict=True):
                if judge(answer) is Verdict.CONFLICT and isinstance(record.content, StoredClick):
                    conflicts.append(record)
                else:
                    _account(record, answer, outcome)
        return conflicts

    def _resolve(self, client: Elasticsearch, clicks: Sequence[Record], outcome: Outcome, deadline: float) -> None:
        """Resolve clicks whose event_id is taken: known, or stored under their second id."""
        self.beat()
        try:
            found = self._identity.resolve(client, clicks)
        except (ApiError, TransportError) as error:
            self._stop(error, outcome, clicks)
            return
        outcome.known[CLICK] += found.known
        if found.unclear:
            outcome.later += found.unclear
            outcome.trouble = "documents that are in the way of new ones cannot be read for now"
        others = [(record, action(record, self._names, click_id)) for record, click_id in found.others]
        outcome.known[CLICK] += len(self._write(client, others, outcome, deadline))

    def _replace(self, client: Elasticsearch, replays: Sequence[Record], outcome: Outcome, deadline: float) -> None:
        """Write replayed clicks: inserted where missing, else replacing what is stored."""
        pending = list(replays)
        for _ in range(_ROUNDS):
            appeared: list[Record] = []
            for start in range(0, len(pending), COMPARED):
                if outcome.trouble is not None:
                    outcome.later += pending[start:]
                    break
                self.beat()
                try:
                    found = self._identity.compare(client, pending[start : start + COMPARED])
                except (ApiError, TransportError) as error:
                    self._stop(error, outcome, pending[start:])
                    break
                outcome.known[CLICK] += found.known
                # A conflict here is a later replay's click.
                outcome.known[CLICK] += len(self._write(client, found.replacing, outcome, deadline))
                appeared += self._write(client, found.missing, outcome, deadline)
            pending = appeared
            if not pending:
                return
        outcome.later += pending
        outcome.trouble = outcome.trouble or "documents of replayed clicks appear again and again"

    def _is_of_the_records(self, client: Elasticsearch, error: ApiError | TransportError | NoAnswerError) -> bool:
        """Whether the request was rejected for its content: any other is accepted."""
        if not isinstance(error, ApiError):
            return False
        if error.status_code == 413:
            return True
        if trouble(error) is not None:
            return False
        try:
            return takes_requests(client, self._names.clicks_alias)
        except (TransportError, NoAnswerError):
            return False

    def _stop(self, error: ApiError | TransportError | NoAnswerError, outcome: Outcome, left: Sequence[Record]) -> None:
        """Stop: the store temporarily rejects writes. Raises errors that neither the store nor a record causes."""
        told = str(error) if isinstance(error, NoAnswerError) else trouble(error)
        if told is None:
            raise error
        if isinstance(error, ConnectionTimeout):
            self._request_bytes = max(_SMALLEST_REQUEST, self._request_bytes // 2)
        if isinstance(error, NoConnectionError) or getattr(error, "status_code", 0) in {401, 403}:
            self.close()  # check the templates, and read the secrets, again
        outcome.trouble = told
        outcome.later.extend(left)


class _NotInstalledError(Exception):
    pass


def _essential(records: Sequence[Record], outcome: Outcome) -> list[Record]:
    """All but replayed clicks, and the session records that a later one of the batch overtakes (counted as known)."""
    clicks = [record for record in records if isinstance(record.content, StoredClick) and record.replay is None]
    sessions, surplus = newest(record for record in records if not isinstance(record.content, StoredClick))
    outcome.known[SESSION] += surplus
    return clicks + sessions


def _told(status: int, error: str, reason: str) -> str:
    """A refused action, for the log. Security's reason names the user, whom a Secret names."""
    detail = missing_privilege(reason) if error == "security_exception" else f": {reason[:200]}"
    return f"HTTP {status} {error}{detail}"


def _refused_whole(record: Record, error: ApiError | TransportError | NoAnswerError) -> Refused:
    status = getattr(error, "status_code", 0)
    if status == 413:
        return Refused.by_store(record, "too_large", "larger than a request may be")
    return Refused.by_store(record, "refused_request", f"Elasticsearch refuses a request with it (HTTP {status})")


def _account(record: Record, answer: Mapping[str, Any], outcome: Outcome) -> None:
    kind = kind_of(record)
    error, reason = error_of(answer)
    match judge(answer):
        case Verdict.NEW if record.replay is not None and answer["status"] == _REPLACED:
            outcome.replaced[kind] += 1
        case Verdict.NEW:
            outcome.stored[kind] += 1
            if kind == CLICK and record.replay is None:
                outcome.acknowledged.append(record)
        case Verdict.CONFLICT:
            outcome.known[kind] += 1
        case Verdict.LATER:
            outcome.trouble = _told(answer["status"], error, reason)
            outcome.later.append(record)
        case Verdict.BLOCKED:
            outcome.blocked_by = _told(answer["status"], error, reason)
            outcome.blocked.append(record)
        case Verdict.REFUSED:
            field = field_of(answer)
            where = "the document" if field is None else f"the field {field}"
            path = "$" if field is None else f"$.{field}"
            outcome.refused.append(Refused.by_store(record, error, f"the mapping refuses {where}", path))
