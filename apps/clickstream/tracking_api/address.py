"""Client addresses: which headers are trusted, and what is stored of an address.

Anyone can write `X-Forwarded-For` and `Forwarded` (RFC 7239), so an entry counts only when the hop that added it is a
trusted proxy. Where a request has both, `X-Forwarded-For` counts: a proxy that writes only that one hands on
whatever `Forwarded` its client has invented. Other headers (X-Real-IP, True-Client-IP, CF-Connecting-IP, …) have no
list of hops, so that nothing shows who wrote them: they are ignored. Nothing but a rate limit depends on an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAX_HOPS: Final = 32
_MAX_LENGTH: Final = 64
# A quoted string without an end goes on to the end of the text: read once, never again from its next character.
_QUOTED: Final = r'"(?:[^"\\]|\\.?)*+(?:"|$)'
_ELEMENTS: Final = re.compile(rf'(?:[^",]|{_QUOTED})++', re.DOTALL)
_PAIRS: Final = re.compile(rf'(?:[^";]|{_QUOTED})++', re.DOTALL)


def parse_address(text: str) -> Address | None:
    """The address in `203.0.113.9`, `203.0.113.9:443`, `2001:db8::1`, `[2001:db8::1]:443`; None for anything else.

    White space and quotation marks around it do not count, a zone (`%eth0`) is cut; an IPv4 address that is written as
    IPv6 (mapped) becomes IPv4.
    """
    text = text.strip().strip('"')
    return _parsed(text) if len(text) <= _MAX_LENGTH else None  # before the cache, which would keep it


@lru_cache(maxsize=8_192)
def _parsed(text: str) -> Address | None:
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


def client_address(
    peer: str | None, x_forwarded_for: Sequence[str], forwarded: Sequence[str], trusted: tuple[Network, ...]
) -> Address | None:
    """The sender of a request: the rightmost address, of the peer and the header's hops, that is no trusted proxy.

    The headers are given as their lines in order. An entry that is no address ends the search: what stands left of it
    cannot be trusted, so the proxy that passed it on is the best answer.
    """
    address = parse_address(peer) if peer else None
    if address is None or not trusted or not _within(address, trusted):
        return address
    hops = _x_forwarded_for(x_forwarded_for) if x_forwarded_for else _forwarded(forwarded)
    for number, entry in enumerate(hops):
        hop = parse_address(entry) if number < _MAX_HOPS else None
        if hop is None:
            break
        address = hop
        if not _within(hop, trusted):
            break
    return address


def _x_forwarded_for(lines: Sequence[str]) -> Iterator[str]:
    """The entries, the last one first; without empty ones, which come from commas at an end or in a row."""
    for line in reversed(lines):
        yield from (entry for entry in reversed(line.split(",")) if entry.strip())


def _forwarded(lines: Sequence[str]) -> Iterator[str]:
    """The elements' `for`, the last one first; empty for an element without one."""
    for line in reversed(lines):
        for element in reversed(_ELEMENTS.findall(line)):
            if element.strip():
                yield _for(element)


def _for(element: str) -> str:
    for pair in _PAIRS.findall(element):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return str(value)
    return ""


@lru_cache(maxsize=8_192)
def stored_form(address: Address, *, anonymize: bool) -> str:
    """The text that is stored: the address itself, or with `anonymize` its /24 (IPv4) or /48 (IPv6) with zeros.

    A 6to4 address carries a whole IPv4 address within its first 48 bits: it is stored as that IPv4 address' /24.
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
