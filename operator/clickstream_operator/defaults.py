"""The defaults of a ClickstreamPipeline, taken from the resource's own schema.

The API server has filled them in for every object that it hands out; this does the same for objects that come from
elsewhere (golden tests, an API server whose schema is one release older).
"""

from __future__ import annotations

import copy
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml

_FILE: Final = "clickstreampipelines.clickstream.dev.yaml"


@cache
def resource_definition() -> dict[str, Any]:
    """The CustomResourceDefinition, packaged with the operator."""
    text = resources.files("clickstream_operator").joinpath("data", _FILE).read_text(encoding="utf-8")
    definition: dict[str, Any] = yaml.safe_load(text)
    return definition


def spec_schema() -> dict[str, Any]:
    schema: dict[str, Any] = resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec: dict[str, Any] = schema["properties"]["spec"]
    return spec


def with_defaults(schema: dict[str, Any], value: Any) -> Any:
    """A copy of `value` as the API server would store it: defaults filled in, fields that the schema lacks left out."""
    if isinstance(value, dict):
        properties: dict[str, Any] = schema.get("properties", {})
        if not properties:  # a map, or anything
            return copy.deepcopy(value)
        filled = value | {
            name: copy.deepcopy(child["default"])
            for name, child in properties.items()
            if name not in value and "default" in child
        }
        return {name: with_defaults(properties[name], item) for name, item in filled.items() if name in properties}
    if isinstance(value, list):
        items = schema.get("items", {})
        return [with_defaults(items, item) for item in value]
    return value
