"""`python -m clickstream_dashboards DIR`: write every dashboard as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from clickstream_dashboards import (
    acquisition,
    audience,
    experience,
    funnels,
    health,
    live,
    overview,
    retention,
    sessions,
)

DASHBOARDS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "overview": overview.build,
    "live": live.build,
    "audience": audience.build,
    "acquisition": acquisition.build,
    "funnels": funnels.build,
    "retention": retention.build,
    "experience": experience.build,
    "sessions": sessions.build,
    "health": health.build,
}


def text(kind: str) -> str:
    """The content of a dashboard's file."""
    return json.dumps(DASHBOARDS[kind](), indent=2, ensure_ascii=False) + "\n"


def main(folder: Path) -> None:
    """Write them all; a file of a dashboard that is no more is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        if old.stem not in DASHBOARDS:
            old.unlink()
    for kind in DASHBOARDS:
        (folder / f"{kind}.json").write_text(text(kind), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
