"""The host policy: where credentials may never be sent, however a ModelTier asks for it. Pure.

It judges names and spelled-out addresses, and resolves nothing: routers judge the addresses to which a name resolves,
by the same table (`weir_router.contract.addresses`), before they connect.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

from weir_operator.compile.hosts import GATEWAY
from weir_operator.kube.objects import ObjectName
from weir_router.contract.addresses import LAPTOP, HostPolicy, read, refused

API_SERVER = ObjectName("default", "kubernetes")
"""The Service of the API server."""

_METADATA_NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.tencentyun.com",
    }
)
_LOCAL_NAMES = frozenset({"ip6-localhost", "ip6-loopback", "localhost", "localhost.localdomain", "localhost6"})


def forbidden(base_url: str, hosts: HostPolicy = LAPTOP, gateway: ObjectName | None = None) -> str | None:
    """The name of the forbidden host of `base_url`, such as "a link-local address"; None: it is allowed.

    `gateway` is the Service of this installation's routers.
    """
    host = _host(base_url)
    address = read(host)
    if address is not None:
        return refused(address, hosts)
    if host in _METADATA_NAMES:
        return "a metadata service's name"
    if hosts.in_cluster and (host in _LOCAL_NAMES or host.endswith(".localhost")):
        return "a name of the router's own pod"
    if _is_service(host, API_SERVER):
        return "the Kubernetes API server"
    return GATEWAY if gateway is not None and _is_service(host, gateway) else None


@lru_cache(1024)  # a thousand backends are at a dozen places
def _host(base_url: str) -> str:
    return (urlsplit(base_url).hostname or "").rstrip(".")


def _is_service(host: str, service: ObjectName) -> bool:
    """Whether a pod may mean `service` by `host`: by its name alone, with its namespace, or in full."""
    full = f"{service.name}.{service.namespace}"
    return host in (service.name, full, f"{full}.svc") or host.startswith(f"{full}.svc.")
