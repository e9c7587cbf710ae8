"""Every fault that there is, by family."""

from __future__ import annotations

from faults.fault import Fault
from faults.kinds import clocks, disks, network, processes, servers, stores, topics

ALL: tuple[Fault, ...] = (
    *processes.FAULTS,
    *servers.FAULTS,
    *network.FAULTS,
    *stores.FAULTS,
    *topics.FAULTS,
    *clocks.FAULTS,
    *disks.FAULTS,
)
