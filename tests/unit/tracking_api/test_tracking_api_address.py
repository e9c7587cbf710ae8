"""What of an address is kept, and whose word is believed about it."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.tracking_api.address import client_address, kept_form, parse_address

v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)


@given(v4)
def test_an_ipv4_address_keeps_its_first_24_bits_and_nothing_else(address):
    kept = ip_address(kept_form(address, anonymize=True))
    assert int(kept) == int(address) & 0xFFFFFF00


@given(v6.filter(lambda address: address.sixtofour is None))
def test_an_ipv6_address_keeps_its_first_48_bits_and_nothing_else(address):
    kept = ip_address(kept_form(address, anonymize=True))
    assert address in ip_network(f"{kept}/48")
    assert int(kept) & (2**80 - 1) == 0


@given(v4, st.binary(min_size=10, max_size=10))
def test_an_ipv4_address_inside_an_ipv6_address_is_anonymized_as_ipv4(inner, rest):
    mapped = parse_address(f"::ffff:{inner}")
    sixtofour = IPv6Address(b"\x20\x02" + inner.packed + rest)
    wanted = kept_form(inner, anonymize=True)
    assert kept_form(mapped, anonymize=True) == wanted
    assert kept_form(sixtofour, anonymize=True) == wanted


@given(v4 | v6)
def test_anonymizing_twice_changes_nothing_and_neighbours_become_one(address):
    kept = kept_form(address, anonymize=True)
    assert kept_form(ip_address(kept), anonymize=True) == kept
    neighbour = type(address)(int(address) ^ 1)
    assert kept_form(neighbour, anonymize=True) == kept


@given(v4 | v6)
def test_an_address_is_read_in_every_way_that_it_is_written(address):
    expected = address
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        expected = address.ipv4_mapped
    forms = [str(address), f" {address} "]
    forms += (
        [f"{address}:443"]
        if isinstance(address, IPv4Address)
        else [f"[{address}]", f"[{address}]:443", f"{address}%eth0"]
    )
    assert {parse_address(form) for form in forms} == {expected}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown",
        "_hidden",
        "1.2.3",
        "1.2.3.4:",
        "1.2.3.4:x",
        "[::1",
        "[::1]x",
        "[::1]:x",
        "::1]",
        "1" * 100,
        "256.1.1.1",
    ],
)
def test_what_is_no_address_is_none(text):
    assert parse_address(text) is None


@given(st.text(max_size=80), st.lists(st.text(max_size=40), max_size=4))
def test_no_header_is_too_strange(peer, forwarded):
    client_address(peer, forwarded, forwarded, (ip_network("10.0.0.0/8"),))


@given(st.lists(v4.map(str), max_size=6))
def test_an_untrusted_peer_is_the_client_whatever_it_claims(claimed):
    trusted = (ip_network("10.0.0.0/8"),)
    assert client_address("203.0.113.9", [", ".join(claimed)], [], trusted) == ip_address("203.0.113.9")


def test_lines_of_the_header_are_one_list():
    trusted = (ip_network("10.0.0.0/8"),)
    found = client_address("10.0.0.1", ["198.51.100.7", "203.0.113.9, 10.0.0.2"], [], trusted)
    assert found == ip_address("203.0.113.9")
