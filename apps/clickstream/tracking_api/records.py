"""The records that the API writes: a click under its grouping key, a dead letter without a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from clickstream.contracts.clicks import Click, encode_click
from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.kafka_records import TRACEPARENT
from clickstream.contracts.names import Names
from clickstream.tracking_api.rejections import Rejection

STAGE: Final = "collect"


class Record(NamedTuple):
    """What is to be written."""

    topic: str
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]

    @property
    def size(self) -> int:
        """Bytes of value and headers."""
        return len(self.value) + sum(len(name) + len(content) for name, content in self.headers)


@dataclass(frozen=True, slots=True)
class Records:
    """Makes the records of one pipeline. With `by_session` clicks are keyed by session_id, otherwise by user_id."""

    names: Names
    by_session: bool

    def click(self, click: Click, traceparent: str | None) -> Record:
        key = click.session_id if self.by_session else click.user_id
        headers = [(TRACEPARENT, traceparent.encode())] if traceparent else []
        return Record(self.names.raw_clicks, key.encode(), encode_click(click), headers)

    def dead_letter(
        self, original: bytes, rejection: Rejection, received_at: int, source: str, endpoint: str = ""
    ) -> Record:
        """The original bytes, with the reason in headers."""
        reason = (rejection.code, rejection.message, rejection.path)
        row = BadRow(original, STAGE, *reason, received_at, source=source, endpoint=endpoint)
        return Record(self.names.dead_letters, None, row.value(), row.headers())
