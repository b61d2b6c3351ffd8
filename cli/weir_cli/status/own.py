"""`weir status` for users who may not see the figures of all tenants: the statuses of the objects of one namespace.

The API server is asked first. Routers' pages tell of all tenants, so they are for those who may read the pages and list
the RoutingPolicies of all namespaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from weir_cli.cluster.connection import NoPages
from weir_cli.cluster.refusals import right
from weir_operator.kinds import KINDS, ROUTING_POLICY
from weir_operator.observe.observed import Manifest
from weir_operator.schemas import GROUP
from weir_operator.status.conditions import by_type

if TYPE_CHECKING:
    from weir_cli.cluster.api import Cluster


@dataclass(frozen=True)
class Own:
    """One object, in the words of its status."""

    object: str  # "RoutingPolicy team-a/assistants"
    ready: str  # True, False, Unknown
    reason: str
    message: str


def unseen(there: Cluster, system: str) -> list[str]:
    """The rights that we lack to see the routers of the installation in namespace `system`."""
    wanted = (
        ("list", "pods", "", system),
        ("get", "pods/proxy", "", system),
        ("list", ROUTING_POLICY.plural, GROUP, ""),
    )
    return [
        right(verb, resource, group, namespace)
        for verb, resource, group, namespace in wanted
        if not there.may(verb, resource, group=group, namespace=namespace)
    ]


def own(there: Cluster, lacking: Sequence[str]) -> tuple[list[Own], list[str]]:
    """The objects of the connection's namespace, and the rights that we lack there. Raises `NoPages` without any.

    `lacking` are the rights that are missing for more than that.
    """
    mine = there.namespace
    may = {kind: there.may("list", kind.plural, namespace=mine) for kind in KINDS}
    hidden = [right("list", kind.plural, GROUP, mine) for kind, allowed in may.items() if not allowed]
    if not any(may.values()):
        raise NoPages(f"nothing can be seen: you may not {'; '.join((*lacking, *hidden))}")
    found = [own_of(it) for kind, allowed in may.items() if allowed for it in there.all(kind, [mine])]
    return found, hidden


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
