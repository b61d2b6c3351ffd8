"""Operator and router as processes on a real API server, with exactly the rights that the chart gives them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from apiserver import ApiServer

from cli.shell import policy, tier, until
from support.installation import Installation, Operator, Router, Tenant
from support.kube import run
from weir_cli.sim import SimulatorThread
from weir_cli.sim.fleet import FLEET


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorThread]:
    with SimulatorThread(FLEET) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def installation(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    run(cluster, "create", "namespace", "weir-system")
    return Installation(cluster, "weir-system", tmp_path_factory.mktemp("weir"))


@pytest.fixture(scope="module")
def operator(installation: Installation) -> Iterator[Operator]:
    with installation.operator() as operator:
        yield operator


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
