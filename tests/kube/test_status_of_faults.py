"""Faults as people meet them, and the seconds until a status says them: an operator, five routers and a sidecar are
processes on a real API server."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apiserver import ApiServer

from cli.shell import http, manifest, policy, running, tier, until
from support.installation import Installation, Operator, Router, Tenant, free_port
from support.kube import run
from weir_cli.sim import FLEET, Fault, FaultKind, SimulatorThread
from weir_operator.kinds.crdgen import UNSEEN
from weir_operator.status.changes import QUIET_SECONDS

CLASS = "truth"

PROMISE = 30.0
"""Seconds from the third failure until a status says it, at most."""

ROUTERS = 5


@pytest.fixture(scope="module")
def installation(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    run(cluster, "create", "namespace", "weir-truth")
    folder = tmp_path_factory.mktemp("weir-truth")
    return Installation(cluster, "weir-truth", folder, "--set", f"className={CLASS}", release=CLASS)


@pytest.fixture(scope="module")
def operator(installation: Installation) -> Iterator[Operator]:
    with installation.operator("--class", CLASS) as operator:
        operator.until(leads=True)
        yield operator


@pytest.fixture(scope="module")
def routers(installation: Installation, operator: Operator) -> Iterator[list[Router]]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(installation.router(f"gw-{number}")) for number in range(ROUTERS)]
        for router in found:
            until(lambda router=router: router.ready()["ready"], lambda router=router: router.command.said)
        yield found


@pytest.fixture
def tenant(cluster: ApiServer, namespace: str) -> Tenant:
    return Tenant(cluster, namespace)


@pytest.fixture
def sidecar(installation: Installation, tenant: Tenant, routers: list[Router], tmp_path: Path) -> Iterator[str]:
    """The URL of a sidecar in the tenant's namespace."""
    run(tenant.server, "-n", tenant.namespace, "create", "serviceaccount", "app")
    for file, audience in (("config-token", f"weir-config/{CLASS}"), ("token", f"weir/{CLASS}")):
        made = run(tenant.server, "-n", tenant.namespace, "create", "token", "app", f"--audience={audience}")
        (tmp_path / file).write_text(made.strip())
    (tmp_path / "ca.crt").write_text(installation.authority())
    where = ("--files", tmp_path, "--keep", tmp_path, "--gateway", routers[0].url)
    server = ("--config-server", f"https://localhost:{installation.port}")
    listen = ("--port", "0", "--admin", "127.0.0.1:0", "--caller", f"{tenant.namespace}/app")
    with running("sidecar", *listen, *where, *server, env={"POD_NAME": "app-0"}) as command:
        url = command.wait_for(r"callers on (http://\S+\d),")[1]
        admin = command.wait_for(r"state on (http://[^\s.]+\S*\d)")[1]
        until(lambda: f"{tenant.namespace}/assistants" in http(f"{admin}/state").text, lambda: command.said)
        yield url


def ours(*manifests: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**it, "spec": {**it["spec"], "className": CLASS}} for it in manifests]


def ready(tenant: Tenant, resource: str) -> dict[str, str]:
    """The condition Ready."""
    text = run(tenant.server, "-n", tenant.namespace, "get", resource, "-o", "json")
    return {it["type"]: it for it in json.loads(text)["status"]["conditions"]}["Ready"]


def said(tenant: Tenant, resource: str, reason: str, since: float) -> str:
    """The message of Ready, once it has this reason; in time."""
    until(lambda: ready(tenant, resource)["reason"] == reason, lambda: str(ready(tenant, resource)), patience=PROMISE)
    assert time.monotonic() - since < PROMISE
    return ready(tenant, resource)["message"]


def shown(tenant: Tenant, resource: str, column: str) -> str:
    """A column of `kubectl get -o wide`; an empty cell is the empty text."""
    head, line = run(tenant.server, "-n", tenant.namespace, "get", resource, "-o", "wide").splitlines()
    start = head.index(column)
    following = [at for at in (head.find(f" {it}") for it in head[start + len(column) :].split()) if at > start]
    return line[start : min(following, default=len(line))].strip()


def events(tenant: Tenant, name: str) -> list[tuple[str, str]]:
    text = run(tenant.server, "-n", tenant.namespace, "get", "events.events.k8s.io", "-o", "json")
    found = sorted(json.loads(text)["items"], key=lambda it: it["eventTime"])
    return [(it["type"], it["reason"]) for it in found if it["regarding"]["name"] == name]


@pytest.fixture
def simulator() -> Iterator[SimulatorThread]:
    """A simulator of its own: routers remember the failures of a backend, whichever tier names it."""
    with SimulatorThread(FLEET) as simulator:
        yield simulator


@pytest.fixture
def served(tenant: Tenant, simulator: SimulatorThread) -> Tenant:
    """The tenant, with a tier of its own and a policy."""
    tenant.apply(*ours(tier(simulator.url), policy()))
    tenant.condition("rp/assistants", "Ready", "True")
    return tenant


def test_a_provider_that_answers_401_to_a_sidecar_only(served: Tenant, sidecar: str, simulator: SimulatorThread):
    simulator.fault("sim-minnow", Fault(FaultKind.UNAUTHORIZED))
    question = {"model": "auto", "messages": [{"role": "user", "content": "What is 2 + 2?"}]}
    for _ in range(3):
        assert http(f"{sidecar}/v1/chat/completions", question).status >= 400
    since = time.monotonic()
    message = said(served, "mt/small", "NoHealthyBackends", since)
    assert "one: credential" in message
    assert shown(served, "mt/small", "BACKENDS") == "0/1"
    assert f"{served.namespace}/small: credential" in said(served, "rp/assistants", "NoHealthyTiers", since)
    assert ready(served, "rp/assistants")["status"] == "True"
    simulator.clear("sim-minnow")


def test_refused_connections_that_one_of_five_routers_has_met(tenant: Tenant, routers: list[Router]):
    tenant.apply(*ours(tier(f"http://127.0.0.1:{free_port()}"), policy()))
    caller = tenant.caller(routers[0])
    until(lambda: caller.models() == {"auto"})
    for _ in range(3):
        assert caller.ask().status >= 500
    since = time.monotonic()
    message = said(tenant, "mt/small", "NoHealthyBackends", since)
    assert "one: connect" in message
    assert "(tried by 1 of 5 routers)" in message
    assert "no tier is healthy" in said(tenant, "rp/assistants", "NoHealthyTiers", since)
    assert shown(tenant, "mt/small", "BACKENDS") == "0/1"


WORDS = {
    FaultKind.NOT_FOUND: "model: The model `sim-minnow` does not exist",
    FaultKind.INSUFFICIENT_QUOTA: "credit: ",
    FaultKind.PAYMENT_REQUIRED: "credit: ",
    FaultKind.FORBIDDEN: "model: Project `proj_sim` does not have access",
    FaultKind.RATE_LIMIT: "rate_limit: ",
    FaultKind.SERVER_ERROR: "server: ",
    FaultKind.RESET: "reset: ",
    FaultKind.MALFORMED: "malformed: ",
    FaultKind.CUT: "reset: ",
}


@pytest.mark.parametrize("kind", WORDS, ids=str)
def test_each_kind_of_failure_is_said_in_its_words(
    tenant: Tenant, routers: list[Router], simulator: SimulatorThread, kind: FaultKind
):
    tenant.apply(*ours(tier(simulator.url), policy()))
    tenant.condition("rp/assistants", "Ready", "True")
    caller = tenant.caller(routers[1])
    until(lambda: caller.models() == {"auto"})
    simulator.fault("sim-minnow", Fault(kind))
    for _ in range(3):
        assert caller.ask().status >= 400
    since = time.monotonic()
    message = said(tenant, "mt/small", "NoHealthyBackends", since)
    assert f"one: {WORDS[kind]}" in message


def test_a_first_tier_that_fails_is_named_while_the_next_one_serves(
    tenant: Tenant, routers: list[Router], simulator: SimulatorThread
):
    dear = tier(f"http://127.0.0.1:{free_port()}", "dear", price={"input": "9", "output": "9"})
    routes = [{"name": "all", "tiers": [{"name": "dear"}, {"name": "small"}]}]
    tenant.apply(*ours(dear, tier(simulator.url), policy(routes=routes)))
    caller = tenant.caller(routers[0])
    until(lambda: caller.models() == {"auto"})
    for _ in range(4):
        assert caller.ask().headers["x-weir-tier"] == f"{tenant.namespace}/small"
    since = time.monotonic()
    message = said(tenant, "rp/assistants", "Degraded", since)
    assert f"route 'all': its first tier {tenant.namespace}/dear serves nothing (connect)" in message
    assert ("Warning", "Degraded") in events(tenant, "assistants")
    # A share is a figure, so it may come a minute after the verdict.
    until(lambda: shown(tenant, "rp/assistants", "ELSEWHERE") == "100 % cheaper", patience=QUIET_SECONDS + PROMISE)
    message = ready(tenant, "rp/assistants")["message"]
    assert re.search(r"; 100 % of \d requests of the last ten minutes went to a cheaper tier", message)


@pytest.mark.timeout(240)  # it ends with a router's next poll
def test_a_backend_that_fails_for_one_tenant_only(
    tenant: Tenant, routers: list[Router], simulator: SimulatorThread, namespace: str
):
    run(tenant.server, "create", "namespace", f"{namespace}-other")
    other = Tenant(tenant.server, f"{namespace}-other")
    shared = tier(simulator.url)
    shared["spec"]["grants"] = [{"namespaces": {"from": "All"}}]
    tenant.apply(*ours(shared, policy()))
    routes = [{"name": "all", "tiers": [{"name": "small", "namespace": namespace}]}]
    other.apply(*ours(policy(model="theirs", routes=routes)))
    caller, others = tenant.caller(routers[0]), other.caller(routers[0])
    until(lambda: (caller.models(), others.models()) == ({"auto"}, {"theirs"}))
    for _ in range(4):
        assert others.ask("theirs").status == 200
        simulator.fault("sim-minnow", Fault(FaultKind.SERVER_ERROR))
        assert caller.ask().status >= 500
        simulator.clear("sim-minnow")
    message = said(tenant, "rp/assistants", "Degraded", time.monotonic())
    assert re.search(r"route 'all': none of its \d requests of the last ten minutes was answered", message)
    assert ready(tenant, "mt/small")["reason"] == "Ready"
    assert ready(other, "rp/assistants")["message"] == "requests are served"
    assert caller.ask().status == 200
    # A count that is no verdict comes with the router's next poll, within 50 s.
    until(lambda: ready(tenant, "rp/assistants")["reason"] == "Ready", patience=QUIET_SECONDS + PROMISE)


def test_a_tier_of_another_class_and_an_object_of_none(tenant: Tenant, routers: list[Router]):
    tenant.apply(tier("http://127.0.0.1:9"), *ours(policy()), policy("nobody", "other", className="nobody"))
    tenant.condition("rp/assistants", "Ready", "False")
    message = ready(tenant, "rp/assistants")["message"]
    assert f"there is no ModelTier {tenant.namespace}/small of className truth" in message
    assert "the one of that name has className weir" in message
    for resource in ("rp/nobody", "mt/small"):
        assert (ready(tenant, resource)["reason"], ready(tenant, resource)["message"]) == ("Pending", UNSEEN)
        assert shown(tenant, resource, "READY") == "Unknown"


def test_an_override_shows_as_long_as_it_holds(served: Tenant, routers: list[Router]):
    until_ = datetime.now(UTC) + timedelta(seconds=12)
    override = {"tier": {"name": "small"}, "until": until_.strftime("%Y-%m-%dT%H:%M:%SZ")}
    served.apply(*ours(manifest("RoutingPolicy", "assistants", {**policy()["spec"], "override": override})))
    until(lambda: ("Normal", "OverrideStarted") in events(served, "assistants"))
    assert shown(served, "rp/assistants", "OVERRIDE") == until_.strftime("until %Y-%m-%dT%H:%MZ")
    until(lambda: ("Normal", "OverrideEnded") in events(served, "assistants"))
    assert shown(served, "rp/assistants", "OVERRIDE") == ""
    assert [it for it in events(served, "assistants") if it[0] == "Warning"] == []
