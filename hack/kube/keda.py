"""KEDA's own manifests, with their additions for the one-node cluster. Called by `cluster.py`; reads certificates only.

Images come from the programs that were built; certificates from the cluster's authority, since KEDA's own rotation
takes minutes until the kubelet has brought them to its pods; no admission webhook.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from pki import Pki

NAMESPACE = "keda"
API = "v1beta1.external.metrics.k8s.io"
NAMES = [
    f"DNS:{service}.{NAMESPACE}.svc{domain}"
    for service in ("keda-operator", "keda-metrics-apiserver")
    for domain in ("", ".cluster.local")
]


class Program(NamedTuple):
    """One of the two."""

    built: str
    name: str  # of the file in the image, which its Deployment says
    deployment: str
    published: str  # the image that the manifests name

    @property
    def image(self) -> str:
        """Name of its image here."""
        return f"localhost/{self.name}:built"


PROGRAMS = (
    Program("operator", "keda", "keda-operator", "ghcr.io/kedacore/keda"),
    Program("adapter", "keda-adapter", "keda-metrics-apiserver", "ghcr.io/kedacore/keda-metrics-apiserver"),
)


def kustomization(folder: Path, config: Path, pki: Pki) -> str:
    """Changes to the manifests in `config`, as the kustomization.yaml of `folder`."""
    container = "/spec/template/spec/containers/0"
    patches = [
        _patch(
            "Deployment",
            it.deployment,
            (f"{container}/imagePullPolicy", "IfNotPresent"),
            (f"{container}/readinessProbe/initialDelaySeconds", 1),
        )
        for it in PROGRAMS
    ]
    no_rotation = ["--leader-elect", "--zap-log-level=info", "--zap-encoder=console", "--enable-cert-rotation=false"]
    patches.append(_patch("Deployment", PROGRAMS[0].deployment, (f"{container}/args", no_rotation)))
    patches.append(_patch("APIService", API, ("/spec/caBundle", _base64(pki.certificate("ca"))), verb="add"))
    return json.dumps(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(config / "minimal", folder)],
            "images": [
                {"name": it.published, "newName": it.image.partition(":")[0], "newTag": it.image.partition(":")[2]}
                for it in PROGRAMS
            ],
            "patches": patches,
        }
    )


def certificates(pki: Pki) -> str:
    """The namespace, and in it the Secret that both programs mount."""
    data = {"ca.crt": pki.certificate("ca"), "tls.crt": pki.certificate("keda"), "tls.key": pki.key("keda")}
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "kedaorg-certs", "namespace": NAMESPACE},
            "data": {name: _base64(file) for name, file in data.items()},
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def _patch(kind: str, name: str, *values: tuple[str, Any], verb: str = "replace") -> dict[str, Any]:
    steps = [{"op": verb, "path": path, "value": value} for path, value in values]
    return {"target": {"kind": kind, "name": name}, "patch": json.dumps(steps)}


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
