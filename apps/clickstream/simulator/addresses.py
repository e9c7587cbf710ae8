"""Where visitors come from: addresses in large access networks of twenty countries, for the enricher's countries.

Nothing is sent to these addresses; an event only names one, as a server does that reports its visitors' events.
"""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from clickstream.simulator.chance import Weighted

NETWORKS: Final[tuple[tuple[float, str, str], ...]] = (
    (22, "US", "73.0.0.0/8"),
    (14, "DE", "84.128.0.0/10"),
    (10, "GB", "86.128.0.0/10"),
    (8, "FR", "90.0.0.0/10"),
    (6, "NL", "77.160.0.0/12"),
    (5, "IT", "79.0.0.0/10"),
    (5, "ES", "83.32.0.0/11"),
    (4, "PL", "83.0.0.0/11"),
    (4, "IN", "117.192.0.0/10"),
    (4, "JP", "60.64.0.0/10"),
    (3, "CA", "99.224.0.0/11"),
    (3, "BR", "179.128.0.0/11"),
    (3, "AT", "80.108.0.0/15"),
    (2, "CH", "85.0.0.0/13"),
    (2, "SE", "81.224.0.0/12"),
    (2, "AU", "101.160.0.0/11"),
    (1, "MX", "189.128.0.0/10"),
    (1, "KR", "121.128.0.0/10"),
    (1, "TR", "78.160.0.0/11"),
    (1, "ZA", "197.64.0.0/11"),
)
"""Weight, ISO 3166 code and network, as the regional registries have assigned it."""

_NETWORKS: Final = Weighted((weight, IPv4Network(network)) for weight, _, network in NETWORKS)


def pick(rng: random.Random) -> str:
    """An address, in proportion to the weights."""
    network = _NETWORKS.pick(rng)
    return str(IPv4Address(int(network.network_address) + rng.randrange(network.num_addresses)))
