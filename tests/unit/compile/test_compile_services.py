"""Backends that are Services: their endpoints, the rights to use them, and messages about missing ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from support.kinds import noting
from weir_operator.compile import Compiled, Memory, compile_config
from weir_operator.kinds import KINDS
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest, Observed, ServiceData, SliceData, by_kind
from weir_operator.problems.problem import Severity
from weir_router.contract import BackendState, HostPolicy

CONSENT = {"weir.dev/backend": "true"}
VLLM = ServiceData(CONSENT, ports={8000: "http", 9000: "metrics"})
PODS = SliceData("vllm", {"http": 8080, "metrics": 9090}, ready=("10.0.0.1", "10.0.0.2"))
HERE = ObjectName("llm", "vllm")


def tier(namespace: str = "llm", *others: dict[str, Any], selection: str = "Cheapest", **backend: Any) -> Manifest:
    price = {"input": "1", "output": "1"}
    stated = {"name": "own", "provider": "OpenAI", "model": "m", "price": price, **backend}
    stated.setdefault("backendRef", {"name": "vllm", "port": 8000})
    rest = [{"provider": "OpenAI", "model": "m", "price": price, "baseURL": "http://x/v1", **it} for it in others]
    return Manifest("ModelTier", namespace, "t", {"selection": selection, "backends": [stated, *rest]})


def seen(
    manifest: Manifest | None = None,
    service: ServiceData | None = VLLM,
    *slices: SliceData,
    name: ObjectName = HERE,
    policies: tuple[Manifest, ...] = (),
    **fields: Any,
) -> Observed:
    observed = Observed(
        manifests=by_kind((manifest or tier(), *policies)),
        services={} if service is None else {name: service},
        slices={ObjectName(name.namespace, f"{name.name}-{at}"): it for at, it in enumerate(slices or (PODS,))},
    )
    return replace(observed, **fields)


@pytest.fixture
def compiled(catalogue):
    return lambda *args, **fields: compile_config(seen(*args, **fields), KINDS, catalogue=catalogue, now=0.0)


def endpoints(result: Compiled, namespace: str = "llm") -> list[tuple[str, str]]:
    found = result.config.tiers.get(f"{namespace}/t")
    return [(it.id, it.base_url) for it in found.backends] if found else []


def reasons(result: Compiled) -> list[str]:
    return [it.reason for it in result.problems]


def test_each_ready_endpoint_is_a_backend_at_its_own_address(compiled):
    result = compiled()
    assert endpoints(result) == [
        ("own@10.0.0.1:8080", "http://10.0.0.1:8080/v1"),
        ("own@10.0.0.2:8080", "http://10.0.0.2:8080/v1"),
    ]
    assert reasons(result) == []


def test_each_endpoint_keeps_its_own_state(compiled):
    result = compiled(tier(dialects=["Responses"]))
    accounts = [it.account for it in result.config.tiers["llm/t"].backends]
    assert len({*accounts, ""}) == 3


def test_endpoints_of_several_slices_are_each_there_once_and_ipv6_is_written_as_such(compiled):
    more = SliceData("vllm", {"http": 8081}, ready=("10.0.0.2", "fd00::7"))
    other = SliceData("another", {"http": 1}, ready=("10.9.9.9",))
    hosts = [it.base_url for it in compiled(None, VLLM, PODS, PODS, more, other).config.tiers["llm/t"].backends]
    assert hosts == [f"http://{it}/v1" for it in ("10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.2:8081", "[fd00::7]:8081")]


def test_those_that_end_serve_only_where_no_other_does(compiled):
    assert len(endpoints(compiled(None, VLLM, replace(PODS, serving=("10.0.0.9",))))) == 2
    ending = SliceData("vllm", {"http": 8080}, serving=("10.0.0.9",))
    assert [it for it, _ in endpoints(compiled(None, VLLM, ending))] == ["own@10.0.0.9:8080"]


@pytest.mark.parametrize(
    ("provider", "reference", "path"), [("OpenAI", {}, "/v1"), ("Anthropic", {}, ""), ("OpenAI", {"path": "/a/"}, "/a")]
)
def test_the_path_is_that_of_the_dialect_or_as_stated(compiled, provider, reference, path):
    stated = tier(provider=provider, backendRef={"name": "vllm", "port": 8000, **reference})
    assert endpoints(compiled(stated))[0][1] == f"http://10.0.0.1:8080{path}"


def test_without_a_ready_endpoint_the_backend_stays_and_takes_nothing(compiled):
    result = compiled(None, VLLM, SliceData("vllm", {"http": 8080}))
    (backend,) = result.config.tiers["llm/t"].backends
    assert (backend.id, backend.state, backend.base_url) == (
        "own", BackendState.DISABLED, "http://vllm.llm.svc:8000/v1",
    )  # fmt: skip
    (problem,) = result.problems
    assert (problem.reason, problem.condition, problem.severity) == ("NoEndpoints", "ResolvedRefs", Severity.ERROR)
    assert "kubernetes.io/service-name=vllm" in problem.action


@pytest.mark.parametrize("service", [None, ServiceData({}, ports=VLLM.ports)])
def test_a_service_that_is_missing_and_one_without_the_label_are_one_reason(compiled, service):
    result = compiled(None, service)
    assert reasons(result) == ["ServiceNotFoundOrNotGranted", "NoUsableBackends"]
    assert result.problems[0].message == 'there is no Service llm/vllm with the label weir.dev/backend: "true"'


@pytest.mark.parametrize(
    ("annotation", "granted"),
    [(None, False), ("other", False), ("llm", True), ("other, llm", True), ("*", True), ("llm2", False)],
)
def test_a_service_of_another_namespace_must_admit_the_tiers(compiled, annotation, granted):
    annotations = {} if annotation is None else {"weir.dev/backend-namespaces": annotation}
    stated = tier(backendRef={"name": "vllm", "namespace": "gpu", "port": 8000})
    result = compiled(stated, replace(VLLM, annotations=annotations), name=ObjectName("gpu", "vllm"))
    assert len(endpoints(result)) == (2 if granted else 0)
    assert ("ServiceNotFoundOrNotGranted" in reasons(result)) is not granted


def test_status_is_no_oracle_for_services_elsewhere(compiled):
    stated = tier(backendRef={"name": "vllm", "namespace": "gpu", "port": 8000})
    missing = compiled(stated, None)
    private = compiled(stated, VLLM, name=ObjectName("gpu", "vllm"))
    assert missing.problems == private.problems


@pytest.mark.parametrize(
    ("service", "reference", "reason"),
    [
        (replace(VLLM, external=True), {}, "ServiceWithoutEndpoints"),
        (VLLM, {"port": 8080}, "ServicePortNotFound"),
    ],
)
def test_what_cannot_be_called_is_out(compiled, service, reference, reason):
    result = compiled(tier(backendRef={"name": "vllm", "port": 8000, **reference}), service)
    assert reasons(result) == [reason, "NoUsableBackends"]


@pytest.mark.parametrize(
    ("address", "what"),
    [("169.254.169.254", "link-local"), ("fd00:ec2::254", "metadata"), ("10.96.0.1", "the Kubernetes API server")],
)
def test_an_endpoint_where_nothing_may_be_sent_is_left_out(compiled, address, what):
    bad = SliceData("vllm", {"http": 80}, ready=(address,))
    result = compiled(None, VLLM, PODS, bad, hosts=HostPolicy(addresses={"10.96.0.1": "the Kubernetes API server"}))
    assert len(endpoints(result)) == 2
    (problem,) = result.problems
    assert (problem.reason, what in problem.message) == ("EndpointForbidden", True)


def test_the_api_server_s_own_service_is_refused_whatever_its_labels(compiled):
    stated = tier("default", backendRef={"name": "kubernetes", "port": 443})
    name = ObjectName("default", "kubernetes")
    service, pods = ServiceData(CONSENT, ports={443: "https"}), SliceData("kubernetes", {"https": 6443}, ("10.1.1.1",))
    assert reasons(compiled(stated, service, pods, name=name))[0] == "HostForbidden"


def test_where_services_are_not_known_their_name_is_called(compiled):
    result = compiled(services=None, slices=None)
    assert endpoints(result) == [("own", "http://vllm.llm.svc:8000/v1")]
    assert [(it.reason, it.severity) for it in result.problems] == [("ServicesUnknown", Severity.WARNING)]


def test_where_services_are_not_known_nobody_consents_for_another_namespace(compiled):
    stated = tier(backendRef={"name": "vllm", "namespace": "gpu", "port": 8000})
    result = compiled(stated, services=None, slices=None)
    assert reasons(result) == ["ServicesUnknown", "NoUsableBackends"]


def test_endpoints_share_the_weight_of_their_backend(compiled):
    stated = tier("llm", {"name": "bought", "weight": 1}, selection="Weighted", weight=3)
    weights = {it.id: it.weight for it in compiled(stated).config.tiers["llm/t"].backends}
    assert weights == {"own@10.0.0.1:8080": 1500, "own@10.0.0.2:8080": 1500, "bought": 1000}


def test_pods_that_come_and_go_compile_neither_tiers_nor_policies_anew(catalogue):
    routes = [{"name": "all", "tiers": [{"name": "t"}]}]
    policy = Manifest("RoutingPolicy", "llm", "p", {"models": [{"name": "auto"}], "routes": routes})
    anew: list[str] = []
    kinds, memory = noting(anew), Memory()

    def made(*slices: SliceData) -> int:
        anew.clear()
        observed = seen(None, VLLM, *slices, policies=(policy,))
        result = compile_config(observed, kinds, catalogue=catalogue, now=0.0, memory=memory)
        assert result == compile_config(observed, KINDS, catalogue=catalogue, now=0.0)
        return len(result.config.tiers["llm/t"].backends)

    assert (made(PODS), anew) == (2, ["t", "p"])
    assert (made(PODS, SliceData("vllm", {"http": 8080}, ("10.0.0.3",))), anew) == (3, [])
    assert (made(SliceData("vllm", {"http": 8080})), anew) == (1, ["t", "p"])
