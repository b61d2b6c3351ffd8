"""Views of the config, and above all the parts that a tenant must never see."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from support.config_server import GATEWAY, STRANGER, TENANT
from support.published import compiled, policy
from weir_operator.compile import Compiled
from weir_operator.distribute.offers import Offer
from weir_operator.distribute.views import Views
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.encoding import encoded
from weir_router.contract import (
    Backend,
    CallerKey,
    CallerRule,
    CompiledConfig,
    Dialect,
    HeaderMatch,
    Override,
    Policy,
    Route,
    Secrets,
    StateKey,
    Tier,
    TierRef,
    When,
    digest,
)

MINE, SHARED, THEIRS = "sk-of-team-a", "sk-of-the-platform", "sk-of-team-b"


def rule(*namespaces: str, **fields: Any) -> CallerRule:
    return CallerRule(namespaces=frozenset(namespaces), **fields)


def route(*tiers: str, **fields: Any) -> Route:
    return Route(**{"name": "all", "tiers": tuple(TierRef(tier=it) for it in tiers), **fields})


def tier(key: str, *values: str | None) -> Tier:
    namespace, _, name = key.partition("/")
    backends = tuple(
        Backend(
            name=f"b{number}",
            provider=Dialect.OPENAI,
            base_url=f"http://{namespace}/v1",
            model="m",
            credential=value and digest(value.encode()),
        )
        for number, value in enumerate(values)
    )
    return Tier(namespace=namespace, name=name, backends=backends)


WHOLE = compiled(
    policy("own", namespace="team-a", callers=(rule("team-a"),), routes=(route("team-a/own"),)),
    policy("everyone", namespace="llm", callers=(CallerRule(),), routes=(route("llm/shared"),)),
    policy("private", namespace="team-b", callers=(rule("team-b"),), routes=(route("team-b/secret"),)),
    tiers=[tier("team-a/own", MINE), tier("llm/shared", SHARED, None), tier("team-b/secret", THEIRS)],
    anonymous_namespace="team-b",
)
SECRETS = Secrets(
    credentials={digest(it.encode()): it for it in (MINE, SHARED, THEIRS)},
    caller_keys={
        "a" * 64: CallerKey(namespace="team-a", name="ci"),
        "b" * 64: CallerKey(namespace="team-b", name="ci"),
    },
)


def seen(account: ServiceAccount, what: Compiled = WHOLE) -> tuple[CompiledConfig, Secrets]:
    return Views(what.config, SECRETS, GATEWAY).of(account)


def text(account: ServiceAccount, what: Compiled = WHOLE) -> str:
    """All data that is sent to `account`."""
    return msgspec.json.encode(seen(account, what)).decode()


def test_the_gateway_sees_everything():
    assert seen(GATEWAY) == (WHOLE.config, SECRETS)


def test_a_tenant_sees_the_policies_that_name_it_with_their_tiers_in_order():
    config, _ = seen(TENANT)
    assert [it.key for it in config.policies] == [it.key for it in WHOLE.config.policies if it.key != "team-b/private"]
    assert list(config.tiers) == ["team-a/own"]
    assert config.generations == {
        f"{kind}/{key}": 1
        for kind, keys in (("ModelTier", config.tiers), ("RoutingPolicy", [it.key for it in config.policies]))
        for key in keys
    }


def test_a_tenant_gets_the_values_and_keys_of_its_namespace_only():
    _, secrets = seen(TENANT)
    assert list(secrets.credentials.values()) == [MINE]
    assert secrets.caller_keys == {"a" * 64: CallerKey(namespace="team-a", name="ci")}


def test_of_a_policy_that_only_the_gateway_can_serve_a_view_has_models_and_callers():
    mixed = policy(
        "mixed",
        namespace="victim",
        callers=(rule("team-a"), rule("team-b")),
        created=5.0,
        routes=(
            route("team-a/own", name="hdr", when=When(headers=(HeaderMatch(name="x-token", exact="header-value"),))),
            route("team-a/own", "llm/shared"),
        ),
    )
    what = compiled(mixed, tiers=[tier("team-a/own", MINE), tier("llm/shared", SHARED, None)])
    config, secrets = seen(TENANT, what)
    only = Policy(namespace="victim", name="mixed", models=("auto",), callers=(rule("team-a"),), created=5.0)
    assert config.policies == (only,)
    assert (config.tiers, secrets.credentials) == ({}, {})
    assert not [it for it in ("header-value", "hdr", "llm", "http://") if it in text(TENANT, what)]


def test_a_view_keeps_the_precedence_of_a_policy_that_only_the_gateway_can_serve():
    offered = policy("offered", namespace="platform", callers=(rule("team-a"),), routes=(route("llm/shared"),), rank=-1)
    whole = compiled(offered, tiers=[tier("llm/shared", SHARED, None)])
    (left,) = seen(TENANT, whole)[0].policies
    assert (left.routes, left.precedence) == ((), offered.precedence)


def test_a_policy_of_another_namespace_is_whole_where_all_its_tiers_are_ones_own():
    lent = policy("lent", namespace="team-b", callers=(rule("team-a"),), routes=(route("team-a/own"),))
    config, secrets = seen(TENANT, compiled(lent, tiers=[tier("team-a/own", MINE)]))
    assert config.policies == (lent,)
    assert list(secrets.credentials.values()) == [MINE]


@pytest.mark.parametrize("account", [TENANT, STRANGER], ids=str)
def test_neither_value_nor_hash_nor_key_nor_name_of_others_is_sent(account: ServiceAccount):
    other, value, key = ("team-b", THEIRS, "b") if account == TENANT else ("team-a", MINE, "a")
    sent = text(account)
    for secret in (value, SHARED, digest(value.encode()), digest(SHARED.encode()), key * 64, other):
        assert secret not in sent, secret


@pytest.mark.parametrize(
    "account",
    [
        ServiceAccount("weir-system", "default"),
        ServiceAccount("team-a", "weir-router"),
        ServiceAccount("weir-system", "weir-router2"),
    ],
    ids=str,
)
def test_who_is_nearly_the_gateway_sees_what_its_namespace_may(account: ServiceAccount):
    config, secrets = seen(account)
    assert {it.namespace for it in config.policies} <= {"llm", account.namespace}
    assert set(secrets.credentials.values()) <= {MINE}


def test_a_policy_of_ones_own_namespace_that_names_others_is_not_seen():
    config, _ = seen(TENANT, compiled(policy(namespace="team-a", callers=(rule("team-b"),))))
    assert (config.policies, config.tiers) == ((), {})


def test_a_policy_that_names_nobody_is_seen_by_nobody():
    assert seen(TENANT, compiled(policy(callers=())))[0].policies == ()


def test_who_else_may_call_is_not_told():
    what = compiled(policy(callers=(rule("team-b", service_accounts=frozenset({"hidden"})), rule("team-a", "team-c"))))
    assert seen(TENANT, what)[0].policies[0].callers == (rule("team-a"),)
    assert "hidden" not in text(TENANT, what)


def test_a_route_for_other_callers_goes_and_does_not_become_one_for_all():
    routes = (
        route("llm/small", name="theirs", when=When(callers=(rule("team-b"),))),
        route("team-a/own", name="ours", when=When(callers=(rule("team-b", "team-a"),))),
        route("team-a/own", name="all"),
    )
    config, _ = seen(TENANT, compiled(policy(routes=routes)))
    assert [it.name for it in config.policies[0].routes] == ["ours", "all"]
    assert config.policies[0].routes[0].when.callers == (rule("team-a"),)


def test_a_route_without_tiers_stays_because_it_stops_later_ones():
    routes = (route(name="in-the-eu", require={"region": "eu"}), route("team-a/own"))
    assert seen(TENANT, compiled(policy(routes=routes)))[0].policies[0].routes == routes


def test_a_tier_that_only_a_hidden_route_uses_is_hidden():
    routes = (route("team-b/secret", when=When(callers=(rule("team-b"),))),)
    what = compiled(policy(routes=routes), tiers=[tier("team-b/secret", THEIRS)])
    assert seen(TENANT, what)[0].tiers == {}


def test_the_tiers_of_baseline_and_override_are_seen():
    what = compiled(
        policy(
            baseline=TierRef(tier="team-a/base"),
            override=Override(tier=TierRef(tier="team-a/glass"), until=1.0),
            routes=(route("team-a/gone"),),
        ),
        tiers=[tier("team-a/base", None), tier("team-a/glass", None), tier("team-a/unused", None)],
    )
    assert list(seen(TENANT, what)[0].tiers) == ["team-a/base", "team-a/glass"]


def test_the_same_value_in_two_namespaces_reaches_who_has_it_by_its_own_tier():
    what = compiled(
        policy(routes=(route("team-a/own"),)),
        policy("p2", routes=(route("llm/shared"),)),
        tiers=[tier("team-a/own", SHARED), tier("llm/shared", SHARED)],
    )
    config, secrets = seen(TENANT, what)
    assert list(secrets.credentials.values()) == [SHARED]
    assert list(config.tiers) == ["team-a/own"]
    assert seen(STRANGER, what)[1].credentials == {}


def test_whose_caller_an_anonymous_one_is_is_told_to_that_namespace():
    assert seen(TENANT)[0].anonymous_namespace is None
    assert seen(STRANGER)[0].anonymous_namespace == "team-b"


def test_a_namespace_that_nobody_names_sees_what_is_for_all():
    config, secrets = seen(ServiceAccount("team-z", "default"))
    assert [it.key for it in config.policies] == ["llm/everyone"]
    assert secrets == Secrets()


def test_a_view_has_room_for_what_other_namespaces_have_in_it_and_the_largest_gives_way():
    """A policy for all namespaces is in every view, and the operator holds all views."""
    models = tuple(f"model-{number:0200}" for number in range(60))
    flood = [policy(f"p{it}", namespace="evil", models=models, created=float(it)) for it in range(100)]
    own = [policy(f"o{it}", callers=(rule("team-a"),), models=models) for it in range(100)]
    shared = policy("shared", namespace="llm", routes=(route("llm/small"),), created=1e9)
    what = compiled(*flood, *own, shared)
    offer = Offer(what.config, what.secrets, GATEWAY, None)
    seen = {it.key for it in offer.view(TENANT).delivery.config.policies}
    assert {"llm/shared", *(it.key for it in own)} <= seen
    theirs = sorted(it for it in seen if it.startswith("evil/"))
    assert theirs == sorted(f"evil/p{it}" for it in range(len(theirs)))
    assert 10 < len(theirs) < 30
    assert len(offer.view(GATEWAY).delivery.config.policies) == 201


def test_no_view_of_a_namespace_has_a_key_that_seals_ids():
    key = "a2V5LXRoYXQtc2VhbHMtaWRzLTAxMjM0NTY3ODlhYmM="
    secrets = Secrets(state_keys=(StateKey(key=key),))
    views = Views(WHOLE.config, secrets, GATEWAY)
    assert key in encoded(views.of(GATEWAY)[1]).decode()
    for account in (TENANT, STRANGER, ServiceAccount(GATEWAY.namespace, "another"), ServiceAccount("llm", "x")):
        assert key not in encoded(views.of(account)).decode()
