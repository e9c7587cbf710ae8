"""The ClickstreamPipeline's schema as a JSON Schema that an ordinary validator takes.

The CEL rules are not in it: only an API server runs those. Unknown fields, which an API server would silently drop, are
errors here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema
import yaml

from generate import CRD


def pipeline_errors(resource: dict[str, Any]) -> list[str]:
    """Path and message of everything that is wrong with a ClickstreamPipeline; empty when it is valid."""
    return [f"{error.json_path}: {error.message}" for error in _validator().iter_errors(resource)]


def spec_fields(schema: dict[str, Any] | None = None, path: str = "spec", seen: set[int] | None = None) -> set[str]:
    """Path of every field of the spec, `spec.sources[].name`.

    An object that stands at several places (a YAML alias is the very object of its anchor) is entered at its first.
    """
    seen = set() if seen is None else seen
    if schema is None:
        version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
        schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found = set()
    for name, field in schema.get("properties", {}).items():
        inner, suffix = (field["items"], "[]") if field["type"] == "array" else (field, "")
        found.add(f"{path}.{name}")
        if id(inner) not in seen:
            seen.add(id(inner))
            found |= spec_fields(inner, f"{path}.{name}{suffix}", seen)
    return found


def given_fields(value: Any, path: str = "spec") -> set[str]:
    """Path of every field that a spec gives, in the same form."""
    match value:
        case dict():
            return set().union(
                *({f"{path}.{key}"} | given_fields(inner, f"{path}.{key}") for key, inner in value.items())
            )
        case list():
            return set().union(*(given_fields(inner, f"{path}[]") for inner in value))
        case _:
            return set()


@cache
def _validator() -> jsonschema.Draft202012Validator:
    version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
    return jsonschema.Draft202012Validator(_strict(version["schema"]["openAPIV3Schema"]))


def _strict(schema: Any) -> Any:
    """The schema in which an object with declared fields takes no others."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        strict["additionalProperties"] = False
    return strict
