"""Policies for callers of other namespaces: consent, precedence among them, and user tiers that others state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from weir_operator.compile import compile_config
from weir_operator.kinds import KINDS
from weir_operator.observe.observed import by_kind
from weir_operator.observe.tenancy import Consent, Tenancy, accepted, names_of
from weir_operator.problems.problem import ConditionType, Reason, Severity
from weir_router.contract import CallerKind
from weir_router.contract.caller import Caller
from weir_router.contract.conditions import named
from weir_router.decide.policy import PolicyIndex, find_policy

ALL = "callers: [{namespaces: {from: All}}]"
STRICT = Tenancy()


def serves(result, namespace: str, model: str = "auto", user_tier: str | None = None) -> str | None:
    """The policy for a caller with a key of this namespace."""
    caller = Caller(namespace=namespace, name="k", kind=CallerKind.API_KEY, user_tier=user_tier)
    found = find_policy(PolicyIndex(result.config), caller, model)
    return None if found is None else found.key


def missing(result) -> list[tuple[str, str]]:
    return [(it.object, it.field) for it in result.problems if it.reason is Reason.NOT_CONSENTED]


def test_a_policy_takes_no_callers_of_a_namespace_that_has_not_consented(compiled, tier, policy):
    result = compiled(tier() + policy("capture", "team-b", ALL), tenancy=STRICT)
    assert (serves(result, "team-a"), serves(result, "team-b")) == (None, "team-b/capture")
    (problem,) = [it for it in result.problems if it.reason is Reason.NOT_CONSENTED]
    assert (problem.condition, problem.severity) == (ConditionType.ACCEPTED, Severity.WARNING)  # Accepted stays True
    assert problem.field == "spec.callers[0].namespaces"
    assert "kubectl annotate namespace NAME weir.dev/accept-policies-from=team-b" in problem.action
    assert "tenancy.offeringNamespaces" in problem.action


def test_for_one_release_it_serves_and_says_so(compiled, tier, policy):
    result = compiled(tier() + policy("shared", "team-b", ALL), tenancy=Tenancy(Consent.WARN))
    assert serves(result, "team-a") == "team-b/shared"
    (problem,) = [it for it in result.problems if it.reason is Reason.NOT_CONSENTED]
    assert "with tenancy.consent: Enforce they are left out" in problem.message


@pytest.mark.parametrize("offering", [("team-b",), ("llm", "team-b"), ("*",)])
def test_policies_that_the_installation_offers_serve_all(compiled, tier, policy, offering):
    result = compiled(tier() + policy("shared", "team-b", ALL), tenancy=Tenancy(offering=offering))
    assert (serves(result, "team-a"), missing(result)) == ("team-b/shared", [])


@pytest.mark.parametrize("text", ["team-b", "team-c, team-b", "team-c team-b", "'*'"])
def test_a_namespace_consents_by_an_annotation(compiled, tier, policy, text):
    namespace = (
        f"---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: team-a, annotations: "
        f"{{weir.dev/accept-policies-from: {text if text[0] == chr(39) else repr(text)}}}}}}}\n"
    )
    result = compiled(namespace + tier() + policy("shared", "team-b", ALL), tenancy=STRICT)
    assert [serves(result, it) for it in ("team-a", "team-c")] == ["team-b/shared", None]


def test_of_a_rule_the_consenting_namespaces_are_left(compiled, tier, policy):
    names = ("team-a, team-c, team-b", "d")
    callers = f"callers: [{', '.join(f'{{namespaces: {{from: Names, names: [{it}]}}}}' for it in names)}]"
    result = compiled(
        tier() + policy("shared", "team-b", callers), tenancy=STRICT, accepts={"team-a": frozenset({"team-b"})}
    )
    assert [serves(result, it) for it in ("team-a", "team-b", "team-c", "d")] == ["team-b/shared"] * 2 + [None] * 2
    assert [field for _, field in missing(result)] == ["spec.callers[0].namespaces", "spec.callers[1].namespaces"]
    assert len(result.config.policies[0].callers) == 1
    first = next(it for it in result.problems if it.reason is Reason.NOT_CONSENTED)
    assert "namespace team-c are" in first.message
    assert "annotate namespace team-c " in first.action


def test_a_message_names_no_namespace_that_a_selector_found(compiled, tier, policy):
    callers = "callers: [{namespaces: {from: Selector, selector: {matchLabels: {secret: project}}}}]"
    result = compiled(
        tier() + policy("shared", "team-b", callers),
        tenancy=STRICT,
        namespaces={"acquisition": {"secret": "project"}, "team-b": {}},
    )
    assert missing(result)
    assert not any("acquisition" in it.message + it.action for it in result.problems)


@pytest.mark.parametrize("broken", ["routes: 7", "wrong: 1"])
def test_a_policy_that_cannot_be_read_claims_no_callers_without_consent(compiled, tier, policy, broken):
    text = policy("capture", "team-b", f"{ALL}\n  {broken}")
    if broken.startswith("routes"):
        text = text.rpartition("  routes:")[0]
    result = compiled(tier() + text, tenancy=STRICT)
    assert (serves(result, "team-a"), serves(result, "team-b")) == (None, "team-b/capture")


def aged(observed, **ages: float):
    return replace(
        observed,
        local=False,
        manifests=by_kind(replace(it, created=ages.get(it.namespace.replace("-", "_"), 0.0)) for it in observed.all()),
    )


@pytest.mark.parametrize("consent", list(Consent))
def test_a_tenant_s_older_policy_does_not_take_over_when_the_platform_s_is_made_anew(
    observe, catalogue, tier, policy, consent
):
    observed = observe(
        tier() + policy("everyone", "llm", ALL) + policy("capture", "team-b", ALL),
        tenancy=Tenancy(consent, offering=("llm",)),
        accepts={"team-a": frozenset({"*"})},
    )
    result = compile_config(aged(observed, team_b=100.0, llm=200.0), KINDS, catalogue=catalogue, now=300.0)
    assert serves(result, "team-a") == "llm/everyone"
    assert serves(result, "team-b") == "team-b/capture"
    (conflict,) = [it for it in result.problems if it.reason is Reason.CONFLICTED]
    assert (conflict.object, "which the installation offers" in conflict.message) == (
        "RoutingPolicy/team-b/capture",
        True,
    )


def test_offering_namespaces_go_first_in_the_order_of_the_list(observe, catalogue, tier, policy):
    text = tier() + policy("p", "one", ALL) + policy("p", "two", ALL)
    for offering, first in ((("one", "two"), "one/p"), (("two", "one"), "two/p")):
        observed = aged(observe(text, tenancy=Tenancy(offering=offering)), one=100.0, two=200.0)
        result = compile_config(observed, KINDS, catalogue=catalogue, now=300.0)
        assert serves(result, "team-a") == first


TIERS = "[{name: vip, when: {userTiers: [gold]}, tiers: [{name: budget, namespace: llm}]}]"
GRANTED = "grants: [{namespaces: {from: All}}]"


@pytest.mark.parametrize(
    ("rules", "namespace", "counts"),
    [
        (Tenancy(offering=("llm",)), "llm", True),
        (Tenancy(offering=("llm",)), "team-a", False),
        (Tenancy(offering=("llm",), user_tiers=frozenset({"team-a"})), "team-a", True),
        (Tenancy(offering=("llm",), user_tiers=frozenset({"team-a"})), "team-c", False),
        (Tenancy(offering=("llm",), user_tiers=frozenset({"*"})), "team-c", True),
        (Tenancy(Consent.WARN, offering=("llm",)), "team-a", True),
    ],
)
def test_a_user_tier_counts_where_it_is_stated_and_where_the_installation_trusts_it(
    compiled, tier, policy, rules, namespace, counts
):
    text = tier(namespace="llm", spec=GRANTED) + policy("everyone", "llm", ALL, routes=TIERS)
    result = compiled(text, tenancy=rules)
    (route,) = result.config.policies[0].routes
    caller = Caller(namespace=namespace, name="k", kind=CallerKind.API_KEY, user_tier="gold")
    assert (not route.when.callers or named(route.when.callers, caller)) is counts


def test_a_policy_says_that_user_tiers_of_others_do_not_count(compiled, tier, policy):
    text = tier(namespace="llm", spec=GRANTED) + policy("everyone", "llm", ALL, routes=TIERS)
    everyone = ("RoutingPolicy/llm/everyone", "spec.routes[0].when.userTiers")
    assert missing(compiled(text, tenancy=Tenancy(offering=("llm",)))) == [everyone]
    assert missing(compiled(text, tenancy=Tenancy(Consent.WARN, offering=("llm",)))) == [everyone]
    assert missing(compiled(text, tenancy=Tenancy(offering=("llm",), user_tiers=frozenset({"*"})))) == []


def test_a_route_for_foreign_callers_with_a_user_tier_matches_no_caller(compiled, tier, policy):
    callers = "callers: [{namespaces: {from: Names, names: [team-a]}}]"
    routes = TIERS.replace("when: {", f"when: {{{callers}, ")
    text = tier(namespace="llm", spec=GRANTED) + policy("everyone", "llm", ALL, routes=routes)
    (route,) = compiled(text, tenancy=Tenancy(offering=("llm",))).config.policies[0].routes
    assert [rule.namespaces for rule in route.when.callers] == [frozenset()]  # no rule at all would mean any caller


def test_lists_of_names_have_commas_or_spaces():
    assert names_of(" a,b ,, c a") == ("a", "b", "c")
    assert accepted({"weir.dev/accept-policies-from": "a, *", "other": "b"}) == {"a", "*"}
    assert accepted({}) == frozenset()
