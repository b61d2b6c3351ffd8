"""The addresses where no backend may be, in this installation. Pure; part of the config, and used by the kinds."""

from __future__ import annotations

from msgspec.structs import replace

from weir_operator.observe.observed import Observed
from weir_router.contract import HostPolicy

GATEWAY = "this gateway, which would only ask itself again"
"""The name of the installation's own routers, as the reason of a refusal."""


def hosts_of(observed: Observed) -> HostPolicy:
    """The addresses that are known beforehand, and those of the Service of this installation's routers."""
    gateway = (observed.services or {}).get(observed.gateway) if observed.gateway else None
    if gateway is None:
        return observed.hosts
    addresses = {**observed.hosts.addresses, **dict.fromkeys(gateway.addresses, GATEWAY)}
    return replace(observed.hosts, addresses=addresses)
