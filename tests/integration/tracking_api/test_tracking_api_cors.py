"""Which page may send and read: CORS, source by source."""

from __future__ import annotations

import pytest

SHOP, OTHER = "https://shop.example", "https://other.example"

# (Origin, key, status of a POST, whether the page may read the answer)
POSTS = [
    (None, "wk-web", 202, False),
    (SHOP, "wk-web", 202, True),
    (OTHER, "wk-web", 403, False),
    (OTHER, "wk-any", 202, True),
    ("null", "wk-any", 202, True),
    (SHOP, "wk-server", 403, False),
    (None, "wk-server", 202, False),
    (SHOP, None, 401, True),
    (SHOP, "unknown", 403, True),
    ("https://SHOP.example", "wk-web", 403, False),
    ("https://shop.example:8443", "wk-web", 403, False),
    ("", "wk-web", 403, False),
]


@pytest.mark.parametrize(("origin", "key", "status", "readable"), POSTS)
def test_a_page_may_send_and_read_when_the_source_of_its_key_allows_it(api, event, origin, key, status, readable):
    headers = {} if origin is None else {"Origin": origin}
    answer = api.post(event(), f"/v1/events?key={key}" if key else "/v1/events", X_Write_Key="", **headers)

    assert answer.status == status, answer
    assert answer.headers.get("access-control-allow-origin") == (origin if readable else None)
    assert "access-control-allow-credentials" not in answer.headers
    assert ("vary" in answer.headers) == (origin is not None)


# (Origin, key in the query, status)
PREFLIGHTS = [
    (SHOP, None, 204),
    (SHOP, "wk-web", 204),
    (OTHER, "wk-web", 403),
    (OTHER, "wk-any", 204),
    (SHOP, "wk-server", 403),
    (SHOP, "unknown", 403),
    (None, None, 204),
]


@pytest.mark.parametrize(("origin", "key", "status"), PREFLIGHTS)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch", "/v1/pixel.gif"])
def test_a_preflight_is_answered_for_the_origins_of_the_key_or_of_any_source(api, path, origin, key, status):
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-write-key"}
    headers |= {} if origin is None else {"Origin": origin}
    answer = api.request("OPTIONS", path + (f"?key={key}" if key else ""), headers=headers)

    assert answer.status == status
    if origin is not None:
        assert answer.headers["vary"] == "Origin"
        assert answer.headers.get("access-control-allow-origin") == (origin if status == 204 else None)
    if status == 204 and origin is not None:
        assert "x-write-key" in answer.headers["access-control-allow-headers"].lower()
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert int(answer.headers["access-control-max-age"]) > 0


def test_where_no_source_is_open_to_all_a_strangers_preflight_is_refused(start_api):
    api = start_api(sources=[{"name": "web", "writeKey": "wk-web", "allowedOrigins": [f"{SHOP}/"]}])
    assert api.request("OPTIONS", "/v1/events", headers={"Origin": OTHER}).status == 403
    assert api.request("OPTIONS", "/v1/events", headers={"Origin": SHOP}).status == 204


def test_a_page_may_read_when_to_try_again(api, event):
    answer = api.post(event(), Origin=SHOP)
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
