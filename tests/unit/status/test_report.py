"""The status of an object, and the reports that it trusts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.statuses import KEYED, NOW_TEXT, POLICY, TIER, Case, case, changed, gateway, sidecar
from weir_operator.compile.catalogue import Catalogue
from weir_operator.distribute.reports import Reported
from weir_operator.kinds import KINDS, MODEL_TIER, ROUTING_POLICY
from weir_operator.kinds.modeltier.schema import ModelTierStatus
from weir_operator.kinds.routingpolicy.schema import RoutingPolicyStatus
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import ServiceData, SliceData
from weir_operator.status.due import Made, due
from weir_operator.status.statuses import Broken, statuses
from weir_operator.status.step import Judged

ONE, TWO = "llm/budget/one", "llm/budget/two"


def states(**options: object) -> list[tuple[str, str, str]]:
    return [(it["name"], it["state"], it.get("reason", "")) for it in case(**options).of()["backends"]]


def test_when_all_is_well_every_condition_says_so():
    at = case(routers=(gateway(states={ONE: "closed", TWO: "closed"}),))
    said = {it["type"]: (it["status"], it["reason"]) for it in at.of()["conditions"]}
    assert said == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "Priced": ("True", "Priced"),
        "Programmed": ("True", "Programmed"),
        "Ready": ("True", "Ready"),
    }
    assert (at.of()["backendsReady"], at.of()["observedGeneration"]) == ("2/2", 1)
    policy = at.of("RoutingPolicy")
    assert (policy["routesReady"], policy["tiersReady"]) == ("1/1", "1/1")
    assert at.condition("Conflicted", "RoutingPolicy")[:2] == ("False", "NoConflict")


def test_the_status_is_what_the_schema_allows():
    at = case(TIER, changed(POLICY, "name: budget,", "name: none,"))
    ModelTierStatus.model_validate(at.of())
    RoutingPolicyStatus.model_validate(at.of("RoutingPolicy"))


def test_a_transition_keeps_its_time_as_long_as_the_status_stays():
    first = case().of()
    later = case(present={"ModelTier/llm/budget": first}, now=1_900_000_000.0, routers=(), settled=True).of()
    times = {it["type"]: it["lastTransitionTime"] for it in later["conditions"]}
    assert times["Accepted"] == NOW_TEXT
    assert times["Programmed"] != NOW_TEXT


def test_objects_of_another_class_have_no_status_from_us():
    theirs = changed(TIER, "grants:", "className: other\n  grants:")
    at = case(theirs)
    assert statuses(at.observed, KINDS, at.compiled, at.rollout, {}, 0.0) == []


def test_a_backend_that_is_left_out_shows_with_the_reason_and_the_rest_serves():
    at = case(KEYED, routers=(gateway(states={TWO: "closed"}),))
    assert at.of()["backendsReady"] == "1/2"
    assert [(it["state"], it.get("reason")) for it in at.of()["backends"]] == [
        ("Unusable", "SecretNotFound"),
        ("Healthy", None),
    ]
    assert at.condition("ResolvedRefs")[:2] == ("False", "SecretNotFound")
    told = f"requests are served, but {at.condition('ResolvedRefs')[2]}"
    assert at.condition("Ready") == ("True", "PartlyReady", told)


def test_a_message_says_where_what_and_what_to_do():
    _, _, message = case(KEYED).condition("ResolvedRefs")
    assert message == (
        "spec.backends[0].credentials.secretRef.name: there is no Secret llm/k with the label "
        'weir.dev/credential: "true". Create it with that label, or '
        "kubectl -n llm label secret k weir.dev/credential=true"
    )


def test_a_tier_without_any_usable_backend_is_not_ready_and_says_why_at_once():
    both = changed(KEYED, "name: two,", "name: two, credentials: {secretRef: {name: k, key: k}},")
    status, reason, message = case(both).condition("Ready")
    assert (status, reason) == ("False", "NoUsableBackends")
    assert "there is no Secret llm/k" in message
    assert case(both).of()["backendsReady"] == "0/2"


def test_what_to_do_comes_first_also_where_nothing_is_left():
    """`kubectl get -o wide` only shows the beginning of a message."""
    nobody = changed(TIER, "{from: All}", "{from: Same}")
    _, reason, message = case(nobody, POLICY).condition("Ready", "RoutingPolicy")
    assert reason == "NoUsableRoutes"
    assert message.startswith(
        "spec.routes[0].tiers[0]: there is no ModelTier llm/budget that grants namespace team-a. "
    )


@pytest.mark.parametrize("kind", ["ModelTier", "RoutingPolicy"])
def test_a_spec_that_cannot_be_read_is_not_accepted_and_nothing_else_is_judged(kind: str):
    tier, policy = changed(TIER, "provider: OpenAI", "provider: Nobody"), changed(POLICY, "routes:", "rout:")
    at = case(tier, policy)
    status = {it["type"]: (it["status"], it["reason"]) for it in at.of(kind)["conditions"]}
    own = "Priced" if kind == "ModelTier" else "Conflicted"
    assert status == {
        "Accepted": ("False", "InvalidSpec"),
        "ResolvedRefs": ("Unknown", "NotAccepted"),
        own: ("Unknown", "NotAccepted"),
        "Programmed": ("False", "NotAccepted"),
        "Ready": ("False", "InvalidSpec"),
        "Stalled": ("True", "InvalidSpec"),
    }


def test_a_policy_counts_routes_and_references_that_are_left():
    routes = (
        "[{name: a, tiers: [{name: budget, namespace: llm}, {name: gone}]}, {name: b, tiers: [{name: gone}]}]\n"
        "  baseline: {name: gone}"
    )
    broken = changed(POLICY, "[{name: all, tiers: [{name: budget, namespace: llm}]}]", routes)
    at = case(TIER, broken)
    status = at.of("RoutingPolicy")
    assert (status["routesReady"], status["tiersReady"]) == ("1/2", "1/4")
    assert at.condition("Ready", "RoutingPolicy")[:2] == ("False", "RouteWithoutTiers")
    assert at.condition("ResolvedRefs", "RoutingPolicy")[:2] == ("False", "TierNotFoundOrNotGranted")


def test_what_is_wrong_with_the_whole_is_said_before_its_parts():
    at = case(TIER, changed(POLICY, "name: budget,", "name: none,"))
    assert at.condition("Ready", "RoutingPolicy")[:2] == ("False", "NoUsableRoutes")


def test_a_warning_leaves_a_condition_true_and_names_itself():
    twice = changed(
        POLICY, "{name: budget, namespace: llm}", "{name: budget, namespace: llm}, {name: budget, namespace: llm}"
    )
    at = case(TIER, twice)
    assert at.condition("Accepted", "RoutingPolicy")[:2] == ("True", "TierRepeated")


def test_an_unknown_price_and_a_conflict_show():
    at = case(changed(TIER, "model: gpt-4o-mini", "model: unheard-of"))
    assert at.condition("Priced")[:2] == ("False", "PriceUnknown")
    older = changed(
        POLICY,
        "name: auto, namespace: team-a",
        'name: old, namespace: team-a, creationTimestamp: "2020-01-01T00:00:00Z"',
    )
    newer = changed(POLICY, "uid: p1", 'uid: p2, creationTimestamp: "2021-01-01T00:00:00Z"')
    at = case(TIER, older, newer)
    found = statuses(at.observed, KINDS, at.compiled, at.rollout, {}, 0.0)
    conflicted = {m.name: c["status"] for m, s in found for c in s["conditions"] if c["type"] == "Conflicted"}
    assert conflicted == {"auto": "True", "old": "False"}


def test_long_lists_of_problems_and_long_messages_are_cut():
    many = changed(POLICY, "{name: budget, namespace: llm}", ", ".join(f"{{name: t{number}}}" for number in range(8)))
    message = case(TIER, many).condition("ResolvedRefs", "RoutingPolicy")[2]
    assert message.endswith("; and 4 more")
    assert (
        case(routers=(gateway(current=False, revision=0, rejected="x" * 5000),))
        .condition("Programmed")[2]
        .endswith("xxx...")
    )


# --- backends


def test_states_are_those_of_all_routers_together():
    up, down = {ONE: "closed", TWO: "closed"}, {ONE: "closed", TWO: "half-open"}
    both = (gateway("a", states=up), gateway("b", states=down))
    assert states(routers=both) == [("one", "Healthy", ""), ("two", "Degraded", "1 of 2 routers: timeout")]
    assert states(routers=(gateway(states=down),)) == [("one", "Healthy", ""), ("two", "Unhealthy", "timeout")]
    assert states(routers=(gateway(),)) == [("one", "Unknown", ""), ("two", "Unknown", "")]


def test_a_tier_all_of_whose_backends_are_left_alone_is_not_ready():
    at = case(routers=(gateway(states={ONE: "open", TWO: "ejected"}),))
    assert at.of()["backendsReady"] == "0/2"
    status, reason, message = at.condition("Ready")
    assert (status, reason) == ("False", "NoHealthyBackends")
    assert "one: timeout, two: timeout" in message


def test_a_router_of_another_namespace_has_no_say_on_a_tier():
    slander = sidecar("team-b", states={ONE: "open", TWO: "open"})
    assert states(routers=(gateway(states={ONE: "closed", TWO: "closed"}), slander)) == [
        ("one", "Healthy", ""),
        ("two", "Healthy", ""),
    ]
    own = sidecar("llm", states={ONE: "open"})
    assert states(routers=(gateway(states={ONE: "closed"}), own))[0] == ("one", "Degraded", "1 of 2 routers: timeout")


def test_draining_and_disabled_backends_take_nothing():
    idle = changed(
        changed(TIER, "name: one,", "name: one, state: Draining,"), "name: two,", "name: two, state: Disabled,"
    )
    at = case(idle)
    assert [it["state"] for it in at.of()["backends"]] == ["Draining", "Disabled"]
    assert at.condition("Ready")[:2] == ("False", "NoActiveBackends")


def test_states_outlive_a_change_of_leader_until_every_router_must_have_polled():
    before = case(routers=(gateway(states={ONE: "closed", TWO: "open"}),)).of()
    present = {"ModelTier/llm/budget": before}
    new = case(present=present, routers=(), settled=False)
    assert new.of()["backends"] == before["backends"]
    assert new.condition("Programmed")[:2] == ("True", "Programmed")
    assert [it["state"] for it in case(present=present, routers=()).of()["backends"]] == ["Unknown", "Unknown"]


@pytest.mark.parametrize("before", [None, "text", {}, {"conditions": [None, {}], "backends": None}])
def test_a_status_that_somebody_has_broken_does_not_matter(before: object):
    assert case(present={"ModelTier/llm/budget": before}, settled=False).condition("Ready")[0] == "True"


def test_the_catalogue_knows_what_these_tests_use():
    assert Catalogue.load().search("gpt-4o-mini")


SERVED = TIER.replace("model: gpt-4o-mini}", "model: gpt-4o-mini, backendRef: {name: own, port: 80}}", 1)
PODS = [f"{ONE}@10.0.0.{number}:80" for number in (1, 2, 3)]


def served(count: int, *routers: Reported) -> Case:
    """A case in which the backend `one` is a Service with `count` pods."""
    addresses = tuple(f"10.0.0.{number}" for number in range(1, count + 1))
    service, pods = ServiceData({"weir.dev/backend": "true"}, ports={80: ""}), SliceData("own", {"": 80}, addresses)
    around = {"services": {ObjectName("llm", "own"): service}, "slices": {ObjectName("llm", "own-1"): pods}}
    return case(SERVED, POLICY, around=around, routers=routers or (gateway(),))


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        (("closed", "closed", "closed"), ("closed",) * 3, ("Healthy", "")),
        (("open", "closed", "closed"), ("open", "closed", "closed"), ("Degraded", "1 of 3 endpoints: timeout")),
        (("open", "open", "closed"), ("closed", "closed", "closed"), ("Degraded", "2 of 3 endpoints: timeout")),
        (("open", "open", "open"), ("open", "open", "open"), ("Unhealthy", "timeout")),
    ],
)
def test_endpoints_of_a_service_are_one_backend_of_the_status(first, second, state):
    routers = [
        gateway(f"gw-{number}", states=dict(zip(PODS, it, strict=True))) for number, it in enumerate((first, second))
    ]
    one, _ = served(3, *routers).of()["backends"]
    assert (one["name"], one["state"], one.get("reason", "")) == ("one", *state)


def test_a_service_without_ready_pods_is_unhealthy_and_the_rest_of_the_tier_is_served():
    at = served(0, gateway(states={TWO: "closed"}))
    assert at.of()["backends"][0] == {"name": "one", "state": "Unhealthy", "reason": "NoEndpoints"}
    assert at.of()["backendsReady"] == "1/2"
    assert at.condition("ResolvedRefs")[:2] == ("False", "NoEndpoints")
    assert at.condition("Ready")[:2] == ("True", "PartlyReady")
    assert at.condition("Ready", "RoutingPolicy")[:2] == ("True", "Ready")


def test_a_tier_of_nothing_but_a_service_without_ready_pods_is_not_ready_and_says_why():
    alone = SERVED.replace("  - {name: two, provider: OpenAI, model: gpt-4o-mini}\n", "")
    service = {ObjectName("llm", "own"): ServiceData({"weir.dev/backend": "true"}, ports={80: ""})}
    at = case(alone, POLICY, around={"services": service, "slices": {}})
    status, reason, message = at.condition("Ready")
    assert (status, reason) == ("False", "NoHealthyBackends")
    assert "one: NoEndpoints" in message
    assert at.condition("Ready", "RoutingPolicy")[:2] == ("False", "RouteCannotBeServed")


@pytest.mark.parametrize("until", ["9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999999Z"])
def test_an_override_whose_end_is_beyond_the_calendar_is_refused(until: str):
    text = POLICY.rstrip() + f'\n  override: {{tier: {{name: budget, namespace: llm}}, until: "{until}"}}\n'
    status, reason, message = case(TIER, text).condition("Accepted", "RoutingPolicy")
    assert (status, reason) == ("False", "InvalidSpec")
    assert "spec.override.until: is no time that a calendar has" in message


def test_an_object_whose_status_cannot_be_worked_out_keeps_no_other_from_its_own():
    def raises(*_: object) -> Judged:
        raise OverflowError("by a bug of ours")

    kinds = (MODEL_TIER, replace(ROUTING_POLICY, judge=replace(ROUTING_POLICY.judge, judge=raises)))
    at = case()
    broken: Broken = []
    made, there = Made(at.observed, at.compiled), {it.id: it for it in at.observed.all()}
    ((task, _),) = due(kinds, made, at.rollout, there, dict.fromkeys(there), {}, at.now, broken=broken)
    assert task.subject.kind == "ModelTier"
    ((name, error),) = broken
    assert (name, str(error)) == ("RoutingPolicy/team-a/auto", "by a bug of ours")
