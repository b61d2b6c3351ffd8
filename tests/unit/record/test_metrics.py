"""Metrics tell the truth, with bounded labels."""

import pytest
from prometheus_client import generate_latest

from support.finished import finished, refused
from weir_router.contract import Route, TierRef, When
from weir_router.errors import AttemptRecord, RateLimited, Unauthenticated, Unavailable, UpstreamRefused
from weir_router.record.metrics import MAX_GOALS, Metrics
from weir_router.record.names import MAX_CODES, MAX_FEATURES, MAX_MODELS, MAX_POLICIES
from weir_router.record.series import MAX_CHILDREN, MAX_OF_NAMESPACE


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


LABELS = {"namespace": "a", "policy": "a/p", "route": "r", "tier": "llm/t", "backend": "b", "feature": ""}


def tried(*dropped):
    return AttemptRecord("llm/t", "b", "ok", 1.0, dropped=dropped)


def test_every_metric_is_counted():
    metrics = Metrics()
    metrics.observe(finished())
    metrics.observe(refused(Unauthenticated("no key")))
    metrics.breaker_changed("llm/t/b", "open")
    metrics.observe(finished(attempts=[tried("seed")]))
    metrics.refuse("callers", "busy")
    two = (Route(name="r", tiers=(TierRef(tier="llm/first"), TierRef(tier="llm/t"))),)
    metrics.observe(finished(routes=two, attempts=[AttemptRecord("llm/first", "b", "connect", 0.1), tried()]))
    metrics.observe(finished(routes=two, tier=None, error=Unavailable("all out")))
    metrics.turned(wall=1.0, cpu=1.0)
    metrics.load(depth=1, oldest=1.0, saturation=1.0)
    metrics.load_of_backends({"llm/t/b": (1, 1.0)}, {"llm/t": 1})
    labelled = [it for it in metrics.registry._collector_to_names if it.labels]  # others set the router's own gauges
    counted = {it.name for it in metrics.registry.collect() if any(sample.value for sample in it.samples)}
    assert [it.name for it in labelled if it.name not in counted] == []


def test_a_request_is_counted_where_it_went():
    metrics = Metrics()
    metrics.observe(finished())
    assert value(metrics, "weir_requests_total", **LABELS, outcome="ok") == 1
    assert value(metrics, "weir_attempts_total", tier="llm/t", backend="b", outcome="ok") == 1
    assert value(metrics, "weir_classifications_total", policy="a/p", complexity="Simple") == 1


def test_tokens_are_counted_by_type():
    metrics = Metrics()
    metrics.observe(finished())
    counted = {
        kind: value(metrics, "weir_tokens_total", **LABELS, type=kind) for kind in ("input", "cached_input", "output")
    }
    assert counted == {"input": 100, "cached_input": 40, "output": 10}


def test_dropped_fields_are_counted_by_names_that_no_caller_invents():
    metrics = Metrics()
    metrics.observe(finished(attempts=[tried("seed", "my-secret-field", "another")]))
    assert value(metrics, "weir_fields_dropped_total", field="seed") == 1
    assert value(metrics, "weir_fields_dropped_total", field="other") == 2


def test_savings_are_the_baseline_less_what_was_spent():
    metrics = Metrics()
    metrics.observe(finished())
    metrics.observe(finished(dollars=2.0))
    assert value(metrics, "weir_saved_dollars", **LABELS) == pytest.approx(-0.25)
    assert value(metrics, "weir_cost_dollars_total", **LABELS) == pytest.approx(2.25)


def test_dollars_per_success_carry_what_failures_cost():
    metrics = Metrics()
    metrics.observe(finished(dollars=1.0))
    metrics.observe(finished(dollars=0.5, outcome="broken"))
    assert value(metrics, "weir_cost_per_successful_request_dollars", policy="a/p") == pytest.approx(1.5)


def test_what_failed_attempts_cost_counts_although_the_last_one_used_nothing():
    metrics = Metrics()
    metrics.observe(finished(usage=None, outcome="error", dollars=0.5, baseline_dollars=None))
    assert value(metrics, "weir_cost_dollars_total", **LABELS) == pytest.approx(0.5)


def test_speed_is_told_by_all_but_the_feature():
    metrics = Metrics()
    metrics.observe(finished(feature="chat"))
    labels = {name: label for name, label in LABELS.items() if name != "feature"}
    for name in ("time_to_first_token_seconds", "request_duration_seconds", "output_tokens_per_second"):
        assert value(metrics, f"weir_{name}_count", **labels) == 1


def counted(metrics, **labels):
    return value(metrics, "weir_requests_total", **{**LABELS, **labels}, outcome="ok")


def test_features_beyond_the_bound_count_as_other_of_their_own_namespace_only():
    metrics = Metrics()
    for number in range(MAX_FEATURES + 5):
        metrics.observe(finished(feature=f"f{number}"))
    metrics.observe(finished(feature="billing", policy="b/p"))
    metrics.observe(finished(feature="f0"))
    assert (counted(metrics, feature="other"), counted(metrics, feature="f0")) == (5, 2)
    assert counted(metrics, namespace="b", policy="b/p", feature="billing") == 1


def test_a_feature_that_a_route_names_is_told_apart_always():
    metrics = Metrics()
    for number in range(MAX_FEATURES):
        metrics.observe(finished(feature=f"f{number}"))
    routes = (Route(name="r", tiers=(), when=When(features=frozenset({"billing"}))),)
    metrics.observe(finished(feature="billing", routes=routes))
    metrics.observe(finished(feature="else", routes=routes))
    assert (counted(metrics, feature="billing"), counted(metrics, feature="other")) == (1, 1)


def test_an_upstreams_codes_use_up_only_their_own_namespaces_room():
    metrics = Metrics()
    for policy, codes in (("a/p", MAX_CODES + 3), ("b/p", 1)):
        for number in range(codes):
            error = UpstreamRefused("no", status=400, code=f"c{number}")
            metrics.observe(finished(policy=policy, outcome="refused", error=error))
    metrics.observe(finished(policy="a/p", outcome="limited", error=RateLimited("slow", retry_after=1.0)))
    errors = [
        value(metrics, "weir_errors_total", policy=policy, source=source, code=code)
        for policy, source, code in (
            ("a/p", "upstream", "other"),
            ("b/p", "upstream", "c0"),
            ("a/p", "policy", "rate_limited"),
        )
    ]
    assert errors == [3, 1, 1]


def test_models_and_policies_of_one_namespace_are_bounded():
    metrics = Metrics()
    for number in range(MAX_POLICIES + 3):
        metrics.observe(finished(policy=f"a/p{number}", upstream_model=f"m{number % (MAX_MODELS + 1)}", tier="a/t"))
    metrics.observe(finished(policy="b/p", upstream_model="m9", tier="b/t"))
    name = "gen_ai_client_operation_duration_seconds_count"
    models = [
        value(metrics, name, gen_ai_operation_name="chat", gen_ai_request_model=it) for it in ("m9", "other", "m100")
    ]
    assert models == [10 + 1, 9, None]
    policies = [
        value(metrics, "weir_classifications_total", policy=it, complexity="Simple")
        for it in ("a/p0", "a/other", "b/p")
    ]
    assert policies == [1, 3, 1]


def test_one_namespace_cannot_take_all_series_of_a_metric():
    metrics = Metrics()
    for number in range(MAX_GOALS + 3):
        metrics.observe(finished(policy="evil/p", route=f"r{number}"))
    for number in range(MAX_OF_NAMESPACE + 3):
        metrics.attempts["evil/t", f"b{number}", "ok"].value += 1
    metrics.observe(finished(policy="b/p"))
    other = {**dict.fromkeys(LABELS, "other"), "namespace": "evil"}
    assert value(metrics, "weir_requests_total", **other, outcome="ok") == 3
    assert counted(metrics, namespace="b", policy="b/p") == 1
    assert value(metrics, "weir_attempts_total", tier="evil/other", backend="other", outcome="other") == 3
    metrics.attempts.forget(lambda values: values[0].startswith("evil/"))
    metrics.attempts["evil/t", "b", "ok"].value += 1
    assert value(metrics, "weir_attempts_total", tier="evil/t", backend="b", outcome="ok") == 1


def test_where_all_series_are_used_up_each_namespace_has_one_more():
    metrics = Metrics()
    for number in range(MAX_CHILDREN):
        metrics.requests[f"n{number % 4}", "p", "r", "t", "b", f"f{number}", "ok"].value += 1
        metrics.otel_ttft[f"m{number}",].observe(1.0)
    for namespace in "abb":
        metrics.requests[namespace, "p", "r", "t", "b", "", "ok"].value += 1
        metrics.otel_ttft["m",].observe(1.0)
    others = dict.fromkeys(LABELS, "other")
    found = [value(metrics, "weir_requests_total", **{**others, "namespace": it}, outcome="other") for it in "ab"]
    assert found == [1, 2]
    assert value(metrics, "gen_ai_server_time_to_first_token_seconds_count", gen_ai_request_model="other") == 3
    metrics.otel_ttft.forget(lambda values: values != ("m0",))
    metrics.otel_ttft["m",].observe(1.0)
    assert value(metrics, "gen_ai_server_time_to_first_token_seconds_count", gen_ai_request_model="m") == 1


def test_a_breaker_is_in_one_state_at_a_time():
    metrics = Metrics()
    metrics.keep_backends({"llm/t/b"})
    metrics.breaker_changed("llm/t/b", "open")
    states = {
        s: value(metrics, "weir_breaker_state", tier="llm/t", backend="b", state=s)
        for s in ("closed", "open", "half-open", "ejected")
    }
    assert states == {"closed": 0, "open": 1, "half-open": 0, "ejected": 0}


def test_a_backend_that_is_gone_is_no_longer_shown():
    metrics = Metrics()
    metrics.keep_backends({"llm/t/a", "llm/t/b"})
    metrics.keep_backends({"llm/t/a"})
    assert value(metrics, "weir_breaker_state", tier="llm/t", backend="b", state="closed") is None
    assert value(metrics, "weir_breaker_state", tier="llm/t", backend="a", state="closed") == 1


def test_a_new_config_does_not_close_an_open_breaker_in_the_metrics():
    metrics = Metrics()
    metrics.keep_backends({"llm/t/a"})
    metrics.breaker_changed("llm/t/a", "open")
    metrics.keep_backends({"llm/t/a", "llm/t/b"})
    assert value(metrics, "weir_breaker_state", tier="llm/t", backend="a", state="open") == 1


def test_a_refused_request_without_a_policy_is_counted_too():
    metrics = Metrics()
    metrics.observe(refused(Unauthenticated("no key")))
    assert value(metrics, "weir_errors_total", policy="", source="caller", code="unauthenticated") == 1
    assert b"weir_errors_total" in generate_latest(metrics.registry)


def test_opentelemetry_names_stand_beside_ours():
    metrics = Metrics()
    metrics.observe(finished())
    assert (
        value(
            metrics,
            "gen_ai_client_operation_duration_seconds_count",
            gen_ai_operation_name="chat",
            gen_ai_request_model="m",
        )
        == 1
    )
    assert value(metrics, "gen_ai_server_time_to_first_token_seconds_count", gen_ai_request_model="m") == 1
