"""Addresses to which Weir never connects: the table, and how to read an address in any spelling. Pure.

The operator applies it to the addresses that a URL spells out, and to endpoints of Services. Routers apply it to every
address to which a name resolves, before they connect. Both use `refused` with the `HostPolicy` of the installation.

    refused(ipaddress.ip_address("169.254.169.254"), HostPolicy())  # "a link-local address"
    refused(ipaddress.ip_address("127.0.0.1"), HostPolicy(in_cluster=True))  # "a loopback address"
    read("0251.0xfe.43518")  # IPv4Address("169.254.169.254"), as resolvers read it
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator

from weir_router.contract.base import Wire

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class HostPolicy(Wire, frozen=True):
    """The rules of an installation for the addresses of backends. A sidecar's way to its gateway is no backend."""

    in_cluster: bool = False  # loopback and unspecified addresses are refused; on a laptop, models run there
    addresses: dict[
        str, str
    ] = {}  # further refused addresses and their names, e.g. of the API server and of this gateway
    networks: tuple[str, ...] = ()  # further refused networks, e.g. "10.20.0.0/16" of the nodes


LAPTOP = HostPolicy()
"""The policy outside of a cluster."""

_LINK_LOCAL = "a link-local address"
_METADATA = "a metadata service's address"
_LOOPBACK = "a loopback address"
_UNSPECIFIED = "an unspecified address"
_GROUP = "an address of many hosts"
_STATED = "an address of a network that this installation refuses"


def _table(rows: dict[str, str]) -> tuple[tuple[_Network, str], ...]:
    return tuple((ipaddress.ip_network(network), what) for network, what in rows.items())


_REFUSED = _table(
    {
        "169.254.0.0/16": _LINK_LOCAL,  # 169.254.169.254 and other metadata services are there
        "fe80::/10": _LINK_LOCAL,
        "100.100.100.200/32": _METADATA,  # Alibaba Cloud
        "168.63.129.16/32": _METADATA,  # Azure's host agent
        "192.0.0.192/32": _METADATA,  # Oracle Cloud
        "fd00:ec2::254/128": _METADATA,  # AWS
        "fd20:ce::254/128": _METADATA,  # Google Cloud
        "fd00:42::42/128": _METADATA,  # Scaleway
        "fd00:c1::a9fe:a9fe/128": _METADATA,  # Oracle Cloud
        "224.0.0.0/4": _GROUP,
        "255.255.255.255/32": _GROUP,
        "ff00::/8": _GROUP,
    }
)
"""Networks that are refused everywhere."""

_LOCAL = _table(
    {
        "127.0.0.0/8": _LOOPBACK,
        "::1/128": _LOOPBACK,
        "0.0.0.0/8": _UNSPECIFIED,  # systems connect to themselves
        "::/128": _UNSPECIFIED,
    }
)
"""Networks that are refused in a cluster: there they are the router's own pod."""

_CARRIERS = tuple(
    (ipaddress.IPv6Network(network), bits)
    for network, bits in {
        "::/96": 0,  # IPv4-compatible (RFC 4291)
        "::ffff:0:0/96": 0,  # IPv4-mapped
        "::ffff:0:0:0/96": 0,  # IPv4-translated (RFC 2765)
        "64:ff9b::/96": 0,  # NAT64 (RFC 6052)
        "64:ff9b:1::/48": 0,  # NAT64 of one's own (RFC 8215), with the usual prefix of 96 bits
        "2002::/16": 80,  # 6to4
        "2001::/32": 64,  # Teredo's server; its client stands there inverted
    }.items()
)
"""IPv6 networks whose addresses contain an IPv4 address, and the number of bits to its right."""

_NUMBER = re.compile("0x[0-9a-f]{1,64}|0[0-7]{0,64}|[1-9][0-9]{0,64}")
"""A part of an IPv4 address: hexadecimal, octal or decimal."""

_TEREDO = ipaddress.IPv6Network("2001::/32")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
_LOW = 0xFFFF_FFFF
_OWN = (ipaddress.IPv6Address("::"), ipaddress.IPv6Address("::1"))
"""IPv6 addresses that only look like an IPv4-compatible one."""


def refused(address: Address, policy: HostPolicy) -> str | None:
    """The kind of a refused address, such as "a link-local address"; None: a router may connect to it.

    An IPv6 address that contains an IPv4 address is refused for that one, too.
    """
    rows = _REFUSED + _LOCAL if policy.in_cluster else _REFUSED
    for meant in _meant(address):
        for network, what in rows:
            if meant.version == network.version and meant in network:
                return what
        named = policy.addresses.get(str(meant))
        if named is not None:
            return named
        if any(meant.version == it.version and meant in it for it in _networks(policy.networks)):
            return _STATED
    return None


@functools.lru_cache(maxsize=4)  # an installation has one list, which seldom changes
def _networks(texts: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


def _meant(address: Address) -> Iterator[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    number = int(address)
    yield ipaddress.IPv6Address(number)  # without a zone, e.g. `%eth0`
    if address in _OWN:
        return
    for network, bits in _CARRIERS:
        if address in network:
            yield ipaddress.IPv4Address(number >> bits & _LOW)
    if address in _TEREDO:
        yield ipaddress.IPv4Address(number & _LOW ^ _LOW)
    if number >> 32 & _LOW in _ISATAP:
        yield ipaddress.IPv4Address(number & _LOW)


def read(host: str) -> Address | None:
    """The address that `host` spells out, as resolvers read it; None: it is a name.

    Resolvers take `2852039166`, `0xa9.254.169.254`, `0251.0376.0251.0376` and `169.254.43518` for 169.254.169.254.
    """
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return _as_resolvers_read(host.rstrip("."))


def _as_resolvers_read(host: str) -> ipaddress.IPv4Address | None:
    parts = host.lower().split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    numbers = [int(part, 16 if part[1:2] == "x" else 8 if part[0] == "0" else 10) for part in parts]
    # The last part fills all bytes that are left.
    if any(number > 255 for number in numbers[:-1]) or numbers[-1] >= 256 ** (5 - len(numbers)):
        return None
    leading = sum(number << (24 - 8 * position) for position, number in enumerate(numbers[:-1]))
    return ipaddress.IPv4Address(leading + numbers[-1])
