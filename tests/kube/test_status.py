"""Statuses and Events on a real API server: their contents, when they are written, and fields of other writers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from apiserver import ApiServer

from cli.shell import until
from support.kube import apply, client_of, run
from support.leading import Leader, leading
from support.statuses import gateway
from weir_operator.kinds import KINDS
from weir_operator.kinds.crdgen import UNSEEN
from weir_operator.kube.statuses import StatusWriter
from weir_operator.status import writer as pace
from weir_operator.status.reporter import SETTLE_SECONDS
from weir_router.contract import BackendReport, PolicyReport, RouteReport

TIER = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  backends: [{{name: one, provider: OpenAI, model: gpt-4o-mini{backend}}}]
"""
POLICY = """
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: assistants, namespace: {namespace}}}
spec:
  models: [{{name: auto}}]
  routes: [{{name: all, tiers: [{{name: budget}}, {{name: {second}}}]}}]
"""
KEY = ", credentials: {secretRef: {name: k, key: k}}"


def tier(namespace: str, name: str = "budget", backend: str = "") -> str:
    return TIER.format(namespace=namespace, name=name, backend=backend)


def policy(namespace: str, second: str = "budget") -> str:
    return POLICY.format(namespace=namespace, second=second)


def events(server: ApiServer, namespace: str) -> list[tuple[str, str, str]]:
    text = run(server, "get", "events.events.k8s.io", "-n", namespace, "-o", "json")
    return sorted((it["type"], it["reason"], it["regarding"]["name"]) for it in json.loads(text)["items"])


def version(server: ApiServer, namespace: str, resource: str = "mt/budget") -> str:
    return run(server, "get", resource, "-n", namespace, "-o", "jsonpath={.metadata.resourceVersion}")


async def served(leader: Leader, count: int = 1) -> None:
    """Compiles once the tiers exist, and waits until `budget` is ready."""
    await leader.compile_when(lambda it: len(it.of("ModelTier")) == count)
    await leader.until_condition("mt/budget", "Ready", "status", "True")


async def test_a_status_and_its_event_appear_and_kubectl_shows_them(cluster: ApiServer, namespace: str):
    apply(cluster, tier(namespace))
    apply(cluster, policy(namespace, second="none"))
    async with leading(cluster, client_of(cluster), namespace) as leader:
        leader.routers = [gateway(states={f"{namespace}/budget/one": "closed"})]
        await leader.compile_when(lambda it: it.of("ModelTier") and it.of("RoutingPolicy"))
        status = await leader.until_condition("rp/assistants", "ResolvedRefs", "reason", "TierNotFoundOrNotGranted")
        assert (status["routesReady"], status["tiersReady"]) == ("1/1", "1/2")
        await leader.until_condition("mt/budget", "Ready", "status", "True")
        await leader.until_calm()
    table = run(cluster, "get", "mt,rp", "-n", namespace, "-o", "wide")
    assert "budget   True    1/1" in table
    assert "requests are served, but spec." in table
    described = run(cluster, "describe", "rp/assistants", "-n", namespace)
    assert f"there is no ModelTier {namespace}/none that grants namespace {namespace}" in described
    assert events(cluster, namespace) == [
        ("Normal", "Ready", "budget"),
        ("Warning", "TierNotFoundOrNotGranted", "assistants"),
    ]
    assert "Warning  TierNotFoundOrNotGranted" in described


async def test_what_is_there_is_not_written_again_nor_told_again_by_the_next_leader(cluster: ApiServer, namespace: str):
    apply(cluster, tier(namespace))
    async with leading(cluster, client_of(cluster), namespace) as first:
        await served(first)
        await first.until_calm()
        before = version(cluster, namespace)
        first.compile()
        await first.until_calm()
        assert first.writer.written == ["budget"]
    async with leading(cluster, client_of(cluster), namespace) as second:
        await served(second)
        await second.until_calm()
        assert (second.writer.written, second.writer.told) == ([], [])
    assert version(cluster, namespace) == before


async def test_states_are_written_once_a_minute_but_a_verdict_at_once(cluster: ApiServer, namespace: str):
    apply(cluster, tier(namespace, backend="}, {name: two, provider: OpenAI, model: gpt-4o-mini"))
    one, two = f"{namespace}/budget/one", f"{namespace}/budget/two"
    async with leading(cluster, client_of(cluster), namespace) as leader:
        leader.routers = [gateway(states={one: "closed", two: "closed"})]
        await served(leader)
        await leader.until_calm()
        leader.routers = [gateway("a", states={one: "open", two: "closed"})]
        leader.reporter.heard()
        await leader.until_condition("mt/budget", "Ready", "reason", "Degraded")
        await leader.until_calm()
        leader.routers += [gateway("b", states={one: "closed", two: "closed"})]
        await leader.reporter.look()
        assert not leader.reporter.busy
        leader.skipped = 61
        leader.reporter.heard()
        await leader.until("mt/budget", ".status.backends[0].state", "Degraded")
        leader.routers = [gateway(states={one: "open", two: "open"})]
        leader.reporter.heard()
        await leader.until_condition("mt/budget", "Ready", "reason", "NoHealthyBackends")
        assert leader.writer.written == ["budget"] * 4


async def test_a_change_that_routers_have_within_a_moment_is_one_write(cluster: ApiServer, namespace: str):
    apply(cluster, tier(namespace))
    async with leading(cluster, client_of(cluster), namespace) as leader:
        await served(leader)
        apply(cluster, tier(namespace, backend=", weight: 1").replace("spec:", "spec:\n  selection: Weighted"))
        leader.routers = [gateway(revision=1, current=False)]
        await leader.compile_when(lambda it: it.of("ModelTier")[0].generation == 2)
        assert 0 < await leader.reporter.look() <= SETTLE_SECONDS
        leader.routers = [gateway(revision=2)]
        leader.reporter.heard()
        status = await leader.until("mt/budget", ".status.observedGeneration", "2")
        assert {it["observedGeneration"] for it in status["conditions"]} == {2}
        assert len(leader.writer.written) == 2


async def test_a_new_term_says_nothing_of_what_an_earlier_one_compiled(cluster: ApiServer, namespace: str):
    apply(cluster, tier(namespace))
    async with leading(cluster, client_of(cluster), namespace) as leader:
        await served(leader)
        await leader.end()
        leader.routers = [gateway(revision=0, current=False, rejected="x")]
        leader.skipped = 120
        leader.begin()
        await asyncio.sleep(0)
        await leader.reporter.look()
        assert not leader.reporter.busy
        leader.compile()
        await leader.until_condition("mt/budget", "Programmed", "reason", "Rejected")


async def test_the_end_of_a_term_waits_for_the_request_that_is_under_way(cluster: ApiServer, namespace: str):
    apply(cluster, tier(namespace))
    async with leading(cluster, client_of(cluster), namespace) as leader:
        begun, go_on = threading.Event(), threading.Event()
        leader.writer.before = lambda: (begun.set(), go_on.wait(20))
        await leader.compile_when(lambda it: it.of("ModelTier"))
        assert await asyncio.to_thread(begun.wait, 20)
        ending = asyncio.create_task(leader.end())
        await asyncio.sleep(0.05)
        assert not ending.done()
        go_on.set()
        await ending
        assert leader.writer.outcomes == ["Done"]
        leader.begin()


async def test_a_router_that_does_not_follow_shows_after_a_moment(cluster: ApiServer, namespace: str):
    apply(cluster, tier(namespace))
    async with leading(cluster, client_of(cluster), namespace) as leader:
        leader.routers = [gateway(revision=0, current=False, rejected="too new")]
        await leader.compile_when(lambda it: it.of("ModelTier"))
        status = await leader.until_condition("mt/budget", "Programmed", "reason", "Rejected")
        assert next(it for it in status["conditions"] if it["type"] == "Ready")["status"] == "False"


async def test_what_could_not_be_published_says_so_and_keeps_what_was(cluster: ApiServer, namespace: str):
    apply(cluster, tier(namespace))
    async with leading(cluster, client_of(cluster), namespace) as leader:
        await served(leader)
        apply(cluster, tier(namespace, "other"))
        await asyncio.to_thread(leader.watching.until_names, "budget", "other")
        observed = leader.watching.observed()
        leader.reporter.not_published(observed, leader.compiled(observed), "it is too large")
        status = await leader.until_condition("mt/other", "Programmed", "reason", "NotPublished")
        assert "it is too large" in json.dumps(status)
        await leader.until_condition("mt/budget", "Programmed", "status", "True")


async def test_a_deleted_object_is_no_trouble_and_its_successor_gets_a_status(
    cluster: ApiServer, namespace: str, caplog: pytest.LogCaptureFixture
):
    apply(cluster, tier(namespace))
    async with leading(cluster, client_of(cluster), namespace) as leader:
        await served(leader)
        (old,) = leader.watching.observed().of("ModelTier")
        run(cluster, "delete", "mt/budget", "-n", namespace)
        assert leader.writer.write(old, {"backendsReady": "9/9"})[0] == "Stale"
        apply(cluster, tier(namespace))
        assert leader.writer.write(old, {"backendsReady": "9/9"})[0] == "Stale"
        await leader.compile_when(lambda it: it.of("ModelTier") and it.of("ModelTier")[0].uid != old.uid)
        await leader.until_condition("mt/budget", "Ready", "status", "True")
    assert not [it for it in caplog.records if it.name == "weir_operator.status"]


async def test_what_others_say_stays_and_what_we_say_no_longer_goes(cluster: ApiServer, namespace: str):
    apply(cluster, tier(namespace))
    theirs = '{"status": {"conditions": [{"type": "Theirs", "status": "True", "reason": "R", "message": "", '
    theirs += '"lastTransitionTime": "2026-01-01T00:00:00Z"}]}}'
    run(cluster, "patch", "mt/budget", "-n", namespace, "--subresource=status", "--type=merge", "-p", theirs)
    async with leading(cluster, client_of(cluster), namespace) as leader:
        await served(leader)
        (subject,) = leader.watching.gatherer.manifests()
    with client_of(cluster) as client:
        again = replace(subject, version=version(cluster, namespace))
        assert StatusWriter(client, KINDS).write(again, {"observedGeneration": 1})[0] == "Done"
    status = await leader.status("mt/budget")
    assert [it["type"] for it in status["conditions"]] == ["Theirs"]
    assert set(status) == {"observedGeneration", "conditions"}


async def test_a_missing_right_is_named_once_and_what_was_missed_is_written_later(
    cluster: ApiServer, namespace: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pace, "RETRY_SECONDS", 0.2)
    caplog.set_level(logging.INFO, "weir_operator.status")
    apply(cluster, tier(namespace))
    run(cluster, "create", "serviceaccount", "op", "-n", namespace)
    run(cluster, "create", "clusterrole", f"read-{namespace}", "--verb=list,watch", "--resource=mt,rp,secrets,ns")
    subject = f"--serviceaccount={namespace}:op"
    run(cluster, "create", "clusterrolebinding", f"read-{namespace}", f"--clusterrole=read-{namespace}", subject)
    token = run(cluster, "create", "token", "op", "-n", namespace).strip()
    async with leading(cluster, client_of(cluster, token=token), namespace) as leader:
        await leader.compile_when(lambda it: it.of("ModelTier"))
        await leader.until_outcomes(3)
        assert [it.getMessage() for it in caplog.records if it.name == "weir_operator.status"] == [
            "the status of ModelTiers cannot be written: the operator may not; add to its role: "
            '{apiGroups: ["weir.dev"], resources: ["modeltiers/status"], verbs: ["patch"]}. '
            "(It is tried again every few seconds.)"
        ]
        run(cluster, "create", "role", "w", "--verb=patch", "--resource=modeltiers.weir.dev/status", "-n", namespace)
        run(cluster, "create", "rolebinding", "w", "--role=w", subject, "-n", namespace)
        await leader.until_condition("mt/budget", "Ready", "status", "True")
        await leader.until_calm()
    said = " ".join(it.getMessage() for it in caplog.records)
    assert "the status of ModelTiers can be written again" in said
    assert 'Events cannot be written: the operator may not; add to its role: {apiGroups: ["events.k8s.io"]' in said


async def test_many_objects_are_written_with_a_few_requests_at_a_time(
    cluster: ApiServer, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pace, "WRITES_PER_SECOND", 500.0)
    apply(cluster, "---".join(tier(namespace, f"t{number}") for number in range(40)))
    async with leading(cluster, client_of(cluster), namespace) as leader:
        await leader.compile_when(lambda it: len(it.of("ModelTier")) == 40)
        ready = "--for=condition=Ready"
        await asyncio.to_thread(run, cluster, "wait", ready, "mt", "--all", "-n", namespace, "--timeout=30s")
        await leader.until_calm()
    assert sorted(leader.writer.written) == sorted(f"t{number}" for number in range(40))
    assert leader.writer.most <= pace.WRITERS


async def test_an_event_of_a_verdict_that_comes_and_goes_is_not_repeated_for_minutes(
    cluster: ApiServer, namespace: str
):
    apply(cluster, tier(namespace))
    one = f"{namespace}/budget/one"
    async with leading(cluster, client_of(cluster), namespace) as leader:
        leader.routers = [gateway(states={one: "closed"})]
        await served(leader)
        for words, ready in [("first", "False"), ("", "True"), ("second", "False"), ("", "True")]:
            state = BackendReport(state="open" if words else "closed", words=words)
            leader.routers = [gateway(states={one: state})]
            leader.reporter.heard()
            await leader.until_condition("mt/budget", "Ready", "status", ready)
        await leader.until_calm()
        assert leader.writer.told == ["Ready", "NoHealthyBackends"]


@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=["apply", "server-side apply"])
async def test_what_the_crd_says_of_a_new_object_gives_way_to_what_the_operator_says(
    cluster: ApiServer, namespace: str, how: tuple[str, ...]
):
    run(cluster, "apply", *how, "-f", "-", input=tier(namespace))
    async with leading(cluster, client_of(cluster), namespace) as leader:
        before = await leader.status("mt/budget")
        assert {it["reason"] for it in before["conditions"]} == {"Pending"}
        leader.routers = [gateway(revision=0, current=False)]
        await leader.compile_when(lambda it: it.of("ModelTier"))
        status = await leader.until_condition("mt/budget", "Programmed", "reason", "Pending")
        assert UNSEEN not in json.dumps(status)
        assert "1970" not in json.dumps(status)  # also of Ready, which is Unknown as before
        leader.routers = [gateway()]
        leader.reporter.heard()
        await leader.until_condition("mt/budget", "Ready", "status", "True")
    weighted = tier(namespace, backend=", weight: 1").replace("spec:", "spec:\n  selection: Weighted")
    run(cluster, "apply", *how, "-f", "-", input=weighted)
    assert (await leader.status("mt/budget"))["observedGeneration"] == 1


POLICY_NAME = {"apiVersion": "weir.dev/v1alpha1", "kind": "RoutingPolicy"}
STATUS_FIELDS = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties"


@contextlib.contextmanager
def crd_without(server: ApiServer, namespace: str, *fields: str) -> Iterator[None]:
    """The CRD of RoutingPolicies of an older version, whose status lacks these fields. `namespace` has a policy
    `assistants`, by which it is seen that the API server has taken the change."""
    crd = json.loads(run(server, "get", "crd", "routingpolicies.weir.dev", "-o", "json"))
    known = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]

    def patch(operation: str) -> None:
        steps = [{"op": operation, "path": f"{STATUS_FIELDS}/{it}", "value": known[it]} for it in fields]
        run(server, "patch", "crd", "routingpolicies.weir.dev", "--type=json", "-p", json.dumps(steps))

    def knows(field: str) -> bool:
        status = json.dumps({**POLICY_NAME, "metadata": {"name": "assistants"}, "status": {field: "x"}})
        how = ("--server-side", "--subresource=status", "--dry-run=server", "--validate=false")
        return server.kubectl("-n", namespace, "apply", *how, "-f", "-", input=status).returncode == 0

    patch("remove")
    try:
        until(lambda: not any(map(knows, fields)))
        yield
    finally:
        patch("add")
        until(lambda: all(map(knows, fields)))


async def test_fields_that_an_older_crd_does_not_know_hold_nothing_else_back(
    cluster: ApiServer, namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(pace, "RETRY_SECONDS", 0.2)
    apply(cluster, tier(namespace))
    apply(cluster, policy(namespace))
    override = {"tier": {"name": "budget"}, "until": "2100-01-01T00:00:00Z"}
    fell = {"all": RouteReport(requests=9, cheaper=9)}
    with crd_without(cluster, namespace, "elsewhere", "override"):
        run(
            cluster,
            "-n",
            namespace,
            "patch",
            "rp/assistants",
            "--type=merge",
            "-p",
            json.dumps({"spec": {"override": override}}),
        )
        async with leading(cluster, client_of(cluster), namespace) as leader:
            leader.routers = [gateway(policies={f"{namespace}/assistants": PolicyReport(routes=fell)})]
            await leader.compile_when(lambda it: it.of("ModelTier") and it.of("RoutingPolicy"))
            status = await leader.until_condition("rp/assistants", "Ready", "status", "True")
            assert status.keys() == {"observedGeneration", "conditions", "routesReady", "tiersReady"}
            await leader.until_calm()
            writes = len(leader.writer.written)
            leader.reporter.heard()
            await leader.until_calm()
            assert len(leader.writer.written) == writes
    said = " ".join(it.getMessage() for it in caplog.records)
    assert "the status of RoutingPolicys cannot be written" in said
    assert "field not declared in schema" in said
