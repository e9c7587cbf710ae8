"""What the API writes: a click under its grouping key, a dead letter without one."""

from __future__ import annotations

from dataclasses import dataclass

from clickstream.contracts.clicks import Click, encode_click
from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.kafka import TRACEPARENT
from clickstream.contracts.names import Names
from clickstream.tracking_api.admission import Record
from clickstream.tracking_api.rejections import Rejection

STAGE = "collect"


@dataclass(frozen=True, slots=True)
class Records:
    """Makes the records of one pipeline. With `by_session` clicks are keyed by session_id, otherwise by user_id."""

    names: Names
    by_session: bool

    def click(self, click: Click, traceparent: str | None) -> Record:
        """The record of an accepted event."""
        key = click.session_id if self.by_session else click.user_id
        headers = [(TRACEPARENT, traceparent.encode())] if traceparent else []
        return Record(self.names.raw_clicks, key.encode(), encode_click(click), headers)

    def dead_letter(self, original: bytes, rejection: Rejection, received_at: int, source: str) -> Record:
        """The record of something refused: its original bytes, with the reason in headers."""
        row = BadRow(original, STAGE, rejection.code, rejection.message, rejection.path, received_at, source=source)
        return Record(self.names.dead_letters, None, row.value(), row.headers())
