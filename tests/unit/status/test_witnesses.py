"""Routers that have tried a backend witness its health; the others are counted apart."""

from __future__ import annotations

import pytest

from support.statuses import DENIED, KEYED, POLICY, REFUSED, TIER, UNTRIED, case, changed, gateway, sidecar
from weir_operator.kinds.modeltier import states
from weir_operator.kinds.modeltier.status import UNTRIED as UNTRIED_TIER
from weir_router.contract import FAILING, BackendReport

ONE, TWO = "llm/budget/one", "llm/budget/two"
IDLE = tuple(gateway(f"gw-{number}", states={ONE: UNTRIED, TWO: UNTRIED}) for number in range(1, 5))


def both(report: BackendReport) -> dict[str, BackendReport]:
    return {ONE: report, TWO: report}


@pytest.mark.parametrize("report", [REFUSED, DENIED], ids=["breaker open", "breaker closed"])
@pytest.mark.parametrize(
    "witness",
    [lambda states: gateway("gw-0", states=states), lambda states: sidecar("llm", states=states)],
    ids=["gateway", "sidecar"],
)
def test_a_tier_that_one_of_five_routers_has_tried_in_vain_is_not_ready(witness, report: BackendReport):
    at = case(routers=(witness(both(report)), *IDLE))
    status, reason, message = at.condition("Ready")
    assert (status, reason, at.of()["backendsReady"]) == ("False", "NoHealthyBackends", "0/2")
    told = f"{report.words} (tried by 1 of 5 routers)"
    assert at.of()["backends"][0] == {"name": "one", "state": "Unhealthy", "reason": told}
    assert f"one: {told}" in message


def test_where_some_backends_fail_ready_stays_true_and_says_which():
    at = case(routers=(gateway(states={ONE: REFUSED, TWO: "closed"}),))
    assert at.condition("Ready") == (
        "True",
        "Degraded",
        "requests are served, but backend one is Unhealthy (connect: Connection refused)",
    )
    assert at.of()["backendsReady"] == "1/2"


def test_a_backend_that_fails_for_some_routers_is_not_counted():
    at = case(routers=(gateway("a", states=both(REFUSED)), gateway("b", states=both(_good())), *IDLE))
    why = "1 of 2 routers: connect: Connection refused (tried by 2 of 6 routers)"
    assert [(it["state"], it["reason"]) for it in at.of()["backends"]] == [("Degraded", why)] * 2
    status, reason, message = at.condition("Ready")
    assert (status, reason, at.of()["backendsReady"]) == ("True", "Degraded", "0/2")
    assert f"backend one is Degraded ({why})" in message


def test_what_fails_is_said_before_what_is_left_out():
    at = case(KEYED, routers=(gateway("a", states={TWO: REFUSED}), gateway("b", states={TWO: "closed"})))
    status, reason, message = at.condition("Ready")
    assert (status, reason) == ("True", "Degraded")
    assert message.startswith("requests are served, but backend two is Degraded (1 of 2 routers: connect")
    assert "; spec.backends[0].credentials" in message


@pytest.mark.parametrize(("failing", "state"), [(FAILING - 1, "Healthy"), (FAILING, "Unhealthy")])
def test_a_backend_fails_from_the_third_failure_in_a_row(failing: int, state: str):
    report = BackendReport(state="closed", failing=failing, words="server: oops")
    assert case(routers=(gateway(states=both(report)),)).of()["backends"][0]["state"] == state


def test_a_router_of_an_older_version_counts_as_one_that_has_tried():
    """It sends none of the new fields."""
    at = case(routers=(gateway(states=both(BackendReport(state="closed", requests=3))),))
    assert at.condition("Ready") == ("True", "Ready", "requests are served")


def test_a_backend_that_no_router_has_tried_is_unknown_and_the_tier_claims_nothing():
    at = case(routers=IDLE)
    assert at.of()["backends"][0] == {"name": "one", "state": "Unknown", "reason": states.NOT_TRIED}
    assert (at.condition("Ready"), at.of()["backendsReady"]) == (("True", "Ready", UNTRIED_TIER), "2/2")


def test_idle_routers_do_not_make_a_new_leader_forget_what_failed():
    before = case(routers=(gateway(states=both(REFUSED)),)).of()
    present = {"ModelTier/llm/budget": before}
    assert case(present=present, routers=IDLE, settled=False).of()["backends"] == before["backends"]
    assert case(present=present, routers=IDLE).of()["backends"][0]["state"] == "Unknown"


def test_a_breaker_that_is_not_closed_is_remembered_though_nobody_asks_any_more():
    idle = BackendReport(state="half-open", reason="connect", tried=False)
    assert case(routers=(gateway(states=both(idle)),)).condition("Ready")[1] == "NoHealthyBackends"


def test_a_sidecar_of_another_namespace_says_nothing_of_a_tier():
    slander = sidecar("team-b", states=both(REFUSED))
    assert case(routers=(gateway(states=both(_good())), slander)).condition("Ready")[1] == "Ready"


def test_the_words_of_many_routers_are_bounded_and_in_a_fixed_order():
    routers = [gateway(f"g{n}", states=both(_failure(f"server: request {n:03} failed"))) for n in range(200)]
    routers += [gateway(f"h{n}", states=both(REFUSED)) for n in range(2)]
    (one, _) = case(routers=tuple(routers)).of()["backends"]
    assert one["reason"] == "connect: Connection refused, server: request 000 failed"
    (again, _) = case(routers=tuple(reversed(routers))).of()["backends"]
    assert again == one


def test_a_disabled_backend_beside_one_that_fails_leaves_nothing():
    spec = changed(TIER, "name: two,", "name: two, state: Disabled,")
    at = case(spec, POLICY, routers=(gateway(states={ONE: REFUSED}),))
    assert (at.condition("Ready")[1], at.of()["backendsReady"]) == ("NoHealthyBackends", "0/2")


def test_reports_are_counted_once_for_all_objects(monkeypatch: pytest.MonkeyPatch):
    """A thousand objects judged by a thousand routers must not read a million reports."""
    heard: list[str] = []
    count = states.Said.hear
    monkeypatch.setattr(states.Said, "hear", lambda self, report: (heard.append(report.state), count(self, report)))
    tiers = [changed(TIER, "name: budget", f"name: t{n}").replace("uid: t1", f"uid: u{n}") for n in range(20)]
    policies = [
        changed(POLICY, "name: auto,", f"name: p{n},").replace("name: budget", f"name: t{n}") for n in range(20)
    ]
    names = {f"llm/t{n}/{it}": REFUSED for n in range(20) for it in ("one", "two")}
    at = case(*tiers, *policies, routers=tuple(gateway(f"g{n}", states=names) for n in range(20)))
    _statuses(at)
    assert len(heard) == 20 * 40


def _statuses(at) -> None:
    from weir_operator.kinds import KINDS
    from weir_operator.status.statuses import statuses

    found = statuses(at.observed, KINDS, at.compiled, at.rollout, at.present, at.now)
    ready = [it["reason"] for _, status in found for it in status["conditions"] if it["type"] == "Ready"]
    assert sorted(set(ready)) == ["NoHealthyBackends", "NoHealthyTiers"]


def _good() -> BackendReport:
    return BackendReport(state="closed", requests=9)


def _failure(words: str) -> BackendReport:
    return BackendReport(state="open", reason="server", failing=5, words=words)
