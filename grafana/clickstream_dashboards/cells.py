"""What cells of a table look like: shares as bars, changes in green and red, words for no value."""

from __future__ import annotations

from typing import Any

from clickstream_dashboards.style import ACCENT, BAD, GOOD, QUIET, null_as


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


def change_cell() -> dict[str, Any]:
    """A column of relative changes: green up, red down; what is more than tenfold is only called that."""
    tenfold = {"text": "over 10×", "color": GOOD, "index": 1}
    return {
        "unit": "percentunit",
        "decimals": 0,
        "custom.width": 100,
        "custom.cellOptions": {"type": "color-text"},
        "mappings": [null_as("–"), {"type": "range", "options": {"from": 9, "to": None, "result": tenfold}}],
        "thresholds": {
            "mode": "absolute",
            "steps": [
                {"color": BAD, "value": None},
                {"color": QUIET, "value": -0.005},
                {"color": GOOD, "value": 0.005},
            ],
        },
    }
