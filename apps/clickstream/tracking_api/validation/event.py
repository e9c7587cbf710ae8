"""One event of a client, as JSON text, as a query string or parsed, becomes a `Click` or a `Rejection`. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from clickstream.contracts.clicks import PAGE_VIEW, Click
from clickstream.contracts.text import without_nul
from clickstream.contracts.urls import without_credentials
from clickstream.runtime.geoip import CountryOf, no_country
from clickstream.tracking_api import limits, rejections
from clickstream.tracking_api.address import Address, parse_address
from clickstream.tracking_api.redaction import NOTHING, Redaction
from clickstream.tracking_api.rejections import Rejection, RejectionError
from clickstream.tracking_api.validation.fields import (
    exceeds,
    optional_text,
    optional_time,
    optional_url,
    required_id,
    required_time,
    required_url,
    text_of_any_length,
)
from clickstream.tracking_api.validation.json_text import parse_json, repaired, without_bom
from clickstream.tracking_api.validation.properties import read_properties

_KNOWN_FIELDS: Final = frozenset(
    {
        *("event_id", "timestamp", "user_id", "session_id", "page"),
        *("type", "sent_at", "referrer", "user_agent", "ip", "title", "properties"),
    }
)
_MAX_PARAMETERS: Final = limits.PROPERTIES + len(_KNOWN_FIELDS)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What a request says about each of its events. Times in ms.

    `address` and `user_agent` are used where the event itself names none; `user_agent` is the visitor's own, None where
    the request came from a server. `browser`: a browser sent it. `country_of` gets the whole address, before it is
    anonymized. `sent_at` is the batch's own and counts for events that have none. `nonce` tells requests of the same
    content apart. `redaction`: what is taken out of its events.
    """

    source: str
    received_at: int
    address: Address | None = None
    user_agent: str | None = None
    sent_at: int | None = None
    country_of: CountryOf = no_country
    browser: bool = False
    nonce: bytes = b""
    redaction: Redaction = NOTHING

    def kept(self, original: bytes) -> bytes:
        """What a dead letter keeps of what the client sent."""
        return self.redaction.original(original, _KNOWN_FIELDS)


def parse_event(text: bytes, context: RequestContext) -> Click | Rejection:
    """The click in the JSON text of one event."""
    if len(text) > limits.EVENT_BYTES:
        return rejections.EVENT_TOO_LARGE
    value = parse_json(repaired(without_bom(text)))
    return value if isinstance(value, Rejection) else validate_event(value, context)


def parse_query(query: bytes, context: RequestContext) -> Click | Rejection:
    """The click in a query string without its write key: what an `<img>` can send where no script runs (mail, AMP).

    The parameters are the event's fields, all of them strings; `properties` is a JSON object; further parameters become
    properties. The page must be given: the Referer header is not used.
    """
    if len(query) > limits.EVENT_BYTES:
        return rejections.EVENT_TOO_LARGE
    event: dict[str, Any] = {}
    for pair in query.split(b"&"):
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition(b"=")
        try:
            name, value = (unquote_to_bytes(part.replace(b"+", b" ")).decode() for part in (raw_name, raw_value))
        except UnicodeDecodeError:
            return rejections.MALFORMED_QUERY
        if name in event:
            return rejections.REPEATED_PARAMETER
        if len(event) == _MAX_PARAMETERS:
            return rejections.TOO_MANY_PARAMETERS
        event[name] = value
    properties = event.get("properties")
    if properties is not None:
        parsed = parse_json(repaired(properties.encode()))
        event["properties"] = properties if isinstance(parsed, Rejection) else parsed
    return validate_event(event, context)


def validate_event(event: object, context: RequestContext) -> Click | Rejection:
    """The click in a parsed event."""
    if not isinstance(event, dict):
        return rejections.EVENT_NOT_AN_OBJECT
    try:
        return read_click(event, [pair for pair in event.items() if pair[0] not in _KNOWN_FIELDS], context)
    except RejectionError as error:
        return error.rejection


def read_click(event: dict[str, Any], unknown: Collection[tuple[str, Any]], context: RequestContext) -> Click:
    """The click in the known fields of an event; the unknown ones become properties. Raises RejectionError."""
    sent_at = optional_time(event, "sent_at")
    redaction = context.redaction
    return Click(
        event_id=required_id(event, "event_id", limits.EVENT_ID_BYTES),
        timestamp=required_time(event, "timestamp"),
        user_id=required_id(event, "user_id", limits.ID_BYTES),
        session_id=required_id(event, "session_id", limits.ID_BYTES),
        page=redaction.text(required_url(event, "page", limits.PAGE_BYTES)),
        received_at=context.received_at,
        source=context.source,
        type=_redacted(redaction, optional_text(event, "type", limits.TYPE_BYTES)) or PAGE_VIEW,
        sent_at=context.sent_at if sent_at is None else sent_at,
        referrer=_redacted(redaction, optional_url(event, "referrer", limits.STRING_BYTES)),
        user_agent=_user_agent(event, context),
        # The address is read here rather than first: the order of fields decides which rejection a client gets.
        ip=None if (address := _address(event, context)) is None else redaction.stored_address(address),
        country=None if address is None or not redaction.country else context.country_of(address),
        title=_redacted(redaction, optional_text(event, "title", limits.STRING_BYTES)),
        properties={
            name: redaction.value(value) if isinstance(value, str) else value
            for name, value in read_properties(event.get("properties"), unknown).items()
        },
    )


def _redacted(redaction: Redaction, text: str | None) -> str | None:
    return text if text is None else redaction.text(text)


def _user_agent(event: dict[str, Any], context: RequestContext) -> str | None:
    text = text_of_any_length(event, "user_agent")
    if text is None and context.user_agent:
        text = without_credentials(without_nul(context.user_agent))
    if text is None:
        return None
    if exceeds(text, limits.USER_AGENT_BYTES):
        text = text.encode()[: limits.USER_AGENT_BYTES].decode(errors="ignore")
    return context.redaction.user_agent(text)


def _address(event: dict[str, Any], context: RequestContext) -> Address | None:
    text = text_of_any_length(event, "ip")
    return (parse_address(text) if text else None) or context.address
