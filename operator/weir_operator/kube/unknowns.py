"""Unknown parts of the cluster, and how to mend them: an error of the API client → `Unknown`.

Made by `kube.informers`, shown in the operator's log, metrics and `/readyz`. Pure. Unknown is not empty: the objects
that were known before stay.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from weir_operator.schemas import GROUP

TEXT_CHARS = 400
"""Characters of a foreign message that are repeated: enough for the API server's sentence on a missing right."""


class UnknownReason(StrEnum):
    """Why a kind is not known; `docs/operator.md` explains each."""

    FORBIDDEN = "Forbidden"
    NAMESPACES_NOT_READABLE = "NamespacesNotReadable"
    SERVICES_NOT_READABLE = "ServicesNotReadable"
    CRD_ABSENT = "CRDAbsent"
    UNAUTHENTICATED = "Unauthenticated"
    UNAVAILABLE = "Unavailable"


@dataclass(frozen=True)
class Resource:
    """A kind of object that is listed and watched."""

    kind: str  # "ModelTier"
    group: str  # "" is the core group
    version: str
    plural: str
    selector: str | None = None  # "label=value"; None: all objects
    name: str | None = None  # of the one object; None: all

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True)
class Unknown:
    """One kind of which the present state is not known, in one namespace or (None) in the cluster."""

    kind: str
    namespace: str | None
    reason: UnknownReason
    message: str  # what is wrong
    action: str  # what to do

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.kind}{where} unknown ({self.reason}): {self.message}. {self.action}."


def explain(resource: Resource, namespace: str | None, error: BaseException) -> Unknown:
    """The meaning of an error of a list or a watch, and how to mend it."""
    status = error.status if isinstance(error, ApiException) else None
    if status == HTTPStatus.NOT_FOUND and resource.group == GROUP:
        return crd_absent(resource, namespace)
    if status == HTTPStatus.FORBIDDEN:
        reason, message, action = _forbidden(resource, namespace, error)
    elif status == HTTPStatus.UNAUTHORIZED:
        reason = UnknownReason.UNAUTHENTICATED
        message = "the API server does not accept the operator's credentials"
        action = "Check the token of its ServiceAccount, or its kubeconfig"
    else:
        reason = UnknownReason.UNAVAILABLE
        message = f"{resource} cannot be listed or watched: {_text(error)}"
        action = "If it stays, check the API server and the network between"
    return Unknown(resource.kind, namespace, reason, message, action)


def crd_absent(resource: Resource, namespace: str | None) -> Unknown:
    """The CRD of `resource` is not there, not in this version, or being deleted."""
    message = f"the API server does not serve {resource} of version {resource.version}, or is about to end it"
    action = "Apply Weir's CRDs: kubectl apply -f crds/"
    return Unknown(resource.kind, namespace, UnknownReason.CRD_ABSENT, message, action)


def _forbidden(resource: Resource, namespace: str | None, error: BaseException) -> tuple[UnknownReason, str, str]:
    role = f"Role in namespace {namespace}" if namespace else "ClusterRole"
    rule = f'{{apiGroups: ["{resource.group}"], resources: ["{resource.plural}"], verbs: ["list", "watch"]}}'
    action = f"Add to the operator's {role}: {rule}"
    if resource.kind in ("Service", "EndpointSlice"):
        action += ", or do without their endpoints (backends with a backendRef are then reached by the Service's name)"
        return UnknownReason.SERVICES_NOT_READABLE, _text(error), action
    if resource.kind != "Namespace":
        return UnknownReason.FORBIDDEN, _text(error), action
    action += ", or do without selectors of namespaces (from: Names works)"
    return UnknownReason.NAMESPACES_NOT_READABLE, _text(error), action


def _text(error: BaseException) -> str:
    """The error's message. Of a foreign error only the type, since its message may quote what was read."""
    if isinstance(error, ApiException):
        text = _status_message(error.body) or f"{error.status} {error.reason}"
    elif isinstance(error, HTTPError | OSError):
        text = str(error)
    else:
        text = type(error).__name__
    return " ".join(text.split())[:TEXT_CHARS]


def _status_message(body: Any) -> str | None:
    """The message of the Status object that the API server answers errors with."""
    try:
        message = json.loads(body)["message"]
    except (TypeError, ValueError, KeyError):
        return None
    return message if isinstance(message, str) else None
