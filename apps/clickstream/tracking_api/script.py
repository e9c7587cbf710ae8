"""The tracker's scripts as browsers ask for them: brotli, gzip or plain, made once at the start."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

import cramjam

_HEADERS: Final = {
    "cache-control": "public, max-age=3600",
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
    "content-type": "text/javascript; charset=utf-8",
    "vary": "accept-encoding",
}


@dataclass(frozen=True, slots=True)
class Script:
    """One form of it: the body, and all headers."""

    body: bytes
    headers: dict[str, str]


MODULES: Final = ("debug", "domains", "elements", "engagement", "errors", "forms", "links", "vitals")
"""What the tag of a page may ask for beside the tracker itself (`data-modules`, `data-domains`, `data-debug`)."""

FILES: Final = {"/tracker.js": "tracker.js"} | {f"/v1/tracker/{name}.js": f"tracker/{name}.js" for name in MODULES}
"""Where they are asked for, and their files."""


def read_scripts() -> dict[str, dict[str, Script]]:
    """The forms of each by path and content coding; the plain one is `identity`."""
    folder = resources.files("clickstream.tracking_api").joinpath("static")
    return {path: _forms(folder.joinpath(name).read_bytes()) for path, name in FILES.items()}


def _forms(text: bytes) -> dict[str, Script]:
    digest = hashlib.sha256(text).hexdigest()[:16]
    bodies = {
        "br": bytes(cramjam.brotli.compress(text, 11)),
        "gzip": gzip.compress(text, 9, mtime=0),
        "identity": text,
    }
    return {coding: Script(body, _headers(coding, digest)) for coding, body in bodies.items()}


def coding_for(accepted: str) -> str:
    """The smallest coding that an Accept-Encoding header allows; weights are only looked at for being 0."""
    allowed = set()
    for each in accepted.lower().split(",")[:16]:
        name, _, weight = each.replace(" ", "").partition(";q=")
        if weight.strip("0.") or not weight:
            allowed.add(name)
    return next((coding for coding in ("br", "gzip") if coding in allowed or "*" in allowed), "identity")


def _headers(coding: str, digest: str) -> dict[str, str]:
    headers = _HEADERS | {"etag": f'"{digest}-{coding}"'}
    return headers if coding == "identity" else headers | {"content-encoding": coding}
