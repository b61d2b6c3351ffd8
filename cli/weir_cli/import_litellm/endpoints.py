"""Endpoints and dialects behind LiteLLM's provider names. Used by `backend`; calls nothing."""

from __future__ import annotations

from dataclasses import dataclass

from weir_operator.compile.catalogue import Catalogue
from weir_router.contract import Dialect

_OPENAI_COMPATIBLE = {
    "openrouter": "https://openrouter.ai/api/v1",
    "perplexity": "https://api.perplexity.ai",
    "nvidia_nim": "https://integrate.api.nvidia.com/v1",
    "sambanova": "https://api.sambanova.ai/v1",
    "deepinfra": "https://api.deepinfra.com/v1/openai",
    "hyperbolic": "https://api.hyperbolic.xyz/v1",
    "nebius": "https://api.studio.nebius.ai/v1",
    "novita": "https://api.novita.ai/v3/openai",
    "ai21": "https://api.ai21.com/studio/v1",
    "codestral": "https://codestral.mistral.ai/v1",
    "volcengine": "https://ark.cn-beijing.volces.com/api/v3",
}
_WITHOUT_DEFAULT = (
    "custom_openai",
    "openai_like",
    "hosted_vllm",
    "vllm",
    "lm_studio",
    "llamafile",
    "litellm_proxy",
    "xinference",
    "databricks",
)
_OLLAMA = ("ollama", "ollama_chat")
_OTHER_NAMES = {"cohere_chat": "cohere"}

_BEDROCK = "Bedrock's own API is signed with AWS keys; bedrock_mantle is its OpenAI-compatible endpoint"
_NO_ENDPOINT = {
    "bedrock": _BEDROCK,
    "bedrock_converse": _BEDROCK,
    "sagemaker": "SageMaker's API is signed with AWS keys",
    "sagemaker_chat": "SageMaker's API is signed with AWS keys",
    "vertex_ai": "Vertex AI takes short-lived Google tokens; use provider gemini with an API key",
    "vertex_ai_beta": "Vertex AI takes short-lived Google tokens; use provider gemini with an API key",
    "text-completion-openai": "old completions are no conversations: write a backend with endpoints: [Completions]",
}

PARAMETERS: dict[Dialect, tuple[str, ...]] = {
    Dialect.OPENAI: (
        *("temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "n", "stop", "seed"),
        *("presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "reasoning_effort", "verbosity"),
        *("user", "service_tier", "parallel_tool_calls", "thinking", "modalities", "audio", "store", "metadata"),
    ),
    Dialect.ANTHROPIC: ("temperature", "top_p", "top_k", "thinking", "service_tier", "metadata"),
}
"""Parameters that a deployment may state, by their names at the backend."""

_KEY_VARIABLES = {"together": "TOGETHERAI_API_KEY", "bedrock": "AWS_BEARER_TOKEN_BEDROCK"}


@dataclass(frozen=True)
class Endpoint:
    """The address and dialect of one LiteLLM provider."""

    name: str  # for names of backends
    dialect: Dialect
    base_url: str | None  # None: the config has to say
    key_variable: str | None  # the environment variable that LiteLLM reads when the config names no key
    suffix: str = ""  # what an api_base in the config lacks to be a base URL here


@dataclass(frozen=True)
class Unsupported:
    """A provider that Weir cannot speak to, and why."""

    why: str


def split(model: str, provider: str | None) -> tuple[str, str]:
    """LiteLLM's `provider/model` as (provider, model); a bare name belongs to the maker whose names look like it."""
    first, slash, rest = model.partition("/")
    if provider:
        return provider, rest if slash and first == provider else model
    return (first, rest) if slash else (_maker(model), model)


def _maker(model: str) -> str:
    known = Catalogue.load().find(Dialect.OPENAI, model)
    if known is not None:
        return known.vendor
    return "anthropic" if model.startswith("claude") else "openai"


def endpoint(provider: str) -> Endpoint | Unsupported:
    """The endpoint of a provider name, or why there is none."""
    if provider in _NO_ENDPOINT:
        return Unsupported(_NO_ENDPOINT[provider])
    if provider == "azure":
        return Endpoint("azure", Dialect.OPENAI, None, "AZURE_API_KEY", suffix="/openai/v1")
    if provider in _OLLAMA:
        return Endpoint("ollama", Dialect.OPENAI, "http://localhost:11434/v1", None, suffix="/v1")
    if provider in _WITHOUT_DEFAULT:
        return Endpoint(provider, Dialect.OPENAI, None, None)
    if provider in _OPENAI_COMPATIBLE:
        return Endpoint(provider, Dialect.OPENAI, _OPENAI_COMPATIBLE[provider], _variable(provider))
    return _vendor(_OTHER_NAMES.get(provider, provider))


def _vendor(provider: str) -> Endpoint | Unsupported:
    for vendor in Catalogue.load().vendors.values():
        if provider in vendor.aliases:
            return Endpoint(
                vendor.name, vendor.provider, vendor.base_url, _KEY_VARIABLES.get(vendor.name, _variable(vendor.name))
            )
    return Unsupported(f"Weir knows no OpenAI-compatible or Anthropic endpoint of the provider {provider}")


def _variable(name: str) -> str:
    return f"{name.upper()}_API_KEY"
