"""The cluster → `Observed`, kept up to date by informers. The first step of gather → compile → publish.

Called by the operator's reconciler, which waits a moment after `on_change` (one `kubectl apply` is many changes), and
then takes `observed()`. Nothing is judged or written here. The watched objects, and where:

- the objects of every kind, in all namespaces or in the given ones;
- Secrets with a label by which they consent (callers' keys, and the `secret_labels` of kinds): no other Secret is read;
- Services that consent by a label, and their EndpointSlices, to which Kubernetes copies it; and our gateway's Service;
- Namespaces, for their labels and consents, always of the whole cluster.

An operator may go without Namespaces, Services and EndpointSlices, where it may not list them.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from weir_operator.kube.client import ApiClient
from weir_operator.kube.informers import WATCH_SECONDS, Source, stop_all
from weir_operator.kube.objects import JSON, ObjectName
from weir_operator.kube.unknowns import Resource, Unknown, UnknownReason
from weir_operator.observe import convert
from weir_operator.observe.observed import (
    API_KEY_LABEL,
    BACKEND_LABEL,
    GATEWAY_VALUE,
    Manifest,
    NamespaceData,
    Observed,
    SecretData,
    ServiceData,
    SliceData,
)
from weir_operator.observe.tenancy import Tenancy
from weir_operator.schemas import GROUP, VERSION
from weir_router.contract.addresses import LAPTOP, HostPolicy

__all__ = ["Gatherer", "Unknown", "UnknownReason"]

T = TypeVar("T")

SERVICES = Resource("Service", "", "v1", "services", f"{BACKEND_LABEL} in (true,{GATEWAY_VALUE})")
SLICES = Resource("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices", f"{BACKEND_LABEL}=true")
NAMESPACES = Resource("Namespace", "", "v1", "namespaces")


AnySource = Source[Manifest] | Source[SecretData] | Source[ServiceData] | Source[SliceData] | Source[NamespaceData]

MAY_GO_WITHOUT = (UnknownReason.NAMESPACES_NOT_READABLE, UnknownReason.SERVICES_NOT_READABLE)


class Gathered(Protocol):
    """A kind, as far as the cluster is watched for it."""

    @property
    def kind(self) -> str:
        """The kind, for example `ModelTier`."""

    @property
    def plural(self) -> str:
        """The plural, for example `modeltiers`."""

    @property
    def secret_labels(self) -> tuple[str, ...]:
        """Labels by which Secrets consent to be read for this kind."""


class Gatherer:
    """The objects of the cluster that Weir needs, at any moment."""

    def __init__(
        self,
        api_client: ApiClient,
        kinds: Sequence[Gathered],
        *,
        class_name: str,
        namespaces: Sequence[str] | None,
        on_change: Callable[[], None],
        watch_seconds: float = WATCH_SECONDS,
        hosts: HostPolicy = LAPTOP,
        gateway: ObjectName | None = None,
        tenancy: Tenancy = Tenancy(),  # noqa: B008  # it is frozen
    ) -> None:
        """`namespaces`: where objects are looked for; None: everywhere. `hosts`: where nothing may be
        sent. `gateway`: the Service of this installation's routers. `tenancy`: its rules between tenants.

        `on_change` is called from threads of the gatherer, several at a time, whenever `observed()` or `unknown()` may
        give something new, and not when only a status was written. It must be quick and not raise.
        """
        self._class_name = class_name
        self._hosts = hosts
        self._gateway = gateway
        self._tenancy = tenancy
        scopes = (None,) if namespaces is None else tuple(dict.fromkeys(namespaces))

        def sources(resource: Resource, convert: Callable[[JSON], T]) -> list[Source[T]]:
            make = functools.partial(Source, api_client, resource, convert=convert, on_change=on_change)
            return [make(namespace=scope, watch_seconds=watch_seconds) for scope in scopes]

        self._manifests = {
            it.kind: sources(_resource(it), functools.partial(convert.manifest, it.kind)) for it in kinds
        }
        labels = dict.fromkeys((*(label for kind in kinds for label in kind.secret_labels), API_KEY_LABEL))
        self._secrets = [it for label in labels for it in sources(_secrets(label), convert.secret)]
        self._services = sources(SERVICES, convert.service)
        self._slices = sources(SLICES, convert.endpoint_slice)
        self._namespaces: Source[NamespaceData] = Source(
            api_client, NAMESPACES, None, convert.namespace, on_change, watch_seconds=watch_seconds
        )

    def start(self) -> None:
        """Starts to list and watch, in threads. Once."""
        for source in self._sources():
            source.start()

    def stop(self) -> None:
        """Ends all watches; `on_change` is called no more. Takes at most `STOP_SECONDS`."""
        stop_all(self._sources())

    def observed(self) -> Observed | None:
        """The last known state; None until every kind was listed once, for a part would withdraw the rest.

        Namespaces, Services and EndpointSlices may be missing (None), if the API server refuses to list them.
        """
        found = {kind: _merged(sources) for kind, sources in self._manifests.items()}
        known = {kind: _sorted(objects) for kind, objects in found.items() if objects is not None}
        secrets, services, slices = _merged(self._secrets), _merged(self._services), _merged(self._slices)
        namespaces = self._namespaces.objects()
        if len(known) < len(found) or secrets is None or self._waits_for_more():
            return None
        return Observed(
            manifests=known,
            namespaces=self.namespaces(),
            accepts={key.name: it.accepts for key, it in (namespaces or {}).items() if it.accepts},
            tenancy=self._tenancy,
            secrets=secrets,
            services=services,
            slices=slices,
            hosts=self._hosts,
            gateway=self._gateway,
            class_name=self._class_name,
        )

    def namespaces(self) -> dict[str, Mapping[str, str]] | None:
        """The labels of each namespace of the cluster; None: they are not known."""
        found = self._namespaces.objects()
        return None if found is None else {key.name: it.labels for key, it in found.items()}

    def manifests(self) -> Iterator[Manifest]:
        """The known objects of every kind, with their statuses as of now."""
        for source in itertools.chain.from_iterable(self._manifests.values()):
            yield from (source.objects() or {}).values()

    def unknown(self) -> tuple[Unknown, ...]:
        """The kinds whose last known state may be out of date, or that were never listed, with the reason."""
        found = (source.unknown for source in self._sources())
        return tuple(dict.fromkeys(it for it in found if it is not None))

    def _sources(self) -> Iterable[AnySource]:
        return (*itertools.chain.from_iterable(self._manifests.values()), *self._secrets, *self._optional())

    def _optional(self) -> Iterable[AnySource]:
        return (*self._services, *self._slices, self._namespaces)

    def _waits_for_more(self) -> bool:
        """Whether there may soon be a list that was never had."""
        return any(
            it.objects() is None and (it.unknown is None or it.unknown.reason not in MAY_GO_WITHOUT)
            for it in self._optional()
        )


def _resource(kind: Gathered) -> Resource:
    return Resource(kind.kind, GROUP, VERSION, kind.plural)


def _secrets(label: str) -> Resource:
    return Resource("Secret", "", "v1", "secrets", f"{label}=true")


def _merged(sources: Iterable[Source[T]]) -> dict[ObjectName, T] | None:
    """The objects of all sources; None if one of them was never listed."""
    merged: dict[ObjectName, T] = {}
    for source in sources:
        objects = source.objects()
        if objects is None:
            return None
        merged |= objects
    return merged


def _sorted(manifests: Mapping[ObjectName, Manifest]) -> tuple[Manifest, ...]:
    """In a fixed order, so that the same cluster gives the same input."""
    return tuple(manifests[name] for name in sorted(manifests))
