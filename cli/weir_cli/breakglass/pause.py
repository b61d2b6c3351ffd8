"""`weir pause`, `weir resume`: backends of a ModelTier take no new requests, and take them again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.markup import escape

from weir_cli.breakglass.consequences import confirmed
from weir_cli.cluster.flags import Connection, asks_cluster
from weir_cli.cluster.names import checked, place
from weir_cli.cluster.opening import cluster
from weir_cli.shared.output import console, fail
from weir_operator.kinds import MODEL_TIER
from weir_operator.observe.convert import manifest
from weir_operator.schemas.common import DEFAULT_CLASS
from weir_router.contract import BackendState

BY = "weir.dev/paused-by"
"""Annotation that says who has paused something of the tier. The API server's audit log is what proves it."""

Tier = Annotated[
    str,
    typer.Argument(metavar="[NAMESPACE/]TIER", help="The ModelTier; a bare name: in the namespace of the request."),
]
Backend = Annotated[str | None, typer.Argument(help="One backend of it; default: all.")]


@asks_cluster
def pause(
    tier: Tier,
    backend: Backend = None,
    force: Annotated[bool, typer.Option("--force", help="Even if something then stops working.")] = False,
    *,
    connection: Connection,
) -> None:
    """Lets a backend, or a whole tier, finish what runs and take nothing new.

    \b
    kubectl weir pause llm/budget openai-mini
    kubectl weir resume llm/budget openai-mini

    It sets `state: Draining`. Routes go on to their next tier; if one has none, nothing is changed.

    Exit code 0: done; 1: something would stop working, and nothing was changed; 2: wrong arguments, no cluster, or you
    may not.
    """
    _set(tier, backend, BackendState.DRAINING, connection, force=force)


@asks_cluster
def resume(tier: Tier, backend: Backend = None, *, connection: Connection) -> None:
    """Lets a backend, or a whole tier, take requests again.

    \b
    kubectl weir resume llm/budget openai-mini
    kubectl weir resume llm/budget

    It sets `state: Active`, also where another user had set another state.

    Exit code 0: done; 2: wrong arguments, no cluster, or you may not.
    """
    _set(tier, backend, BackendState.ACTIVE, connection)


def _set(tier: str, backend: str | None, state: BackendState, connection: Connection, *, force: bool = False) -> None:
    checked(tier, "ModelTier")
    with cluster(connection) as there:
        name = place(tier, "ModelTier", there.namespace)
        text = str(name)
        body = there.get(MODEL_TIER, name)
        names = [it["name"] for it in body["spec"]["backends"]]
        if backend is not None and backend not in names:
            raise fail(f"ModelTier {text} has no backend {backend!r}; it has {', '.join(names)}.")
        backends = with_state(body, backend, state)
        if backends == body["spec"]["backends"]:
            console.print(f"{escape(text)}: nothing to change", highlight=False)
            return
        if state is not BackendState.ACTIVE:
            _check(there, body, backends, force=force)
        paused = any(it["state"] != BackendState.ACTIVE for it in backends)
        there.patch(MODEL_TIER, name, patch(body, backends, there.user() if paused else None))
    for it in backends:
        if backend in (None, it["name"]):
            console.print(escape(f"{text}/{it['name']}: {it['state']}"), highlight=False)


def with_state(body: Mapping[str, Any], backend: str | None, state: BackendState) -> list[dict[str, Any]]:
    """The tier's backends, with the state of one, or of all, as given."""
    return [
        {**it, "state": state.value if backend in (None, it["name"]) else it.get("state", BackendState.ACTIVE.value)}
        for it in body["spec"]["backends"]
    ]


def patch(body: Mapping[str, Any], backends: list[dict[str, Any]], user: str | None) -> dict[str, Any]:
    """A merge patch of the version that was read: it has the whole list, and must not undo a later change."""
    metadata = {"resourceVersion": body["metadata"]["resourceVersion"], "annotations": {BY: user}}
    return {"metadata": metadata, "spec": {"backends": backends}}


def _check(there: Any, body: Mapping[str, Any], backends: list[dict[str, Any]], *, force: bool) -> None:
    from weir_cli.cluster.objects import visible

    before = manifest(MODEL_TIER.kind, body)
    after = replace(before, spec={**before.spec, "backends": backends})
    seen = visible(there, {before.namespace}, before.spec.get("className", DEFAULT_CLASS))
    # That the tier itself is not ready then is what was asked for.
    confirmed(seen, after, time.time(), but=after.id, force=force)
