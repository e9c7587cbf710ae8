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


def link(title: str, kind: str, **variables: str) -> dict[str, Any]:
    """A link of a cell to another dashboard of the pipeline, in the same time range, with these variables set.

    `contracts.dashboards` puts the pipeline's own uid into the address.
    """
    values = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return {"title": title, "url": f"/d/clickstream-{kind}?${{__url_time_range}}{values}", "targetBlank": False}


def page_link() -> dict[str, Any]:
    """A column of pages that lead to the sessions in which they were viewed."""
    return {"links": [link("Sessions that viewed it", "sessions", page="${__value.raw:percentencode}")]}


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
