"""The routes around collecting: health, metrics, the tracker's script, the API's own description."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cramjam
import pytest

from clickstream.contracts.pipeline import dump_pipeline
from clickstream.tracking_api.script import FILES


@pytest.mark.parametrize("path", FILES)
def test_the_trackers_scripts_may_be_loaded_and_cached_by_any_page(api, path):
    answer = api.request("GET", path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    again = api.request("GET", path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_the_trackers_script_is_compressed_for_whoever_takes_it(api):
    plain = api.request("GET", "/tracker.js")
    for accepted, coding, decode in (
        ("gzip, deflate, br, zstd", "br", lambda body: bytes(cramjam.brotli.decompress(body))),
        ("gzip;q=1.0, br;q=0", "gzip", gzip.decompress),
        ("identity", None, bytes),
    ):
        answer = api.request("GET", "/tracker.js", headers={"Accept-Encoding": accepted})
        assert answer.headers.get("content-encoding") == coding
        assert answer.headers["vary"] == "accept-encoding"
        assert decode(answer.body) == plain.body
        again = api.request(
            "GET", "/tracker.js", headers={"Accept-Encoding": accepted, "If-None-Match": answer.headers["etag"]}
        )
        assert again.status == 304


def test_no_answer_names_the_server(api):
    assert "server" not in api.request("GET", "/healthz").headers


def test_the_description_lists_exactly_the_routes_that_exist(api):
    document = json.loads(api.get("/openapi.json", ops=True)[1])
    for path, methods in document["paths"].items():
        for method in ("get", "post", "put"):
            status = api.request(method.upper(), path).status
            assert (status != 405) == (method in methods), (method, path, status)


def test_the_documentation_page_loads_nothing_from_elsewhere(api):
    status, page = api.get("/docs", ops=True)
    assert status == 200
    assert "/v1/events/batch" in page
    assert not re.search(r"(src|href)=.?(https?:)?//", page)


def test_what_is_not_for_the_public_is_on_the_ops_port_only(api):
    for path in ("/metrics", "/docs", "/openapi.json"):
        assert api.get(path, ops=True)[0] == 200
        for method in ("GET", "HEAD", "POST"):
            assert api.request(method, path).status == 404
        assert api.request("GET", f"{path}/").status == 404
    for path in ("/redoc", "/v1", "/v1/metrics"):
        assert api.request("GET", path).status == 404
    assert "clickstream_producer_queue_records" in api.get("/metrics", ops=True)[1]


def test_both_ports_say_whether_it_is_ready(api):
    assert [api.get(path, ops=ops) for path in ("/healthz", "/readyz") for ops in (False, True)] == [(200, "ok\n")] * 4


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


def test_a_port_that_is_taken_ends_the_start(api, tmp_path, monkeypatch):
    path = tmp_path / "pipeline.json"
    path.write_bytes(dump_pipeline(api.pipeline))
    ended = _run("--pipeline", str(path), "--host", "127.0.0.1", "--port", str(api.port))
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{api.port}" in ended.stderr
    monkeypatch.setenv("CLICKSTREAM_OPS_HOST", "127.0.0.1")
    monkeypatch.setenv("CLICKSTREAM_OPS_PORT", str(api.ops_port))
    ended = _run("--pipeline", str(path), "--host", "127.0.0.1", "--port", "0")
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{api.ops_port}" in ended.stderr


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
