"""One event of a client, judged: bytes in, `Click | Rejection` out. Pure; the request's circumstances are an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from clickstream.contracts.clicks import PAGE_VIEW, Click
from clickstream.contracts.geoip import CountryOf, no_country
from clickstream.contracts.urls import without_credentials
from clickstream.tracking_api import limits
from clickstream.tracking_api.address import Address, kept_form, parse_address
from clickstream.tracking_api.fields import (
    RefusedError,
    optional_text,
    optional_time,
    optional_url,
    required_id,
    required_time,
    required_url,
    uncut_text,
    without_nul,
)
from clickstream.tracking_api.json_text import parse, repaired, without_bom
from clickstream.tracking_api.long_urls import longer
from clickstream.tracking_api.properties import read_properties
from clickstream.tracking_api.rejections import Code, Rejection

KNOWN_FIELDS: Final = frozenset(
    {
        *("event_id", "timestamp", "user_id", "session_id", "page"),
        *("type", "sent_at", "referrer", "user_agent", "ip", "title", "properties"),
    }
)

TOO_LARGE = Rejection(Code.EVENT_TOO_LARGE, "$", f"an event has at most {limits.EVENT_BYTES} bytes")
_NO_OBJECT = Rejection(Code.WRONG_TYPE, "$", "an event is an object")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a request says about each of its events. Times in ms.

    `address` and `user_agent` stand in where the event itself names none; `country_of` is asked by the whole address,
    before it is anonymized. With `keep_ip` False neither address nor country is kept. `user_agent` is the visitor's own,
    None where the request came from a server.
    `sent_at` is the batch's own and counts for events that have none.
    """

    source: str
    received_at: int
    address: Address | None = None
    user_agent: str | None = None
    sent_at: int | None = None
    anonymize_ip: bool = True
    keep_ip: bool = True
    country_of: CountryOf = no_country


def read_event(text: bytes, circumstances: Circumstances) -> Click | Rejection:
    """The click in the JSON text of one event."""
    if len(text) > limits.EVENT_BYTES:
        return TOO_LARGE
    value = parse(repaired(without_bom(text)))
    return value if isinstance(value, Rejection) else judge(value, circumstances)


def judge(event: object, circumstances: Circumstances) -> Click | Rejection:
    """The click in a parsed event."""
    if not isinstance(event, dict):
        return _NO_OBJECT
    try:
        return _click(event, circumstances)
    except RefusedError as refused:
        return refused.rejection


def _click(event: dict[str, Any], circumstances: Circumstances) -> Click:
    sent_at = optional_time(event, "sent_at")
    return Click(
        event_id=required_id(event, "event_id", limits.EVENT_ID_BYTES),
        timestamp=required_time(event, "timestamp"),
        user_id=required_id(event, "user_id", limits.ID_BYTES),
        session_id=required_id(event, "session_id", limits.ID_BYTES),
        page=required_url(event, "page", limits.PAGE_BYTES),
        received_at=circumstances.received_at,
        source=circumstances.source,
        type=optional_text(event, "type", limits.TYPE_BYTES) or PAGE_VIEW,
        sent_at=circumstances.sent_at if sent_at is None else sent_at,
        referrer=optional_url(event, "referrer", limits.STRING_BYTES),
        user_agent=_user_agent(event, circumstances),
        ip=_ip(event, circumstances),
        country=_country(event, circumstances),
        title=optional_text(event, "title", limits.STRING_BYTES),
        properties=read_properties(event, [name for name in event if name not in KNOWN_FIELDS]),
    )


def _user_agent(event: dict[str, Any], circumstances: Circumstances) -> str | None:
    text = uncut_text(event, "user_agent")
    if text is None and circumstances.user_agent:
        text = without_credentials(without_nul(circumstances.user_agent))
    if text is not None and longer(text, limits.USER_AGENT_BYTES):
        return text.encode()[: limits.USER_AGENT_BYTES].decode(errors="ignore")
    return text


def _address(event: dict[str, Any], circumstances: Circumstances) -> Address | None:
    text = uncut_text(event, "ip")
    if not circumstances.keep_ip:
        return None
    return (parse_address(text) if text else None) or circumstances.address


def _country(event: dict[str, Any], circumstances: Circumstances) -> str | None:
    address = _address(event, circumstances)
    return None if address is None else circumstances.country_of(address)


def _ip(event: dict[str, Any], circumstances: Circumstances) -> str | None:
    address = _address(event, circumstances)
    return None if address is None else kept_form(address, anonymize=circumstances.anonymize_ip)
