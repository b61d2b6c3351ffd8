"""The load of routers, read as KEDA reads it: over TLS, with a ServiceAccount's token, from a follower."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from apiserver import ApiServer

from cli.shell import Answer, policy, tier, until
from support.installation import Installation, Operator, Router, Tenant
from support.kube import run
from weir_cli.sim import Fault, FaultKind, SimulatorThread

NAMESPACE = "weir-scaled"
GATEWAY = "gateway"
HELD_SECONDS = 12.0
"""Seconds that a model takes to begin; the figures must have followed long before."""

FRESH_SECONDS = 8.0
"""Seconds, at most, from a change of the load to a follower's answer: a check, a report and a relay take 2 s each."""


@pytest.fixture(scope="module")
def installation(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    run(cluster, "create", "namespace", NAMESPACE)
    run(cluster, "-n", NAMESPACE, "create", "serviceaccount", "scaler")
    folder = tmp_path_factory.mktemp(NAMESPACE)
    return Installation(cluster, NAMESPACE, folder, "--set", "className=scaled", release="scaled")


@pytest.fixture(scope="module")
def operators(installation: Installation) -> Iterator[tuple[Operator, Operator]]:
    """A leader, and a follower, which the router polls and scalers ask."""
    options = ("--class", "scaled")
    with installation.operator(*options, port=0) as leader:
        leader.until(leads=True)
        with installation.operator(*options) as follower:
            follower.until(leads=False, ready=True)
            yield leader, follower


@pytest.fixture(scope="module")
def router(installation: Installation, operators: tuple[Operator, Operator]) -> Iterator[Router]:
    with installation.router() as router:
        until(lambda: router.ready()["ready"], lambda: router.command.said + operators[1].command.said)
        yield router


class Scaler:
    """A scaler with a ServiceAccount."""

    def __init__(self, installation: Installation, namespace: str, account: str = "scaler", audience: str = "") -> None:
        wanted = f"--audience={audience or 'weir-autoscaling/scaled'}"
        self._token = run(installation.server, "-n", namespace, "create", "token", account, wanted).strip()
        self._url = f"https://localhost:{installation.port}/autoscaling/v1"
        self._trust = ssl.create_default_context(cadata=installation.authority())

    def ask(self, path: str = GATEWAY) -> Answer:
        request = urllib.request.Request(f"{self._url}/{path}", headers={"Authorization": f"Bearer {self._token}"})
        try:
            with urllib.request.urlopen(request, context=self._trust) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read().decode())

    def figures(self, path: str = GATEWAY) -> dict[str, Any]:
        answer = self.ask(path)
        return dict(answer.json()) if answer.status == 200 else {"refused": answer.text}

    def until(self, path: str = GATEWAY, **wanted: Any) -> float:
        """Seconds until the figures equal `wanted`."""
        began = time.monotonic()
        until(lambda: wanted.items() <= self.figures(path).items(), lambda: f"{wanted}: {self.figures(path)}")
        return time.monotonic() - began


@pytest.fixture
def platform(installation: Installation, router: Router) -> Scaler:
    scaler = Scaler(installation, NAMESPACE)
    scaler.until(replicas=1, demand=0)
    return scaler


@pytest.fixture
def tenant(cluster: ApiServer, namespace: str) -> Tenant:
    run(cluster, "-n", namespace, "create", "serviceaccount", "scaler")
    return Tenant(cluster, namespace)


def scaled(*manifests: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**it, "spec": {**it["spec"], "className": "scaled"}} for it in manifests]


def test_what_is_served_and_what_waits_is_known_within_seconds_and_so_is_its_end(
    installation: Installation, router: Router, platform: Scaler, tenant: Tenant, simulator: SimulatorThread
):
    own = tier(simulator.url, limits={"concurrency": 2}, timeouts={"ttft": "60s"})
    tenant.apply(*scaled(own, policy(queue={"wait": "60s"})))
    caller = tenant.caller(router)
    until(lambda: caller.models() == {"auto"})
    owner, path = Scaler(installation, tenant.namespace), f"tiers/{tenant.namespace}/small"
    owner.until(path, demand=0, saturation=0.0)
    simulator.fault("sim-minnow", Fault(FaultKind.SLOW_FIRST_TOKEN, seconds=HELD_SECONDS))
    with ThreadPoolExecutor(5) as people:
        answers = [people.submit(caller.ask) for _ in range(5)]
        assert owner.until(path, inFlight=2, queueDepth=3, demand=5, saturation=1.0) < FRESH_SECONDS
        assert platform.until(inFlight=5, queueDepth=0) < FRESH_SECONDS
        simulator.clear()
        assert {it.result().status for it in answers} == {200}
    ended = time.monotonic()
    until(lambda: owner.figures(path)["tokensPerSecond"] > 0)  # of the last answers; no longer than they are news
    owner.until(path, demand=0)
    assert time.monotonic() - ended < FRESH_SECONDS


def test_a_tenant_sees_neither_the_gateways_figures_nor_anothers(
    installation: Installation, platform: Scaler, tenant: Tenant
):
    owner = Scaler(installation, tenant.namespace)
    assert owner.ask().status == 403
    assert owner.ask("tiers/weir-scaled/any").status == 403
    assert owner.ask(f"tiers/{tenant.namespace}/absent").status == 404


@pytest.mark.parametrize("audience", ["weir-config/scaled", "weir/scaled", "https://kubernetes.default.svc"])
def test_a_token_for_anything_else_is_refused(installation: Installation, platform: Scaler, audience: str):
    answer = Scaler(installation, NAMESPACE, audience=audience).ask()
    assert (answer.status, "audience" in answer.text) == (401, True)


def test_a_scalers_token_is_no_way_to_anybodys_config(installation: Installation, platform: Scaler):
    token = run(
        installation.server, "-n", NAMESPACE, "create", "token", "scaled-router", "--audience=weir-autoscaling/scaled"
    ).strip()
    request = urllib.request.Request(
        f"https://localhost:{installation.port}/v1/poll", b'{"router": "r"}', {"Authorization": f"Bearer {token}"}
    )
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, context=ssl.create_default_context(cadata=installation.authority()))


def test_when_the_router_has_ended_there_is_no_figure_instead_of_none(
    installation: Installation, operators: tuple[Operator, Operator], router: Router, platform: Scaler
):
    router.command.stop()
    assert platform.figures()["replicas"] == 1
    until(lambda: platform.ask().status == 503, patience=40)
    assert "no router of the gateway has reported" in platform.ask().text
    with installation.router("second") as another:
        until(lambda: another.ready()["ready"], lambda: another.command.said)
        platform.until(replicas=1, demand=0)
    assert "Traceback" not in json.dumps([it.command.said for it in operators])
