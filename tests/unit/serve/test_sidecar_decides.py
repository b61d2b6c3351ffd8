"""Policies that a sidecar serves itself."""

from __future__ import annotations

from typing import Any

import pytest

from weir_router.contract import Override, Policy, Route, TierRef

OURS, THEIRS = TierRef(tier="team-a/t"), TierRef(tier="llm/t")


def policy(*tiers: TierRef, **fields: Any) -> Policy:
    routes = tuple(Route(name=str(number), tiers=(tier,)) for number, tier in enumerate(tiers))
    return Policy(namespace="team-b", name="p", models=("auto",), callers=(), routes=routes, **fields)


@pytest.mark.parametrize(
    ("it", "here"),
    [
        (policy(OURS), True),
        (policy(OURS, OURS, baseline=OURS, override=Override(tier=OURS, until=1.0)), True),
        (policy(THEIRS), False),
        (policy(OURS, THEIRS), False),
        (policy(OURS, baseline=THEIRS), False),
        (policy(OURS, override=Override(tier=THEIRS, until=1.0)), False),
        (policy(TierRef(tier="team-ab/t")), False),
        (policy(), False),
    ],
)
def test_only_where_every_tier_is_of_the_pod_s_namespace(it: Policy, here: bool):
    assert it.is_complete("team-a") is here
