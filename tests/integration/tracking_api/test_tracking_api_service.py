"""The routes around collecting: health, metrics, the tracker's script, the API's own description."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clickstream.contracts.pipeline import dump_pipeline


def test_it_is_alive_and_ready(api):
    assert api.request("GET", "/healthz").status == 200
    assert api.request("GET", "/readyz").status == 200


def test_the_trackers_script_may_be_loaded_and_cached_by_any_page(api):
    answer = api.request("GET", "/tracker.js")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert len(answer.body) < 8_192
    again = api.request("GET", "/tracker.js", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_no_answer_names_the_server(api):
    assert "server" not in api.request("GET", "/healthz").headers


def test_the_description_lists_exactly_the_routes_that_exist(api):
    document = api.request("GET", "/openapi.json").json
    for path, methods in document["paths"].items():
        for method in ("get", "post", "put"):
            status = api.request(method.upper(), path).status
            assert (status != 405) == (method in methods), (method, path, status)


def test_the_documentation_page_loads_nothing_from_elsewhere(api):
    page = api.request("GET", "/docs")
    assert page.status == 200
    assert b"/v1/events/batch" in page.body
    assert not re.search(rb"(src|href)=.?(https?:)?//", page.body)
    assert api.request("GET", "/redoc").status == 404


def test_logs_say_where_it_listens_and_hold_no_key(api):
    lines = [json.loads(line) for line in api.output.splitlines()]
    assert [line["port"] for line in lines if line["message"] == "listening"] == [api.port]
    assert "wk-web" not in api.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": [{"name": "web"}]}, "sources.web: give writeKey or writeKeyFile"),
        ({"sources": [{"name": "web", "writeKeyFile": "/nowhere"}]}, "sources.web.writeKeyFile: cannot read /nowhere"),
        (
            {"sources": [{"name": "a", "writeKey": "k"}, {"name": "b", "writeKey": "k"}]},
            "sources.b: has the write key of",
        ),
        ({"sources": [{"name": "a", "writeKey": "k", "allowedOrigins": ["shop.example"]}]}, "is neither an origin"),
        ({"trackingApi": {"trustedProxies": ["everyone"]}}, "'everyone' is no address or CIDR network"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_clear_line(tmp_path, change, message):
    document = {"namespace": "it", "name": "wrong", "kafka": {"bootstrapServers": "127.0.0.1:1"}} | change
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps(document))
    ended = _run("--pipeline", str(path))
    assert ended.returncode == 2
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_port_that_is_taken_ends_the_start(api, tmp_path):
    path = tmp_path / "pipeline.json"
    path.write_bytes(dump_pipeline(api.pipeline))
    ended = _run("--pipeline", str(path), "--host", "127.0.0.1", "--port", str(api.port))
    assert ended.returncode == 1
    assert "cannot listen" in ended.stderr


def test_a_write_key_can_come_from_a_file(start_api, tmp_path, event):
    secret = tmp_path / "key"
    secret.write_text("from a file\n")
    api = start_api(sources=[{"name": "web", "writeKeyFile": str(secret)}])
    assert api.post(event(), X_Write_Key="from a file").status == 202
    assert api.post(event()).status == 403


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clickstream.cli", "tracking-api", *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=dict(os.environ), cwd=Path.cwd()
    )
