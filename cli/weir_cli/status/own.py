"""`weir status` for who may not see everybody's figures: what the statuses of their own objects say.

The API server is asked first. Routers' pages tell of all tenants, so they are for those who may read the pages and list
the RoutingPolicies of all namespaces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from weir_cli.cluster.opening import cluster
from weir_operator.kinds import KINDS, ROUTING_POLICY
from weir_operator.observe.observed import Manifest
from weir_operator.status.conditions import by_type


@dataclass(frozen=True)
class Own:
    """One object, in the words of its status."""

    object: str  # "RoutingPolicy team-a/assistants"
    ready: str  # True, False, Unknown
    reason: str
    message: str


def own(system: str | None, context: str | None) -> tuple[str, list[Own]] | None:
    """Our namespace and its objects; None: we may see everything, or not even that. `system`: where Weir is."""
    with cluster(context) as there:
        where, mine = system or there.namespace, there.namespace
        if there.may("get", "pods/proxy", group="", namespace=where) and there.may("list", ROUTING_POLICY.plural):
            return None
        kinds = [kind for kind in KINDS if there.may("list", kind.plural, namespace=mine)]
        found = [own_of(it) for kind in kinds for it in there.all(kind, [mine])]
        return (mine, found) if kinds else None


def own_of(it: Manifest) -> Own:
    """An object with its condition Ready."""
    ready = by_type(it.status).get("Ready", {})
    return Own(
        f"{it.kind} {it.key}",
        ready.get("status", "Unknown"),
        ready.get("reason", "NoStatus"),
        ready.get("message", "no operator has looked at it yet"),
    )


def table(namespace: str, found: Iterable[Own]) -> Table:
    """A row per object."""
    listing = Table(title=f"Objects in namespace {namespace}", title_justify="left")
    for heading in ("object", "ready", "reason", "what to do"):
        listing.add_column(heading, overflow="fold")
    for it in found:
        listing.add_row(*map(escape, (it.object, it.ready, it.reason, it.message)))
    return listing
