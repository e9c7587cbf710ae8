"""The operator's data sources in a real Grafana: what it is told arrives, and what is not wanted any more goes."""

from __future__ import annotations

import base64
import copy
import json
import os
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clickstream_operator.desired.context import Context
from clickstream_operator.desired.datasources import datasources
from devstack.ports import free_ports
from support.golden import inputs_of, pipeline_of
from support.processes import wait_for

HOSTILE = "pa$$word$HOME${PATH}'\"\\#[@:/%é"
SETTINGS = """
[paths]
data = {folder}/data
logs = {folder}/logs
plugins = {folder}/plugins
provisioning = {folder}/provisioning
[server]
http_addr = 127.0.0.1
http_port = {port}
[analytics]
enabled = false
check_for_updates = false
check_for_plugin_updates = false
[plugins]
public_key_retrieval_disabled = true
[log]
level = warn
"""


class Store(ThreadingHTTPServer):
    """A stand-in for Elasticsearch that remembers how it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.asked: list[tuple[str, str]] = []


class _Asked(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Store)
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as made:
        threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
        yield made
        made.shutdown()


class Provisioned:
    """A Grafana with its provisioning folder, as the sidecar fills it."""

    def __init__(self, folder: Path) -> None:
        home = Path(os.environ["GRAFANA_HOME"])
        self.folder = folder / "provisioning" / "datasources"
        self.folder.mkdir(parents=True)
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        (folder / "grafana.ini").write_text(SETTINGS.format(folder=folder, port=port))
        self.log = (folder / "log").open("wb")
        command = [home / "bin" / "grafana", "server", "--homepath", home, "--config", folder / "grafana.ini"]
        self.child = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        wait_for(lambda: self.ask("/api/health")[0] == 200, "Grafana answers")

    def close(self) -> None:
        self.child.terminate()
        self.child.wait(20)
        self.log.close()

    def ask(self, path: str, method: str = "GET") -> tuple[int, Any]:
        login = base64.b64encode(b"admin:admin").decode()
        request = urllib.request.Request(self.url + path, method=method, headers={"Authorization": f"Basic {login}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, None

    def provision(self, case: str, url: str, **wanted: Any) -> list[str]:
        """Write the file of a golden case with other data sources, and reload; the types that Grafana has then."""
        pipeline, inputs = pipeline_of(case), inputs_of(case)
        raw = copy.deepcopy(pipeline.raw_spec)
        raw["dashboards"] = {"datasources": {"elasticsearch": {"url": url} | wanted.pop("elasticsearch", {})} | wanted}
        pipeline = msgspec.structs.replace(pipeline, raw_spec=raw)
        dsn = "host=pg-0,pg-1 user='" + HOSTILE.replace("\\", "\\\\").replace("'", "\\'") + "'"
        secrets = {("reader", "uri"): dsn, **{("es", key): HOSTILE for key in ("username", "password", "api-key")}}
        inputs = replace(inputs, secrets=dict.fromkeys(secrets, "hash"), credentials=secrets)
        (child,) = datasources(Context.of(pipeline, pipeline.spec(), inputs))
        assert child.blocked is None
        for name, content in child.manifest["data"].items():
            (self.folder / name).write_bytes(base64.b64decode(content))
        status, answer = self.ask("/api/admin/provisioning/datasources/reload", "POST")
        assert status == 200, answer
        return sorted(each["type"] for each in self.ask("/api/datasources")[1])

    def named(self, kind: str) -> dict[str, Any]:
        return next(each for each in self.ask("/api/datasources")[1] if each["type"] == kind)


@pytest.fixture
def grafana(tmp_path: Path) -> Iterator[Provisioned]:
    made = Provisioned(tmp_path)
    yield made
    made.close()


def test_whatever_characters_a_credential_has_arrive_and_what_is_not_wanted_goes(grafana, store):
    url = f"http://127.0.0.1:{store.server_port}/$HOME"
    reader = {"connectionSecretRef": {"name": "reader", "key": "uri"}}
    user = {"credentialsSecretRef": {"name": "es", "usernameKey": "username", "passwordKey": "password"}}
    both = ["elasticsearch", "elasticsearch", "postgres"]
    assert grafana.provision("full", url, elasticsearch=user, postgres=reader) == both
    postgres = grafana.named("postgres")
    assert (postgres["user"], postgres["url"], postgres["database"]) == (HOSTILE, "pg-0:5432", HOSTILE)
    uid = grafana.named("elasticsearch")["uid"]
    assert grafana.ask(f"/api/datasources/proxy/uid/{uid}/asked")[0] == 200
    basic = base64.b64encode(f"{HOSTILE}:{HOSTILE}".encode()).decode()
    assert store.asked[-1] == ("/$HOME/asked", f"Basic {basic}")

    key = {"apiKeySecretRef": {"name": "es", "key": "api-key"}}

    def with_the_key() -> bool:
        assert grafana.provision("full", url, elasticsearch=key) == ["elasticsearch", "elasticsearch"]
        grafana.ask(f"/api/datasources/proxy/uid/{uid}/asked")
        return store.asked[-1][1].encode("latin-1").decode() == f"ApiKey {HOSTILE}"

    wait_for(with_the_key, "the key arrives; Grafana does not notice a second change within the same second")
