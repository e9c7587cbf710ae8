"""The example shop's server: its pages carry the tracker, its catalogue is complete."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

SHOP = Path(__file__).resolve().parents[3] / "apps" / "shop"


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    port_file = tmp_path_factory.mktemp("shop") / "port"
    command = [sys.executable, str(SHOP / "server.py"), "--port", "0", "--port-file", str(port_file)]
    command += ["--tracker-url", "https://track.example/?a=1&b", "--write-key", 'k"1']
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not port_file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield int(port_file.read_text())
    process.terminate()
    assert process.wait(10) == 0
    assert process.stderr is not None
    assert process.stderr.read().startswith("shop: http://127.0.0.1:")


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers["Content-Type"], body


@pytest.mark.parametrize(
    "path", ["/", "/products", "/products/item-7", "/cart", "/checkout", "/thank-you", "/?utm_source=x"]
)
def test_every_page_loads_the_tracker(port, path):
    status, content_type, body = get(port, path)
    assert (status, content_type) == (200, "text/html; charset=utf-8")
    assert b'src="https://track.example/?a=1&amp;b/tracker.js" data-key="k&quot;1"' in body


def test_everything_that_a_page_refers_to_is_there(port):
    page = get(port, "/")[2].decode()
    for path in re.findall(r'(?:src|href)="(/[^"]*\.\w+)"', page):
        assert get(port, path)[0] == 200, path
    assert get(port, "/../server.py")[0] == 404


def test_the_catalogue_has_what_a_join_needs_and_a_drawing_for_each_product(port):
    products = json.loads(get(port, "/products.json")[2])
    drawings = get(port, "/pictures.js")[2].decode()
    assert [product["id"] for product in products] == [f"item-{n}" for n in range(1, len(products) + 1)]
    for product in products:
        assert set(product) == {"id", "name", "category", "price"}
        assert f'"{product["id"]}":' in drawings


def test_a_port_that_is_taken_is_said(port):
    ended = subprocess.run(
        [sys.executable, str(SHOP / "server.py"), "--port", str(port)],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 1
    assert "cannot listen" in ended.stderr
