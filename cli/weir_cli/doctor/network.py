"""Ports of an installation that more pods can reach than need to, by its NetworkPolicies. PURE; `weir_cli.doctor.look`
fetches those.

Whether a network plugin enforces them, no API says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

COMPONENT = "app.kubernetes.io/component"
COMPONENTS = ("operator", "gateway")
PORTS = {"metrics": "metrics and state (9090)", "https": "the config server (8443)"}
"""Ports by their names in the chart, for people; that of callers is open by design."""


def left_open(policies: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The ports that all pods can reach. `policies` are specs of NetworkPolicies by component."""
    return tuple(_open(policies))


def _open(policies: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for component in COMPONENTS:
        spec = policies.get(component)
        if spec is None:
            yield f"all ports of the {component}, which has no NetworkPolicy"
            continue
        for rule in spec.get("ingress") or ():
            if _is_for_all(rule):
                names = [it.get("port") for it in rule.get("ports") or ()]
                yield from (f"{what} of the {component}" for name, what in PORTS.items() if name in names or not names)


def _is_for_all(rule: Mapping[str, Any]) -> bool:
    """Whether every pod of the cluster is among the peers of an ingress rule; no peers are all."""
    peers = rule.get("from") or ()
    return not peers or any(it.get("namespaceSelector") == {} and not it.get("podSelector") for it in peers)
