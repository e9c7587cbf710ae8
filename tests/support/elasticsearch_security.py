"""A stand-in for Elasticsearch's security module, which the node of the tests does not have.

A proxy that lets through what a role of `manifests/examples/elasticsearch-roles.yml` allows and answers 403 to
everything else, in Elasticsearch's words. Which privilege a call needs is taken from Elasticsearch's reference; a call
that is not in the table is refused for any role.
"""

from __future__ import annotations

import copy
import http.client
import json
import re
import threading
from collections.abc import Iterator
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

ROLES = Path(__file__).parents[2] / "manifests" / "examples" / "elasticsearch-roles.yml"
EXAMPLE = "clickstream.web.shop."
USER = "hush-elastic-user"
"""The user of every refusal: as a Secret's content it must never be in a log."""

Role = dict[str, Any]
Need = tuple[str, str, str, str]
"""(`cluster` or `index`, privilege, action, index)."""

_CALLS: tuple[tuple[str, str, str, str, str], ...] = (
    ("GET", r"/", "cluster", "monitor", "cluster:monitor/main"),
    ("GET", r"/_index_template/[^/]+", "cluster", "monitor", "indices:admin/index_template/get"),
    ("PUT", r"/_index_template/[^/]+", "cluster", "manage_index_templates", "indices:admin/index_template/put"),
    ("DELETE", r"/_index_template/[^/]+", "cluster", "manage_index_templates", "indices:admin/index_template/delete"),
    ("GET", r"/([^/_][^/]*)/_settings/index\.uuid", "index", "view_index_metadata", "indices:monitor/settings/get"),
    ("GET", r"/([^/_][^/]*)/_mapping", "index", "view_index_metadata", "indices:admin/mappings/get"),
    ("PUT", r"/([^/_][^/]*)/_mapping", "index", "manage", "indices:admin/mapping/put"),
    ("PUT", r"/([^/_][^/]*)/_settings", "index", "manage", "indices:admin/settings/update"),
    ("PUT", r"/([^/_][^/]*)/_block/write", "index", "manage", "indices:admin/block/add"),
    ("POST", r"/([^/_][^/]*)/_refresh", "index", "maintenance", "indices:admin/refresh"),
    ("DELETE", r"/([^/_][^/]*)", "index", "delete_index", "indices:admin/delete"),
    ("POST", r"/([^/_][^/]*)/_search", "index", "read", "indices:data/read/search"),
)
_OF_BULK = {"create": "index", "index": "index", "delete": "delete"}
_TEMPLATES = ("indices:admin/index_template/get", "manage_index_templates")
"""This action is also allowed by this privilege."""
_IMPLIED = {"manage": {"manage", "view_index_metadata", "maintenance", "delete_index", "create_index"}}


def documented_roles(index_prefix: str) -> dict[str, Role]:
    """The example's roles, by their names without the pipeline's, for the pipeline of these indices."""
    roles: dict[str, Role] = yaml.safe_load(ROLES.read_text().replace(EXAMPLE, f"{index_prefix}."))
    return {name.removeprefix("clickstream_shop_"): role for name, role in roles.items()}


def without(role: Role, kind: str, privilege: str) -> Role:
    """The role without one privilege; `kind`: `cluster` or `index`."""
    less = copy.deepcopy(role)
    (less["cluster"] if kind == "cluster" else less["indices"][0]["privileges"]).remove(privilege)
    return less


def privileges(role: Role) -> list[tuple[str, str]]:
    """All that the role grants, as (`cluster` or `index`, privilege)."""
    (indices,) = role["indices"]
    return [("cluster", one) for one in role["cluster"]] + [("index", one) for one in indices["privileges"]]


class SecurityProxy:
    """In front of an Elasticsearch, for one role. `used`: the granted privileges that a call needed."""

    def __init__(self, target: str, role: Role) -> None:
        parts = urlsplit(target)
        self.used: set[tuple[str, str]] = set()
        self.refused: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                denial = proxy._denial(role, self.command, self.path, body)
                if denial is not None:
                    proxy.refused.append(f"{self.command} {self.path}: {denial}")
                    error = {"type": "security_exception", "reason": denial}
                    content = json.dumps({"error": {"root_cause": [error], **error}, "status": 403}).encode()
                    self.answer(403, [("Content-Type", "application/json")], content)
                    return
                backend = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
                backend.request(self.command, self.path, body, headers)
                response = backend.getresponse()
                content = response.read()
                self.answer(response.status, [h for h in response.getheaders() if h[0].lower() not in _OWN], content)
                backend.close()

            def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="es-security", daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _denial(self, role: Role, method: str, path: str, body: bytes) -> str | None:
        needs = list(_needs(method, unquote(urlsplit(path).path), body))
        if not needs:
            return f"action [unknown] {method} {path} is unauthorized for user [{USER}]"
        for need in needs:
            granted = _granting(role, need)
            kind, privilege, action, _ = need
            if granted is None:
                more = [_TEMPLATES[1]] if action == _TEMPLATES[0] else []
                kinds = ",".join(
                    [privilege, *more, *(name for name, more in _IMPLIED.items() if privilege in more), "all"]
                )
                return (
                    f"action [{action}] is unauthorized for user [{USER}] with effective roles [test], "
                    f"this action is granted by the {kind} privileges [{kinds}]"
                )
            self.used.add((kind, granted))
        return None


_OWN = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


def _needs(method: str, path: str, body: bytes) -> Iterator[Need]:
    if (method, path) == ("POST", "/_mget"):
        for document in json.loads(body)["docs"]:
            yield "index", "read", "indices:data/read/mget", document["_index"]
    elif (method, path) in (("POST", "/_bulk"), ("PUT", "/_bulk")):
        yield from _of_bulk(body)
    else:
        for verb, pattern, kind, privilege, action in _CALLS:
            found = re.fullmatch(pattern, path)
            if verb == method and found is not None:
                for index in found[1].split(",") if found.groups() else ("",):
                    yield kind, privilege, action, index


def _of_bulk(body: bytes) -> Iterator[Need]:
    lines = iter(body.splitlines())
    for line in lines:
        ((verb, where),) = json.loads(line).items()
        action = "delete" if verb == "delete" else "index"
        yield "index", _OF_BULK[verb], f"indices:data/write/{action}", where["_index"]
        if verb == "create":
            yield "index", "create_index", "indices:admin/auto_create", where["_index"]
        if verb != "delete":
            next(lines)


def _granting(role: Role, need: Need) -> str | None:
    """The role's own privilege that allows it; the narrower where two do."""
    kind, privilege, action, index = need
    if kind == "cluster":
        if action == _TEMPLATES[0] and privilege not in role["cluster"]:
            privilege = _TEMPLATES[1]
        return privilege if privilege in role["cluster"] else None
    for part in role["indices"]:
        if any(fnmatchcase(index, name) for name in part["names"]):
            for own in (privilege, *(name for name, more in _IMPLIED.items() if privilege in more)):
                if own in part["privileges"]:
                    return str(own)
    return None
