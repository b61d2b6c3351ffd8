"""Memory between two compiles: it makes them faster, and the result is the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.kinds import noting
from weir_operator.compile import Memory, compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest, Observed, SecretData, by_kind

UNTIL = "2026-12-01T00:00:00Z"
UNTIL_SECONDS = 1_796_083_200.0


def tier(name: str = "a", grants: Any = None, **changes: Any) -> Manifest:
    backend = {"name": "b", "provider": "OpenAI", "model": "m", "baseURL": "http://models:8000/v1", **changes}
    spec = {"backends": [backend]} | ({"grants": grants} if grants else {})
    return Manifest("ModelTier", "llm", name, spec)


def policy(name: str = "p", *tiers: str, **changes: Any) -> Manifest:
    routes = [{"name": "all", "tiers": [{"name": it, "namespace": "llm"} for it in tiers or ("a",)]}]
    return Manifest("RoutingPolicy", "team", name, {"models": [{"name": name}], "routes": routes, **changes})


EVERYONE = [{"namespaces": {"from": "All"}}]
LABELLED = [{"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "yes"}}}}]
SECRET = {"type": "APIKey", "secretRef": {"name": "key", "key": "k"}}
TIERS = [
    None,
    tier(),
    tier(grants=EVERYONE),
    tier(grants=LABELLED),
    tier(grants=EVERYONE, credentials=SECRET),
    tier(grants=EVERYONE, state="Disabled"),
    tier(grants="nonsense"),
]
OVERRIDE = {"tier": {"name": "a", "namespace": "llm"}, "until": UNTIL}
POLICIES = [None, policy(), policy("p", "a", "b"), policy(override=OVERRIDE), policy(mode="Observe"), policy(mode=7)]
SECRETS = [{}, {ObjectName("llm", "key"): SecretData({"weir.dev/credential": "true"}, data={"k": b"sk-1"})}]
NAMESPACES = [None, {}, {"team": {"team": "yes"}}]

stages = st.builds(
    lambda first, second, policies, secrets, namespaces, late: (
        Observed(
            manifests=by_kind(
                it
                for it in (
                    *(first, second and replace(second, name="b")),
                    *(policies[0], policies[1] and replace(policies[1], name="q")),
                )
                if it
            ),
            secrets=secrets,
            namespaces=namespaces,
        ),
        UNTIL_SECONDS + (60.0 if late else -60.0),
    ),
    st.sampled_from(TIERS),
    st.sampled_from(TIERS),
    st.tuples(st.sampled_from(POLICIES), st.sampled_from(POLICIES)),
    st.sampled_from(SECRETS),
    st.sampled_from(NAMESPACES),
    st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(stages, min_size=2, max_size=6))
def test_what_was_compiled_before_changes_no_result(history: list[tuple[Observed, float]]):
    memory, catalogue = Memory(), Catalogue.load()
    for observed, now in history:
        again = compile_config(observed, KINDS, catalogue=catalogue, now=now, memory=memory)
        assert again == compile_config(observed, KINDS, catalogue=catalogue, now=now)


@pytest.fixture
def compiled(catalogue):
    """Compiles with one memory; gives the names of the objects that were compiled anew."""
    anew, memory = [], Memory()
    kinds = noting(anew)

    def run(observed: Observed, now: float = 0.0) -> set[str]:
        anew.clear()
        compile_config(observed, kinds, catalogue=catalogue, now=now, memory=memory)
        return set(anew)

    return run


BOTH = Observed(
    manifests=by_kind(
        (tier("a", EVERYONE), tier("b", EVERYONE), policy("p", "a"), policy("q", "b"), policy("r", "a", "b"))
    ),
)


def but(changed: Manifest | None, *names: str) -> Observed:
    """`BOTH` without the objects called `names`, and with another one."""
    kept = [it for it in BOTH.all() if it.name not in names]
    return replace(BOTH, manifests=by_kind([*kept, *([changed] if changed else [])]))


def test_nothing_is_compiled_again_while_nothing_changes(compiled):
    assert compiled(BOTH) == {"a", "b", "p", "q", "r"}
    assert compiled(BOTH) == set()


def test_a_changed_policy_is_compiled_alone(compiled):
    compiled(BOTH)
    assert compiled(but(policy("p", "b"), "p")) == {"p"}


def test_a_changed_tier_is_compiled_with_the_policies_that_ask_for_it(compiled):
    compiled(BOTH)
    assert compiled(but(tier("b", EVERYONE, state="Draining"), "b")) == {"b", "q", "r"}


def test_a_tier_that_comes_is_a_change_for_those_who_missed_it(compiled):
    compiled(but(None, "b"))
    assert compiled(BOTH) == {"b", "q", "r"}


def test_a_policy_that_may_change_by_itself_is_compiled_each_time(compiled):
    overridden = but(policy("p", "a", override=OVERRIDE), "p", "r")
    compiled(overridden, UNTIL_SECONDS - 1)
    assert compiled(overridden, UNTIL_SECONDS + 1) == {"p"}


def test_a_changed_secret_is_a_change_for_all(compiled):
    compiled(BOTH)
    assert compiled(replace(BOTH, secrets=SECRETS[1])) == {"a", "b", "p", "q", "r"}
