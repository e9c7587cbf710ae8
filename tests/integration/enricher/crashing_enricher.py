"""An enricher that misbehaves at a chosen point, run as a process by the delivery tests.

CRASH_AFTER: `output`, `changelog` or `partition`: SIGKILL itself after that stage's delivery, at the first chunk that
begins at or beyond record CRASH_FROM in any partition. SLOW_CHUNK: seconds that one chunk takes. The code under test is
unchanged: one method of it is wrapped.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from clickstream.enricher import main, partitions, processing


def crash_after(stage: str, from_offset: int, once: Path) -> None:
    number = {"output": 1, "changelog": 2, "partition": 3}[stage]
    original = partitions.Partitions._write
    deliver = partitions.Output.deliver
    armed = {"count": -1}

    def write(self, partition, owned, effects):
        if owned.state.applied >= from_offset and owned.state.dirty and not once.exists():
            armed["count"] = 0
        original(self, partition, owned, effects)
        armed["count"] = -1

    def counting(self):
        deliver(self)
        if armed["count"] >= 0:
            armed["count"] += 1
            if armed["count"] == number:
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    partitions.Partitions._write = write
    partitions.Output.deliver = counting


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
