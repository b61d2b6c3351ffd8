"""`weir override`: break-glass. Everything that a policy gets goes to one tier, until a moment."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from weir_cli.breakglass.consequences import confirmed
from weir_cli.breakglass.verdict import Verdict, verdict_on
from weir_cli.cluster.flags import Connection, asks_cluster
from weir_cli.cluster.names import checked, place
from weir_cli.cluster.opening import cluster
from weir_cli.shared.output import Exit, Format, console, errors, fail, print_json
from weir_operator.kinds import ROUTING_POLICY
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.convert import manifest
from weir_operator.schemas.common import DEFAULT_CLASS, DURATION, seconds, timestamp
from weir_operator.status.conditions import READY

BY, REASON = "weir.dev/override-by", "weir.dev/override-reason"
"""Annotations that say whose override it is, and why. The API server's audit log is what proves it."""

MAX_SECONDS = 7 * 24 * 3600.0
"""An override that is to hold for longer is a policy, and belongs in one."""


@asks_cluster
def override(
    policy: Annotated[
        str,
        typer.Argument(
            metavar="[NAMESPACE/]POLICY", help="The RoutingPolicy; a bare name: in the namespace of the request."
        ),
    ],
    tier: Annotated[
        str | None,
        typer.Option(
            metavar="[NAMESPACE/]NAME", help="ModelTier that gets everything; a bare name: in the policy's namespace."
        ),
    ] = None,
    duration: Annotated[str | None, typer.Option("--for", help="How long, e.g. 30m or 2h; then it ends.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for those who find it.")] = "",
    end: Annotated[bool, typer.Option("--end", help="End it now.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if something then stops working.")] = False,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="table for people, json for machines.")
    ] = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Sends everything of a policy to one tier for a while; without options, shows whether that is so.

    \b
    kubectl weir override team-a/assistants --tier llm/premium --for 2h --reason "budget tier is down"
    kubectl weir override team-a/assistants
    kubectl weir override team-a/assistants --end

    It ends by itself. `require` of routes and what a request needs still hold. A tier that you may not read cannot be
    checked before; what the operator says of the override is shown as soon as it has looked at it.

    Exit code 0: done, or shown; 1: something would stop working, and nothing was changed, or the operator finds the
    override unusable; 2: wrong arguments, no cluster, or you may not.
    """
    checked(policy, "RoutingPolicy")
    wanted = _wanted(tier, duration, end)
    verdict = None
    with cluster(connection) as there:
        name = place(policy, "RoutingPolicy", there.namespace)
        body = there.get(ROUTING_POLICY, name)
        now = time.time()
        if wanted is not None:
            stated = _override(place(wanted[0], "ModelTier", name.namespace), wanted[1], now)
            _check(there, body, stated, now, force=force)
            changed = there.patch(ROUTING_POLICY, name, _patch(stated, there.user(), reason))
            verdict = verdict_on(lambda: there.get(ROUTING_POLICY, name), changed["metadata"]["generation"])
        elif end:
            there.patch(ROUTING_POLICY, name, _patch(None, None, ""))
        found = record(str(name), there.get(ROUTING_POLICY, name), now)
    if output is Format.JSON:
        print_json(found if verdict is None else {**found, "verdict": verdict})
    else:
        console.print(escape(told(found, now)), highlight=False, soft_wrap=True)
    if verdict is not None:
        _conclude(verdict)


def _conclude(verdict: Verdict) -> None:
    """Says what the operator says of the override. Ends the command with exit code 1 if it cannot be used."""
    if not verdict.judged:
        errors.print(f"note: {verdict.message}", highlight=False, soft_wrap=True)
    elif not verdict.usable:
        raise fail(f"the operator says: {verdict.message} (--end ends the override)", Exit.PROBLEMS)
    elif verdict.message != READY.good.message:  # for example, every backend of the override's tier fails
        errors.print(f"note: the operator says: {escape(verdict.message)}", highlight=False, soft_wrap=True)


def _wanted(tier: str | None, duration: str | None, end: bool) -> tuple[str, float] | None:
    """The tier, and for how many seconds; None: none is to begin."""
    if tier is None and duration is None:
        return None
    if end or tier is None or duration is None:
        raise fail("an override begins with --tier and --for, both, and ends with --end.")
    if not re.match(DURATION, duration) or not 0 < seconds(duration) <= MAX_SECONDS:
        raise fail(f"--for {duration!r} is not a duration such as 30m or 2h, of at most {MAX_SECONDS / 3600:.0f}h.")
    return checked(tier, "ModelTier"), seconds(duration)


def _override(tier: ObjectName, duration: float, now: float) -> dict[str, Any]:
    until = datetime.fromtimestamp(now + duration, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"tier": {"name": tier.name, "namespace": tier.namespace}, "until": until}


def _patch(stated: Mapping[str, Any] | None, user: str | None, reason: str) -> dict[str, Any]:
    """A merge patch; None takes away."""
    return {
        "metadata": {"annotations": {BY: user, REASON: reason or None}},
        "spec": {"override": stated},
    }


def _check(there: Any, body: Mapping[str, Any], stated: Mapping[str, Any], now: float, *, force: bool) -> None:
    """Checks that the tier exists and grants the policy's namespace, as far as we may see it."""
    from weir_cli.cluster.objects import visible

    before = manifest(ROUTING_POLICY.kind, body)
    after = replace(before, spec={**before.spec, "override": stated})
    near = {before.namespace, stated["tier"]["namespace"]}
    seen = visible(there, near, before.spec.get("className", DEFAULT_CLASS), new=(after,))
    confirmed(seen, after, now, force=force)


def record(policy: str, body: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The override as JSON."""
    stated = body["spec"].get("override")
    annotations = body["metadata"].get("annotations") or {}
    if stated is None:
        return {"policy": policy, "override": None}
    tier = stated["tier"]
    found = {
        "tier": f"{tier.get('namespace') or body['metadata']['namespace']}/{tier['name']}",
        "until": stated["until"],
        "holds": now < timestamp(stated["until"]),
        "by": annotations.get(BY),
        "reason": annotations.get(REASON),
    }
    return {"policy": policy, "override": found}


def told(found: Mapping[str, Any], now: float) -> str:
    """The same for people."""
    it = found["override"]
    if it is None:
        return f"{found['policy']}: no override, its routes decide"
    who = f", by {it['by']}" if it["by"] else ""
    why = f": {it['reason']}" if it["reason"] else ""
    if not it["holds"]:
        return f"{found['policy']}: its routes decide; an override to {it['tier']} ended at {it['until']}{who}{why}"
    left = _left(timestamp(it["until"]) - now)
    return f"{found['policy']}: everything goes to {it['tier']} until {it['until']} ({left} left){who}{why}"


def _left(amount: float) -> str:
    minutes = max(1, round(amount / 60))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
