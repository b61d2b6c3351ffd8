"""Everything that a doctor looked at. PURE; `weir_cli.doctor.look` fills it in, the checks read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from weir_cli.doctor.finding import Unseen
from weir_operator.sidecar.expected import Lacking


@dataclass(frozen=True)
class Workload:
    """A Deployment."""

    ready: int
    wanted: int


@dataclass(frozen=True)
class Credential:
    """A Secret that a backend refers to, without its values."""

    tier: str  # namespace/name
    secret: str  # namespace/name
    exists: bool
    consents: bool  # has the label


@dataclass(frozen=True)
class Unready:
    """An object that does not do what it is there for, in the words of its status."""

    object: str  # "ModelTier llm/budget"
    reason: str
    message: str


@dataclass(frozen=True)
class Seen:
    """Everything that was looked at; `Unseen` where that failed."""

    installation: str
    namespace: str
    version: tuple[int, int] | Unseen
    skew: float | Unseen  # seconds that this machine's clock is ahead of the API server's
    crds: frozenset[str] | Unseen  # those that are established
    workloads: Mapping[str, Workload] | Unseen  # by Deployment
    rights: Mapping[str, bool] | Unseen  # what the operator needs -> whether it may
    bundle: str | Unseen | None  # the authority that routers trust; None: absent
    webhook: frozenset[str] | Unseen | None  # caBundles of the sidecars' webhooks; None: there are none
    published: int | Unseen | None  # revision of the index; None: absent
    routers: Mapping[str, tuple[int | None, str | None]] | Unseen  # revision, and why a newer one is refused
    credentials: tuple[Credential, ...] | Unseen = field(default=())
    lacking: tuple[str, ...] | Unseen = ()  # fields that this command knows, and the CRDs do not
    services: Mapping[str, int | None] | Unseen = field(default_factory=dict)  # -> ready endpoints; None: absent
    expires: float | Unseen | None = None  # seconds until no authority of `bundle` is valid any more
    unready: tuple[Unready, ...] | Unseen = ()
    unjudged: tuple[str, ...] | Unseen = ()  # objects that no operator has written a status of
    unserved: tuple[str, ...] = ()  # objects of a className that no operator of the cluster serves, with the class
    ill: tuple[Unready, ...] | Unseen = ()  # backends that routers leave alone, and policies that feel it
    left_open: tuple[str, ...] | Unseen = ()  # ports that every pod of the cluster can reach
    tls: bool | Unseen = True  # the gateway's Service has a port with TLS
    unused: tuple[str, ...] | Unseen = ()  # policies whose callers are of namespaces that are not there
    sidecars: bool | Unseen = False  # the operator is to give pods sidecars (--sidecar)
    webhook_differs: tuple[str, ...] | Unseen = ()  # what keeps the webhook from working, beside its authority
    without_sidecar: tuple[Lacking, ...] | Unseen = ()  # pods that should have a sidecar and have none
    only: str | None = None  # the one namespace of the objects that were looked at; None: all namespaces

    @property
    def where(self) -> str:
        """The end of a sentence about objects: empty, or the namespace to which the look was limited."""
        return "" if self.only is None else f" in namespace {self.only}"
