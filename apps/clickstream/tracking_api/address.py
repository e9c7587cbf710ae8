"""Client addresses: whom to believe about them, and what is kept of them.

`X-Forwarded-For` can be written by anybody, so an entry counts only when the hop that added it is a trusted proxy.
Deliberately absent: any use of the address for a decision; it is data for geography and bots, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAX_HOPS = 32


@lru_cache(maxsize=8_192)
def parse_address(text: str) -> Address | None:
    """The address in `203.0.113.9`, `203.0.113.9:443`, `2001:db8::1`, `[2001:db8::1]:443`; None for anything else.

    A zone (`%eth0`) is cut; an IPv4 address that is written as IPv6 (mapped) becomes IPv4.
    """
    text = text.strip()
    if len(text) > 64:
        return None
    if text.startswith("["):
        text, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not (rest[0] == ":" and rest[1:].isdecimal())):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not port.isdecimal():
            return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def client_address(peer: str | None, forwarded: Iterable[str], trusted: tuple[Network, ...]) -> Address | None:
    """Who sent the request: the rightmost address of peer and X-Forwarded-For that is no trusted proxy.

    `forwarded` are the header's lines in order. An entry that is no address ends the search: what stands left of
    it cannot be believed, so the proxy that passed it on is the best answer.
    """
    address = parse_address(peer) if peer else None
    if address is None or not trusted or not _within(address, trusted):
        return address
    entries = [entry for line in forwarded for entry in line.split(",")]
    for entry in reversed(entries[-_MAX_HOPS:]):
        hop = parse_address(entry)
        if hop is None:
            break
        address = hop
        if not _within(hop, trusted):
            break
    return address


@lru_cache(maxsize=8_192)
def kept_form(address: Address, *, anonymize: bool) -> str:
    """The text that is stored: the address itself, or with `anonymize` its /24 (IPv4) or /48 (IPv6) with zeros.

    A 6to4 address carries a whole IPv4 address within its first 48 bits: it is kept as that IPv4 address' /24.
    """
    if not anonymize:
        return str(address)
    if isinstance(address, IPv6Address):
        if address.sixtofour is None:
            return str(IPv6Address(int(address) >> 80 << 80))
        address = address.sixtofour
    return str(IPv4Address(int(address) >> 8 << 8))


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)
