"""Weir's equivalents of LiteLLM's settings: one table per section. Used by `backend` and `convert`; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir_cli.import_litellm.findings import Findings, mapping

Reason = tuple[str, str]
"""Why there is no equivalent, and what to do instead."""

_BREAKER = (
    "Weir's circuit breaker counts in other terms: errors in a row and bad shares, slowness too, per backend and key",
    "start with its defaults; spec.breaker of the ModelTier has the knobs",
)
_CALLBACKS = (
    "Weir calls no callback: it writes one log line per request and metrics",
    "collect the log lines and scrape :9090/metrics",
)
_CACHE = ("Weir has no response cache yet", "use the providers' prompt caches; Weir counts their tokens")
_RETRIES = ("Weir bounds attempts per request, not per error or model", "set failover.attempts of the policy")
_BUDGETS = (
    "Weir has no budgets yet; it counts dollars per caller, policy and feature",
    "limit requests by a grant's limits; alert on the metrics",
)
_REDIS = ("Weir keeps no state outside its process", "nothing")
_DATABASE = ("Weir has no database: manifests are its only state", "keep the manifests in git")
_KEYS = (
    "keys are not in the config: each is a Secret with the hash of its value",
    "make one per caller with weir key create",
)
_CLOUD_KEYS = ("a backend has one API key", "use an endpoint that takes an API key")
_TAGS = (
    "backends are chosen by tier, capability, size and labels, not by tags of a request",
    "match headers in a route's when, and labels in require",
)
_GUARDRAILS = ("Weir neither inspects nor changes what is said", "keep the guardrail in front of Weir or in the client")
_SERVICES = ("Weir serves requests to models only", "keep it where it is")
_STATE = (
    "ids of stored responses, and encrypted reasoning, lead to their own backend by themselves",
    "list Responses in the dialects of a backend that has it",
)
_AFFINITY = (
    "affinity is lost: no caller is bound to one deployment, nor any conversation for a stated time",
    "rely on Weir's homes: a conversation stays at one backend while that is well",
)
_HOMES = (
    "affinity is Weir's own: a conversation stays at one backend while that is well, for no stated time",
    "name conversations in x-weir-session or prompt_cache_key, where their beginnings are alike",
)
_STARTUP = ("Weir has command line options for its process instead of settings in a file", "see weir up --help")
_UNKNOWN = ("Weir has no such setting", "check whether it still matters; it was left out")


@dataclass(frozen=True)
class Reasons:
    """Reasons by name, then by a part of the name, then the one for everything else."""

    by_name: Mapping[str, Reason]
    by_part: Mapping[str, Reason]

    def about(self, setting: str) -> Reason:
        """Why this setting has no equivalent, and what to do instead."""
        if setting in self.by_name:
            return self.by_name[setting]
        return next((reason for part, reason in self.by_part.items() if part in setting), _UNKNOWN)


_PARTS = {
    "callback": _CALLBACKS,
    "langfuse": _CALLBACKS,
    "alert": _CALLBACKS,
    "logging": _CALLBACKS,
    "prometheus": _CALLBACKS,
    "cache": _CACHE,
    "caching": _CACHE,
    "redis": _REDIS,
    "budget": _BUDGETS,
    "database": _DATABASE,
    "store_model": _DATABASE,
    "cooldown": _BREAKER,
    "allowed_fails": _BREAKER,
    "retry": _RETRIES,
    "retries": _RETRIES,
    "tag": _TAGS,
    "guardrail": _GUARDRAILS,
}

DEPLOYMENT = Reasons(
    {
        "drop_params": (
            "Weir always drops what the catalogue or the backend's parameters say that the model refuses",
            "add to parameters.drop",
        ),
        "rpd": ("a backend has no rate limit", "limit callers by a grant"),
        "tpd": ("a backend has no rate limit", "limit callers by a grant"),
        "input_cost_per_second": ("prices are per token", "state a price per million tokens"),
        "output_cost_per_second": ("prices are per token", "state a price per million tokens"),
        "mock_response": ("Weir answers nothing itself", "use weir sim as the backend"),
    },
    {
        **_PARTS,
        "aws_": _CLOUD_KEYS,
        "vertex_": _CLOUD_KEYS,
        "azure_": _CLOUD_KEYS,
        "tenant_id": _CLOUD_KEYS,
        "client_": _CLOUD_KEYS,
    },
)
"""About keys of `litellm_params`."""

INFO = Reasons(
    {
        "access_groups": (
            "callers and grants say who may ask for which model",
            "set callers of the policy and grants of the tier",
        )
    },
    {
        "cost_per": (
            "only the prices of tokens and of the prompt cache are counted",
            "nothing, or raise the price accordingly",
        )
    },
)
"""About keys of `model_info`."""

ROUTER = Reasons(
    {
        "content_policy_fallbacks": (
            "an answer that a content filter refused goes to the caller at once: another model is not asked",
            "let the client ask for the other model",
        ),
        "enable_pre_call_checks": (
            "context and capabilities are always checked before a call; requests per minute of a deployment and the "
            "region of a request are not",
            "set limits.concurrency of the backend; for regions, require with labels in a route",
        ),
        "deployment_affinity_ttl_seconds": _AFFINITY,
        "retry_after": ("Weir does not wait: the next candidate is asked at once", "nothing"),
        "routing_strategy_args": ("a tier's selection has no arguments", "nothing"),
        "max_fallbacks": (
            "attempts of the whole chain are bounded, not fallbacks",
            "set failover.attempts of the policy",
        ),
        "disable_cooldowns": _BREAKER,
        "enable_tag_filtering": _TAGS,
        "polling_interval": ("requests wait by the priority of their policy", "set queue of the RoutingPolicy"),
        "default_priority": ("requests wait by the priority of their policy", "set queue of the RoutingPolicy"),
    },
    _PARTS,
)
"""About keys of `router_settings`."""

MODULE = Reasons(
    {
        "drop_params": (
            "Weir always drops what the catalogue or a backend's parameters say that the model refuses",
            "add to parameters.drop",
        ),
        "modify_params": ("Weir changes a request only as far as another dialect or model needs it", "nothing"),
        "content_policy_fallbacks": ROUTER.by_name["content_policy_fallbacks"],
        "set_verbose": _STARTUP,
        "json_logs": ("log lines are JSON already", "nothing"),
        "turn_off_message_logging": ("prompts are never logged unless promptLogging: Full", "nothing"),
        "max_parallel_requests": (
            "limits hold per caller and per backend",
            "set inFlight of a grant, or limits.concurrency of a backend",
        ),
    },
    _PARTS,
)
"""About keys of `litellm_settings`."""

GENERAL = Reasons(
    {
        "master_key": _KEYS,
        "custom_auth": ("callers are ServiceAccounts or API keys", "make keys with weir key create"),
        "alerting": _CALLBACKS,
        "max_parallel_requests": ("limits hold per caller", "set inFlight of a grant"),
        "max_request_size_mb": ("it is a policy's", "set maxRequestBytes of the policy, if it has to be smaller"),
        "pass_through_endpoints": _SERVICES,
    },
    {
        **_PARTS,
        "key": _KEYS,
        "_auth": _KEYS,
        "jwt": _KEYS,
        "ui_": ("Weir has no web pages", "use kubectl and metrics"),
        "spend": _BUDGETS,
    },
)
"""About keys of `general_settings`."""

SECTIONS = Reasons(
    {
        "environment_variables": ("Weir reads its environment, it does not set it", "set them where weir runs"),
        "include": ("only the file that was given is read", "import the other files too"),
        "mcp_servers": _SERVICES,
        "vector_store_registry": _SERVICES,
        "search_tools": _SERVICES,
        "files_settings": _SERVICES,
        "finetune_settings": _SERVICES,
        "assistant_settings": _SERVICES,
        "prompts": _SERVICES,
    },
    {"guardrail": _GUARDRAILS},
)
"""About whole sections."""

CHECK = re.compile("[a-z_]{1,64}")
"""Pattern of the name of a check, such as `session_affinity`."""

CHECKS_SETTING = "optional_pre_call_checks"

CHECKS = Reasons(
    {
        "prompt_caching": _HOMES,
        "session_affinity": _HOMES,
        "router_budget_limiting": _BUDGETS,
        "enforce_model_rate_limits": (
            "a backend has no rate limit: when a provider answers 429, the next backend is asked",
            "limit callers by a grant's requestsPerMinute, or the backend by limits.concurrency",
        ),
        "responses_api_deployment_check": _STATE,
        "encrypted_content_affinity": _STATE,
        "forward_client_headers_by_model_group": (
            "a caller's own headers are not sent on, apart from those of the format",
            "nothing, or keep LiteLLM as the backend of that group",
        ),
    },
    {"affinity": _AFFINITY, "budget": _BUDGETS, "rate_limit": _BUDGETS},
)
"""About each entry of `optional_pre_call_checks`."""

_CARRIED = {
    "router_settings": {
        "routing_strategy",
        "fallbacks",
        "default_fallbacks",
        "context_window_fallbacks",
        "model_group_alias",
        "num_retries",
        "timeout",
        "stream_timeout",
    },
    "litellm_settings": {
        "fallbacks",
        "default_fallbacks",
        "context_window_fallbacks",
        "num_retries",
        "request_timeout",
        "model_alias_map",
    },
    "general_settings": set[str](),
}
_REASONS = {"router_settings": ROUTER, "litellm_settings": MODULE, "general_settings": GENERAL}
_READ_SECTIONS = {"model_list", "credential_list", *_CARRIED}


def note_unsupported(config: Mapping[str, Any], findings: Findings) -> None:
    """A finding for every setting without an equivalent in the manifests. Values are never shown: some are secrets."""
    for section, reasons in _REASONS.items():
        for setting in mapping(config.get(section)):
            if setting == CHECKS_SETTING:
                _note_checks(config[section][setting], f"{section}.{setting}", findings)
            elif setting not in _CARRIED[section]:
                findings.note(f"{section}.{setting}", setting, *reasons.about(setting))
    for section in config:
        if section not in _READ_SECTIONS:
            findings.note(str(section), str(section), *SECTIONS.about(str(section)))


def _note_checks(stated: Any, where: str, findings: Findings) -> None:
    """A finding for each check before a call. Names that are no names of checks are not shown."""
    for at, check in enumerate(stated if isinstance(stated, list) else (stated,)):
        known = check if isinstance(check, str) and CHECK.fullmatch(check) else CHECKS_SETTING
        findings.note(f"{where}[{at}]", known, *CHECKS.about(known))
