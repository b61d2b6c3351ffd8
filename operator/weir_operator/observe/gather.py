"""The cluster → `Observed`, kept up to date by informers. The first step of gather → compile → publish.

Called by the operator's reconciler, which waits a moment after `on_change` (one `kubectl apply` is many changes), and
then takes `observed()`. Nothing is judged or written here. What is watched, and where:

- ModelTier and RoutingPolicy, in all namespaces or in the given ones;
- Secrets with one of the two labels by which they consent: no other Secret is ever asked for;
- Services that consent by a label, and their EndpointSlices, to which Kubernetes copies it;
- Namespaces, for their labels, always of the whole cluster.

An operator may go without Namespaces, Services and EndpointSlices, where it may not list them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from weir_operator.kube.client import ApiClient
from weir_operator.kube.informers import WATCH_SECONDS, Source, stop_all
from weir_operator.kube.objects import JSON, ObjectName
from weir_operator.kube.unknowns import Resource, Unknown, UnknownReason
from weir_operator.observe import convert
from weir_operator.observe.observed import (
    API_KEY_LABEL,
    BACKEND_LABEL,
    CREDENTIAL_LABEL,
    Manifest,
    Observed,
    SecretData,
    ServiceData,
    SliceData,
)
from weir_operator.schemas import GROUP, MODEL_TIER, ROUTING_POLICY, VERSION
from weir_operator.schemas.common import Kind

__all__ = ["Gatherer", "Unknown", "UnknownReason"]

T = TypeVar("T")

SECRETS = tuple(Resource("Secret", "", "v1", "secrets", f"{label}=true") for label in (CREDENTIAL_LABEL, API_KEY_LABEL))
SERVICES = Resource("Service", "", "v1", "services", f"{BACKEND_LABEL}=true")
SLICES = Resource("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices", f"{BACKEND_LABEL}=true")
NAMESPACES = Resource("Namespace", "", "v1", "namespaces")


AnySource = Source[Manifest] | Source[SecretData] | Source[ServiceData] | Source[SliceData] | Source[Mapping[str, str]]

MAY_GO_WITHOUT = (UnknownReason.NAMESPACES_NOT_READABLE, UnknownReason.SERVICES_NOT_READABLE)


class Gatherer:
    """What the cluster holds for Weir, at any moment."""

    def __init__(
        self,
        api_client: ApiClient,
        *,
        class_name: str,
        namespaces: Sequence[str] | None,
        on_change: Callable[[], None],
        watch_seconds: float = WATCH_SECONDS,
        api_servers: frozenset[str] = frozenset(),
    ) -> None:
        """`namespaces`: where objects are looked for; None: everywhere. `api_servers`: addresses of the API server.

        `on_change` is called from threads of the gatherer, several at a time, whenever `observed()` or `unknown()` may
        give something new, and not when only a status was written. It must be quick and not raise.
        """
        self._class_name = class_name
        self._api_servers = api_servers
        scopes = (None,) if namespaces is None else tuple(dict.fromkeys(namespaces))

        def sources(resource: Resource, convert: Callable[[JSON], T]) -> list[Source[T]]:
            make = functools.partial(Source, api_client, resource, convert=convert, on_change=on_change)
            return [make(namespace=scope, watch_seconds=watch_seconds) for scope in scopes]

        self._tiers, self._policies = (
            sources(_resource(kind), functools.partial(convert.manifest, kind.kind))
            for kind in (MODEL_TIER, ROUTING_POLICY)
        )
        self._secrets = [source for resource in SECRETS for source in sources(resource, convert.secret)]
        self._services = sources(SERVICES, convert.service)
        self._slices = sources(SLICES, convert.endpoint_slice)
        self._namespaces: Source[Mapping[str, str]] = Source(
            api_client, NAMESPACES, None, convert.labels, on_change, watch_seconds=watch_seconds
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
        tiers, policies, secrets = _merged(self._tiers), _merged(self._policies), _merged(self._secrets)
        namespaces, services, slices = self._namespaces.objects(), _merged(self._services), _merged(self._slices)
        if tiers is None or policies is None or secrets is None or self._waits_for_more():
            return None
        return Observed(
            tiers=_sorted(tiers),
            policies=_sorted(policies),
            namespaces=None if namespaces is None else {key.name: labels for key, labels in namespaces.items()},
            secrets=secrets,
            services=services,
            slices=slices,
            api_servers=self._api_servers,
            class_name=self._class_name,
        )

    def manifests(self) -> Iterator[Manifest]:
        """The ModelTiers and RoutingPolicies that are known, with their statuses as of now."""
        for source in (*self._tiers, *self._policies):
            yield from (source.objects() or {}).values()

    def unknown(self) -> tuple[Unknown, ...]:
        """The kinds whose last known state may be out of date, or that were never listed, with the reason."""
        found = (source.unknown for source in self._sources())
        return tuple(dict.fromkeys(it for it in found if it is not None))

    def _sources(self) -> Iterable[AnySource]:
        return (*self._tiers, *self._policies, *self._secrets, *self._optional())

    def _optional(self) -> Iterable[AnySource]:
        return (*self._services, *self._slices, self._namespaces)

    def _waits_for_more(self) -> bool:
        """Whether there may soon be a list that was never had."""
        return any(
            it.objects() is None and (it.unknown is None or it.unknown.reason not in MAY_GO_WITHOUT)
            for it in self._optional()
        )


def _resource(kind: Kind) -> Resource:
    return Resource(kind.kind, GROUP, VERSION, kind.plural)


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
