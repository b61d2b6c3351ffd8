"""Statuses of an installation whose operators and router are processes; the router polls the follower."""

from __future__ import annotations

import json
import signal
import ssl
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from apiserver import ApiServer

from cli.shell import http, manifest, policy, tier, until
from support.installation import Caller, Installation, Operator, Router, Tenant
from support.kube import run
from weir_cli.sim import Fault, FaultKind, SimulatorThread
from weir_operator.kinds.modeltier.states import NOT_TRIED


@pytest.fixture(scope="module")
def installation(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    run(cluster, "create", "namespace", "weir-pair")
    folder = tmp_path_factory.mktemp("weir-pair")
    return Installation(cluster, "weir-pair", folder, "--set", "className=pair", release="pair")


@pytest.fixture(scope="module")
def leader(installation: Installation) -> Iterator[Operator]:
    with installation.operator("--class", "pair", port=0) as operator:
        operator.until(leads=True)
        yield operator


@pytest.fixture(scope="module")
def follower(installation: Installation, leader: Operator) -> Iterator[Operator]:
    with installation.operator("--class", "pair") as operator:
        operator.until(ready=True, leads=False)
        yield operator


@pytest.fixture(scope="module")
def router(installation: Installation, follower: Operator) -> Iterator[Router]:
    with installation.router() as router:
        until(lambda: router.ready()["ready"], lambda: router.command.said + follower.command.said)
        yield router


@pytest.fixture
def tenant(cluster: ApiServer, namespace: str) -> Tenant:
    return Tenant(cluster, namespace)


def ours(*manifests: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**it, "spec": {**it["spec"], "className": "pair"}} for it in manifests]


def status(tenant: Tenant, resource: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(tenant.server, "-n", tenant.namespace, "get", resource, "-o", "json"))
    return found["status"]


def test_a_router_at_a_follower_counts_and_its_backends_show(
    tenant: Tenant, router: Router, simulator: SimulatorThread
):
    tenant.apply(*ours(tier(simulator.url), policy()))
    tenant.condition("routingpolicy/assistants", "Programmed", "True")
    tenant.condition("modeltier/small", "Ready", "True")
    until(lambda: status(tenant, "mt/small")["backends"] == [{"name": "one", "state": "Unknown", "reason": NOT_TRIED}])
    assert tenant.caller(router).ask().status == 200
    # Figures and states that change no verdict are written once a minute.
    until(lambda: status(tenant, "mt/small")["backends"] == [{"name": "one", "state": "Healthy"}], patience=90.0)


def test_a_backend_that_dies_turns_its_tier_and_one_that_comes_back_turns_it_again(
    tenant: Tenant, router: Router, simulator: SimulatorThread
):
    tenant.apply(*ours(tier(simulator.url), policy()))
    caller = tenant.caller(router)
    until(lambda: caller.models() == {"auto"})
    simulator.fault("sim-minnow", Fault(FaultKind.REFUSE))
    for _ in range(6):
        assert caller.ask().status == 503
    tenant.condition("modeltier/small", "Ready", "False")
    (backend,) = status(tenant, "mt/small")["backends"]
    assert backend["state"] == "Unhealthy"
    simulator.clear("sim-minnow")
    until(lambda: closed(router, tenant, caller), lambda: http(f"{router.admin}/state").text)
    tenant.condition("modeltier/small", "Ready", "True")


def closed(router: Router, tenant: Tenant, caller: Caller) -> bool:
    """Whether the breaker has closed again, after one more request as a probe."""
    caller.ask()
    return bool(http(f"{router.admin}/state").json()["backends"][f"{tenant.namespace}/small/one"]["state"] == "closed")


def test_deleting_a_tier_in_use_turns_the_policy_and_what_is_left_is_served(
    tenant: Tenant, router: Router, simulator: SimulatorThread
):
    tiers = [{"name": "all", "tiers": [{"name": "small"}, {"name": "other"}]}]
    both = manifest("RoutingPolicy", "assistants", {"models": [{"name": "auto"}], "routes": tiers})
    tenant.apply(*ours(tier(simulator.url), tier(simulator.url, "other"), both))
    tenant.condition("rp/assistants", "ResolvedRefs", "True")
    caller = tenant.caller(router)
    tenant.delete("modeltier", "small")
    tenant.condition("rp/assistants", "ResolvedRefs", "False")
    assert status(tenant, "rp/assistants")["tiersReady"] == "1/2"
    assert caller.ask().headers["x-weir-tier"] == f"{tenant.namespace}/other"
    described = run(tenant.server, "-n", tenant.namespace, "describe", "rp", "assistants")
    assert "Warning  TierNotFoundOrNotGranted" in described


def test_a_router_is_told_by_whom_the_certificate_is_signed(
    installation: Installation, follower: Operator, tenant: Tenant
):
    """A router in another namespace cannot mount the ConfigMap."""
    here = ("-n", tenant.namespace)
    run(installation.server, "create", "serviceaccount", "app", *here)
    token = run(installation.server, "create", "token", "app", *here, "--audience=weir-config/pair").strip()
    trust = ssl.create_default_context(cadata=installation.authority())
    request = urllib.request.Request(
        f"https://localhost:{installation.port}/v1/poll", b'{"router": "r"}', {"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, context=trust) as answer:
        assert json.load(answer)["authorities"] == installation.authority()


def test_a_router_that_has_ended_holds_nothing_back_for_long(
    installation: Installation, tenant: Tenant, router: Router, simulator: SimulatorThread
):
    with installation.router() as ending:
        until(lambda: ending.ready()["ready"])
        ending.command.stop()
    tenant.apply(*ours(tier(simulator.url), policy()))
    tenant.condition("routingpolicy/assistants", "Ready", "True")


def test_when_the_leader_dies_statuses_stay_and_the_next_one_goes_on(
    tenant: Tenant, leader: Operator, follower: Operator, router: Router, simulator: SimulatorThread
):
    tenant.apply(*ours(tier(simulator.url), policy()))
    tenant.condition("routingpolicy/assistants", "Ready", "True")
    before = status(tenant, "rp/assistants")
    leader.command.stop(signal.SIGKILL)
    follower.until(leads=True)
    tenant.apply(*ours(tier(simulator.url, "second")))
    tenant.condition("modeltier/second", "Ready", "True")
    assert status(tenant, "rp/assistants") == before
