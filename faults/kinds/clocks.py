"""One pod's clock is wrong by an hour, ahead or behind, beside one that is right."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from faults.fault import Fault
from faults.servers import PARTS
from faults.world import World

_HOUR: Final = 3_600


def _off(world: World, seconds: float, part: str, by: int) -> None:
    deployment = world.parts[part]
    wrong = deployment.add(("-m", "faults.shifted", str(by)))
    world.wait_ready()
    time.sleep(seconds)
    deployment.remove(wrong)
    world.wait_ready()


FAULTS = tuple(
    Fault(f"a clock of {part} is {'ahead' if by > 0 else 'behind'}", "clocks", partial(_off, part=part, by=by))
    for part in PARTS
    for by in (_HOUR, -_HOUR)
)
