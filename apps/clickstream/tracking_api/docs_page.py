"""/docs: the OpenAPI document as one plain page that loads nothing from anywhere."""

from __future__ import annotations

import html
import json
from typing import Any

_STYLE = """\
body{font:16px/1.6 system-ui,sans-serif;max-width:56rem;margin:3rem auto;padding:0 1.5rem;color:#1d2521;background:#fbfaf6}
h1{margin-bottom:.2em}h2{margin-top:2.4em;border-top:1px solid #ddd;padding-top:1em}code,pre{font:14px/1.5 ui-monospace,monospace}
h2 code{font-size:1.05rem;background:#2f5d46;color:#fff;border-radius:6px;padding:.2em .5em}td{padding:.25em 1.2em .25em 0;vertical-align:top}
pre{background:#fff;border:1px solid #e5e3da;border-radius:8px;padding:1em;overflow:auto}summary{cursor:pointer}"""


def docs_page(document: dict[str, Any]) -> str:
    """The whole page."""
    info = document["info"]
    operations = [
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = "".join(
        f"<details><summary><b>{_text(name)}</b></summary><pre>{_text(json.dumps(schema, indent=2))}</pre></details>"
        for name, schema in document["components"]["schemas"].items()
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{_text(info['title'])}</title><style>{_STYLE}</style>"
        f"<h1>{_text(info['title'])}</h1><p>{_text(info['description'])}</p>"
        "<p>The write key goes into <code>X-Write-Key</code> or <code>?key=</code>. "
        "The whole document: <a href=openapi.json>openapi.json</a>.</p>"
        f"{''.join(operations)}<h2>Schemas</h2>{schemas}</html>\n"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><b>{_text(status)}</b><td>{_text(answer['description'])}"
        for status, answer in operation["responses"].items()
    )
    return (
        f"<h2><code>{_text(method.upper())} {_text(path)}</code></h2><p>{_text(operation['summary'])}. "
        f"{_text(operation.get('description', ''))}</p><table>{rows}</table>"
    )


def _text(value: str) -> str:
    return html.escape(value)
