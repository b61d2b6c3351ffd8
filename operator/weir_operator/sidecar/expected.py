"""The pods that should have a sidecar and have none, and the command that mends each. PURE.

Shared by `sidecar.inject` (a pod as it is created), the operator and
`kubectl weir doctor`. The webhook's selectors in the chart (`templates/operator/webhook.yaml`) say the same to the API
server; `tests/kube/test_inject.py` compares both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

JSON = Mapping[str, Any]
"""An object as the API server sends it."""

INJECT = "weir.dev/inject"
"""Label of a namespace or pod, one of `YES` or `NO`."""

YES = ("true", "True", "TRUE", "enabled")
"""Values of the label that ask for sidecars. Labels are strings, and other meshes say "enabled"."""

NO = ("false", "False", "FALSE", "disabled")
"""Values of the label that refuse a sidecar."""

CONTAINER = "weir-sidecar"
"""Name of the sidecar's container."""

IDENTITY, KEPT = "weir-identity", "weir-kept"
"""The volumes: tokens and authority; the last good config."""

SYSTEM = ("kube-system", "kube-public", "kube-node-lease")
"""Namespaces that never get sidecars, beside the installation's own."""

ENDED = ("Succeeded", "Failed")
"""Phases of a pod that no restart brings back."""

STATIC = "kubernetes.io/config.mirror"
"""Annotation of a static pod, which the kubelet makes from a file: no webhook can change it."""

HASHES = ("pod-template-hash", "rollouts-pod-template-hash")
"""Labels with the last part of a ReplicaSet's name: what precedes it is the Deployment, or the Rollout of Argo."""

MENDS = "helm upgrade with the release's own values (helm get values) puts it back"
"""The remedy for a configuration that is gone."""

MADE_ANEW = "delete it, then helm upgrade with the release's own values (helm get values) puts it back"
"""The remedy for a changed one: Helm 4 does not overwrite another client's fields, and Helm 3 leaves new ones."""


def configuration_name(installation: str, namespace: str) -> str:
    """The chart's name for the configuration of an installation in a namespace."""
    return f"{installation}.{namespace}.sidecar.weir.dev"


@dataclass(frozen=True)
class Scope:
    """The namespaces of one installation with sidecars."""

    namespace: str  # the installation's own, whose pods get none
    namespaces: tuple[str, ...] | None = None  # that it serves; None: all


@dataclass(frozen=True, order=True)
class Lacking:
    """A pod that should have a sidecar and has none."""

    namespace: str
    pod: str
    owner: str  # "deployment/web"; of a pod without a controller "pod/web"
    command: str  # mends it, for example "kubectl rollout restart deployment/web -n team-a"
    uid: str = ""  # of the pod

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod}"


def lacking(pod: JSON, namespace: JSON, scope: Scope) -> Lacking | None:
    """The pod, if it should have a sidecar and has none. `namespace` is the object of the pod's namespace.

    A pod that cannot have one (`obstacle`), that has ended or is ending is not among them.
    """
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    if not wanted(pod, namespace, scope) or any(it.get("name") == CONTAINER for it in containers(spec)):
        return None
    ends = metadata.get("deletionTimestamp") or (pod.get("status") or {}).get("phase") in ENDED
    if ends or STATIC in (metadata.get("annotations") or {}) or obstacle(spec):
        return None
    where, name = (namespace.get("metadata") or {}).get("name", ""), metadata.get("name", "")
    owner, command = _mended_by(metadata, name)
    return Lacking(where, name, owner, f"{command} -n {where}", metadata.get("uid", ""))


def wanted(pod: JSON, namespace: JSON, scope: Scope) -> bool:
    """Whether the labels of pod and namespace ask for a sidecar, as the webhook's selectors say."""
    name = (namespace.get("metadata") or {}).get("name", "")
    if name in (*SYSTEM, scope.namespace) or (scope.namespaces is not None and name not in scope.namespaces):
        return False
    if opted_out(pod.get("metadata") or {}):
        return False
    return asks(namespace) or asks(pod)


def asks(it: JSON) -> bool:
    """Whether the label of a namespace or pod asks for sidecars."""
    return _labels(it.get("metadata") or {}).get(INJECT) in YES


def misspelt(namespace: JSON) -> str | None:
    """The value of a namespace's label that means nothing, for example "yes"; None: it has a meaning, or is absent."""
    value = _labels(namespace.get("metadata") or {}).get(INJECT)
    return None if value is None or value in (*YES, *NO) else str(value)


def opted_out(metadata: JSON) -> bool:
    """Whether a pod refuses a sidecar, by label or annotation."""
    return _labels(metadata).get(INJECT) in NO or (metadata.get("annotations") or {}).get(INJECT) in NO


def obstacle(spec: JSON) -> str | None:
    """Why a pod without a sidecar cannot have one; None: nothing is in the way."""
    if spec.get("hostNetwork"):
        return "with hostNetwork, every process of the node could use this pod's identity"
    if (spec.get("os") or {}).get("name") == "windows":
        return "there is no image for Windows"
    if any(it.get("name") == CONTAINER for it in containers(spec)):
        return f"the pod has a container called {CONTAINER}"
    taken = {it.get("name") for it in spec.get("volumes") or ()} & {IDENTITY, KEPT}
    return f"the pod has a volume called {min(taken)}" if taken else None


def containers(spec: JSON) -> Iterator[JSON]:
    """The init containers and containers of a pod."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def _labels(metadata: JSON) -> JSON:
    return metadata.get("labels") or {}


def _mended_by(metadata: JSON, name: str) -> tuple[str, str]:
    """The owner of a pod, and the command that makes its pods anew, without a namespace."""
    owners: Iterator[JSON] = (it for it in metadata.get("ownerReferences") or () if it.get("controller"))
    owner = next(owners, {})
    kind, of = owner.get("kind", ""), owner.get("name", "")
    if kind in ("StatefulSet", "DaemonSet"):
        return f"{kind.lower()}/{of}", f"kubectl rollout restart {kind.lower()}/{of}"
    for label in HASHES:
        suffix = f"-{_labels(metadata).get(label)}"
        if kind == "ReplicaSet" and of.endswith(suffix):
            of = of.removesuffix(suffix)
            if label == HASHES[0]:
                return f"deployment/{of}", f"kubectl rollout restart deployment/{of}"
            return f"rollout/{of}", f"kubectl argo rollouts restart {of}"
    if kind:  # its controller makes another one
        return f"{kind.lower()}/{of}", f"kubectl delete pod/{name}"
    return f"pod/{name}", f"kubectl replace --force -f FILE-OF-POD-{name}"
