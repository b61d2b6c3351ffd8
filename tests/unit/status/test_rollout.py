"""The condition Programmed: the routers that count, from when on, and messages about late ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.statuses import POLICY, TIER, case, gateway, sidecar
from weir_operator.observe.tenancy import Tenancy
from weir_operator.status.rollout import behind, router_id

HELD = {"ModelTier/llm/budget": {"conditions": [{"type": "Programmed", "status": "True", "observedGeneration": 1}]}}


def programmed(**options: object) -> tuple[str, str, str]:
    return case(**options).condition("Programmed")


def test_it_is_programmed_when_every_gateway_router_runs_the_generation():
    behind = gateway("gw-1", current=False, revision=0)
    assert programmed(routers=(gateway(), gateway("gw-2")))[:2] == ("True", "Programmed")
    status, reason, message = programmed(routers=(gateway(), behind))
    assert (status, reason) == ("False", "Pending")
    assert "router gw-1 does not run it yet" in message


def test_to_be_current_with_what_was_on_offer_before_is_not_enough():
    """A published config is offered to routers a moment later."""
    old = replace(gateway(revision=1), runs=1)
    now = {"ModelTier/llm/budget": 2, "RoutingPolicy/team-a/auto": 2}
    assert programmed(revision=2, since=now, routers=(old,))[:2] == ("False", "Pending")
    assert behind((old,), 2) == {router_id(old)}
    sidecar_of_old_part = replace(gateway(revision=1), runs=2)
    assert programmed(revision=2, since=now, routers=(sidecar_of_old_part,))[:2] == ("True", "Programmed")
    assert behind((sidecar_of_old_part,), 2) == frozenset()


def test_a_later_revision_holds_the_generation_too():
    """The later revision changes another object."""
    at = case(routers=(gateway(current=False, revision=3),), revision=4)
    assert at.condition("Programmed")[0] == "True"


def test_a_revision_that_was_never_published_says_nothing():
    """The operator lost its revision, and began at 1 again."""
    assert programmed(routers=(gateway(current=False, revision=900),))[:2] == ("False", "Pending")


def test_a_router_without_config_does_not_run_it():
    assert programmed(routers=(gateway(current=False, revision=None),))[:2] == ("False", "Pending")


def test_a_refusal_is_told_with_the_routers_reason():
    refusing = gateway("gw-7", current=False, revision=0, rejected="config version 'v9' is not understood")
    status, reason, message = programmed(routers=(gateway("gw-1", current=False, revision=0), refusing))
    assert (status, reason) == ("False", "Rejected")
    assert message.startswith("router gw-7 refuses the config and goes on with the last good one: config version 'v9'")
    empty = gateway("gw-7", current=False, revision=None, rejected="config version 'v9' is not understood")
    assert "gw-7 refuses the config and has none: config version 'v9'" in programmed(routers=(empty,))[2]


def test_sidecars_cannot_hold_it_back_but_late_ones_are_counted_where_they_matter():
    late, fine = sidecar("team-a", current=False, revision=0), sidecar("team-a", "app-1")
    far = sidecar("team-b", "app-2", current=False, revision=0)
    options = {"routers": (gateway(), late, fine, far), "late": behind((late, far), 1)}
    assert programmed(**options) == ("True", "Programmed", "every gateway router runs it; 1 of 2 sidecars run it")
    everybody = POLICY.replace("models:", "callers: [{namespaces: {from: All}}]\n  models:")
    message = case(TIER, everybody, around={"tenancy": Tenancy(offering=("*",))}, **options).condition("Programmed")[2]
    assert message.endswith("; 1 of 3 sidecars run it")
    assert programmed(routers=(gateway(), late))[2] == "every gateway router runs it"


def test_what_was_programmed_stays_so_while_a_router_starts_but_not_for_ever():
    starting = gateway("gw-1", current=False, revision=None)
    routers = (gateway(), starting)
    assert programmed(present=HELD, routers=routers)[0] == "True"
    assert programmed(present=HELD, routers=routers, late=frozenset({router_id(starting)}))[:2] == ("False", "Pending")


def test_without_gateway_routers_nothing_is_programmed_once_they_must_have_polled():
    assert programmed(routers=(sidecar(),))[:2] == ("False", "NoRouters")
    assert programmed(routers=(), settled=False)[:2] == ("Unknown", "Waiting")
    assert programmed(routers=(), settled=False, present=HELD)[:2] == ("True", "Programmed")


@pytest.mark.parametrize(("failure", "said"), [(None, "was not published yet"), ("too large", "too large")])
def test_what_is_not_published_says_why(failure: str | None, said: str):
    status, reason, message = programmed(since={}, failure=failure)
    assert (status, reason, said in message) == ("False", "NotPublished", True)


@pytest.mark.parametrize(
    ("options", "ready"),
    [
        ({"routers": (gateway(current=False, revision=0),)}, ("Unknown", "Pending")),
        ({"routers": (), "settled": False}, ("Unknown", "Waiting")),
        ({"routers": ()}, ("False", "NoRouters")),
        ({"routers": (gateway(current=False, revision=0, rejected="x"),)}, ("False", "Rejected")),
        ({"since": {}}, ("False", "NotPublished")),
    ],
)
def test_what_no_router_runs_is_not_ready(options: dict[str, object], ready: tuple[str, str]):
    at = case(**options)
    assert at.condition("Ready")[:2] == ready
    assert at.condition("Ready", "RoutingPolicy")[:2] == ready
