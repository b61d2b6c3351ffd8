"""The Lease by which replicas agree who leads, on the API server. The edge of `leadership`: it decides nothing.

Blocking. Each write carries the resourceVersion that was read: of two replicas that claim it at once one succeeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NoReturn

import urllib3
from kubernetes import client

from weir_operator.kube.owner import Owner, OwnerUnknown

ADDRESS_ANNOTATION = "weir.dev/leader-address"
"""Annotation with the URL of the leader's config server, to which followers send the reports of their routers."""

LEASE_REQUEST_SECONDS = 4.0
"""Seconds for one request: a leader has time for two before it must give up."""


class LeaseFailed(Exception):
    """The Lease could not be read or written; the message says why. It may work a moment later."""


class LeaseTaken(Exception):
    """Another replica wrote the Lease in between: read it again."""


@dataclass(frozen=True)
class Held:
    """The Lease as it is on the server."""

    holder: str  # empty: it was released
    address: str | None
    seconds: float  # after which it is free, unless it was written meanwhile
    model: Any = field(repr=False)  # V1Lease: what others added to it stays

    @property
    def version(self) -> str:
        """Another one after each write."""
        return str(self.model.metadata.resource_version)


class Lease:
    """One Lease, as one replica claims it."""

    def __init__(
        self,
        api_client: client.ApiClient,
        namespace: str,
        name: str,
        *,
        identity: str,
        seconds: int,
        labels: dict[str, str] | None = None,
        owner: Owner | None = None,
    ) -> None:
        """`identity` must differ from that of every other process."""
        self._api = client.CoordinationV1Api(api_client)
        self.namespace = namespace
        self.name = name
        self.identity = identity
        self.address = ""
        """URL of our own config server, published in the Lease while we lead."""
        self._seconds = seconds
        self._labels = labels or {}
        self._owner = owner

    def read(self) -> Held | None:
        """None: there is none yet. Raises `LeaseFailed`."""
        try:
            return self._call("get", self._api.read_namespaced_lease, self.name, self.namespace)
        except LeaseTaken:
            return None

    def claim(self, old: Held | None) -> Held:
        """Makes it ours, or renews it; `old` is what was read. Raises `LeaseFailed` or `LeaseTaken`."""
        now = datetime.now(UTC)
        model = self._model(old)
        if old is None or old.holder != self.identity:
            model.spec.acquire_time = now
            model.spec.lease_transitions = (model.spec.lease_transitions or 0) + (1 if old else 0)
        model.spec.holder_identity = self.identity
        model.spec.lease_duration_seconds = self._seconds
        model.spec.renew_time = now
        model.metadata.annotations = {**(model.metadata.annotations or {}), ADDRESS_ANNOTATION: self.address}
        if old is None:
            return self._call("create", self._api.create_namespaced_lease, self.namespace, model)
        return self._call("update", self._api.replace_namespaced_lease, self.name, self.namespace, model)

    def release(self, old: Held) -> None:
        """Lets others have it at once. Raises `LeaseFailed` or `LeaseTaken`."""
        model = self._model(old)
        model.spec.holder_identity = ""
        model.spec.renew_time = datetime.now(UTC)
        self._call("update", self._api.replace_namespaced_lease, self.name, self.namespace, model)

    def _model(self, old: Held | None) -> Any:
        if old is not None:
            return old.model.model_copy(deep=True)
        metadata = client.V1ObjectMeta(name=self.name, labels=self._labels, owner_references=self._owners())
        return client.V1Lease(metadata=metadata, spec=client.V1LeaseSpec())

    def _owners(self) -> list[client.V1OwnerReference] | None:
        try:
            return self._owner.references() if self._owner else None
        except OwnerUnknown as error:
            raise LeaseFailed(str(error)) from None

    def _call(self, verb: str, function: Callable[..., Any], *arguments: Any) -> Held:
        try:
            return _held(function(*arguments, _request_timeout=LEASE_REQUEST_SECONDS))
        except client.ApiException as error:
            self._raise(verb, error)
        except urllib3.exceptions.HTTPError as error:
            raise LeaseFailed(f"cannot {verb} {self._place}: {type(error).__name__}") from None

    def _raise(self, verb: str, error: client.ApiException) -> NoReturn:
        if error.status == HTTPStatus.CONFLICT or (error.status == HTTPStatus.NOT_FOUND and verb != "create"):
            raise LeaseTaken(f"{self._place} was changed by another client") from None
        rule = '{apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "create", "update"]}'
        advice = f"; add to the operator's Role: {rule}" if error.status == HTTPStatus.FORBIDDEN else ""
        raise LeaseFailed(f"cannot {verb} {self._place}: {error.status} {error.reason}{advice}") from None

    @property
    def _place(self) -> str:
        return f"Lease {self.namespace}/{self.name}"


def _held(model: Any) -> Held:
    spec = model.spec or client.V1LeaseSpec()
    annotations = model.metadata.annotations or {}
    return Held(
        holder=spec.holder_identity or "",
        address=annotations.get(ADDRESS_ANNOTATION) or None,
        seconds=float(spec.lease_duration_seconds or 0),
        model=model,
    )
