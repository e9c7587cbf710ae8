"""A call of Segment's API (track, page, screen, identify, alias, group) as an event of ours, for the same validation.

docs/segment.md has the mapping as a table. Ids, times, page, visitor's browser and address become fields; what the
browser's tracker says in properties (`visitor_id`, `group_id`, `screen`, `language`, `time_zone`) has the same names
here; everything else is kept in properties: `context` and unknown members as JSON text. Where an optional member has
another type than Segment's it stays in `context`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import quote

from clickstream.contracts.clicks import Click
from clickstream.contracts.times import iso_time
from clickstream.tracking_api import limits, rejections
from clickstream.tracking_api.rejections import Code, Rejection, RejectionError
from clickstream.tracking_api.validation.event import RequestContext, read_click
from clickstream.tracking_api.validation.fields import exceeds
from clickstream.tracking_api.validation.json_text import parse_json, repaired, without_bom
from clickstream.tracking_api.validation.properties import flat
from clickstream.tracking_api.validation.segment_batch import SegmentBatch

NOT_SET: Final = "(not set)"
"""The page of an event that happened on none, such as a server's."""
KINDS: Final = ("track", "page", "screen", "identify", "alias", "group")
PATHS: Final[dict[str, str | None]] = {f"/v1/{kind}": kind for kind in KINDS} | {"/v1/batch": None}
"""The endpoints, by path, with the kind of their calls; None: each call says its own."""

_VIEWS: Final = frozenset({"page", "screen"})
_CAMPAIGN: Final = {
    "name": "utm_campaign",
    "source": "utm_source",
    "medium": "utm_medium",
    "term": "utm_term",
    "content": "utm_content",
}
_PATH_OF: Final = {
    "$.event_id": "$.messageId",
    "$.user_id": "$.userId",
    "$.session_id": "$.context.sessionId",
    "$.page": "$.context.page.url",
    "$.title": "$.context.page.title",
    "$.referrer": "$.context.page.referrer",
    "$.type": "$.event",
    "$.sent_at": "$.sentAt",
}
"""Where the client finds a field of ours in what it sent."""
_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**63 - 1
_MAX_PIXELS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Calls:
    """Reads the calls of one request. `shared`: the JSON text of the batch's own context, for all of them."""

    context: RequestContext
    kind: str | None = None
    shared: bytes = b""

    def read(self, text: bytes, number: int = 0) -> Click | Rejection:
        """The click in the JSON text of the call at this index."""
        if len(text) > limits.EVENT_BYTES:
            return rejections.EVENT_TOO_LARGE
        call = parse_json(repaired(without_bom(text)))
        if isinstance(call, Rejection):
            return call
        if not isinstance(call, dict):
            return rejections.EVENT_NOT_AN_OBJECT
        try:
            return self._click(call, text, number)
        except RejectionError as error:
            return error.rejection
        except RecursionError:
            return rejections.TOO_DEEP

    def _click(self, call: dict[str, Any], text: bytes, number: int) -> Click:
        kind = self._kind(call)
        about = _object(call, "context")
        if self.shared:
            about = _parsed(self.shared) | about
        given = _object(call, "traits" if kind in {"identify", "group"} else "properties")
        if kind == "identify" and isinstance(about.get("traits"), dict) and given in ({}, about["traits"]):
            given = about.pop("traits")  # RudderStack's libraries put them there
        event: dict[str, Any] = {} if kind in _VIEWS else {"type": _event_name(call) if kind == "track" else kind}
        extra: list[tuple[str, Any]] = []
        self._read_ids(kind, call, about, event, extra)
        event["event_id"] = event["event_id"] or self._derived_id(kind, text, number)
        self._read_times(call, event)
        _read_page(kind, call, about, given, event)
        own_device = self.context.browser or isinstance(about.get("device"), dict)
        _read_surroundings(about, event, extra)
        event["properties"] = {name: flat(value, "$.properties.*") for name, value in given.items()}
        call.pop("writeKey", None)
        if about:
            extra.append(("context", about))
        extra += ((name, value) for name, value in call.items() if value is not None and value not in ({}, []))
        # The address of a server is no visitor's.
        try:
            return read_click(event, extra, self.context if own_device else replace(self.context, address=None))
        except RejectionError as error:
            reason = error.rejection
            raise RejectionError(reason.code, _PATH_OF.get(reason.path, reason.path), reason.message) from None

    def _kind(self, call: dict[str, Any]) -> str:
        """The call's kind; a `type` that says something else than the endpoint stays where it is."""
        given = call.get("type")
        kind = self.kind or given
        if kind is None:
            raise RejectionError(Code.MISSING_FIELD, "$.type", "this field must be given")
        if not isinstance(kind, str):
            raise RejectionError(Code.WRONG_TYPE, "$.type", "must be a string")
        if kind not in KINDS:
            raise RejectionError(Code.UNKNOWN_TYPE, "$.type", f"must be one of {', '.join(KINDS)}")
        if kind == given:
            del call["type"]
        return kind

    def _read_ids(
        self,
        kind: str,
        call: dict[str, Any],
        about: dict[str, Any],
        event: dict[str, Any],
        extra: list[tuple[str, Any]],
    ) -> None:
        user, visitor = _id(call, "userId"), _id(call, "anonymousId")
        event["user_id"] = user or visitor
        if not event["user_id"]:
            raise RejectionError(Code.MISSING_FIELD, "$.userId", "userId or anonymousId must be given")
        event["session_id"] = _id(about, "sessionId", "$.context.sessionId") or visitor or user
        event["event_id"] = message = _id(call, "messageId")
        if message is not None and exceeds(message, limits.EVENT_ID_BYTES) and "\0" not in message:
            event["event_id"] = blake2b(message.encode(), digest_size=32).hexdigest()
            extra.append(("message_id", message))
        if visitor is not None:
            extra.append(("visitor_id", visitor))
        for its_kind, name, ours in (("group", "groupId", "group_id"), ("alias", "previousId", "previous_id")):
            if kind == its_kind:
                other = _id(call, name)
                if other is None:
                    raise RejectionError(Code.MISSING_FIELD, f"$.{name}", "this field must be given")
                extra.append((ours, other))

    def _derived_id(self, kind: str, text: bytes, number: int) -> str:
        """The id of a call without a messageId: of this one alone, so that a call that is sent again counts again."""
        place = b"%d %d %b " % (self.context.received_at, number, kind.encode())
        return blake2b(self.context.nonce + place + text, digest_size=16).hexdigest()

    def _read_times(self, call: dict[str, Any], event: dict[str, Any]) -> None:
        event["sent_at"] = call.pop("sentAt", None)
        name = "timestamp" if call.get("timestamp") is not None else "originalTimestamp"
        happened = call.pop(name, None)
        if happened is None:  # then it happened when it was sent, by the client's clock or else by ours
            happened = event["sent_at"]
        if happened is None and self.context.sent_at is not None:
            happened = iso_time(self.context.sent_at)
        event["timestamp"] = iso_time(self.context.received_at) if happened is None else happened


def reader_of(batch: SegmentBatch, context: RequestContext) -> Calls:
    """Reads the calls of a batch."""
    given = context if batch.sent_at is None else replace(context, sent_at=batch.sent_at)
    return Calls(given, shared=batch.context)


def _parsed(text: bytes) -> dict[str, Any]:
    value = parse_json(repaired(text))
    assert isinstance(value, dict), "the batch's reader has seen to that"
    return value


def _object(parent: dict[str, Any], name: str) -> dict[str, Any]:
    """An object, taken out; empty where it is absent, null, or an empty array, as PHP writes an empty map."""
    value = parent.pop(name, None)
    if value is None or value == []:
        return {}
    if not isinstance(value, dict):
        raise RejectionError(Code.WRONG_TYPE, f"$.{name}", "must be an object")
    return value


def _id(parent: dict[str, Any], name: str, path: str = "") -> str | None:
    """An id, taken out; numbers are common. None where it is absent, null or empty."""
    value = parent.pop(name, None)
    if type(value) is int:
        if not _MIN_INT <= value <= _MAX_INT:
            raise RejectionError(Code.INTEGER_OUT_OF_RANGE, path or f"$.{name}", "an integer must fit into 64 bits")
        return str(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise RejectionError(Code.WRONG_TYPE, path or f"$.{name}", "must be a string")
    return value


def _event_name(call: dict[str, Any]) -> Any:
    name = call.pop("event", None)
    if name is None:
        raise RejectionError(Code.MISSING_FIELD, "$.event", "this field must be given")
    if name == "":
        raise RejectionError(Code.EMPTY, "$.event", "this field must not be empty")
    return name


def _read_page(
    kind: str, call: dict[str, Any], about: dict[str, Any], given: dict[str, Any], event: dict[str, Any]
) -> None:
    """The page, its title and its referrer. What they say is not kept a second time."""
    within = about.get("page")
    pages = [page for page in (given if kind in _VIEWS else None, within) if isinstance(page, dict)]
    name = None
    if kind in _VIEWS:
        name = _text(call, "name") or _text(given, "name")
        for each in ("name", "category"):
            if each in given and call.get(each) == given[each]:
                del call[each]
    url = _first(pages, "url") or _first(pages, "path")
    page = (name or url if kind == "screen" else url or name) or NOT_SET
    event["title"], event["referrer"] = _first(pages, "title"), _first(pages, "referrer")
    said = {"url": page, "title": event["title"], "referrer": event["referrer"]}
    for place in pages:
        for member, value in said.items():
            if value is not None and place.get(member) == value:
                del place[member]
        for member in ("path", "search"):
            part = place.get(member)
            if isinstance(part, str) and part in page:
                del place[member]
    event["page"] = _with_campaign(page, about)
    if within == {}:
        del about["page"]


def _with_campaign(page: str, about: dict[str, Any]) -> str:
    """The page with the parameters of `context.campaign`, where it has none of its own: there they are looked for."""
    campaign = about.get("campaign")
    is_url = page.startswith("/") or "://" in page
    if not isinstance(campaign, dict) or not is_url or "utm_" in page:
        return page
    names = [name for name in _CAMPAIGN if _text(campaign, name)]
    if not names:
        return page
    tags = "&".join(f"{_CAMPAIGN[name]}={quote(campaign.pop(name), safe='')}" for name in names)
    if not campaign:
        del about["campaign"]
    address, hash_sign, fragment = page.partition("#")
    return f"{address}{'&' if '?' in address else '?'}{tags}{hash_sign}{fragment}"


def _read_surroundings(about: dict[str, Any], event: dict[str, Any], extra: list[tuple[str, Any]]) -> None:
    for name, ours in (("userAgent", "user_agent"), ("ip", "ip")):
        if _text(about, name):
            event[ours] = about.pop(name)
    for name, ours in (("locale", "language"), ("timezone", "time_zone")):
        if _text(about, name):
            extra.append((ours, about.pop(name)))
    screen = about.get("screen")
    if isinstance(screen, dict) and all(_is_pixels(screen.get(side)) for side in ("width", "height")):
        extra.append(("screen", f"{screen.pop('width')}x{screen.pop('height')}"))
        if not screen:
            del about["screen"]


def _is_pixels(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MAX_PIXELS


def _first(pages: list[dict[str, Any]], name: str) -> str | None:
    return next(_texts(pages, name), None)


def _texts(pages: list[dict[str, Any]], name: str) -> Iterator[str]:
    for page in pages:
        text = _text(page, name)
        if text is not None:
            yield text


def _text(parent: dict[str, Any], name: str) -> str | None:
    """A string that is not empty; None for anything else."""
    value = parent.get(name)
    return value if isinstance(value, str) and value else None
