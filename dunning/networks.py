"""Which network addresses are public: an event goes to no machine of our own network, whatever DNS says.

`ipaddress.is_global` alone is not enough: it holds NAT64 and 6to4 forms of private addresses, site-local
addresses and multicast for global. So IPv6 is judged by what IANA gave out (2000::/3), without what carries
an IPv4 address inside or serves a purpose of its own (IANA's special-purpose address registries).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_NOT_V4 = tuple(
    ip_network(net)
    for net in ("192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4")
)
_GIVEN_OUT = ip_network("2000::/3")
_NOT_V6 = tuple(
    ip_network(net)
    for net in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking, …
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
        "3ffe::/16",  # the 6bone of old
    )
)
_NAT64 = ip_network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Whether a numeric address is one of a public machine. What is no address is not."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return _is_public_v4(address) if isinstance(address, IPv4Address) else _is_public_v6(address)


def is_loopback(text: str) -> bool:
    """Whether a numeric address is this machine's own."""
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False


def is_this_machine(host: str) -> bool:
    """Whether a host, by name or by address, is this machine."""
    return host == "localhost" or is_loopback(host)


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not any(address in net for net in _NOT_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    inside = address.ipv4_mapped
    if inside is None and address in _NAT64:  # what a network without IPv4 makes of a public IPv4 address
        inside = IPv4Address(int(address) & 0xFFFFFFFF)
    if inside is not None:
        return _is_public_v4(inside)
    return address.is_global and address in _GIVEN_OUT and not any(address in net for net in _NOT_V6)
