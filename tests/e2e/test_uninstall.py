"""The last scenario: nothing is left behind."""

from __future__ import annotations

import json

from world import NAMESPACE, Object, Weir, helm, kubectl, until

NEVER_OURS = {"bindings", "componentstatuses", "events", "localsubjectaccessreviews", "selfsubjectaccessreviews"}


def left() -> list[str]:
    """All objects but the CRDs that belong to the installation: by a label, or by name in Weir's namespace."""
    found = []
    for namespaced in ("true", "false"):
        kinds = kubectl("api-resources", "--verbs=list", f"--namespaced={namespaced}", "--output=name").split()
        for kind in set(kinds) - NEVER_OURS:
            if kind.startswith("events") or kind.endswith("metrics.k8s.io"):
                continue
            items = json.loads(kubectl("get", kind, "--all-namespaces", "--output=json"))["items"]
            found += [
                f"{kind} {it['metadata'].get('namespace', '')}/{it['metadata']['name']}" for it in items if ours(it)
            ]
    return sorted(found)


def ours(it: Object) -> bool:
    metadata = it["metadata"]
    labels = metadata.get("labels", {})
    here = metadata.get("namespace") == NAMESPACE and metadata["name"].startswith("weir")
    return here or "weir.dev/installation" in labels or labels.get("app.kubernetes.io/instance") == "weir"


def test_uninstalling_leaves_the_crds_and_what_people_made(weir: Weir) -> None:
    # When the release is uninstalled
    helm("uninstall", "weir", "--namespace", NAMESPACE, "--wait")
    # Then nothing is there of what it made, and of what it made later
    until(lambda: not left(), 90, pause=2)
    # But for the CRDs, and people's objects with them
    kubectl("get", "customresourcedefinitions", "modeltiers.weir.dev", "routingpolicies.weir.dev")
    assert "assistants" in kubectl("get", "routingpolicies", "--all-namespaces")
