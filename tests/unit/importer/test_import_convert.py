"""The manifests of a LiteLLM config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from weir_cli.import_litellm import Imported, NotLiteLLM, convert
from weir_operator.kinds.modeltier.schema import ModelTierSpec
from weir_operator.kinds.routingpolicy.schema import RoutingPolicySpec

HERE = Path(__file__).parent
CONFIGS = sorted(HERE.glob("*.yaml"))
SPECS = {"ModelTier": ModelTierSpec, "RoutingPolicy": RoutingPolicySpec}


def sample(name: str, **options: Any) -> Imported:
    """A config of this folder, converted."""
    return convert(yaml.safe_load((HERE / f"{name}.yaml").read_text()), **options)


def one(params: dict[str, Any], info: dict[str, Any] | None = None, **sections: Any) -> Imported:
    """A config with one deployment, converted."""
    entry = {"model_name": "m", "litellm_params": {"model": "openai/gpt-4o"} | params, "model_info": info or {}}
    return convert({"model_list": [entry], **sections})


def spec(imported: Imported, kind: str, name: str) -> dict[str, Any]:
    """The spec of a manifest."""
    return next(it["spec"] for it in imported.manifests if (it["kind"], it["metadata"]["name"]) == (kind, name))


def backend(imported: Imported) -> dict[str, Any]:
    """The only backend of the only tier."""
    return spec(imported, "ModelTier", "m")["backends"][0]


def tiers(imported: Imported, policy: str) -> list[str]:
    """The tiers of a policy's one route, first choice first."""
    return [it["name"] for it in spec(imported, "RoutingPolicy", policy)["routes"][0]["tiers"]]


def found(imported: Imported, where: str) -> str:
    """The text of the finding about a place; empty if there is none."""
    return " ".join(f"{it.what} {it.why} {it.instead}" for it in imported.unsupported if it.where == where)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_sample_becomes_manifests_that_the_schemas_accept(config):
    for manifest in convert(yaml.safe_load(config.read_text()), namespace="llm").manifests:
        SPECS[manifest["kind"]].model_validate(manifest["spec"])
        assert manifest["apiVersion"] == "weir.dev/v1alpha1"
        assert manifest["metadata"]["namespace"] == "llm"


def test_a_simple_config_needs_nothing_else():
    assert sample("simple").unsupported == []


def test_what_the_catalogue_knows_is_not_written_down():
    tier = spec(sample("simple"), "ModelTier", "claude")
    assert tier["backends"] == [
        {
            "name": "anthropic-claude-sonnet-5",
            "provider": "Anthropic",
            "model": "claude-sonnet-5",
            "credentials": {"type": "APIKey", "secretRef": {"name": "anthropic", "key": "api-key"}},
        }
    ]


def test_a_group_answers_to_its_name_and_its_aliases():
    imported = sample("production")
    assert spec(imported, "RoutingPolicy", "gpt-4o")["models"] == [{"name": "gpt-4o"}, {"name": "gpt-4"}]


def test_lower_orders_come_first_and_fallbacks_bring_their_own_behind_them():
    assert tiers(sample("production"), "gpt-4o") == ["gpt-4o", "gpt-4o-2", "claude-sonnet", "qwen-local"]


def test_a_context_window_fallback_comes_last_and_that_is_told():
    imported = sample("production")
    assert tiers(imported, "qwen-local") == ["qwen-local", "long-context"]
    assert "also takes over" in found(imported, "context_window_fallbacks of qwen-local")


def test_a_default_fallback_holds_for_every_group_without_its_own():
    imported = sample("balanced")
    assert tiers(imported, "fast") == ["fast", "local"]
    assert tiers(imported, "local") == ["local"]


def test_fallbacks_that_go_in_circles_end():
    entries = [{"model_name": name, "litellm_params": {"model": "gpt-4o"}} for name in "abc"]
    chains = [{"a": ["b"]}, {"b": ["c", "a"]}, {"c": ["a"]}]
    imported = convert({"model_list": entries, "router_settings": {"fallbacks": chains}})
    assert [tiers(imported, name) for name in "abc"] == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]]


def test_a_fallback_to_a_group_that_is_not_there_is_told():
    assert "missing-group left out" in found(sample("production"), "fallbacks of gpt-4o")


@pytest.mark.parametrize(
    ("retries", "failover"),
    [(None, None), (2, None), (0, {"attempts": 1}), (4, {"attempts": 5}), (99, {"attempts": 10})],
)
def test_retries_become_attempts_within_what_a_policy_allows(retries, failover):
    settings = {} if retries is None else {"num_retries": retries}
    assert spec(one({}, router_settings=settings), "RoutingPolicy", "m").get("failover") == failover


def test_every_tier_of_a_chain_gets_an_attempt():
    assert spec(sample("production"), "RoutingPolicy", "gpt-4o")["failover"] == {"attempts": 6}


@pytest.mark.parametrize(
    ("strategy", "selection"),
    [("simple-shuffle", "Weighted"), ("cost-based-routing", "Cheapest"), ("latency-based-routing", "LeastLatency")],
)
def test_a_strategy_with_an_equivalent_is_carried_over_silently(strategy, selection):
    imported = one({}, router_settings={"routing_strategy": strategy})
    assert spec(imported, "ModelTier", "m")["selection"] == selection
    assert imported.unsupported == []


def test_a_strategy_that_is_only_similar_is_told():
    imported = sample("latency")
    assert spec(imported, "ModelTier", "chat")["selection"] == "LeastLatency"
    assert "least-busy" in found(imported, "router_settings.routing_strategy")


def test_weights_keep_their_ratio_and_a_weight_of_nothing_disables():
    backends = spec(sample("balanced"), "ModelTier", "fast")["backends"]
    assert [it.get("weight") for it in backends] == [7, 3, None]
    assert backends[2]["state"] == "Disabled"


@pytest.mark.parametrize(
    ("shares", "weights"), [((1, 1), (None, None)), ((1, 5000), (None, 1000)), ((900, 300), (3, None))]
)
def test_requests_per_minute_count_as_weights_within_the_schemas_bounds(shares, weights):
    entries = [{"model_name": "m", "litellm_params": {"model": "gpt-4o", "rpm": rpm}} for rpm in shares]
    backends = spec(convert({"model_list": entries}), "ModelTier", "m")["backends"]
    assert tuple(it.get("weight") for it in backends) == weights
    assert [it["name"] for it in backends] == ["openai-gpt-4o", "openai-gpt-4o-2"]


@pytest.mark.parametrize("cost", ["1e-7", 1e-7, "0.0000001"])
def test_a_price_per_token_becomes_a_price_per_million(cost):
    assert backend(one({"input_cost_per_token": cost, "output_cost_per_token": 0}))["price"] == {
        "input": "0.1",
        "output": "0",
    }


def test_a_deployment_whose_name_hides_the_model_names_it_for_the_catalogue():
    imported = one(
        {"model": "azure/prod-1", "api_base": "https://x.openai.azure.com", "api_key": "os.environ/K"},
        {"base_model": "azure/gpt-5-mini"},
    )
    assert backend(imported)["baseModel"] == "gpt-5-mini"
    assert not backend(imported).keys() & {"price", "limits", "parameters"}
    assert imported.unsupported == []


def test_a_base_model_that_the_catalogue_does_not_know_is_said_to_be_lost():
    imported = one({"model": "azure/p", "api_base": "https://x.openai.azure.com"}, {"base_model": "azure/gpt-99"})
    assert "baseModel" not in backend(imported)
    assert "does not know gpt-99" in found(imported, "model_list[0].model_info.base_model")


@pytest.mark.parametrize("version", [{}, {"api_version": "v1"}, {"api_version": "preview"}])
def test_azure_becomes_its_openai_compatible_endpoint(version):
    imported = one({"model": "azure/d", "api_base": "https://x.openai.azure.com/", **version})
    assert backend(imported)["baseURL"] == "https://x.openai.azure.com/openai/v1"
    assert backend(imported)["credentials"]["secretRef"]["name"] == "azure"
    assert backend(imported)["credentials"]["header"] == "api-key"
    assert imported.unsupported == []


def test_azure_with_a_dated_version_is_called_at_its_deployment():
    imported = one({"model": "azure/d", "api_base": "https://x.openai.azure.com/", "api_version": "2024-10-21"})
    assert backend(imported)["baseURL"] == "https://x.openai.azure.com/openai/deployments/d"
    assert backend(imported)["query"] == [{"name": "api-version", "value": "2024-10-21"}]
    assert backend(imported)["credentials"]["header"] == "api-key"
    assert imported.unsupported == []


def test_default_parameters_of_a_deployment_are_those_of_its_backend():
    stated = {"temperature": 0.2, "reasoning_effort": "high", "stop": ["a"], "extra_body": {"top_k": 5, "five": "5"}}
    assert backend(one(stated))["parameters"] == {
        "defaults": {
            "temperature": "0.2",
            "stop": '["a"]',
            "reasoning_effort": "high",
            "top_k": "5",
            "five": '"5"',
        }
    }
    assert one(stated).unsupported == []


def test_parameters_that_a_format_does_not_have_are_said_to_be_lost():
    imported = one({"model": "anthropic/claude-opus-5", "reasoning_effort": "high", "top_k": 5, "max_tokens": 9})
    assert backend(imported)["parameters"] == {"defaults": {"top_k": "5"}}
    for name in ("reasoning_effort", "max_tokens"):
        assert found(imported, f"model_list[0].litellm_params.{name}")


def test_extra_headers_of_a_deployment_are_those_of_its_backend():
    imported = one({"extra_headers": {"HTTP-Referer": "https://a.example", "x-n": 1}, "organization": "org-1"})
    assert backend(imported)["headers"] == [
        {"name": "openai-organization", "value": "org-1"},
        {"name": "HTTP-Referer", "value": "https://a.example"},
        {"name": "x-n", "value": "1"},
    ]
    assert imported.unsupported == []


def test_headers_with_keys_are_said_to_be_lost_without_their_value():
    imported = one({"extra_headers": {"Authorization": "Bearer sk-in-clear", "x-key": "os.environ/K", "Host": "h"}})
    assert "headers" not in backend(imported)
    said = found(imported, "model_list[0].litellm_params.extra_headers")
    assert all(name in said for name in ("Authorization", "x-key", "Host"))
    assert "sk-in-clear" not in str(imported)


@pytest.mark.parametrize(
    ("model", "base", "provider", "url"),
    [
        ("anthropic/claude-sonnet-5", "http://p.example/v1/messages", "Anthropic", "http://p.example"),
        ("ollama/llama3", "http://p.example:11434", "OpenAI", "http://p.example:11434/v1"),
        ("hosted_vllm/org/model", "http://p.example/v1/", "OpenAI", "http://p.example/v1"),
        ("openai/whatever", "http://p.example/v1/chat/completions", "OpenAI", "http://p.example/v1"),
        ("groq/openai/gpt-oss-20b", None, "OpenAI", "https://api.groq.com/openai/v1"),
        ("bedrock_mantle/openai.gpt-oss-20b", None, "OpenAI", "https://bedrock-mantle.us-east-1.api.aws/v1"),
        ("gemini-2.5-pro", None, "OpenAI", "https://generativelanguage.googleapis.com/v1beta/openai"),
    ],
)
def test_addresses_become_base_urls(model, base, provider, url):
    made = backend(one({"model": model} | ({"api_base": base} if base else {})))
    assert (made["provider"], made["baseURL"]) == (provider, url)


def test_an_address_in_the_environment_is_filled_in_or_told():
    assert "$HOUSE_URL" in found(sample("latency"), "model_list[1].litellm_params.api_base")
    imported = sample("latency", environ={"HOUSE_URL": "http://house.example/v1"})
    assert spec(imported, "ModelTier", "chat")["backends"][1]["baseURL"] == "http://house.example/v1"


def test_no_key_is_sent_to_a_strange_address_just_because_the_client_library_would():
    imported = one({"api_base": "http://p.example/v1"})
    assert "credentials" not in backend(imported)
    assert "$OPENAI_API_KEY" in found(imported, "model_list[0].litellm_params.api_key")


def test_capabilities_start_from_what_is_known_and_end_with_what_is_denied():
    assert "Vision" not in backend(one({}, {"supports_vision": False}))["capabilities"]
    assert "Tools" in backend(one({}, {"supports_vision": False}))["capabilities"]
    unknown = one({"model": "hosted_vllm/x", "api_base": "http://p.example/v1"}, {"supports_vision": False})
    assert backend(unknown)["capabilities"] == ["Audio", "Documents", "JSONSchema", "Reasoning", "Tools"]


def test_dropped_parameters_are_added_to_those_of_the_catalogue():
    drop = backend(one({"model": "openai/gpt-5-mini", "additional_drop_params": ["user"]}))["parameters"]["drop"]
    assert {"user", "temperature"} <= set(drop)


def test_timeouts_of_a_deployment_win_over_those_of_the_router():
    imported = one({"timeout": 1.5, "stream_timeout": "20"}, router_settings={"timeout": 300})
    assert backend(imported)["timeouts"] == {"total": "1s500ms", "ttft": "20s", "idle": "20s"}
    assert backend(one({}, litellm_settings={"request_timeout": 0.25}))["timeouts"] == {"total": "250ms"}


def test_sizes_concurrency_and_region_are_carried_over():
    imported = one(
        {"max_parallel_requests": 4, "region_name": "EU West"}, {"max_input_tokens": 9000, "max_tokens": 500}
    )
    assert backend(imported)["limits"] == {"contextTokens": 9000, "outputTokens": 500, "concurrency": 4}
    assert backend(imported)["labels"] == {"region": "eu-west"}


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"model_name": "m", "litellm_params": {"model": "bedrock/x"}}, "bedrock_mantle"),
        ({"model_name": "m", "litellm_params": {"model": "nobody/x"}}, "no OpenAI-compatible"),
        ({"model_name": "*", "litellm_params": {"model": "openai/*"}}, "wildcard"),
        (
            {"model_name": "m", "litellm_params": {"model": "openai/e"}, "model_info": {"mode": "embedding"}},
            "embedding",
        ),
        ({"model_name": "m", "litellm_params": {"model": "hosted_vllm/x"}}, "api_base"),
        ({"model_name": "m", "litellm_params": {"model": "openai/x", "api_base": "ftp://x"}}, "URL"),
        ({"model_name": "m", "litellm_params": {"model": "openai/x", "api_base": "http://x/v1/%%|"}}, "baseURL"),
        ({"model_name": "a b", "litellm_params": {"model": "openai/x"}}, "ASCII"),
        ({"litellm_params": {}}, "model_name"),
        ("text", "model_name"),
    ],
)
def test_what_cannot_be_had_is_left_out_and_told(entry, complaint):
    imported = convert({"model_list": [entry]})
    assert imported.manifests == []
    assert complaint in " ".join(f"{it.what} {it.why} {it.where}" for it in imported.unsupported)


def test_every_setting_without_an_equivalent_is_told_with_what_to_do():
    imported = sample("production")
    settings = (
        "router_settings.cooldown_time",
        "litellm_settings.cache",
        "general_settings.master_key",
        "environment_variables",
    )
    for where in (*settings, "general_settings.database_url", "model_list[3].litellm_params.api_key"):
        assert found(imported, where), where
    assert all(it.where and it.what and it.why and it.instead for it in imported.unsupported)


def test_a_setting_that_nobody_knows_is_told_too():
    imported = one({"frobnicate": 1}, {"colour": "red"}, router_settings={"quux": 1}, extra_section={})
    places = {it.where for it in imported.unsupported}
    assert places >= {
        "model_list[0].litellm_params.frobnicate",
        "model_list[0].model_info.colour",
        "router_settings.quux",
    }
    assert "extra_section" in places


@pytest.mark.parametrize("config", [None, [], "text", {}, {"model_list": {}}, {"model_list": None}])
def test_what_is_no_litellm_config_is_refused(config):
    with pytest.raises(NotLiteLLM, match="model_list"):
        convert(config)


def test_a_tier_takes_as_many_backends_as_the_schema_allows_and_tells_of_the_rest():
    entries = [{"model_name": "m", "litellm_params": {"model": "gpt-4o", "rpm": 1 + n}} for n in range(40)]
    imported = convert({"model_list": entries})
    assert len(spec(imported, "ModelTier", "m")["backends"]) == 32
    assert "8 deployments left out" in found(imported, "model group m")


def test_groups_whose_names_look_alike_get_names_of_their_own():
    entries = [{"model_name": name, "litellm_params": {"model": "gpt-4o"}} for name in ("a.b", "a-b", "A/B")]
    imported = convert({"model_list": entries})
    assert [it["metadata"]["name"] for it in imported.manifests] == ["a-b", "a-b-2", "a-b-3"] * 2


@pytest.mark.parametrize(
    "check",
    [
        *("session_affinity", "deployment_affinity", "encrypted_content_affinity", "prompt_caching"),
        *("router_budget_limiting", "enforce_model_rate_limits", "responses_api_deployment_check"),
        *("forward_client_headers_by_model_group", "a_check_of_next_year"),
    ],
)
def test_each_check_before_a_call_is_said_to_be_lost(check):
    said = one(
        {}, router_settings={"optional_pre_call_checks": ["session_affinity", check][check == "session_affinity" :]}
    )
    text = [it for it in said.unsupported if it.what == check]
    assert len(text) == 1
    assert text[0].where.startswith("router_settings.optional_pre_call_checks[")
    assert ("affinity is lost" in text[0].why) == (check == "deployment_affinity")
    assert ("affinity is Weir's own" in text[0].why) == (check in ("session_affinity", "prompt_caching"))
    assert text[0].instead != "nothing"


def test_what_is_no_name_of_a_check_is_not_shown():
    said = one({}, router_settings={"optional_pre_call_checks": ["sk-1234 SECRET", {"a": 1}, None]})
    assert len([it for it in said.unsupported if "optional_pre_call_checks" in it.where]) == 3
    assert "SECRET" not in repr(said.unsupported)


def test_the_time_of_an_affinity_is_lost_as_well():
    said = one({}, router_settings={"deployment_affinity_ttl_seconds": 14400})
    assert "affinity is lost" in found(said, "router_settings.deployment_affinity_ttl_seconds")


def test_settings_beside_the_parameters_of_a_deployment_are_named():
    entry = {"model_name": "m", "litellm_params": {"model": "openai/gpt-4o"}, "guardrails": ["x"], "team": "a"}
    said = convert({"model_list": [entry]})
    assert {it.where for it in said.unsupported} == {"model_list[0].guardrails", "model_list[0].team"}


@pytest.mark.parametrize(
    "model",
    [
        *("openai/text-embedding-3-small", "cohere/embed-english-v3.0", "openai/dall-e-3", "openai/gpt-image-1"),
        *("openai/whisper-1", "openai/tts-1", "openai/gpt-4o-mini-tts", "openai/gpt-4o-transcribe"),
        *("gemini/imagen-4.0-generate", "gemini/veo-3.0", "cohere/rerank-v3.5", "openai/omni-moderation-latest"),
        *("gemini/gemini-2.5-flash-image", "openai/sora-2", "huggingface/BAAI/bge-m3", "voyage/voyage-3"),
    ],
)
def test_what_is_no_chat_model_by_its_name_is_left_out_unless_it_says_so(model):
    said = one({"model": model, "api_base": "http://10.0.0.1"})
    assert said.manifests == []
    assert "chat" in found(said, "model_list[0]")


@pytest.mark.parametrize(
    ("mode", "endpoint"),
    [
        ("embedding", "Embeddings"),
        ("image_generation", "Images"),
        ("audio_transcription", "Audio"),
        ("moderation", "Moderations"),
        ("rerank", "Rerank"),
        ("completion", "Completions"),
    ],
)
def test_a_mode_that_is_an_endpoint_is_left_out_with_what_to_write(mode, endpoint):
    (left,) = [it for it in one({}, {"mode": mode}).unsupported if "left out" in it.what]
    assert f"endpoints: [{endpoint}]" in left.instead
    assert f"when.operations: [{endpoint}]" in left.instead


@pytest.mark.parametrize("mode", ["embedding", "image_generation", "audio_speech", "rerank", "realtime", "video"])
@pytest.mark.parametrize("place", ["model_info", "litellm_params"])
def test_a_mode_that_is_not_chat_is_left_out(mode, place):
    said = one({"mode": mode}) if place == "litellm_params" else one({}, {"mode": mode})
    assert said.manifests == []
    assert mode in found(said, "model_list[0]")


@pytest.mark.parametrize(
    "model",
    [
        *("openai/gpt-5", "openai/gpt-4o-audio-preview", "anthropic/claude-opus-4-6", "mistral/pixtral-large-latest"),
        *("gemini/gemini-2.5-flash", "ollama/llama3.2-vision", "openrouter/qwen/qwen3-vl", "deepseek/deepseek-chat"),
    ],
)
def test_chat_models_stay(model):
    assert one({"model": model}).manifests


def test_a_model_whose_name_misleads_is_a_chat_model_if_the_config_says_so():
    assert one({"model": "openai/my-flux-assistant"}, {"mode": "chat"}).manifests


def test_the_responses_api_is_taken_over_where_the_address_has_it():
    own = one({"model": "openai/responses/gpt-5"})
    assert backend(own)["model"] == "gpt-5"
    assert "dialects" not in backend(own)  # OpenAI itself has it by default
    other = one({"model": "openai/x", "api_base": "http://10.0.0.1/v1"}, {"mode": "responses"})
    assert backend(other)["dialects"] == ["Responses", "Chat"]
    assert not found(other, "model_list[0].model_info.mode")
    dated = {"model": "azure/gpt-5", "api_base": "https://x.openai.azure.com", "api_version": "2024-10-21"}
    azure = one(dated, {"mode": "responses"})
    assert "dialects" not in backend(azure)
    assert "another format" in found(azure, "model_list[0].model_info.mode")
