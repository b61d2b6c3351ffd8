"""A Service as a backend, with an operator and a router as processes: requests follow its endpoints.

The API server has no controllers, so the test writes EndpointSlices itself, one per pod; its pods are simulators.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
from apiserver import ApiServer

from cli.shell import http, policy, tier, until
from support.installation import Caller, Installation, Operator, Router, Tenant, serving
from support.kube import run
from weir_cli.sim import Fault, FaultKind, SimulatorThread
from weir_cli.sim.fleet import FLEET

FOLLOWED_SECONDS = 5.0  # about 0.3 as a rule; a look every half minute instead of a watch would take longer
"""Seconds from the API server's answer to a change of endpoints to requests that follow it."""

QUICK = [msgspec.structs.replace(it, ttft=0.01, tokens_per_second=1000.0) for it in FLEET]

Pods = dict[str, SimulatorThread]


def own_address() -> str:
    """An address of this machine other than loopback, which no EndpointSlice may name. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback, which the API server refuses in EndpointSlices")
        return str(probe.getsockname()[0])


@pytest.fixture(scope="module")
def pods() -> Iterator[Pods]:
    with ExitStack() as running:
        yield {name: running.enter_context(SimulatorThread(QUICK, host=own_address())) for name in ("a", "b", "c")}


@pytest.fixture(scope="module")
def stand(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operator, Router]]:
    run(cluster, "create", "namespace", "weir-served")
    folder = tmp_path_factory.mktemp("weir-served")
    installation = Installation(cluster, "weir-served", folder, "--set", "className=served", release="served")
    with serving(installation, "--class", "served") as stand:
        yield stand


@pytest.fixture
def tenant(cluster: ApiServer, namespace: str, pods: Pods) -> Tenant:
    for pod in pods.values():
        pod.clear()
    return Tenant(cluster, namespace)


def service(name: str = "vllm", **spec: Any) -> dict[str, Any]:
    labels = {"weir.dev/backend": "true"}
    body = {"clusterIP": "None", "ports": [{"name": "http", "port": 8000}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels}, "spec": body}


def endpoint(name: str, pod: SimulatorThread | str, service: str = "vllm", **conditions: bool) -> dict[str, Any]:
    """An EndpointSlice of one pod, with the labels that Kubernetes gives it."""
    address, _, port = (pod if isinstance(pod, str) else pod.url.removeprefix("http://")).rpartition(":")
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-{name}",
            "labels": {"kubernetes.io/service-name": service, "weir.dev/backend": "true"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": conditions or {"ready": True}}],
        "ports": [{"name": "http", "port": int(port), "protocol": "TCP"}],
    }


def served(namespace: str | None = None, **fields: Any) -> list[dict[str, Any]]:
    """A tier whose backend is the Service, and a policy that goes there."""
    reference = {"name": "vllm", "port": 8000} | ({"namespace": namespace} if namespace else {})
    stated = tier("", backendRef=reference, **fields)
    del stated["spec"]["backends"][0]["baseURL"]
    return [{**it, "spec": {**it["spec"], "className": "served"}} for it in (stated, policy())]


def requests(pods: Pods) -> dict[str, int]:
    return {name: sum(it.requests for it in pod.stats.values()) for name, pod in pods.items()}


class Watch:
    """The pods that answer from now on."""

    def __init__(self, caller: Caller, pods: Pods) -> None:
        self._caller, self._pods = caller, pods

    def asked(self, times: int = 12) -> set[str]:
        """The pods that have served some concurrent requests, which must all succeed."""
        before = requests(self._pods)
        with ThreadPoolExecutor(times) as people:
            assert {it.status for it in people.map(lambda _: self._caller.ask(), range(times))} == {200}
        after = requests(self._pods)
        return {name for name in after if after[name] > before[name]}

    def until(self, *names: str) -> float:
        """Seconds until requests go to exactly these pods."""
        began = time.monotonic()
        until(lambda: self.asked() == set(names), lambda: f"{names}: {self.asked()}")
        return time.monotonic() - began


def caller_of(tenant: Tenant, router: Router) -> Caller:
    caller = tenant.caller(router)
    until(lambda: caller.ask().status == 200, lambda: caller.ask().text + router.command.said)
    return caller


def test_requests_follow_the_endpoints_within_seconds(stand: tuple[Operator, Router], tenant: Tenant, pods: Pods):
    tenant.apply(service(), endpoint("a", pods["a"]), endpoint("b", pods["b"]), *served())
    watch = Watch(caller_of(tenant, stand[1]), pods)
    watch.until("a", "b")
    tenant.apply(endpoint("c", pods["c"]))
    assert watch.until("a", "b", "c") < FOLLOWED_SECONDS
    tenant.apply(endpoint("a", pods["a"], ready=False, serving=True, terminating=True))
    assert watch.until("b", "c") < FOLLOWED_SECONDS
    tenant.delete("endpointslice", "vllm-b")
    assert watch.until("c") < FOLLOWED_SECONDS


def test_an_ill_pod_is_left_alone_whatever_happens_to_the_others(
    stand: tuple[Operator, Router], tenant: Tenant, pods: Pods
):
    tenant.apply(service(), *(endpoint(name, pod) for name, pod in pods.items()), *served())
    caller = caller_of(tenant, stand[1])
    watch = Watch(caller, pods)
    watch.until("a", "b", "c")
    pods["b"].fault("sim-minnow", Fault(FaultKind.SERVER_ERROR))
    watch.until("a", "c")  # failures count in the order of trying, before any breaker opens
    ill = pods["b"].url.removeprefix("http://")

    def states() -> dict[str, str]:
        found = http(f"{stand[1].admin}/state").json()["backends"]
        return {key.partition("@")[2]: it["state"] for key, it in found.items() if key.startswith(tenant.namespace)}

    tenant.apply(*(endpoint(name, pods[name], ready=False) for name in ("a", "c")))
    until(lambda: caller.ask().status == 503 and states() == {ill: "open"}, lambda: str(states()))
    tenant.apply(*(endpoint(name, pods[name]) for name in ("a", "c")))
    until(lambda: len(states()) == 3, lambda: str(states()))
    assert watch.asked() == {"a", "c"}
    assert states()[ill] != "closed"
    tenant.condition("modeltier/small", "Ready", "True")


def test_without_a_ready_endpoint_the_status_says_so_and_with_one_all_is_well(
    stand: tuple[Operator, Router], tenant: Tenant, pods: Pods
):
    tenant.apply(service(), endpoint("a", pods["a"], ready=False), *served())
    tenant.condition("modeltier/small", "ResolvedRefs", "False")
    where = '{.status.conditions[?(@.type=="ResolvedRefs")].reason}'
    assert run(tenant.server, "-n", tenant.namespace, "get", "mt/small", "-o", f"jsonpath={where}") == "NoEndpoints"
    caller = tenant.caller(stand[1])
    assert caller.ask().status == 503
    tenant.apply(endpoint("a", pods["a"]))
    assert Watch(caller_of(tenant, stand[1]), pods).asked() == {"a"}
    tenant.condition("modeltier/small", "ResolvedRefs", "True")
    tenant.condition("modeltier/small", "Ready", "True")


def reason_of(tenant: Tenant, condition: str = "ResolvedRefs") -> str:
    where = f'{{.status.conditions[?(@.type=="{condition}")].reason}}'
    return run(tenant.server, "-n", tenant.namespace, "get", "mt/small", "-o", f"jsonpath={where}")


def test_a_service_of_another_namespace_is_called_only_once_its_owner_admits_it(
    stand: tuple[Operator, Router], cluster: ApiServer, tenant: Tenant, pods: Pods
):
    gpu = Tenant(cluster, f"{tenant.namespace}-gpu")
    run(cluster, "create", "namespace", gpu.namespace)
    gpu.apply(service(), endpoint("a", pods["a"]))
    tenant.apply(*served(gpu.namespace))
    tenant.condition("modeltier/small", "ResolvedRefs", "False")
    assert reason_of(tenant) == "ServiceNotFoundOrNotGranted"
    run(cluster, "-n", gpu.namespace, "annotate", "service", "vllm", f"weir.dev/backend-namespaces={tenant.namespace}")
    assert Watch(caller_of(tenant, stand[1]), pods).asked() == {"a"}
    run(cluster, "-n", gpu.namespace, "label", "service", "vllm", "weir.dev/backend-")
    tenant.condition("modeltier/small", "ResolvedRefs", "False")


def test_a_name_elsewhere_and_a_port_that_is_not_there_are_refused(stand: tuple[Operator, Router], tenant: Tenant):
    tenant.apply({**service(), "spec": {"type": "ExternalName", "externalName": "169.254.169.254.nip.io"}}, *served())
    tenant.condition("modeltier/small", "ResolvedRefs", "False")
    assert reason_of(tenant) == "ServiceWithoutEndpoints"
    tenant.delete("service", "vllm")
    until(lambda: reason_of(tenant) == "ServiceNotFoundOrNotGranted")
    tenant.apply(service(ports=[{"name": "http", "port": 80}]))
    until(lambda: reason_of(tenant) == "ServicePortNotFound")


def test_an_endpoint_that_is_a_metadata_address_gets_nothing(
    stand: tuple[Operator, Router], tenant: Tenant, pods: Pods
):
    """The API server itself refuses 169.254.0.0/16 and loopback, but not the metadata addresses of other clouds."""
    tenant.apply(service(), endpoint("a", pods["a"]), endpoint("bad", "100.100.100.200:80"), *served())
    caller_of(tenant, stand[1])
    until(lambda: reason_of(tenant) == "EndpointForbidden")
    known = [key for key in http(f"{stand[1].admin}/state").json()["backends"] if key.startswith(tenant.namespace)]
    assert [key.partition("@")[2] for key in known] == [pods["a"].url.removeprefix("http://")]
    refused = tenant.server.kubectl(
        "-n", tenant.namespace, "apply", "-f", "-", input=str(endpoint("c", "127.0.0.1:80"))
    )
    assert "loopback" in refused.stderr
