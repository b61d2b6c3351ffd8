"""Operator and router as processes on a real API server, with exactly the rights that the chart gives them."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apiserver import ApiServer

from cli.shell import policy, tier, until
from support.installation import Installation, Operator, Router, Tenant, serving
from support.kube import run
from weir_cli.sim import SimulatorThread
from weir_operator.publish.authority import make_authority


def key(name: str, user_tier: str) -> dict[str, Any]:
    """A Secret with a caller's API key."""
    metadata = {
        "name": name,
        "labels": {"weir.dev/api-key": "true"},
        "annotations": {"weir.dev/user-tier": user_tier},
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"sha256": secrets.token_hex(32)}}


@pytest.fixture(scope="module")
def installation(emptied: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    emptied.kubectl("create", "namespace", "weir-system")  # it may be there already
    return Installation(emptied, "weir-system", tmp_path_factory.mktemp("weir"))


@pytest.fixture(scope="module")
def operator(installation: Installation) -> Iterator[Operator]:
    authorities(installation).write_bytes(ONE)
    with installation.operator("--gateway-ca-file", str(authorities(installation))) as operator:
        yield operator


ONE, TWO = (make_authority("gateway", datetime.now(UTC)).certificate for _ in range(2))


def authorities(installation: Installation) -> Path:
    """The file with the authorities of the gateway's certificate."""
    return installation.folder / "gateway-ca.crt"


@pytest.fixture(scope="module")
def router(installation: Installation, operator: Operator) -> Iterator[Router]:
    with installation.router() as router:
        until(lambda: router.ready()["ready"], lambda: router.command.said + operator.command.said)
        yield router


@pytest.fixture
def tenant(cluster: ApiServer, namespace: str) -> Tenant:
    return Tenant(cluster, namespace)


def test_what_is_applied_is_served_and_told(tenant: Tenant, router: Router, simulator: SimulatorThread):
    tenant.apply(tier(simulator.url), policy())
    caller = tenant.caller(router)
    until(lambda: caller.models() == {"auto"})
    answer = caller.ask()
    assert (answer.status, answer.headers["x-weir-tier"]) == (200, f"{tenant.namespace}/small")
    tenant.condition("routingpolicy/assistants", "Ready", "True")
    tenant.condition("modeltier/small", "Programmed", "True")


def test_a_changed_policy_is_effective(tenant: Tenant, router: Router, simulator: SimulatorThread):
    tenant.apply(tier(simulator.url), policy())
    caller = tenant.caller(router)
    for number in range(5):
        tenant.apply(policy(model=f"auto-{number}"))
        until(lambda number=number: caller.models() == {f"auto-{number}"})


def test_a_deleted_tier_is_told_and_the_router_goes_on_with_what_is_left(
    tenant: Tenant, router: Router, simulator: SimulatorThread
):
    routes = [{"name": "all", "tiers": [{"name": "small"}, {"name": "other"}]}]
    tenant.apply(tier(simulator.url), tier(simulator.url, "other"), policy(routes=routes))
    caller = tenant.caller(router)
    until(lambda: caller.ask().headers.get("x-weir-tier") == f"{tenant.namespace}/small")
    tenant.delete("modeltier", "small")
    until(lambda: caller.ask().headers.get("x-weir-tier") == f"{tenant.namespace}/other")
    tenant.condition("routingpolicy/assistants", "ResolvedRefs", "False")
    tenant.condition("routingpolicy/assistants", "Ready", "True")


def test_a_deleted_api_key_stops_working(tenant: Tenant, router: Router, simulator: SimulatorThread):
    tenant.apply(tier(simulator.url), policy())
    caller = tenant.caller(router)
    tenant.delete("secret", "ci")
    until(lambda: caller.models() == 401)


def test_what_one_tenant_makes_too_large_keeps_nothing_of_another_s_from_routers(
    tenant: Tenant, cluster: ApiServer, operator: Operator, router: Router, simulator: SimulatorThread
):
    """The tenant's keys have long annotations, and its policy exceeds an object's size; then a key is revoked."""
    tenant.apply(tier(simulator.url), policy())
    caller = tenant.caller(router)
    evil = Tenant(cluster, f"{tenant.namespace}-evil")
    run(cluster, "create", "namespace", evil.namespace)
    for number in range(10):
        evil.apply(key(f"k{number}", secrets.token_urlsafe(90_000)))
    names = [{"name": f"{number}-{secrets.token_hex(120)}"} for number in range(320)]
    routes = [
        {"name": f"r{start}", "tiers": [{"name": "small"}], "when": {"callers": [{"serviceAccounts": them}]}}
        for start in range(0, 320, 64)
        if (them := names[start : start + 64])
    ]
    evil.apply(tier(simulator.url), policy("large", routes=routes))
    evil.condition("routingpolicy/large", "Accepted", "False")
    status = json.loads(run(cluster, "-n", evil.namespace, "get", "routingpolicy/large", "-o", "json"))["status"]
    assert {it["type"]: it["reason"] for it in status["conditions"]}["Accepted"] == "TooLarge"
    until(lambda: operator.metric('weir_operator_refused_api_keys{reason="TooLarge"}') == 10)
    assert f"Secret/{evil.namespace}/k0: annotation weir.dev/user-tier has more than 253" in operator.command.said
    tenant.delete("secret", "ci")
    until(lambda: caller.models() == 401)
    assert operator.metric("weir_operator_unpublished_seconds") == 0


def test_an_override_ends_by_itself(
    installation: Installation, tenant: Tenant, router: Router, simulator: SimulatorThread
):
    """Routers drop the override at its end, and then the published config does, without any change of an object."""
    soon = (datetime.now(UTC) + timedelta(seconds=4)).strftime("%Y-%m-%dT%H:%M:%SZ")
    tenant.apply(
        tier(simulator.url),
        tier(simulator.url, "other"),
        policy(override={"tier": {"name": "other"}, "until": soon}),
    )
    caller = tenant.caller(router)
    until(lambda: caller.ask().headers.get("x-weir-tier") == f"{tenant.namespace}/other")
    until(lambda: caller.ask().headers.get("x-weir-tier") == f"{tenant.namespace}/small")
    until(lambda: not any(it.override for it in installation.config().policies))


def test_what_somebody_deletes_of_what_is_published_comes_back(
    installation: Installation, tenant: Tenant, simulator: SimulatorThread, router: Router
):
    tenant.apply(tier(simulator.url), policy())
    until(lambda: f"{tenant.namespace}/assistants" in router.policies())
    shard = next(name for name in installation.published() if "shard" in name)
    for name in (shard, "weir-index"):
        run(installation.server, "-n", installation.namespace, "delete", "configmap", name)
        until(lambda name=name: name in installation.published())
    assert router.ready()["ready"]


def test_its_metrics_say_that_all_is_published_and_how_long_its_certificate_lasts(operator: Operator, router: Router):
    assert operator.metric("weir_operator_unpublished_seconds") == 0
    days = (operator.metric("weir_operator_certificate_expiry_timestamp_seconds") - time.time()) / 86400
    assert 80 < days < 91


def test_the_routers_that_poll_share_limits(installation: Installation, operator: Operator, router: Router):
    assert operator.metric('weir_operator_routers{current="true",gateway="true"}') == 1
    with installation.router("second") as second:
        until(lambda: second.ready()["ready"])
        until(lambda: installation.config().routers == 2)


def test_the_authorities_of_the_gateway_are_published_and_followed(installation: Installation, router: Router):
    until(lambda: installation.config().gateway_authorities == ONE.decode())
    authorities(installation).write_bytes(TWO)
    until(lambda: installation.config().gateway_authorities == (ONE + TWO).decode())


def test_two_installations_do_not_touch_each_others_objects(
    installation: Installation, router: Router, tenant: Tenant, simulator: SimulatorThread, tmp_path: Path
):
    """The second installation serves one namespace only, and may read no other."""
    blue = Installation(
        tenant.server, tenant.namespace, tmp_path, "--set", f"namespaces={{{tenant.namespace}}}", release="blue"
    )
    its_tier = tier(simulator.url, "its")
    its_tier["spec"]["className"] = "blue"
    tenant.apply(its_tier, tier(simulator.url), policy("of-blue", to="its", className="blue"))
    options = ("--class", "blue", "--namespaces", tenant.namespace)
    with serving(blue, *options) as (operator, its_router):
        its_router.until_policies(f"{tenant.namespace}/of-blue")
        tenant.apply(policy("of-weir"))
        until(lambda: f"{tenant.namespace}/of-weir" in router.policies())
        assert its_router.policies() == {f"{tenant.namespace}/of-blue"}
        assert f"{tenant.namespace}/of-blue" not in router.policies()
        tenant.condition("routingpolicy/of-blue", "Programmed", "True")
        assert operator.state()["unknown"] == []
        before = installation.published()
        assert operator.command.stop() == 0
        assert installation.published() == before
