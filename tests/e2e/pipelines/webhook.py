"""An admission webhook as companies have them: images come from a mirror, and pods get a sidecar."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import trustme

from support.objects import Json

NAME: Final = "mirror"


@dataclass
class Mirror:
    """`prefix` goes before each image of Deployments and Jobs; `busy`: so many requests are answered with an error."""

    prefix: str = "mirror.example/"
    busy: int = 0

    def review(self, wanted: Json) -> tuple[int, Json]:
        """Status and answer to an AdmissionReview."""
        if self.busy:
            self.busy -= 1
            return 500, {}
        pod = wanted["object"]["spec"]["template"]["spec"]
        image = pod["containers"][0]["image"].rpartition("/")[2]
        patch: list[Json] = [
            {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": self.prefix + image}
        ]
        if len(pod["containers"]) == 1:
            sidecar = {"name": "sidecar", "image": "sidecar:1"}
            patch.append({"op": "add", "path": "/spec/template/spec/containers/-", "value": sidecar})
        encoded = base64.b64encode(json.dumps(patch).encode()).decode()
        answer = {"uid": wanted["uid"], "allowed": True, "patchType": "JSONPatch", "patch": encoded}
        return 200, {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}


@contextmanager
def serving(mirror: Mirror, namespace: str, folder: Path) -> Iterator[Json]:
    """The webhook's configuration, for one namespace, while it is served."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    path = folder / "webhook.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review: Any = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = mirror.review(review["request"])
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    rules = [
        {
            "apiGroups": ["apps"],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["deployments"],
        },
        {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["jobs"]},
    ]
    try:
        yield {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": NAME},
            "webhooks": [
                {
                    "name": "mirror.example.com",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "clientConfig": {
                        "url": f"https://127.0.0.1:{server.server_port}/",
                        "caBundle": base64.b64encode(authority.cert_pem.bytes()).decode(),
                    },
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                    "rules": rules,
                }
            ],
        }
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
