"""The host policy: where credentials may never be sent, however a ModelTier asks for it.

Called by `kinds.modeltier.checks`. It judges names and literal addresses; it resolves nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container
from functools import lru_cache
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's host agent
        "fd00:ec2::254",  # AWS over IPv6; 169.254.169.254 of everybody else is link-local
    )
)
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})
_API_SERVER = "kubernetes.default"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def forbidden(base_url: str, api_servers: Container[str] = ()) -> str | None:
    """The name of the forbidden host of `base_url`, such as "link-local"; None: it is allowed.

    `api_servers` are addresses of the API server, as far as they are known.
    """
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    address = _address(host)
    if address is not None:
        if address.is_link_local:
            return "a link-local address"
        if address in _METADATA_ADDRESSES:
            return "a metadata service's address"
        return "the Kubernetes API server" if str(address) in api_servers else None
    if host in _METADATA_NAMES:
        return "a metadata service's name"
    return "the Kubernetes API server" if host == _API_SERVER or host.startswith(f"{_API_SERVER}.") else None


@lru_cache(1024)  # a thousand backends are at a dozen places
def _address(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return _as_resolvers_read(host)
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address
    return address


def _as_resolvers_read(host: str) -> Address | None:
    """Resolvers take `2852039166`, `0xa9.254.169.254` and `169.254.43518` for 169.254.169.254, too."""
    parts = host.split(".")
    try:
        numbers = [int(part, 8 if part.startswith("0") and part.isdigit() else 0) for part in parts]
    except ValueError:
        return None
    limits = [256] * (len(numbers) - 1) + [256 ** (5 - len(numbers))] if len(numbers) <= 4 else [0]
    if not all(0 <= number < limit for number, limit in zip(numbers, limits, strict=False)):
        return None
    leading = sum(number << (24 - 8 * position) for position, number in enumerate(numbers[:-1]))
    return ipaddress.IPv4Address(leading + numbers[-1])
