"""The settings of one replica of the operator; made by `weir operator`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.tenancy import Tenancy
from weir_operator.sidecar import inject

Address = tuple[str, int]
"""Host and port; port 0 is any that is free."""


def _suffix() -> str:
    return secrets.token_hex(4)


@dataclass(frozen=True)
class Settings:
    """Identity, scope and addresses of one replica."""

    installation: str  # its objects in the cluster are named after it
    namespace: str  # of the Lease, of the published objects, and of the gateway
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
    gateway_ca_file: Path | None = None  # authorities of the gateway's certificate; None: public ones
    review_tokens: bool = False  # the API server is asked about callers' tokens, too
    tenancy: Tenancy = field(default_factory=Tenancy)
    refused_networks: tuple[str, ...] = ()  # where no backend may be, e.g. "10.20.0.0/16"
    suffix: str = field(default_factory=_suffix)

    @property
    def identity(self) -> str:
        """The identity of this process: a restarted container keeps its pod's name, and is another process."""
        return f"{self.pod_name}_{self.suffix}"

    @property
    def account(self) -> ServiceAccount:
        """The ServiceAccount of the replicas."""
        return ServiceAccount(self.namespace, f"{self.installation}-operator")

    @property
    def gateway(self) -> ServiceAccount:
        """The ServiceAccount that may see everything."""
        return ServiceAccount(self.namespace, self.gateway_account)

    @property
    def gateway_service(self) -> ObjectName:
        """The Service by which callers reach the routers."""
        return ObjectName(self.namespace, self.installation)

    @property
    def lease_name(self) -> str:
        """The name of the Lease by which one replica leads."""
        return f"{self.installation}-operator"
