"""RoutingPolicies: references, routes, readiness."""

from __future__ import annotations

import pytest

from weir_operator.problems.problem import Reason, Severity
from weir_router.contract import (
    BackendState,
    CallerRule,
    Capability,
    Complexity,
    Failover,
    HeaderMatch,
    Limit,
    Mode,
    Override,
    Policy,
    Priority,
    PromptLogging,
    TierRef,
    When,
)
from weir_router.contract.conditions import KEEPS_OLDER_OUT

TWO_ROUTES = "[{name: lost, tiers: [{name: missing}]}, {name: kept, tiers: [{name: missing}, {name: budget}]}]"


def only(result) -> Policy:
    (policy,) = result.config.policies
    return policy


def reasons(result) -> list[Reason]:
    return [problem.reason for problem in result.problems]


def test_a_policy_carries_everything_that_its_spec_says(compiled, tier, policy):
    spec = """models: [{name: auto}, {name: gpt-4o}]
  classifier: {minConfidence: "0.6"}
  failover: {attempts: 2, deadline: 30s}
  limits: {requestsPerMinute: 60, inFlight: 5, requestBytes: 2048}
  promptLogging: Full
  baseline: {name: budget}"""
    result = compiled(tier() + policy(spec=spec))
    found = only(result)
    assert not result.problems
    assert (found.models, found.min_confidence, found.not_ready) == (("auto", "gpt-4o"), 0.6, None)
    assert found.failover == Failover(attempts=2, deadline=30.0)
    assert found.limits == Limit(key="policy/default/auto", requests_per_minute=60, in_flight=5)
    assert (found.max_request_bytes, found.prompt_logging) == (2048, PromptLogging.FULL)
    assert found.baseline == TierRef(tier="default/budget")


def test_a_route_says_when_and_what_it_requires(compiled, tier, policy):
    when = """{complexity: [Simple], promptTokens: {min: 1, max: 9}, capabilities: [Tools], userTiers: [paid],
      features: [chat], headers: [{name: X-Stage, exact: canary}], require: {labels: {region: eu}},
      callers: [{namespaces: {from: All}, apiKeys: [{name: ci}]}]}"""
    routes = f"[{{name: all, tiers: [{{name: budget}}], when: {when}}}]"
    (route,) = only(compiled(tier(backend="labels: {region: eu}") + policy(routes=routes))).routes
    assert route.require == {"region": "eu"}
    assert route.when == When(
        complexity=frozenset({Complexity.SIMPLE}),
        min_prompt_tokens=1,
        max_prompt_tokens=9,
        capabilities=frozenset({Capability.TOOLS}),
        headers=(HeaderMatch(name="x-stage", exact="canary"),),
        callers=(CallerRule(api_keys=frozenset({"ci"})),),
        user_tiers=frozenset({"paid"}),
        features=frozenset({"chat"}),
    )


def test_an_invalid_reference_removes_itself_and_a_route_without_tiers_too(compiled, tier, policy):
    result = compiled(tier() + policy(routes=TWO_ROUTES))
    assert [(route.name, [it.tier for it in route.tiers]) for route in only(result).routes] == [
        ("kept", ["default/budget"])
    ]
    assert reasons(result) == [
        Reason.TIER_NOT_FOUND_OR_NOT_GRANTED,
        Reason.ROUTE_WITHOUT_TIERS,
        Reason.TIER_NOT_FOUND_OR_NOT_GRANTED,
    ]
    assert result.problems[0].field == "spec.routes[0].tiers[0]"


def test_a_missing_tier_and_a_forbidden_one_cannot_be_told_apart(compiled, tier, policy):
    routes = "[{name: all, tiers: [{name: budget, namespace: llm}]}]"
    missing = compiled(policy(routes=routes)).problems
    forbidden = compiled(tier(namespace="llm") + policy(routes=routes)).problems
    broken = compiled(tier(namespace="llm", spec="grants: 3") + policy(routes=routes)).problems[1:]
    unusable = compiled(tier(namespace="llm", backend="baseURL: 'http://metadata'") + policy(routes=routes)).problems[
        2:
    ]
    strip = lambda problems: [(it.reason, it.message, it.action, it.field) for it in problems]
    assert strip(missing) == strip(forbidden) == strip(broken) == strip(unusable)
    assert missing[0].reason == Reason.TIER_NOT_FOUND_OR_NOT_GRANTED


def test_a_policy_without_routes_is_not_ready_and_keeps_its_callers(compiled, policy):
    result = compiled(policy())
    assert only(result).not_ready == "no route can be used"
    assert only(result).callers == (CallerRule(namespaces=frozenset({"default"})),)
    assert reasons(result)[-1] == Reason.NO_USABLE_ROUTES


def test_a_granted_tier_without_backends_says_so(compiled, tier, policy):
    result = compiled(tier(backend="baseURL: 'http://metadata'") + policy())
    assert Reason.TIER_NOT_READY in reasons(result)
    assert only(result).not_ready


def test_a_route_with_require_stays_when_its_tiers_are_gone(compiled, tier, policy):
    """Otherwise, its requests would go to a later route, which requires nothing."""
    routes = """[{name: eu, when: {require: {labels: {region: eu}}, features: [letters]}, tiers: [{name: missing}]},
      {name: rest, tiers: [{name: budget}]}]"""
    result = compiled(tier() + policy(routes=routes))
    assert [(route.name, len(route.tiers)) for route in only(result).routes] == [("eu", 0), ("rest", 1)]
    assert only(result).not_ready is None
    assert Reason.ROUTE_WITHOUT_TIERS in reasons(result)


@pytest.mark.parametrize(
    ("backend", "when"),
    [
        ("labels: {region: us}", "{require: {labels: {region: eu}}}"),
        ("capabilities: [Tools]", "{capabilities: [Tools, Vision]}"),
        ("limits: {contextTokens: 1000, effectiveContextTokens: 100}", "{promptTokens: {min: 101}}"),
        ("state: Disabled", "{}"),
        ("state: Draining", "{}"),
    ],
)
def test_a_route_that_nothing_can_serve_is_told(compiled, tier, policy, backend, when):
    routes = f"[{{name: all, when: {when}, tiers: [{{name: budget}}]}}]"
    result = compiled(tier(backend=backend) + policy(routes=routes))
    assert reasons(result) == [Reason.ROUTE_CANNOT_BE_SERVED]
    assert len(only(result).routes) == 1


def test_a_backend_that_says_nothing_can_serve_everything(compiled, tier, policy):
    routes = "[{name: all, when: {capabilities: [Audio], promptTokens: {min: 9000000}}, tiers: [{name: budget}]}]"
    text = tier(backend='price: {input: "0", output: "0"}').replace("known", "strange")
    assert not compiled(text + policy(routes=routes)).problems


def test_a_tier_that_stands_twice_in_a_route_counts_once(compiled, tier, policy):
    result = compiled(tier() + policy(routes="[{name: all, tiers: [{name: budget}, {name: budget}]}]"))
    assert len(only(result).routes[0].tiers) == 1
    assert [(it.reason, it.severity) for it in result.problems] == [(Reason.TIER_REPEATED, Severity.WARNING)]


def test_a_route_behind_one_that_takes_all_is_told(compiled, tier, policy):
    routes = "[{name: first, tiers: [{name: budget}]}, {name: late, tiers: [{name: budget}]}]"
    (problem,) = compiled(tier() + policy(routes=routes)).problems
    assert (problem.reason, problem.field, problem.severity) == (
        Reason.ROUTE_SHADOWED,
        "spec.routes[1]",
        Severity.WARNING,
    )
    assert "'first'" in problem.message


def test_a_route_that_removed_itself_shadows_nothing(compiled, tier, policy):
    routes = "[{name: first, tiers: [{name: missing}]}, {name: late, tiers: [{name: budget}]}]"
    assert Reason.ROUTE_SHADOWED not in reasons(compiled(tier() + policy(routes=routes)))


def test_grants_limit_each_namespace_by_itself(compiled, tier, policy):
    grants = """grants:
  - namespaces: {from: All}
    limits: {requestsPerMinute: 60}
  - namespaces: {from: Names, names: [default, other]}
    limits: {inFlight: 2}
  - namespaces: {from: Names, names: [other]}
    limits: {inFlight: 1}
  - namespaces: {from: Same}
  - namespaces: {from: All}
    limits: {}"""
    (reference,) = only(compiled(tier(spec=grants) + policy())).routes[0].tiers
    assert reference.limits == (
        Limit(key="grant/default/budget/0/default", requests_per_minute=60),
        Limit(key="grant/default/budget/1/default", in_flight=2),
    )


@pytest.mark.parametrize(
    ("grants", "priority"),
    [
        ("[{}]", Priority.NORMAL),
        ("[{priority: Normal}, {priority: High}]", Priority.HIGH),
        ("[{}, {priority: High, namespaces: {from: Names, names: [other]}}]", Priority.NORMAL),
    ],
)
def test_the_owner_of_a_tier_lets_some_namespaces_go_first(compiled, tier, policy, grants, priority):
    (reference,) = only(compiled(tier(spec=f"grants: {grants}") + policy())).routes[0].tiers
    assert reference.priority is priority


def test_an_empty_list_of_grants_grants_nobody(compiled, tier, policy):
    assert Reason.TIER_NOT_FOUND_OR_NOT_GRANTED in reasons(compiled(tier(spec="grants: []") + policy()))


NAMESPACE = """---
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {team: research}}
"""


@pytest.mark.parametrize(
    ("selector", "granted"),
    [
        ("{matchLabels: {team: research}}", True),
        ("{matchLabels: {team: sales}}", False),
        ("{matchLabels: {kubernetes.io/metadata.name: default}}", True),
        ("{matchExpressions: [{key: team, operator: In, values: [research]}]}", True),
        ("{matchExpressions: [{key: team, operator: NotIn, values: [research]}]}", False),
        ("{matchExpressions: [{key: absent, operator: NotIn, values: [research]}]}", True),
        ("{matchExpressions: [{key: team, operator: Exists}]}", True),
        ("{matchExpressions: [{key: team, operator: DoesNotExist}]}", False),
        ("{}", True),
    ],
)
def test_selectors_mean_what_they_mean_in_kubernetes(compiled, tier, policy, selector, granted):
    grants = f"grants: [{{namespaces: {{from: Selector, selector: {selector}}}}}]"
    result = compiled(tier(spec=grants) + policy() + NAMESPACE)
    assert (only(result).not_ready is None) is granted


def test_callers_may_be_named_in_many_ways(compiled, tier, policy):
    callers = """callers:
  - {namespaces: {from: All}}
  - {namespaces: {from: Names, names: [a, b]}, serviceAccounts: [{name: batch}]}
  - {apiKeys: [{name: ci}]}"""
    assert only(compiled(tier() + policy(spec=callers))).callers == (
        CallerRule(),
        CallerRule(namespaces=frozenset({"a", "b"}), service_accounts=frozenset({"batch"})),
        CallerRule(namespaces=frozenset({"default"}), api_keys=frozenset({"ci"})),
    )


def test_a_selector_of_callers_waits_for_namespaces_to_be_known(compiled, tier, policy):
    callers = "callers: [{namespaces: {from: Selector, selector: {matchLabels: {a: b}}}}]"
    result = compiled(tier() + policy(spec=callers), namespaces=None)
    assert reasons(result) == [Reason.NAMESPACES_UNKNOWN]
    assert only(result).callers == (CallerRule(namespaces=frozenset()),)


def test_observe_without_a_baseline_is_not_ready(compiled, tier, policy):
    result = compiled(tier() + policy(spec="mode: Observe"))
    assert (only(result).mode, reasons(result)) == (Mode.OBSERVE, [Reason.OBSERVE_WITHOUT_BASELINE])
    assert only(result).not_ready


def test_a_missing_baseline_is_a_warning_while_it_only_measures(compiled, tier, policy):
    result = compiled(tier() + policy(spec="baseline: {name: missing}"))
    (problem,) = result.problems
    assert (problem.field, problem.severity) == ("spec.baseline", Severity.WARNING)
    assert (only(result).baseline, only(result).not_ready) == (None, None)


def override(until: str, tier: str = "budget") -> str:
    return f'override: {{tier: {{name: {tier}}}, until: "{until}"}}'


def test_an_override_holds_until_its_end(compiled, tier, policy):
    result = compiled(tier() + policy(spec=override("2027-02-01T00:00:00+01:00")))
    assert only(result).override == Override(tier=TierRef(tier="default/budget"), until=1801436400.0)
    assert not result.problems


@pytest.mark.parametrize(
    ("spec", "action"),
    [
        ("modells: []", "Did you mean 'models'?"),
        ("when: {}", "'when' belongs to spec.routes[]: move it there, or remove it."),
        ("colour: blue", "Remove it."),
    ],
)
def test_an_unknown_field_of_a_policy_comes_with_advice(compiled, tier, policy, spec: str, action: str):
    (problem,) = compiled(tier() + policy(spec=spec)).problems
    assert (problem.reason, problem.action) == (Reason.INVALID_SPEC, action)


def test_a_field_in_the_wrong_object_is_never_suggested_to_itself(compiled, tier, policy):
    (problem,) = compiled(
        tier() + policy(routes="[{name: all, when: {models: [gpt-4o]}, tiers: [{name: budget}]}]")
    ).problems
    assert problem.message == "there is no field 'models' here"
    assert problem.action == "'models' belongs to spec: move it there, or remove it."


def test_an_expired_override_is_a_warning_and_gone(compiled, tier, policy):
    result = compiled(tier() + policy(spec=override("2026-01-01T00:00:00Z")))
    assert only(result).override is None
    assert [(it.reason, it.severity) for it in result.problems] == [(Reason.OVERRIDE_EXPIRED, Severity.WARNING)]


def test_an_override_to_a_missing_tier_is_an_error_and_gone(compiled, tier, policy):
    result = compiled(tier() + policy(spec=override("2099-01-01T00:00:00Z", "missing")))
    assert only(result).override is None
    assert [(it.field, it.severity) for it in result.problems] == [("spec.override.tier", Severity.ERROR)]


def test_break_glass_answers_even_where_no_route_does(compiled, tier, policy):
    routes = "[{name: all, tiers: [{name: missing}]}]"
    result = compiled(tier() + policy(spec=override("2099-01-01T00:00:00Z"), routes=routes))
    assert only(result).not_ready is None
    assert Reason.NO_USABLE_ROUTES in reasons(result)


def test_a_disabled_tier_is_still_a_tier(compiled, tier, policy):
    result = compiled(tier(backend="state: Disabled") + policy())
    assert result.config.tiers["default/budget"].backends[0].state is BackendState.DISABLED
    assert only(result).not_ready is None


@pytest.mark.parametrize(
    ("spec", "models", "callers"),
    [
        ("wrong: 1", ("auto",), frozenset({"default"})),
        ("wrong: 1\n  callers: [{namespaces: {from: Names, names: [a]}}]", ("auto",), frozenset({"a"})),
        ("callers: [{namespaces: {from: Nobody}}]", ("auto",), frozenset({"default"})),
        ("callers: 3", ("auto",), frozenset({"default"})),
        ("models: [{name: a}, {name: a}, {nom: b}]", ("a",), frozenset({"default"})),
    ],
)
def test_a_policy_that_is_not_valid_still_claims_what_can_be_read(compiled, policy, spec, models, callers):
    found = only(compiled(policy(spec=spec)))
    assert (found.models, found.callers) == (models, (CallerRule(namespaces=callers),))
    assert found.not_ready == "its spec is not valid"


def test_a_policy_of_which_no_model_can_be_read_claims_nothing(compiled, policy):
    result = compiled(policy(spec="models: auto"))
    assert not result.config.policies
    assert result.problems[0].field == "spec.models"


EVERYTHING = "{name: everything, tiers: [{name: budget}]}"
VECTORS = "{name: vectors, when: {operations: [Embeddings]}, tiers: [{name: one}, {name: two}]}"


def of(name: str, model: str, more: str = "endpoints: [Embeddings]") -> str:
    return f"""
---
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {{name: {name}, namespace: default}}
spec:
  grants: [{{}}]
  backends:
  - {{name: b, provider: OpenAI, model: {model}, baseURL: "http://models.example/v1", {more}}}
"""


def test_a_route_names_operations_and_a_backend_its_endpoints(compiled, tier, policy):
    result = compiled(tier() + of("one", "v") + of("two", "v") + policy(routes=f"[{VECTORS}, {EVERYTHING}]"))
    vectors, everything = only(result).routes
    assert everything.when == When()
    assert vectors.when == When(operations=frozenset({"Embeddings"}), headers=(KEEPS_OLDER_OUT,))
    assert [it.endpoints for it in result.config.tiers["default/one"].backends] == [("Embeddings",)]
    assert not [it for it in result.problems if it.reason != Reason.PRICE_UNKNOWN]


@pytest.mark.parametrize(("operations", "kept_out"), [("Chat, Embeddings", False), ("Responses", True)])
def test_an_older_router_is_kept_out_of_routes_without_chat(operations, kept_out, compiled, tier, policy):
    route = f"{{name: r, when: {{operations: [{operations}]}}, tiers: [{{name: budget}}]}}"
    (found,) = only(compiled(tier() + policy(routes=f"[{route}]"))).routes
    assert (KEEPS_OLDER_OUT in found.when.headers) is kept_out


@pytest.mark.parametrize("state", ["Active", "Disabled"])
@pytest.mark.parametrize("more", ["", "override: {tier: {name: budget}, until: 2099-01-01T00:00:00Z}"])
def test_two_models_for_embeddings_in_one_route_are_named(state, more, compiled, tier, policy):
    tiers = tier() + of("one", "v-small") + of("two", "v-large", f"endpoints: [Embeddings], state: {state}")
    spec = "models: [{name: auto}]\n  " + more
    result = compiled(tiers + policy(routes=f"[{VECTORS}, {EVERYTHING}]", spec=spec))
    (mixed,) = [it for it in result.problems if it.reason == Reason.MIXED_EMBEDDINGS]
    assert (mixed.condition, mixed.severity) == ("Accepted", Severity.ERROR)
    assert mixed.field == "spec.routes[0].tiers"
    assert "'vectors' has 2 models for embeddings: v-large, v-small;" in mixed.message
    assert [route.name for route in only(result).routes] == ["vectors", "everything"]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("endpoints: [Embeddings]", "endpoints: [Embeddings], baseModel: v-small"),
        ("endpoints: [Embeddings]", "endpoints: [Rerank]"),
        ("endpoints: [Embeddings]", "labels: {a: b}"),
    ],
)
def test_one_model_for_embeddings_is_fine(one, two, compiled, tier, policy):
    result = compiled(tier() + of("one", "v-small", one) + of("two", "v-large", two) + policy(routes=f"[{VECTORS}]"))
    assert Reason.MIXED_EMBEDDINGS not in reasons(result)


@pytest.mark.parametrize(
    ("when", "more", "warned"),
    [
        ("{}", "endpoints: [Embeddings]", True),
        ("{operations: [Chat, Embeddings]}", "endpoints: [Embeddings]", True),
        ("{operations: [Responses]}", "endpoints: [Completions, Audio]", True),
        ("{operations: [Embeddings]}", "endpoints: [Embeddings]", False),
        ("{}", "endpoints: [Embeddings], capabilities: [Tools]", False),
        ("{}", "endpoints: [Embeddings], state: Disabled", False),
        ("{require: {labels: {a: b}}}", "endpoints: [Embeddings]", False),
        ("{}", "endpoints: [Completions]", False),
        ("{}", "weight: 2", False),
    ],
)
def test_conversations_that_reach_a_backend_for_other_endpoints_are_told(when, more, warned, compiled, tier, policy):
    route = f"{{name: r, when: {when}, tiers: [{{name: budget}}, {{name: one}}]}}"
    result = compiled(tier() + of("one", "v", more) + policy(routes=f"[{route}]"))
    told = [it for it in result.problems if it.reason == Reason.CONVERSATIONS_MISROUTED]
    assert [(it.field, it.severity) for it in told] == ([("spec.routes[0].tiers", Severity.WARNING)] if warned else [])
    assert all("conversations to default/one/b, which lists" in it.message for it in told)
    assert only(result).routes


@pytest.mark.parametrize(
    ("earlier", "model", "warned"),
    [
        ("promptTokens: {max: 100}", "v-large", True),
        ("complexity: [Simple]", "v-large", True),
        ("operations: [Chat, Embeddings], promptTokens: {max: 100}", "v-large", True),
        ("promptTokens: {max: 100}", "v-small", False),
        ("userTiers: [paid]", "v-large", False),
        ("headers: [{name: x-team, exact: a}]", "v-large", False),
    ],
)
def test_two_routes_that_embed_for_one_caller_with_two_models_are_told(earlier, model, warned, compiled, policy):
    earlier = earlier if "operations" in earlier else f"operations: [Embeddings], {earlier}"
    routes = f"""[{{name: r, when: {{{earlier}}}, tiers: [{{name: one}}]}},
      {{name: s, when: {{operations: [Embeddings]}}, tiers: [{{name: two}}]}}]"""
    result = compiled(of("one", "v-small") + of("two", model) + policy(routes=routes))
    told = [it for it in result.problems if it.reason == Reason.MIXED_EMBEDDINGS]
    assert [(it.field, it.severity) for it in told] == ([("spec.routes[1].tiers", Severity.WARNING)] if warned else [])
    assert all("routes 'r' and 's'" in it.message for it in told)
    assert [it.name for it in only(result).routes] == ["r", "s"]


def test_a_route_whose_backends_do_not_list_its_operation_cannot_be_served(compiled, tier, policy):
    result = compiled(
        tier() + of("one", "v", "labels: {a: b}") + of("two", "v", "labels: {a: b}") + policy(routes=f"[{VECTORS}]")
    )
    assert Reason.ROUTE_CANNOT_BE_SERVED in reasons(result)


@pytest.mark.parametrize(
    ("earlier", "later", "shadowed"),
    [
        ("", "{operations: [Embeddings]}", False),
        ("{operations: [Embeddings]}", "", False),
        ("", "{operations: [Responses]}", True),
        ("{operations: [Chat, Responses]}", "", True),
        ("{operations: [Embeddings, Rerank]}", "{operations: [Rerank]}", True),
    ],
)
def test_a_route_is_shadowed_by_one_that_has_all_its_operations(earlier, later, shadowed, compiled, policy):
    routes = [
        f"{{name: r{at}, {f'when: {when}, ' if when else ''}tiers: [{{name: one}}]}}"
        for at, when in enumerate((earlier, later))
    ]
    result = compiled(of("one", "v", "endpoints: [Embeddings, Rerank]") + policy(routes=f"[{', '.join(routes)}]"))
    assert (Reason.ROUTE_SHADOWED in reasons(result)) is shadowed
