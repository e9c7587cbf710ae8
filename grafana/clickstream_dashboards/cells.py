"""What cells of a table look like: shares as bars, changes in green and red, words for no value."""

from __future__ import annotations

from typing import Any

from clickstream_dashboards.style import ACCENT, BAD, GOOD, QUIET


def share_cell(colour: str = ACCENT) -> dict[str, Any]:
    """A column of shares (0 to 1), drawn as bars."""
    return {
        "unit": "percentunit",
        "decimals": 1,
        "min": 0,
        "max": 1,
        "custom.cellOptions": {"type": "gauge", "mode": "basic"},
        "color": {"mode": "fixed", "fixedColor": colour},
    }


def null_as(text: str) -> dict[str, Any]:
    """A value mapping: the text shown for no value, in a muted colour."""
    return {"type": "special", "options": {"match": "null", "result": {"text": text, "color": QUIET, "index": 0}}}


def change_cell() -> dict[str, Any]:
    """A column of relative changes: green up, red down."""
    return {
        "unit": "percentunit",
        "decimals": 0,
        "custom.width": 100,
        "custom.cellOptions": {"type": "color-text"},
        "mappings": [null_as("new")],
        "thresholds": {
            "mode": "absolute",
            "steps": [
                {"color": BAD, "value": None},
                {"color": QUIET, "value": -0.005},
                {"color": GOOD, "value": 0.005},
            ],
        },
    }
