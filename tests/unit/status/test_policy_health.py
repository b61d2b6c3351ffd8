"""The status of a policy whose tiers fail: its owner may not read them, but sees the failure."""

from __future__ import annotations

from typing import Any

import pytest

from support.statuses import NOW, POLICY, REFUSED, TIER, UNTRIED, Case, case, changed, gateway, sidecar
from weir_operator.kinds import ROUTING_POLICY
from weir_operator.kinds.routingpolicy.health import elsewhere
from weir_operator.kinds.routingpolicy.schema import RoutingPolicyStatus
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import ServiceData
from weir_operator.status.due import Made, due
from weir_operator.status.events import events
from weir_router.contract import BackendReport, PolicyReport, RouteReport

DEAR = changed(changed(TIER, "name: budget", "name: premium"), "uid: t1", "uid: t2")
TWO_TIERS = changed(
    POLICY, "{name: budget, namespace: llm}", "{name: premium, namespace: llm}, {name: budget, namespace: llm}"
)
KINDS_ONLY = BackendReport(state="open", reason="connect", failing=5, words="connect: secret of the platform")


def of(tier: str, report: Any) -> dict[str, Any]:
    return {f"llm/{tier}/{it}": report for it in ("one", "two")}


def ready(at: Case) -> tuple[str, str, str]:
    return at.condition("Ready", "RoutingPolicy")


def counts(*routes: RouteReport, name: str = "all") -> dict[str, PolicyReport]:
    return {"team-a/auto": PolicyReport(routes={f"{name}{n or ''}": it for n, it in enumerate(routes)})}


def test_a_policy_whose_only_tier_is_out_stays_ready_and_says_that_nothing_serves_it():
    at = case(routers=(gateway(states=of("budget", REFUSED)), gateway("idle", states=of("budget", UNTRIED))))
    assert ready(at) == (
        "True",
        "NoHealthyTiers",
        "route 'all': no tier is healthy (llm/budget: connect). See the status of the tier, or ask its owner",
    )
    RoutingPolicyStatus.model_validate(at.of("RoutingPolicy"))


def test_of_an_upstream_the_tenant_learns_the_kind_of_failure_only():
    assert "secret of the platform" not in str(
        case(routers=(gateway(states=of("budget", KINDS_ONLY)),)).of("RoutingPolicy")
    )


def test_a_route_whose_first_tier_serves_nothing_is_degraded_with_the_share_that_went_elsewhere():
    report = counts(RouteReport(requests=100, cheaper=33, dearer=2, unserved=1))
    more = counts(RouteReport(requests=20, cheaper=8))
    states = of("premium", REFUSED) | of("budget", "closed")
    at = case(TIER, DEAR, TWO_TIERS, routers=(gateway(states=states, policies=report), gateway("b", policies=more)))
    assert ready(at) == (
        "True",
        "Degraded",
        "route 'all': its first tier llm/premium serves nothing (connect); 34 % of 120 requests of the last ten "
        "minutes went to a cheaper tier. See the status of the tier, or ask its owner",
    )
    assert at.of("RoutingPolicy")["elsewhere"] == "34 % cheaper, 1.7 % dearer"


NONE_ANSWERED = (
    "route 'all': none of its 4 requests of the last ten minutes was answered. See the status of the tier, or ask its "
    "owner"
)


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([RouteReport(requests=4, unserved=4)], ("True", "Degraded", NONE_ANSWERED)),
        (
            [RouteReport(requests=3, unserved=3), RouteReport(requests=1, unserved=1)],
            ("True", "Degraded", NONE_ANSWERED),
        ),
        ([RouteReport(requests=2, unserved=2)], ("True", "Ready", "requests are served")),
        ([RouteReport(requests=4, unserved=4), RouteReport(requests=1)], ("True", "Ready", "requests are served")),
    ],
)
def test_a_tier_that_serves_others_but_none_of_the_policy_s_requests(reports: list[RouteReport], expected: Any):
    """A backend that fails for one tenant only is not out, and its tier says nothing."""
    states = of("budget", "closed")
    routers = tuple(gateway(f"gw-{n}", states=states, policies=counts(it)) for n, it in enumerate(reports))
    assert ready(case(routers=routers)) == expected


def test_a_route_whose_tiers_are_out_does_not_say_it_twice():
    report = counts(RouteReport(requests=9, unserved=9))
    (_, reason, message) = ready(case(routers=(gateway(states=of("budget", REFUSED), policies=report),)))
    assert (reason, "none of its" in message) == ("NoHealthyTiers", False)


@pytest.mark.parametrize("tier", ["budget", None])
def test_a_policy_whose_first_tiers_work_is_ready(tier: str | None):
    """A tier that comes later serves nothing, or none fails."""
    states = of("premium", "closed") | of("budget", REFUSED if tier else "closed")
    at = case(TIER, DEAR, TWO_TIERS, routers=(gateway(states=states),))
    assert ready(at) == ("True", "Ready", "requests are served")
    assert "elsewhere" not in at.of("RoutingPolicy")


def test_requests_that_fell_show_though_the_first_tier_works_again():
    report = counts(RouteReport(requests=50, dearer=5), RouteReport(requests=50))
    at = case(routers=(gateway(states=of("budget", "closed"), policies=report),))
    assert at.of("RoutingPolicy")["elsewhere"] == "5 % dearer"
    assert ready(at)[1] == "Ready"


def test_a_tier_of_which_some_backend_works_serves_the_route():
    states = {"llm/budget/one": REFUSED, "llm/budget/two": "closed"}
    assert ready(case(routers=(gateway(states=states),)))[1] == "Ready"


def test_a_backend_that_works_but_cannot_serve_the_route_does_not_count():
    """The route requires a label that only the failing backend has."""
    labelled = changed(TIER, "name: one,", "name: one, labels: {region: eu},")
    where = changed(POLICY, "name: all,", "name: all, when: {require: {labels: {region: eu}}},")
    at = case(labelled, where, routers=(gateway(states={"llm/budget/one": REFUSED, "llm/budget/two": "closed"}),))
    assert ready(at)[1] == "NoHealthyTiers"


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ('override: {tier: {name: premium, namespace: llm}, until: "2027-02-01T00:00:00Z"}', "the override"),
        ("mode: Observe\n  baseline: {name: premium, namespace: llm}", "the baseline"),
    ],
)
def test_an_override_or_a_baseline_that_serves_nothing_is_named(spec: str, named: str):
    policy = changed(POLICY, "  routes:", f"  {spec}\n  routes:")
    at = case(TIER, DEAR, policy, routers=(gateway(states=of("premium", REFUSED) | of("budget", "closed")),))
    assert ready(at)[1:] == (
        "NoHealthyTiers",
        f"{named}: no tier is healthy (llm/premium: connect). See the status of the tier, or ask its owner",
    )
    other = case(TIER, DEAR, policy, routers=(gateway(states=of("premium", "closed") | of("budget", REFUSED)),))
    assert ready(other)[1] == "Ready"


def test_a_first_tier_that_is_paused_serves_nothing():
    paused = DEAR.replace("name: one,", "name: one, state: Draining,").replace(
        "name: two,", "name: two, state: Disabled,"
    )
    _, reason, message = ready(case(TIER, paused, TWO_TIERS, routers=(gateway(states=of("budget", "closed")),)))
    assert reason == "Degraded"
    assert message.startswith("route 'all': its first tier llm/premium serves nothing (no backend is Active)")


def test_a_first_tier_whose_service_has_no_endpoints_serves_nothing():
    own = "name: one, backendRef: {name: own, port: 80},"
    one = changed(DEAR, "  - {name: two, provider: OpenAI, model: gpt-4o-mini}\n", "")
    service = {ObjectName("llm", "own"): ServiceData({"weir.dev/backend": "true"}, ports={80: ""})}
    at = case(TIER, changed(one, "name: one,", own), TWO_TIERS, around={"services": service, "slices": {}})
    assert ready(at)[1] == "Degraded"


def test_what_is_left_out_is_said_too():
    partly = changed(POLICY, "{name: budget, namespace: llm}", "{name: budget, namespace: llm}, {name: gone}")
    _, reason, message = ready(case(TIER, partly, routers=(gateway(states=of("budget", REFUSED)),)))
    assert reason == "NoHealthyTiers"
    assert "no tier is healthy (llm/budget: connect)" in message
    assert "there is no ModelTier team-a/gone" in message


def test_a_sidecar_of_another_namespace_says_nothing_of_a_policys_tiers():
    slander = sidecar("team-b", states=of("budget", REFUSED))
    assert ready(case(routers=(gateway(states=of("budget", "closed")), slander)))[1] == "Ready"


def test_a_new_leader_keeps_the_last_word_until_every_router_must_have_polled():
    before = case(routers=(gateway(states=of("budget", REFUSED)),)).of("RoutingPolicy")
    present = {"RoutingPolicy/team-a/auto": before}
    assert ready(case(present=present, routers=(), settled=False))[1] == "NoHealthyTiers"
    assert ready(case(present=present, routers=(gateway(),)))[1] == "Ready"
    newer = changed(POLICY, "generation: 1", "generation: 2")
    assert ready(case(TIER, newer, present=present, routers=(gateway(),), settled=False))[1] == "Ready"


def test_figures_stay_as_long_as_they_are_near():
    states = of("premium", REFUSED) | of("budget", "closed")
    at = [
        lambda present, cheaper=cheaper: case(
            TIER, DEAR, TWO_TIERS, present=present,
            routers=(gateway(states=states, policies=counts(RouteReport(requests=100 + cheaper, cheaper=cheaper))),),
        ).of("RoutingPolicy")
        for cheaper in (50, 53, 80)
    ]  # fmt: skip
    first = at[0]({})
    assert at[1]({"RoutingPolicy/team-a/auto": first}) == first
    later = at[2]({"RoutingPolicy/team-a/auto": first})
    assert later["elsewhere"] == "44 % cheaper"
    assert "44 % of 180 requests" in str(later)


def test_a_new_verdict_on_the_tiers_is_an_event_and_the_end_of_it_another():
    bad, good = (case(routers=(gateway(states=of("budget", it)),)).of("RoutingPolicy") for it in (REFUSED, "closed"))
    told = [[(it.type, it.reason) for it in _told(*pair)] for pair in ((good, bad), (bad, good))]
    assert told == [[("Warning", "NoHealthyTiers")], [("Normal", "Ready")]]


def _told(before: Any, after: Any) -> list[Any]:
    return events(before, after, ROUTING_POLICY.judge.good)


@pytest.mark.parametrize("before", [None, 3, "", "x % cheaper", "9" * 90 + " % cheaper", "34 % cheaper"])
def test_shares_in_words_whatever_the_status_says(before: Any):
    assert elsewhere([], before) is None
    assert elsewhere([RouteReport(requests=0, cheaper=0)], before) is None
    assert elsewhere([RouteReport(requests=3, cheaper=1)], before) in ("33 % cheaper", "34 % cheaper")


# --- overrides

OVERRIDDEN = changed(
    POLICY,
    "  routes:",
    '  override: {tier: {name: premium, namespace: llm}, until: "2027-01-15T09:00:30Z"}\n  routes:',
)


def overridden(present: Any = None, *, at: float = NOW, text: str = OVERRIDDEN) -> Case:
    return case(TIER, DEAR, text, present=present and {"RoutingPolicy/team-a/auto": present}, now=at)


def news(at: Case, written: float) -> list[tuple[str, str, float]]:
    made = Made(at.observed, at.compiled)
    there = {it.id: it for it in at.observed.all()}
    present = {name: at.present.get(name) for name in there}
    found = due((ROUTING_POLICY,), made, at.rollout, there, present, dict.fromkeys(("p1",), written), at.now)
    return [(it.type.value, it.reason, when) for task, when in found for it in task.news]


def test_an_override_shows_while_it_holds_and_no_longer():
    began = overridden().of("RoutingPolicy")
    assert began["override"] == "until 2027-01-15T09:00Z"
    assert "override" not in overridden(began, text=POLICY).of("RoutingPolicy")
    ended = changed(OVERRIDDEN, "2027-01-15T09:00:30Z", "2027-01-15T07:59:00Z")
    assert "override" not in overridden(began, text=ended).of("RoutingPolicy")
    assert overridden(began, text=ended).condition("Accepted", "RoutingPolicy")[:2] == ("True", "OverrideExpired")


def test_the_start_and_the_end_of_an_override_are_normal_events_at_once():
    plain, began = overridden(text=POLICY).of("RoutingPolicy"), overridden().of("RoutingPolicy")
    assert news(overridden(plain), written=5.0) == [("Normal", "OverrideStarted", 0.0)]
    assert news(overridden(began), written=5.0) == []
    assert news(overridden(began, text=POLICY), written=5.0) == [("Normal", "OverrideEnded", 0.0)]
    ended = changed(OVERRIDDEN, "2027-01-15T09:00:30Z", "2027-01-15T07:59:00Z")
    assert news(overridden(began, text=ended), written=5.0) == [("Normal", "OverrideEnded", 0.0)]
    longer = changed(OVERRIDDEN, "2027-01-15T09:00:30Z", "2027-01-15T10:00:00Z")
    assert news(overridden(began, text=longer), written=5.0) == [("Normal", "OverrideStarted", 0.0)]


def test_the_event_says_where_everything_goes_and_until_when():
    (task, _) = due(
        (ROUTING_POLICY,), Made(overridden().observed, overridden().compiled), overridden().rollout,
        {it.id: it for it in overridden().observed.all()}, {"RoutingPolicy/team-a/auto": None}, {}, NOW,
    )[0]  # fmt: skip
    (note,) = [it.note for it in task.news if it.reason == "OverrideStarted"]
    assert note == (
        "an override holds until 2027-01-15T09:00Z: every request goes to ModelTier llm/premium; "
        "then the policy's routes decide again"
    )
