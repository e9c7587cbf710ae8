"""Times as the contracts count them: integers, milliseconds since the epoch, UTC.

`event_time` and `storage_day` are pure functions of what was collected, so that every process and every retry of an
event agrees on them. The storage day never depends on event_time: a retry is received later, which moves event_time.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.names import UNDATED

DAY_MS: Final = 86_400_000
FUTURE_TOLERANCE_MS: Final = 60_000
BELIEVED_PAST_MS: Final = 30 * DAY_MS
BELIEVED_FUTURE_MS: Final = 2 * DAY_MS
EARLIEST_BELIEVED_MS: Final = 946_684_800_000
"""2000-01-01T00:00:00Z. No click is older: a clock that says so was never set."""
MAX_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z; the smallest accepted time is 0, 1970."""

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


def parse_rfc3339(text: str) -> int:
    """Milliseconds of an RFC 3339 date-time with an offset, fractions cut.

    Raises ValueError: naive, malformed, out of 1970–9999.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        msg = "not an RFC 3339 date-time with an offset, such as 2026-01-31T08:30:00.000Z"
        raise ValueError(msg)
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    if second == 60:  # a leap second is legal in RFC 3339; like POSIX, count it as the next second
        second, carry_ms = 59, 1_000
    else:
        carry_ms = 0
    if hour > 23 or minute > 59 or second > 59 or not 1 <= year <= 9999:
        msg = "a part of the date-time is out of its range"
        raise ValueError(msg)
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        msg = "a part of the date-time is out of its range"
        raise ValueError(msg) from None
    fraction_ms = int((match[7] or "0").ljust(3, "0")[:3])
    offset_minutes = 0
    if match[8] is None:
        offset_hours, offset_rest = int(match[10]), int(match[11])
        if offset_hours > 23 or offset_rest > 59:
            msg = "the offset is out of its range"
            raise ValueError(msg)
        offset_minutes = (offset_hours * 60 + offset_rest) * (-1 if match[9] == "-" else 1)
    seconds = ((days * 24 + hour) * 60 + minute - offset_minutes) * 60 + second
    ms = seconds * 1_000 + fraction_ms + carry_ms
    if not 0 <= ms <= MAX_MS:
        msg = "only the years 1970 to 9999 (UTC) are accepted"
        raise ValueError(msg)
    return ms


def moment(text: str, now_ms: int) -> int:
    """A point in time from a command line: an RFC 3339 date-time, or a duration such as `2h` before `now_ms`.

    Raises ValueError.
    """
    if text[:1].isdigit() and "T" not in text.upper():
        return now_ms - duration_ms(text)
    return parse_rfc3339(text)


def event_time(timestamp: int, sent_at: int | None, received_at: int) -> int:
    """When the click happened, by the server's clock. All in ms.

    The client's clock error is `received_at - sent_at` where sent_at is given. A time more than 60 s in the future
    is received_at instead, *before* it can move stream time, and so is one before 2000, which is a clock that was never
    set; the click's own `timestamp` keeps what the client said.
    """
    t = timestamp if sent_at is None else timestamp + received_at - sent_at
    return t if EARLIEST_BELIEVED_MS <= t <= received_at + FUTURE_TOLERANCE_MS else received_at


def storage_day(timestamp: int, received_at: int) -> str:
    """The day that a click is stored under: `YYYY-MM-DD` of the client's own timestamp (ms), or `undated`.

    The same for every retry of an event, since it depends on the raw timestamp only; receipt merely decides whether it
    is believed (30 days back, 2 days ahead).
    """
    if received_at - BELIEVED_PAST_MS <= timestamp <= received_at + BELIEVED_FUTURE_MS:
        return iso_day(timestamp)
    return UNDATED


_days: dict[int, str] = {}


def iso_day(ms: int) -> str:
    """`YYYY-MM-DD` (UTC) of a time in ms."""
    number = ms // DAY_MS
    text = _days.get(number)
    if text is None:
        if len(_days) > 1_000:
            _days.clear()
        text = _days[number] = date.fromordinal(_EPOCH_DAY + number).isoformat()
    return text


def iso_time(ms: int) -> str:
    """RFC 3339 text of a time in ms, `2026-01-31T08:30:00.000Z`."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"
