"""The country is found by the whole address, before it is anonymized, and never of somebody who asked for privacy."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from clickstream.contracts.clicks import Click
from clickstream.contracts.pipeline import Privacy
from clickstream.runtime.geoip import Address
from clickstream.tracking_api.redaction import NOTHING, redaction_of
from clickstream.tracking_api.validation.event import RequestContext, parse_event

WHOLE = ip_address("81.2.69.142")


def british(address: Address) -> str | None:
    return "GB" if address == WHOLE else None


def collected(event: dict[str, Any] | None = None, **circumstances: Any) -> tuple[str | None, str | None]:
    given = {"event_id": "e", "timestamp": "2026-01-31T08:30:00Z", "user_id": "u", "session_id": "s", "page": "/"}
    text = json.dumps(given | (event or {})).encode()
    click = parse_event(text, RequestContext("web", 0, country_of=british, **circumstances))
    assert isinstance(click, Click)
    return click.ip, click.country


def test_the_whole_address_is_looked_up_and_the_anonymized_one_is_kept() -> None:
    assert collected(address=WHOLE) == ("81.2.69.0", "GB")
    assert collected(address=WHOLE, redaction=replace(NOTHING, address="whole")) == ("81.2.69.142", "GB")


def test_the_address_in_the_event_goes_before_that_of_the_request() -> None:
    assert collected({"ip": "81.2.69.142"}, address=ip_address("10.0.0.1")) == ("81.2.69.0", "GB")
    assert collected({"ip": "::ffff:81.2.69.142"}) == ("81.2.69.0", "GB")
    assert collected({"ip": "unknown"}, address=WHOLE) == ("81.2.69.0", "GB")
    assert collected({"ip": "10.0.0.1"}, address=WHOLE) == ("10.0.0.0", None)
    assert collected() == (None, None)


def test_who_asked_for_privacy_has_neither_address_nor_country() -> None:
    assert collected(address=WHOLE, redaction=NOTHING.of_nobody()) == (None, None)
    assert collected({"ip": "81.2.69.142"}, redaction=NOTHING.of_nobody()) == (None, None)


def test_address_and_country_are_kept_or_not_each_by_itself() -> None:
    def kept(**privacy: bool) -> tuple[str | None, str | None]:
        return collected(address=WHOLE, redaction=redaction_of(Privacy(**privacy)))

    assert kept() == ("81.2.69.0", "GB")
    assert kept(keep_ip=False) == (None, "GB")
    assert kept(keep_country=False) == ("81.2.69.0", None)
    assert kept(keep_ip=False, keep_country=False, anonymize_ip=False) == (None, None)


def test_a_country_that_the_client_claims_is_a_property_like_any_other() -> None:
    assert collected({"country": "FR"}) == (None, None)
