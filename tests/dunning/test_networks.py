"""No event reaches a machine of our own network, however its address is written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dunning.networks import is_public

# RFC 6890 and IANA's registries of special-purpose addresses.
SPECIAL_V4 = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
)
SPECIAL_V6 = (
    *("::/128", "::1/128", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    *("5f00::/16", "64:ff9b:1::/48", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
)


def within(net: str) -> st.SearchStrategy[IPv4Address] | st.SearchStrategy[IPv6Address]:
    network = ip_network(net)
    kind = IPv6Address if isinstance(network, IPv6Network) else IPv4Address
    return st.integers(int(network[0]), int(network[-1])).map(kind)


private_v4 = st.sampled_from(SPECIAL_V4).flatmap(within)
private_v6 = st.sampled_from(SPECIAL_V6).flatmap(within)


@given(private_v4)
def test_no_special_ipv4_address_is_public_in_any_disguise(address: IPv4Address) -> None:
    number = int(address)
    disguises = (
        address,
        IPv6Address((0xFFFF << 32) | number),  # ::ffff:10.0.0.1
        IPv6Address(number),  # ::10.0.0.1
        IPv6Address((0x64FF9B << 96) | number),  # NAT64
        IPv6Address((0x2002 << 112) | (number << 80) | 1),  # 6to4
        IPv6Address((0x20010000 << 96) | (number ^ 0xFFFFFFFF)),  # Teredo
    )
    assert [str(disguise) for disguise in disguises if is_public(str(disguise))] == []


@given(private_v6)
def test_no_special_ipv6_address_is_public(address: IPv6Address) -> None:
    assert not is_public(str(address))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_what_python_calls_private_is_never_public(address: IPv4Address) -> None:
    assert not (is_public(str(address)) and (address.is_private or address.is_multicast))


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07::1", "64:ff9b::5db8:d70e", "::ffff:93.184.215.14"]
)
def test_addresses_of_public_machines(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("text", ["", "localhost", "fe80::1%eth0", "127.1", "0x7f000001", "169.254.169.254"])
def test_what_is_no_public_address(text: str) -> None:
    assert not is_public(text)
