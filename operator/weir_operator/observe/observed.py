"""The objects of a directory or a cluster: the only input of the compiler.

Nothing is judged here: specs are as people wrote them.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from weir_operator.kube.objects import ObjectName
from weir_operator.observe.tenancy import Tenancy
from weir_router.contract.addresses import LAPTOP, HostPolicy

T = TypeVar("T")

CREDENTIAL_LABEL = "weir.dev/credential"
"""Label by which a Secret, with the value "true", consents to be sent to the backends that name it."""

API_KEY_LABEL = "weir.dev/api-key"
"""Label of a Secret, with the value "true", that holds the SHA-256 of a caller's API key."""

API_KEY_HASH = "sha256"
"""Key of the hash in such a Secret's data."""

USER_TIER_ANNOTATION = "weir.dev/user-tier"
"""The user tier of the caller whose key it is."""


MAX_VALUE = 8 * 1024
"""Bytes of a Secret's value that is kept: servers accept no longer line in a request's head."""

MAX_VALUES = 64 * 1024
"""Bytes of all values of a Secret that are kept, the shortest first. A Secret may have a million."""

OVERSIZED = b"\0" * (MAX_VALUE + 1)
"""The value that stands for each one that is not kept; it is larger than a credential may be."""


def kept(values: Mapping[str, bytes]) -> dict[str, bytes]:
    """The values of a Secret as far as they can be credentials, without line ends behind them."""
    # `echo key | base64` leaves a line end that no header could carry.
    stripped = {name: value.rstrip(b"\r\n") for name, value in values.items()}
    found, room = {}, MAX_VALUES
    for name, value in sorted(stripped.items(), key=lambda item: (len(item[1]), item[0])):
        room -= len(value)
        found[name] = value if len(value) <= MAX_VALUE and room >= 0 else OVERSIZED
    return found


def nearest(lines: Mapping[str, T], path: str) -> T | None:
    """The entry of `lines` for a field's path, or for the nearest one around it."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path)


class SecretKey(NamedTuple):
    """One value of one Secret."""

    namespace: str
    name: str
    key: str


class NamedSecret(NamedTuple):
    """A Secret's value that an object names."""

    key: SecretKey
    conventional: str | None  # variable that usually holds such a credential, e.g. "OPENAI_API_KEY"


@dataclass(frozen=True)
class Manifest:
    """One object of one of our kinds, unvalidated."""

    kind: str
    namespace: str
    name: str
    spec: Any  # as written; anything that JSON can say
    generation: int = 0
    created: float = 0.0  # seconds since the epoch; 0 in a directory, where nothing has an age
    lines: Mapping[str, str] = field(default_factory=dict, repr=False)  # field path -> "file:line"
    uid: str = ""  # tells an object from one of the same name that was there before; empty in a directory
    # As in the cluster. The compiler does not read these, so that a written status is no change.
    version: str = field(default="", compare=False, repr=False)  # metadata.resourceVersion
    status: Any = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> ObjectName:
        """`namespace/name`."""
        return ObjectName(self.namespace, self.name)

    @property
    def id(self) -> str:
        """`Kind/namespace/name`."""
        return f"{self.kind}/{self.namespace}/{self.name}"

    def where(self, path: str) -> str | None:
        """`file:line` of a field, or of the nearest one around it that was written; None outside of files."""
        return nearest(self.lines, path)


@dataclass(frozen=True)
class SecretData:
    """A Secret. Its values never show."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)  # kubectl keeps whole objects in one
    data: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    where: str | None = None  # "file:line"
    created: float = 0.0  # seconds since the epoch; 0 in a directory


BACKEND_LABEL = "weir.dev/backend"
"""Label by which a Service, with the value "true", consents to be called by the tiers of its namespace."""

GATEWAY_VALUE = "gateway"
"""Value of that label on the Service of an installation's routers, to which no tier may lead."""

BACKEND_NAMESPACES_ANNOTATION = "weir.dev/backend-namespaces"
"""Namespaces, as `a, b`, whose tiers may call the Service as well; `*`: all."""


@dataclass(frozen=True)
class NamespaceData:
    """A Namespace."""

    labels: Mapping[str, str] = field(default_factory=dict)
    accepts: frozenset[str] = frozenset()  # namespaces whose policies may serve its callers


@dataclass(frozen=True)
class ServiceData:
    """A Service."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    external: bool = False  # of type ExternalName: a name somewhere, and no endpoints
    ports: Mapping[int, str] = field(default_factory=dict)  # number -> name, which may be empty; TCP only
    addresses: tuple[str, ...] = ()  # of the Service itself, not of its endpoints


@dataclass(frozen=True)
class SliceData:
    """An EndpointSlice: endpoints of one Service."""

    service: str  # its name; it is of the same namespace
    ports: Mapping[str, int] = field(default_factory=dict)  # name of the Service's port -> where the endpoints listen
    ready: tuple[str, ...] = ()  # addresses
    serving: tuple[str, ...] = ()  # addresses of those that end, and still answer


@dataclass(frozen=True)
class Observed:
    """Everything the compiler looks at."""

    manifests: Mapping[str, tuple[Manifest, ...]] = field(default_factory=dict)  # by kind, e.g. "ModelTier"
    namespaces: Mapping[str, Mapping[str, str]] | None = None  # name -> labels; None: unknown, which is not empty
    secrets: Mapping[ObjectName, SecretData] = field(default_factory=dict)
    accepts: Mapping[str, frozenset[str]] = field(default_factory=dict)  # name -> namespaces whose policies it accepts
    tenancy: Tenancy = field(default_factory=Tenancy)
    services: Mapping[ObjectName, ServiceData] | None = None  # those with the label; None: unknown
    slices: Mapping[ObjectName, SliceData] | None = None  # those of such Services, which have the label, too
    hosts: HostPolicy = LAPTOP  # where nothing may be sent
    gateway: ObjectName | None = None  # the Service of this installation's routers; None: none, as on a laptop
    environment: Mapping[SecretKey, str] = field(default_factory=dict, repr=False)  # for Secrets that are not there
    class_name: str = "weir"
    local: bool = False  # a directory: nothing has an age, so a conflict is an error

    def of(self, kind: str) -> tuple[Manifest, ...]:
        """The manifests of one kind."""
        return self.manifests.get(kind, ())

    def all(self) -> Iterator[Manifest]:
        """The manifests of all kinds."""
        return itertools.chain.from_iterable(self.manifests.values())


def by_kind(manifests: Iterable[Manifest]) -> dict[str, tuple[Manifest, ...]]:
    """The manifests by kind, in the order in which they come."""
    found: dict[str, list[Manifest]] = defaultdict(list)
    for it in manifests:
        found[it.kind].append(it)
    return {kind: tuple(them) for kind, them in found.items()}
