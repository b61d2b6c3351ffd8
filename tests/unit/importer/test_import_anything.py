"""Absurd configs: the import always gives a result, and it is always valid."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weir_cli.import_litellm import convert
from weir_operator.kinds.modeltier.schema import ModelTierSpec
from weir_operator.kinds.routingpolicy.schema import RoutingPolicySpec

SPECS = {"ModelTier": ModelTierSpec, "RoutingPolicy": RoutingPolicySpec}

WORDS = ["gpt-4o", "openai/gpt-4o", "os.environ/KEY", "1e-6", "1e999999", "http://a.example/v1", "http://[::::]/", "a"]
MODELS = ["gpt-4o", "azure/x", "groq/openai/gpt-oss-20b", "ollama/l", "/", "openai/", "a b/c d"]
PARAMS = [
    *("api_key", "api_base", "rpm", "weight", "order", "timeout", "stream_timeout", "input_cost_per_token", "odd"),
    *("additional_drop_params", "max_parallel_requests", "region_name", "custom_llm_provider"),
    *("api_version", "temperature", "stop", "thinking", "extra_headers", "extra_body", "organization"),
]
INFO = ["base_model", "mode", "max_input_tokens", "supports_vision", "max_tokens"]
ROUTING = ["routing_strategy", "num_retries", "context_window_fallbacks", "default_fallbacks"]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(WORDS)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
groups = st.sampled_from(["a", "b", "A.b", "*", "ü"])
chains = st.lists(st.dictionaries(groups, st.lists(groups) | anything, max_size=3), max_size=3)
aliases = st.dictionaries(st.text(max_size=5), groups | anything, max_size=3)


def mappings(names: list[str], **required: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mappings with the required keys and any of the names; sometimes another type of value."""
    return st.fixed_dictionaries(required, optional=dict.fromkeys(names, anything)) | anything


entries = mappings(
    [],
    model_name=groups | anything,
    litellm_params=mappings(PARAMS, model=st.sampled_from(MODELS) | anything),
    model_info=mappings(INFO),
)
routing = mappings(ROUTING, fallbacks=chains | anything, model_group_alias=aliases | anything)
configs = st.fixed_dictionaries(
    {"model_list": st.lists(entries, max_size=5)},
    optional={"router_settings": routing, "litellm_settings": routing, "credential_list": anything},
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(config=configs)
def test_any_config_becomes_valid_manifests(config: dict[str, Any]):
    imported = convert(config, namespace="llm")
    names = [(it["kind"], it["metadata"]["name"]) for it in imported.manifests]
    assert len(names) == len(set(names))
    for manifest in imported.manifests:
        SPECS[manifest["kind"]].model_validate(manifest["spec"])
