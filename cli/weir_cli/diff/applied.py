"""The cluster after `kubectl apply -f`, by a dry run of kubectl and the API server.

An apply merges the fields of a file with those of other clients, adds defaults, and may be refused; all of that is
`kubectl apply --dry-run=server`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from weir_cli.cluster.flags import Connection
from weir_cli.shared.output import fail
from weir_operator.kinds import KINDS, MODEL_TIER
from weir_operator.kube.objects import key
from weir_operator.observe import convert
from weir_operator.observe.observed import Manifest, Observed, by_kind
from weir_operator.observe.tenancy import Tenancy

if TYPE_CHECKING:
    from weir_cli.cluster.api import Cluster

KUBECTL_SECONDS = 120.0
"""Seconds for a dry run of many objects."""


@dataclass(frozen=True)
class Applied:
    """The cluster before and after, as far as we may see it."""

    before: Observed
    after: Observed
    notes: tuple[str, ...]
    hidden: frozenset[str] = frozenset()  # tiers that we may not read


def applied(
    there: Cluster,
    files: Sequence[str],
    *,
    recursive: bool,
    class_name: str,
    tenancy: Tenancy,
    connection: Connection,
) -> Applied:
    """Raises `typer.Exit` with what kubectl says, where it refuses."""
    from weir_cli.cluster.objects import tiers_of, visible

    items = list(_items(_dry_run(files, recursive, connection)))
    ours = [_manifest(it) for it in items if it["kind"] in {kind.kind for kind in KINDS}]
    near = {it.namespace for it in ours}
    near |= {tier.namespace for it in ours if it.kind != MODEL_TIER.kind for tier in tiers_of(it)}
    seen = visible(there, near, class_name, tenancy, new=ours)
    return Applied(seen.observed, after(seen.observed, items, ours), seen.notes, seen.hidden)


def _dry_run(files: Sequence[str], recursive: bool, connection: Connection) -> Any:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise fail("there is no kubectl: weir diff asks it what an apply would do.")
    command = [kubectl, "apply", "--dry-run=server", "--output=json"]
    command += [f"--filename={it}" for it in files] + ["--recursive"] * recursive
    command += connection.as_flags()
    stdin = sys.stdin if "-" in files else subprocess.DEVNULL
    try:
        done = subprocess.run(
            command, stdin=stdin, capture_output=True, text=True, timeout=KUBECTL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise fail(f"kubectl did not answer within {KUBECTL_SECONDS:.0f} s.") from error
    if done.returncode != 0:
        raise fail(f"kubectl apply --dry-run=server: {done.stderr.strip()}")
    return json.loads(done.stdout)


def _items(answer: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return answer["items"] if answer["kind"] == "List" else [answer]


def _manifest(body: Mapping[str, Any]) -> Manifest:
    return convert.manifest(body["kind"], body)


def after(before: Observed, items: Iterable[Mapping[str, Any]], ours: Iterable[Manifest]) -> Observed:
    """`before` with the applied objects in the place of their older versions. Pure.

    Secrets and Services of new backends are taken to be there, unless the operator has reported that the backend's own
    is missing.
    """
    from weir_cli.cluster.objects import credentials_there
    from weir_cli.cluster.services import services_there

    found = {it.id: it for it in before.all()} | {it.id: it for it in ours}
    manifests = by_kind(found.values())
    tiers = manifests.get(MODEL_TIER.kind, ())
    secrets = {key(it): convert.secret(it) for it in items if it["kind"] == "Secret"}
    named = {it["metadata"]["name"]: convert.namespace(it) for it in items if it["kind"] == "Namespace"}
    labels = {name: it.labels for name, it in named.items()}
    services, slices = services_there(tiers)
    return replace(
        before,
        manifests=manifests,
        namespaces=None if before.namespaces is None else {**before.namespaces, **labels},
        accepts={**before.accepts, **{name: it.accepts for name, it in named.items()}},
        secrets={**before.secrets, **secrets},
        environment={**before.environment, **{key: str(key) for it in tiers for key in credentials_there(it)}},
        services=services,
        slices=slices,
    )
