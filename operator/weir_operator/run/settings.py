"""What one replica of the operator is told at its start; made by `weir operator`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from weir_operator.kube.accounts import ServiceAccount
from weir_operator.sidecar import inject

Address = tuple[str, int]
"""Host and port; port 0 is any that is free."""


def _suffix() -> str:
    return secrets.token_hex(4)


@dataclass(frozen=True)
class Settings:
    """Who this replica is, what it looks at, and where it listens."""

    installation: str  # its objects in the cluster are named after it
    namespace: str  # of the Lease, of what is published, and of the gateway
    class_name: str = "weir"
    namespaces: tuple[str, ...] | None = None  # where objects are looked for; None: everywhere
    gateway_account: str = "weir-router"  # ServiceAccount that may see everything
    service_name: str = "weir-operator"  # by which routers call the config server
    listen: Address = ("0.0.0.0", 8443)
    admin: Address = ("0.0.0.0", 9090)
    pod_name: str = "weir-operator"
    pod_ip: str | None = None  # where other replicas reach this one; None: as it listens
    token_file: Path = Path("/run/weir/token")  # ours for the leader's config server, read each time
    sidecar: inject.Settings | None = None  # None: pods get none
    review_tokens: bool = False  # the API server is asked about callers' tokens, too
    suffix: str = field(default_factory=_suffix)

    @property
    def identity(self) -> str:
        """Of this process: a container that restarts keeps its pod's name, and is not the one that was before."""
        return f"{self.pod_name}_{self.suffix}"

    @property
    def account(self) -> ServiceAccount:
        """That replicas run as."""
        return ServiceAccount(self.namespace, f"{self.installation}-operator")

    @property
    def gateway(self) -> ServiceAccount:
        """That may see everything."""
        return ServiceAccount(self.namespace, self.gateway_account)

    @property
    def lease_name(self) -> str:
        """Of the Lease by which one replica leads."""
        return f"{self.installation}-operator"
