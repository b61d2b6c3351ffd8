"""Metrics tell the truth, with bounded labels."""

import pytest
from prometheus_client import generate_latest

from support.finished import finished
from weir_router.errors import Unauthenticated
from weir_router.record.finished import Finished
from weir_router.record.metrics import MAX_FEATURES, Metrics


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


LABELS = {"namespace": "a", "policy": "a/p", "route": "r", "tier": "llm/t", "backend": "b", "feature": ""}


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


def test_features_beyond_the_bound_count_as_other():
    metrics = Metrics()
    for number in range(MAX_FEATURES + 5):
        metrics.observe(finished(feature=f"f{number}"))
    assert value(metrics, "weir_requests_total", **{**LABELS, "feature": "other"}, outcome="ok") == 5


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
    metrics.observe(
        Finished(id="x", path="/v1/messages", outcome="refused", seconds=0.1, error=Unauthenticated("no key"))
    )
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
