"""What of an address is kept, and whose word is believed about it."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.tracking_api.address import _parsed, client_address, parse_address, stored_form

v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)


@given(v4)
def test_an_ipv4_address_keeps_its_first_24_bits_and_nothing_else(address):
    kept = ip_address(stored_form(address, anonymize=True))
    assert int(kept) == int(address) & 0xFFFFFF00


@given(v6.filter(lambda address: address.sixtofour is None))
def test_an_ipv6_address_keeps_its_first_48_bits_and_nothing_else(address):
    kept = ip_address(stored_form(address, anonymize=True))
    assert address in ip_network(f"{kept}/48")
    assert int(kept) & (2**80 - 1) == 0


@given(v4, st.binary(min_size=10, max_size=10))
def test_an_ipv4_address_inside_an_ipv6_address_is_anonymized_as_ipv4(inner, rest):
    mapped = parse_address(f"::ffff:{inner}")
    sixtofour = IPv6Address(b"\x20\x02" + inner.packed + rest)
    wanted = stored_form(inner, anonymize=True)
    assert stored_form(mapped, anonymize=True) == wanted
    assert stored_form(sixtofour, anonymize=True) == wanted


@given(v4 | v6)
def test_anonymizing_twice_changes_nothing_and_neighbours_become_one(address):
    kept = stored_form(address, anonymize=True)
    assert stored_form(ip_address(kept), anonymize=True) == kept
    neighbour = type(address)(int(address) ^ 1)
    assert stored_form(neighbour, anonymize=True) == kept


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


TRUSTED = (ip_network("10.0.0.0/8"),)
ADDRESS, SIX = "81.2.69.142", "2001:218::1"
PEER = "10.0.0.1"
X_FORWARDED_FOR = [
    ([f"{ADDRESS}:55220"], ADDRESS),
    ([SIX], SIX),
    ([f"[{SIX}]:8080"], SIX),
    ([f'"[{SIX}]"'], SIX),
    ([f'"{ADDRESS}"'], ADDRESS),
    ([f"::ffff:{ADDRESS}"], ADDRESS),
    (["::FFFF:5102:458e"], ADDRESS),
    ([f"216.160.83.56, {ADDRESS}"], ADDRESS),
    ([f"{ADDRESS}, 10.0.0.7"], ADDRESS),
    ([f"10.1.2.3, {ADDRESS}"], ADDRESS),
    ([f"unknown, {ADDRESS}"], ADDRESS),
    (["216.160.83.56", ADDRESS], ADDRESS),
    ([""], PEER),
    ([f"{ADDRESS},"], ADDRESS),
    ([f"{ADDRESS},, ,10.0.0.7,"], ADDRESS),
    ([f",{ADDRESS}", "", ","], ADDRESS),
    (["999.1.1.1"], PEER),
    (["fe80::1%eth0"], "fe80::1"),
    (['""'], PEER),
    (["\t" + ADDRESS + " "], ADDRESS),
]


@pytest.mark.parametrize(("lines", "expected"), X_FORWARDED_FOR)
def test_the_list_of_hops_is_read_in_every_way_that_proxies_write_it(lines, expected):
    assert client_address(PEER, lines, [], TRUSTED) == ip_address(expected)
    assert client_address("203.0.113.9", lines, [], TRUSTED) == ip_address("203.0.113.9"), "the peer is not trusted"
    # A socket for both families writes a peer of IPv4 so.
    assert client_address(f"::ffff:{PEER}", lines, [], TRUSTED) == ip_address(expected)
    assert client_address("::ffff:203.0.113.9", lines, [], TRUSTED) == ip_address("203.0.113.9")


FORWARDED = [
    ([f'for="[{SIX}]:4711";proto=https, for=10.0.0.7'], SIX),
    ([f"for={ADDRESS}"], ADDRESS),
    ([f'For="{ADDRESS}:4711" ; by=10.0.0.1'], ADDRESS),
    ([f"proto=https;host=h;FOR = {ADDRESS}"], ADDRESS),
    (["for=216.160.83.56", f"for={ADDRESS}, for=10.0.0.9"], ADDRESS),
    ([f"for=216.160.83.56, for={ADDRESS}"], ADDRESS),
    ([f"for={ADDRESS},, for=10.0.0.9,"], ADDRESS),
    ([f'for={ADDRESS};host="a,b;for=6.6.6.6"'], ADDRESS),
    ([f'host="x\\";for=6.6.6.6";for={ADDRESS}'], ADDRESS),
    ([f"for={ADDRESS}, proto=https"], PEER),  # a hop that does not say whom it spoke to
    ([f"for={ADDRESS}, for=unknown"], PEER),
    ([f"for={ADDRESS}, for=_hidden"], PEER),
    ([f'for={ADDRESS}, for="'], PEER),
    ([f"for={ADDRESS}, 6.6.6.6"], PEER),
    ([""], PEER),
]


@pytest.mark.parametrize(("lines", "expected"), FORWARDED)
def test_the_standard_header_is_read_under_the_same_rule(lines, expected):
    assert client_address(PEER, [], lines, TRUSTED) == ip_address(expected)
    assert client_address("203.0.113.9", [], lines, TRUSTED) == ip_address("203.0.113.9"), "the peer is not trusted"


def test_where_both_are_there_a_client_cannot_add_the_one_that_its_proxy_does_not_write():
    assert client_address(PEER, [ADDRESS], ["for=6.6.6.6"], TRUSTED) == ip_address(ADDRESS)


hops = st.lists(st.sampled_from([ADDRESS, "10.0.0.7", SIX, "unknown", "6.6.6.6"]), max_size=5)


@given(hops)
def test_both_headers_say_the_same(names):
    quoted = [f'for="[{name}]"' if ":" in name else f"for={name}" for name in names]
    assert client_address(PEER, [], [",".join(quoted)], TRUSTED) == client_address(PEER, [",".join(names)], [], TRUSTED)


@given(st.text('ab=;,"\\ []:.1', max_size=40))
def test_what_a_proxy_quotes_says_nothing_about_hops(host):
    quoted = '"' + host.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert client_address(PEER, [], [f"host={quoted};for={ADDRESS}"], TRUSTED) == ip_address(ADDRESS)


def test_long_texts_are_not_remembered():
    for number in range(100):
        assert parse_address(f"{number}" * 1_000) is None
    assert _parsed.cache_info().currsize < 8_192
    before = _parsed.cache_info().currsize
    parse_address("x" * 65)
    assert _parsed.cache_info().currsize == before
