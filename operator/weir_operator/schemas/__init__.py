"""The kinds of `weir.dev/v1alpha1`, one module each: spec, status, printer columns, rules.

The same classes validate a directory (`weir_operator.observe.manifests`), feed the compiler, and become the CRDs
(`weir_operator.schemas.crdgen`), so that a laptop and a cluster refuse the same things with the same words.
"""

from weir_operator.schemas.common import GROUP, VERSION, Column, Kind
from weir_operator.schemas.modeltier import MODEL_TIER, ModelTierSpec
from weir_operator.schemas.routingpolicy import ROUTING_POLICY, RoutingPolicySpec

KINDS: tuple[Kind, ...] = (MODEL_TIER, ROUTING_POLICY)
"""Every kind of the group, in the order in which documents list them."""

__all__ = [
    "GROUP",
    "KINDS",
    "MODEL_TIER",
    "ROUTING_POLICY",
    "VERSION",
    "Column",
    "Kind",
    "ModelTierSpec",
    "RoutingPolicySpec",
]
