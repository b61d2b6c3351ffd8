"""ModelTiers: compiled backends, and reasons to leave one out."""

from __future__ import annotations

import hashlib

import pytest

from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import BACKEND_LABEL, ServiceData
from weir_operator.problems.problem import Reason, Severity
from weir_router.contract import (
    Backend,
    BackendLimits,
    Capability,
    Extra,
    HostPolicy,
    Parameters,
    Price,
    Timeouts,
    Transport,
)

WITH_KEY = "credentials: {secretRef: {name: openai, key: api-key}}"


def backend_of(result, tier="default/budget") -> Backend:
    (backend,) = result.config.tiers[tier].backends
    return backend


def reasons(result) -> list[Reason]:
    return [problem.reason for problem in result.problems]


def test_what_a_backend_does_not_say_comes_from_the_catalogue(compiled, tier):
    backend = backend_of(compiled(tier()))
    assert backend.price == Price(input=1.0, cached_input=0.5, output=2.0, source="catalogue 2026-01-02")
    assert backend.limits == BackendLimits(context_tokens=1000, output_tokens=100)
    assert backend.capabilities == {Capability.TOOLS}
    assert backend.parameters == Parameters(drop=("logit_bias",), rename={"max_tokens": "max_completion_tokens"})


def test_a_figure_of_the_spec_replaces_only_its_own(compiled, tier):
    backend = backend_of(compiled(tier(backend='price: {output: "9"}, limits: {contextTokens: 500}')))
    assert backend.price == Price(input=1.0, cached_input=0.5, output=9.0, source="spec and catalogue 2026-01-02")
    assert backend.limits == BackendLimits(context_tokens=500, output_tokens=100)


def test_an_empty_list_is_something_that_is_said(compiled, tier):
    backend = backend_of(compiled(tier(backend="capabilities: [], parameters: {drop: []}")))
    assert backend.capabilities == frozenset()
    assert backend.parameters.drop == ()
    assert backend.parameters.rename


def test_everything_else_has_the_defaults_of_the_contract(compiled, tier):
    backend = backend_of(compiled(tier()))
    assert (backend.base_url, backend.credential) == ("https://api.openai.com/v1", None)
    assert (backend.weight, backend.transport) == (1, Transport.STREAMED)


def test_a_trailing_slash_goes(compiled, tier):
    assert backend_of(compiled(tier(backend="baseURL: 'http://vllm:8000/v1/'"))).base_url == "http://vllm:8000/v1"


def test_a_backends_own_objectives_and_clocks_stand_above_the_tiers(compiled, tier):
    spec = "objectives: {ttft: 800ms, tokensPerSecond: 30}\n  timeouts: {connect: 3s, idle: 1m30s}"
    backend = backend_of(compiled(tier(spec=spec, backend="objectives: {ttft: 600ms}, timeouts: {connect: 1s}")))
    assert (backend.objectives.ttft, backend.objectives.tokens_per_second) == (pytest.approx(0.6), 30.0)
    assert backend.timeouts == Timeouts(connect=1.0, idle=90.0)


def test_a_model_that_nobody_knows_is_usable_but_has_no_price(compiled, tier):
    result = compiled(tier().replace("known", "strange"))
    assert (backend_of(result).price, backend_of(result).capabilities) == (None, None)
    (problem,) = result.problems
    assert (problem.reason, problem.severity) == (Reason.PRICE_UNKNOWN, Severity.WARNING)
    assert problem.field == "spec.backends[0].price"


def test_half_a_price_is_none(compiled, tier):
    result = compiled(tier(backend='price: {input: "1"}').replace("known", "strange"))
    assert backend_of(result).price is None


def test_a_stated_price_is_the_specs(compiled, tier):
    price = 'price: {input: "0.1", cachedInput: "0", cacheWrite: "0.2", output: "0.3"}'
    assert backend_of(compiled(tier(backend=price))).price == Price(
        input=0.1, cached_input=0.0, cache_write=0.2, output=0.3, source="spec"
    )


def test_a_credential_travels_apart_under_the_hash_of_its_value(compiled, tier, secret):
    result = compiled(tier(backend=WITH_KEY) + secret())
    digest = "sha256:" + hashlib.sha256(b"sk-1").hexdigest()
    assert backend_of(result).credential == digest
    assert result.secrets.credentials == {digest: "sk-1"}
    assert "sk-1" not in repr(result)


def test_the_line_end_that_echo_leaves_in_a_secret_does_not_count(compiled, tier, secret):
    result = compiled(tier(backend=WITH_KEY) + secret(data='{api-key: "sk-1\\n"}'))
    assert list(result.secrets.credentials.values()) == ["sk-1"]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"name": "other"}, Reason.SECRET_NOT_FOUND),
        ({"labels": "{}"}, Reason.SECRET_NOT_LABELLED),
        ({"data": "{token: sk-1}"}, Reason.SECRET_KEY_NOT_FOUND),
        ({"data": "{api-key: ''}"}, Reason.SECRET_VALUE_UNUSABLE),
        ({"data": '{api-key: "sk\\r\\nx: y"}'}, Reason.SECRET_VALUE_UNUSABLE),
        ({"data": "{api-key: schlüssel}"}, Reason.SECRET_VALUE_UNUSABLE),
    ],
)
def test_a_backend_without_its_key_removes_itself(compiled, tier, secret, made, reason):
    result = compiled(tier(backend=WITH_KEY) + secret(**made))
    assert reasons(result) == [reason, Reason.NO_USABLE_BACKENDS]
    assert result.config.tiers["default/budget"].backends == ()
    assert not result.secrets.credentials


def test_a_secret_stays_in_its_namespace(compiled, tier, secret):
    result = compiled(tier(namespace="elsewhere", backend=WITH_KEY) + secret())
    assert Reason.SECRET_NOT_FOUND in reasons(result)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/v1",
        "http://2852039166",
        "http://0xa9.254.43518",
        "http://0251.0376.0251.0376",
        "http://[fe80::1]:80/v1",
        "http://[::ffff:169.254.169.254]",
        "http://[64:ff9b::a9fe:a9fe]",
        "http://[fd00:ec2::254]",
        "http://100.100.100.200/v1",
        "http://metadata.google.internal./v1",
        "http://METADATA.goog",
        "http://[::a9fe:a9fe]/v1",
        "http://[2002:a9fe:a9fe::]",
        "http://[::ffff:0:a9fe:a9fe]",
        "http://192.0.0.192",
        "http://kubernetes/",
        "https://kubernetes.default.svc.cluster.local.",
        "https://kubernetes.default.svc/v1",
        "https://kubernetes.default",
    ],
)
def test_nothing_is_sent_to_metadata_and_api_servers(compiled, tier, url):
    result = compiled(tier(backend=f"baseURL: '{url}'"))
    assert reasons(result) == [Reason.HOST_FORBIDDEN, Reason.NO_USABLE_BACKENDS]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9100/v1",
        "http://[2001:db8::1]/v1",
        "http://vllm.models.svc",
        "http://1.2.3.4.5",
        "http://999.1",
        "http://08.1",
        "https://kubernetes.defaults.example",
        "https://kubernetes.default.example",
        "http://localhost:11434/v1",
        "http://[::1]/v1",
    ],
)
def test_other_hosts_are_allowed(compiled, tier, url):
    assert Reason.HOST_FORBIDDEN not in reasons(compiled(tier(backend=f"baseURL: '{url}'")))


GATEWAY = ObjectName("weir-system", "weir")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9090",
        "http://127.1:9090",
        "http://localhost:9090",
        "http://api.localhost",
        "http://0.0.0.0:9090",
        "http://0:9090",
        "http://[::]:9090",
        "http://[::ffff:127.0.0.1]",
        "http://ip6-localhost",
    ],
)
def test_in_a_cluster_a_router_does_not_call_its_own_pod(compiled, tier, url):
    result = compiled(tier(backend=f"baseURL: '{url}'"), hosts=HostPolicy(in_cluster=True))
    assert reasons(result) == [Reason.HOST_FORBIDDEN, Reason.NO_USABLE_BACKENDS]


@pytest.mark.parametrize(
    "url",
    [
        "http://weir",
        "http://weir:80/v1",
        "http://WEIR.weir-system/v1",
        "http://weir.weir-system.svc",
        "http://weir.weir-system.svc.cluster.local.:80",
        "http://weir.weir-system.svc.corp.example",
        "http://10.96.7.7/v1",
        "http://[::ffff:a60:707]",
        "http://0x0a600707",
        "http://[fd00:7::7]:80",
    ],
)
def test_a_tier_that_leads_back_to_this_gateway_is_refused(compiled, tier, url):
    own = ServiceData({BACKEND_LABEL: "gateway"}, addresses=("10.96.7.7", "fd00:7::7"))
    result = compiled(tier(backend=f"baseURL: '{url}'"), services={GATEWAY: own}, slices={}, gateway=GATEWAY)
    assert reasons(result) == [Reason.HOST_FORBIDDEN, Reason.NO_USABLE_BACKENDS]
    assert "this gateway" in result.problems[0].message
    assert result.config.hosts.addresses["10.96.7.7"].startswith("this gateway")


@pytest.mark.parametrize("url", ["http://weir.llm", "http://weir.weir-system.example", "http://10.96.7.8"])
def test_neighbours_of_the_gateway_may_be_called(compiled, tier, url):
    own = ServiceData({BACKEND_LABEL: "gateway"}, addresses=("10.96.7.7",))
    result = compiled(tier(backend=f"baseURL: '{url}'"), services={GATEWAY: own}, slices={}, gateway=GATEWAY)
    assert Reason.HOST_FORBIDDEN not in reasons(result)


@pytest.mark.parametrize(
    "url",
    [
        "http://host:99999/v1",
        "http://host:65536",
        "http://host:0",
        "http://host:080",
        "http://host/v1/../admin",
        "http://host/v1/%2E%2e/admin",
        "http://host/./v1",
        "http://host/a%2fb",
        "http://host/%zz",
        "http://user@host",
        "http://host/#x",
        "http://host/?x=1",
        "http://[1.2.3.4]/",
        "http://[:::]/",
        "http://\uff11\uff12\uff17.0.0.1/",
    ],
)
def test_a_url_that_programs_read_differently_is_not_valid(compiled, tier, url):
    assert reasons(compiled(tier(backend=f"baseURL: '{url}'"))) == [Reason.INVALID_SPEC]


@pytest.mark.parametrize(
    "url", ["http://host:65535/v1", "http://host/a%20b", "http://host/.well-known/...", "http://[::1]:80"]
)
def test_ports_and_paths_at_the_bounds_are_valid(compiled, tier, url):
    assert Reason.INVALID_SPEC not in reasons(compiled(tier(backend=f"baseURL: '{url}'")))


def test_one_bad_backend_leaves_the_others(compiled, tier):
    text = tier().replace(
        "backends: [", "backends: [{name: bad, provider: OpenAI, model: x, baseURL: 'http://metadata'}, "
    )
    result = compiled(text)
    assert backend_of(result).name == "one"
    assert reasons(result) == [Reason.HOST_FORBIDDEN]


def test_an_invalid_tier_takes_nobody_along(compiled, tier):
    result = compiled(tier("bad", spec="selektion: Cheapest") + tier("good"))
    assert list(result.config.tiers) == ["default/good"]
    (problem,) = result.problems
    assert (problem.object, problem.field) == ("ModelTier/default/bad", "spec.selektion")
    assert (problem.message, problem.action) == ("there is no field 'selektion' here", "Did you mean 'selection'?")
    assert problem.where == "all.yaml:7"


def test_objects_of_another_class_are_not_ours(compiled, tier, policy):
    result = compiled(tier(spec="className: other") + policy(spec="className: other"))
    assert not result.config.tiers
    assert not result.config.policies
    assert not result.problems


def test_generations_say_what_went_in(compiled, tier, policy):
    assert compiled(tier() + policy()).config.generations == {
        "ModelTier/default/budget": 0,
        "RoutingPolicy/default/auto": 0,
    }


def test_grants_to_selected_namespaces_wait_for_namespaces_to_be_known(compiled, tier):
    spec = "grants: [{namespaces: {from: Selector, selector: {matchLabels: {a: b}}}}]"
    assert reasons(compiled(tier(spec=spec), namespaces=None)) == [Reason.NAMESPACES_UNKNOWN]


def test_headers_query_and_defaults_are_compiled(compiled, tier):
    stated = 'headers: [{name: X-A, value: b}], parameters: {defaults: {temperature: "0.2", reasoning_effort: high}}'
    backend = backend_of(compiled(tier(backend=stated)))
    assert backend.extra == Extra(headers={"x-a": "b"})
    assert backend.parameters.defaults == {"temperature": "0.2", "reasoning_effort": '"high"'}
    assert backend.parameters.drop == ("logit_bias",)  # the catalogue's
