"""The cost of policies that are as large as they may be, in calls, since no time is the same on two machines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import pytest

from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.compile.room import MAX_ALL_SPECS, MAX_SPECS, size, unread
from weir_operator.kinds import KINDS
from weir_operator.kube.crowding import Part
from weir_operator.observe.observed import Manifest, Observed, by_kind
from weir_operator.observe.tenancy import Consent, Tenancy

COUNT = 1_000
EVERYONE = {"namespaces": {"from": "All"}}
TIERS = [
    Manifest(
        "ModelTier",
        "llm",
        f"t{it}",
        {"grants": [EVERYONE], "backends": [{"name": "b", "provider": "OpenAI", "model": "m"}]},
    )
    for it in range(16)
]


def tiers(count: int, prefix: str = "t") -> list[dict[str, str]]:
    return [{"name": f"{prefix}{it}", "namespace": "llm"} for it in range(count)]


HONEST = {
    "models": [{"name": "auto"}, {"name": "gpt-4o"}],
    "baseline": {"name": "t1", "namespace": "llm"},
    "routes": [
        {"name": "quick", "when": {"complexity": ["Simple"]}, "tiers": tiers(2)},
        {"name": "canary", "when": {"headers": [{"name": "x-stage", "exact": "canary"}]}, "tiers": tiers(1)},
        {"name": "rest", "tiers": tiers(2)},
    ],
}
MODELS = [{"name": f"model-{it}"} for it in range(64)]
LARGE: dict[str, dict[str, Any]] = {
    "models that overlap": {"callers": [EVERYONE]},
    "routes": {
        "routes": [{"name": f"r{it}", "when": {"complexity": ["Simple"]}, "tiers": tiers(16)} for it in range(32)]
    },
    "missing tiers": {"routes": [{"name": f"r{it}", "tiers": tiers(16, f"no-{it}-")} for it in range(32)]},
    "headers": {
        "routes": [
            {"name": f"r{it}", "when": {"headers": [{"name": f"x-{it}-{n}"} for n in range(16)]}, "tiers": tiers(1)}
            for it in range(32)
        ]
    },
    "callers": {
        "callers": [
            {
                "namespaces": {"from": "Names", "names": [f"n{it}-{n}" for n in range(64)]},
                "apiKeys": [{"name": f"k{it}-{n}"} for n in range(64)],
            }
            for it in range(16)
        ]
    },
    "mistakes": {"routes": [{"name": f"r{it}", "wehn": {}, "tiers": [{"nmae": "x"}] * 16} for it in range(32)]},
}


def manifests(spec: dict[str, Any], namespaces: int, count: int = COUNT) -> list[Manifest]:
    return [Manifest("RoutingPolicy", f"n{it % namespaces}", f"p{it}", spec, created=it + 1.0) for it in range(count)]


def calls(policies: Sequence[Manifest]) -> int:
    """The calls of Python code in one compile from nothing."""
    observed = Observed(manifests=by_kind([*TIERS, *policies]), namespaces={}, tenancy=Tenancy(Consent.WARN))
    count = 0

    def note(_: FrameType, event: str, __: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        compile_config(observed, KINDS, catalogue=Catalogue.load(), now=1e9)
    finally:
        sys.setprofile(before)
    return count


@pytest.fixture(scope="module")
def honest() -> int:
    calls(TIERS)  # what is made once per process
    return calls(manifests(HONEST, 100))


@pytest.mark.parametrize("large", list(LARGE))
def test_a_thousand_hostile_policies_of_one_namespace_cost_no_more_than_twice_as_many_honest_ones(honest, large):
    spec = {"models": MODELS, "routes": [{"name": "all", "tiers": tiers(1)}], **LARGE[large]}
    assert calls(manifests(spec, 1)) <= 2 * honest


FEW = 100
"""Policies, each of a namespace of its own, of which none is left unread."""


@pytest.mark.parametrize("large", list(LARGE))
def test_hostile_policies_of_many_namespaces_cost_no_more_than_twice_as_much_for_each_byte(honest, large):
    """The bytes of all specs that are read have a bound, so this bounds the cost of a compile for many tenants, too."""
    spec = {"models": MODELS, "routes": [{"name": "all", "tiers": tiers(1)}], **LARGE[large]}
    assert FEW * size(spec) < MAX_ALL_SPECS
    of_byte = calls(manifests(spec, FEW, FEW)) / (FEW * size(spec))
    assert of_byte <= 2 * honest / (COUNT * size(HONEST))


def test_all_namespaces_together_are_read_up_to_a_bound():
    spec = {"models": MODELS, "routes": [{"name": "all", "tiers": tiers(1)}], **LARGE["headers"]}
    policies = manifests(spec, COUNT)
    assert sum(size(it.spec) for it in policies) > MAX_ALL_SPECS
    left = unread((Part(it.key, it.created, size(it.spec)) for it in policies), MAX_SPECS)
    assert 0 <= MAX_ALL_SPECS - sum(size(it.spec) for it in policies if it.key not in left) < size(spec)
