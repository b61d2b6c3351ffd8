"""The kind RoutingPolicy: which callers may ask for which models, and which tiers answer them. This is its row."""

from __future__ import annotations

from weir_operator.compile.step import CompileStep
from weir_operator.kinds.routingpolicy import status
from weir_operator.kinds.routingpolicy.compile import compile_one, has_override, unread, unusable
from weir_operator.kinds.routingpolicy.schema import RoutingPolicySpec, RoutingPolicyStatus
from weir_operator.kinds.routingpolicy.together import add_policies
from weir_operator.kinds.row import Row
from weir_operator.schemas.common import Column

MAX_SPECS = 512 * 1024
"""Bytes of the policies of one namespace: a thousand ordinary ones, and a compile of the largest takes as long."""

__all__ = ["ROUTING_POLICY"]


def _ready(part: str) -> str:
    return f'.status.conditions[?(@.type=="Ready")].{part}'


ROUTING_POLICY = Row(
    kind="RoutingPolicy",
    plural="routingpolicies",
    short_name="rp",
    description="Which callers may ask for which model names, and which tiers answer them in which order.",
    spec=RoutingPolicySpec,
    status=RoutingPolicyStatus,
    columns=(
        Column("Ready", _ready("status"), description="Whether requests can be served."),
        Column("Mode", ".spec.mode", description="Whether it routes or only watches."),
        Column("Model", ".spec.models[0].name", description="The first name that callers ask for."),
        Column("Routes", ".status.routesReady", description="Usable routes, of all."),
        Column("Elsewhere", ".status.elsewhere", description="Requests that the routes' first tiers could not answer."),
        Column("Reason", _ready("reason"), description="Why it is ready or not."),
        Column("Age", ".metadata.creationTimestamp", type="date", description="When it was created."),
        Column("Override", ".status.override", description="Until when break-glass holds, while it does.", priority=1),
        Column("Message", _ready("message"), description="What to do.", priority=1),
    ),
    compile=CompileStep(
        one=compile_one, add=add_policies, unusable=unusable, unread=unread, max_specs=MAX_SPECS, passes=has_override
    ),
    judge=status.STEP,
)
