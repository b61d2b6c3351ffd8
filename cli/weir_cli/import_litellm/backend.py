"""One entry of `model_list` as one backend of a ModelTier. Used by `convert`; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from weir_cli.import_litellm import extras, traits
from weir_cli.import_litellm.endpoints import Endpoint, Unsupported, endpoint, split
from weir_cli.import_litellm.findings import ENVIRONMENT, TOKEN, Findings, Given, mapping, number, text
from weir_cli.import_litellm.settings import DEPLOYMENT, INFO
from weir_cli.import_litellm.traits import Defaults
from weir_cli.shared.chat_models import OTHER_WORK
from weir_cli.shared.manifests import SECRET_KEY, SecretSource, slug
from weir_operator.kinds.modeltier.dialects import OWN_FORMATS
from weir_operator.kinds.modeltier.schema import DEFAULT_BASE_URL, BackendSpec
from weir_router.contract import Dialect
from weir_router.dialects.registry import host_of

DEFAULT_REGION = "us-east-1"  # where an endpoint has one in its name and the config says nothing
LAST_ORDER = 1_000_000

RESPONSES = "responses/"
"""Part of a model by which LiteLLM calls the Responses API, as in `openai/responses/gpt-5`."""

_CHAT_MODES = ("chat", "responses", None)
_ENDPOINTS = {
    "embedding": "Embeddings",
    "image_generation": "Images",
    "image_edit": "Images",
    "audio_speech": "Audio",
    "audio_transcription": "Audio",
    "moderation": "Moderations",
    "rerank": "Rerank",
    "completion": "Completions",
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
_BASE_URL = re.compile(r"https?://[^\s?#@]+")

_READ = {
    *("model", "api_key", "api_base", "base_url", "custom_llm_provider", "litellm_credential_name", "api_version"),
    *("weight", "order", "rpm", "tpm", "timeout", "stream_timeout", "max_parallel_requests", "region_name"),
    *("additional_drop_params", "mode", *traits.PRICES.values(), *extras.READ),
}
_READ_ENTRY = {"model_name", "litellm_params", "model_info"}
_READ_INFO = {
    *("id", "mode", "base_model", "max_input_tokens", "max_output_tokens", "max_tokens"),
    *(*traits.PRICES.values(), *traits.FLAGS),
}


@dataclass(frozen=True)
class Deployment:
    """A backend, and what decides where it stands."""

    group: str  # LiteLLM's model_name: what callers ask for
    order: int  # the lowest is tried first
    share: Decimal | None  # weight, or what LiteLLM takes for one
    backend: dict[str, Any]  # without a weight, which depends on the others
    secret: SecretSource | None

    def with_secret(self, secret: SecretSource) -> Deployment:
        """The same backend with another reference."""
        credentials = self.backend.get("credentials", {}) | secret.reference
        return replace(self, secret=secret, backend=self.backend | {"credentials": credentials})


def deployment(raw: Any, where: str, defaults: Defaults, findings: Findings) -> Deployment | None:
    """The backend, or None (with a finding that says why) where Weir cannot have it."""
    entry = mapping(raw)
    params = mapping(entry.get("litellm_params"))
    params = {**defaults.credentials.get(str(params.get("litellm_credential_name")), {}), **params}
    given = Given(where, params, mapping(entry.get("model_info")), findings)
    group, model = text(entry.get("model_name")), text(params.get("model"))
    for setting in sorted(entry.keys() - _READ_ENTRY):
        given.note(setting, setting, *DEPLOYMENT.about(setting))
    if group is None or model is None:
        given.note("", "left out", "it has no model_name or no litellm_params.model", "complete it and import again")
        return None
    if refused := _refused(group, model, given.info.get("mode", params.get("mode"))):
        given.note("", f"{group} left out", *refused)
        return None
    provider, name = split(model, text(params.get("custom_llm_provider")))
    name = name.removeprefix(RESPONSES)
    target = endpoint(provider)
    if isinstance(target, Unsupported):
        given.note("litellm_params.model", f"{model} left out", target.why, "name LiteLLM itself as its backend")
        return None
    base_url = _base_url(given, target, defaults.environ)
    made = _assemble(group, name, target, base_url, given, defaults) if base_url else None
    return made if made and _valid(made, given) else None


def _refused(group: str, model: str, mode: Any) -> tuple[str, str] | None:
    if "*" in group or "*" in model:
        why = "a backend has one model: a wildcard of deployments cannot be taken over"
        return why, "write one entry for each model that is used; a policy may then serve them by {prefix: ...}"
    if not TOKEN.fullmatch(group):
        return "a model's name is printable ASCII without spaces", "rename it"
    if mode not in _CHAT_MODES:
        endpoint_of = _ENDPOINTS.get(mode) if isinstance(mode, str) else None
        if endpoint_of is None:
            return f"mode {mode}: Weir does not serve it", "keep it where it is"
        instead = f"write a tier with endpoints: [{endpoint_of}], and a route with when.operations: [{endpoint_of}]"
        return f"mode {mode}: only models for conversations are taken over", instead
    if mode is None and OTHER_WORK.search(model):
        why = "its name is not that of a chat model, and only models for conversations are taken over"
        return why, "set model_info.mode: chat if it is one; otherwise write a tier with endpoints for it"
    return None


def _assemble(group: str, model: str, target: Endpoint, base_url: str, given: Given, defaults: Defaults) -> Deployment:
    about = traits.known(given, target, model, base_url)
    secret = _secret(given, target, base_url)
    dated = extras.version(given, target)
    if dated is not None:
        base_url = f"{base_url.removesuffix('/v1')}/deployments/{model}"
    region = slug(text(given.params.get("region_name")) or "")
    backend = {
        "name": slug(f"{target.name}-{model.rsplit('/', 1)[-1]}"),
        "provider": target.dialect.value,
        "baseURL": None if base_url == DEFAULT_BASE_URL[target.dialect] else base_url,
        "dialects": _dialects(given, target, base_url, dated),
        "model": model,
        "baseModel": about.base,
        "credentials": _credentials(secret, target),
        "headers": extras.headers(given, target),
        "query": [{"name": "api-version", "value": dated}] if dated else None,
        "price": traits.price(given),
        "limits": traits.limits(given),
        "capabilities": traits.capabilities(given, about),
        "parameters": traits.parameters(given, about, extras.defaults(given, target)),
        "timeouts": traits.timeouts(given, defaults),
        "labels": {"region": region} if region else None,
    }
    stated = {name: value for name, value in backend.items() if value}
    _note_the_rest(given)
    order = int(min(number(given.params.get("order")) or 0, LAST_ORDER))
    return Deployment(group, order, _share(given), stated, secret)


def _dialects(given: Given, target: Endpoint, base_url: str, dated: str | None) -> list[str] | None:
    """The formats of a deployment that LiteLLM calls by the Responses API; OpenAI itself has them by default."""
    if given.info.get("mode") != "responses" and RESPONSES not in str(given.params.get("model")):
        return None
    own = OWN_FORMATS[target.dialect]
    if own and dated is None:
        return None if base_url == DEFAULT_BASE_URL[target.dialect] else [format.value for format in own]
    why = "this address has no Responses API, so Weir calls the provider's other format"
    given.note("model_info.mode", "another format instead", why, "ask the model once before you move to Weir")
    return None


def _credentials(secret: SecretSource | None, target: Endpoint) -> dict[str, Any] | None:
    if secret is None:
        return None
    return secret.reference | ({"header": extras.AZURE_KEY} if target.name == extras.AZURE else {})


def _valid(made: Deployment, given: Given) -> bool:
    """The schema has the last word: what it refuses must not take the good ones down with it."""
    try:
        BackendSpec.model_validate(made.backend)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        path = ".".join(str(step) for step in first["loc"])
        given.note("", f"{made.group} left out", f"{path}: {first['msg']}", "correct it and import again")
        return False
    return True


def _base_url(given: Given, target: Endpoint, environ: Mapping[str, str]) -> str | None:
    setting = "api_base" if given.params.get("api_base") else "base_url"
    place = f"litellm_params.{setting}"
    stated = given.params.get(setting)
    if isinstance(stated, str) and stated.startswith(ENVIRONMENT):
        variable = stated.removeprefix(ENVIRONMENT)
        stated = environ.get(variable)
        if not stated:
            given.note(place, "left out", f"${variable}, its address, is not set here", "set it and import again")
            return None
        given.note(place, f"${variable} filled in", "a baseURL is not read from the environment", "edit it by hand")
    if not stated:
        return _default_url(given, target)
    url = str(stated).rstrip("/")
    for path in (path for provider in Dialect for path in host_of(provider).paths.values()):
        url = url.removesuffix(path)
    if any(path.startswith("/v1/") for path in host_of(target.dialect).paths.values()):
        url = url.removesuffix("/v1")
    if not _BASE_URL.fullmatch(url):
        given.note(place, "left out", "it is no plain http or https URL", "correct it and import again")
        return None
    return url if url.endswith(target.suffix) else url + target.suffix


def _default_url(given: Given, target: Endpoint) -> str | None:
    if target.base_url is None:
        given.note("litellm_params.api_base", "left out", f"{target.name} needs an api_base", "add it and import again")
        return None
    return target.base_url.replace("{region}", slug(text(given.params.get("aws_region_name")) or DEFAULT_REGION))


def _secret(given: Given, target: Endpoint, base_url: str) -> SecretSource | None:
    stated, place = given.params.get("api_key"), "litellm_params.api_key"
    if isinstance(stated, str) and stated.startswith(ENVIRONMENT):
        return from_variable(given, stated.removeprefix(ENVIRONMENT))
    if isinstance(stated, str) and stated:
        given.note(place, "a key in clear text", "a manifest holds no keys", "keep it in a Secret, out of the config")
        return SecretSource(slug(f"{target.name}-{given.where}"), SECRET_KEY, None, stated)
    if stated:
        given.note(place, "key left out", "it is not a text", "make a Secret and name it in credentials.secretRef")
        return None
    if target.key_variable is None:
        return None
    if "api_base" in given.params and target.base_url not in (None, base_url):
        why = f"LiteLLM would send ${target.key_variable} to this address"
        given.note(place, "no credentials", why, "name a Secret in credentials.secretRef if that is wanted")
        return None
    return from_variable(given, target.key_variable)


def from_variable(given: Given, variable: str) -> SecretSource | None:
    """`OPENAI_API_KEY` is key `api-key` of Secret `openai`; other names are the Secret's as a whole."""
    if not _VARIABLE.fullmatch(variable):
        why = "it names no environment variable"
        given.note("litellm_params.api_key", "key left out", why, "make a Secret and name it in credentials.secretRef")
        return None
    return SecretSource(slug(variable.removesuffix("_API_KEY")) or "key", SECRET_KEY, variable)


def _share(given: Given) -> Decimal | None:
    for setting in ("rpm", "tpm"):
        if given.params.get(setting) is not None:
            given.note(
                f"litellm_params.{setting}",
                f"{setting} counts as a weight only",
                "a backend has no rate limit; Weir fails over when the provider answers 429",
                "limit callers by a grant's requestsPerMinute, or the backend by limits.concurrency",
            )
    shares = (number(given.params.get(setting)) for setting in ("weight", "rpm", "tpm"))
    return next((share for share in shares if share is not None), None)


def _note_the_rest(given: Given) -> None:
    for setting in sorted(given.params.keys() - _READ):
        given.note(f"litellm_params.{setting}", setting, *DEPLOYMENT.about(setting))
    for setting in sorted(given.info.keys() - _READ_INFO):
        given.note(f"model_info.{setting}", setting, *INFO.about(setting))
