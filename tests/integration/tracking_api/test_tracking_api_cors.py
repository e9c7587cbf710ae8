"""Which page may send and read: CORS, source by source."""

from __future__ import annotations

import pytest

SHOP, OTHER = "https://shop.example", "https://other.example"

# (Origin, key, status of a POST, who may read the answer)
POSTS = [
    (None, "wk-web", 202, None),
    (SHOP, "wk-web", 202, SHOP),
    (OTHER, "wk-web", 403, "*"),
    (OTHER, "wk-any", 202, OTHER),
    ("null", "wk-any", 202, "null"),
    (SHOP, "wk-server", 403, "*"),
    (None, "wk-server", 202, None),
    (SHOP, None, 401, SHOP),
    (SHOP, "unknown", 403, SHOP),
    ("https://SHOP.example", "wk-web", 403, "*"),
    ("https://shop.example:8443", "wk-web", 403, "*"),
    ("", "wk-web", 403, "*"),
]


@pytest.mark.parametrize(("origin", "key", "status", "readers"), POSTS)
def test_a_page_may_send_when_its_keys_source_allows_it_and_read_why_not(api, event, origin, key, status, readers):
    headers = {} if origin is None else {"Origin": origin}
    answer = api.post(event(), f"/v1/events?key={key}" if key else "/v1/events", X_Write_Key="", **headers)

    assert answer.status == status, answer
    assert answer.headers.get("access-control-allow-origin") == readers
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
