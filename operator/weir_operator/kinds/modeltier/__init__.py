"""The kind ModelTier: models that are equally good for routing, at one or several providers. This is its row."""

from __future__ import annotations

from weir_operator.compile.step import CompileStep
from weir_operator.kinds.modeltier import status
from weir_operator.kinds.modeltier.compile import compile_one, facts
from weir_operator.kinds.modeltier.schema import ModelTierSpec, ModelTierStatus
from weir_operator.kinds.modeltier.secrets import named_secrets
from weir_operator.kinds.modeltier.together import add_tiers
from weir_operator.kinds.row import Row
from weir_operator.observe.observed import CREDENTIAL_LABEL
from weir_operator.schemas.common import Column

__all__ = ["MODEL_TIER"]

MODEL_TIER = Row(
    kind="ModelTier",
    plural="modeltiers",
    short_name="mt",
    description="Models that are equally good for routing: what they cost, what they can do, who may route to them.",
    spec=ModelTierSpec,
    status=ModelTierStatus,
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status', description="Whether requests can be served."),
        Column("Backends", ".status.backendsReady", description="Usable backends, of all."),
        Column("Selection", ".spec.selection", description="How backends are ordered."),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', description="Why it is ready or not."),
        Column("Age", ".metadata.creationTimestamp", type="date", description="When it was created."),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', description="What to do.", priority=1),
    ),
    compile=CompileStep(one=compile_one, add=add_tiers, facts=facts),
    judge=status.STEP,
    secret_labels=(CREDENTIAL_LABEL,),
    secrets=named_secrets,
)
