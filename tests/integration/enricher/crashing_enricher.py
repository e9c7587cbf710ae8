"""An enricher that misbehaves at a chosen point, run as a process by the delivery tests.

CRASH_AFTER: `output`, `changelog` or `partition`: SIGKILL itself after that stage's delivery, at the first chunk that
reaches record CRASH_FROM in any partition; ONCE_FILE then has, by partition, the offset up to which it was delivered.
SLOW_CHUNK: seconds that one chunk takes. The code under test is
unchanged: one method of it is wrapped.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from clickstream.enricher import main, partitions, processing


def crash_after(stage: str, from_offset: int, once: Path) -> None:
    deliver = partitions.Partitions.deliver

    def delivering(self, pieces):
        through = deliver(self, pieces)
        delivered = {"output": pieces, "changelog": self._stages.changes, "partition": through}[stage]
        if any(piece.effects.enriched and piece.settles.applied >= from_offset for piece in delivered):
            once.write_text(json.dumps({piece.partition: piece.settles.applied for piece in delivered}))
            os.kill(os.getpid(), signal.SIGKILL)
        return through

    if not once.exists():
        partitions.Partitions.deliver = delivering


def slow_chunk(seconds: float, once: Path) -> None:
    original = processing.Processing.chunk

    def chunk(self, state, records, base):
        effects = original(self, state, records, base)
        if len(effects.enriched) > 20 and not once.exists():
            once.touch()
            time.sleep(seconds)
        return effects

    processing.Processing.chunk = chunk


if __name__ == "__main__":
    once = Path(os.environ["ONCE_FILE"])
    if "CRASH_AFTER" in os.environ:
        crash_after(os.environ["CRASH_AFTER"], int(os.environ.get("CRASH_FROM", "1000")), once)
    if "SLOW_CHUNK" in os.environ:
        slow_chunk(float(os.environ["SLOW_CHUNK"]), once)
    sys.exit(main.main(sys.argv[1:]))
