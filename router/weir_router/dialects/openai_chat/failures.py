"""The table of errors of OpenAI and compatible servers. Read by `wire.failures`.

Its sources are the providers' documentation and real messages: OpenAI, Azure, OpenRouter, Groq, Together,
DeepSeek, Mistral, xAI, Gemini's compatible endpoint, vLLM, SGLang, TGI, llama.cpp.
"""

from __future__ import annotations

from weir_router.dialects.wire.failures import PARTS, Rule, Table, phrases
from weir_router.errors import FailureKind

CONTEXT_LENGTH = phrases(
    r"maximum context length",
    r"context (window|length|size|limit) .{0,40}exceed",
    r"exceed\w* .{0,60}context (window|length|size|limit)",
    r"(prompt|input|inputs|request) (is|are) too long",
    r"longer than the (maximum model length|model's context)",
    r"maximum prompt length",
    r"input token count .{0,40}exceeds",
    r"input length .{0,60}exceed",
    r"reduce the length of (the|your) (messages|prompt|input)",
    r"`inputs` tokens \+ `max_new_tokens`",
    r"too large for model with \d+ maximum context",
)
"""Messages of errors for which only a larger context can help."""

TABLE = Table(
    rules=(
        Rule(FailureKind.CONTEXT_LENGTH, names=frozenset({"context_length_exceeded", "exceed_context_size_error"})),
        Rule(
            FailureKind.CONTENT_FILTER,
            names=frozenset(
                {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation", "moderation_blocked"}
            ),
        ),
        Rule(  # OpenRouter's moderation, and xAI's
            FailureKind.CONTENT_FILTER,
            statuses=frozenset({403}),
            message=phrases(r"moderation", r"\bflagged\b", r"violates usage guidelines"),
        ),
        Rule(  # OpenRouter: the model exists, but cannot take this request; it stays in use for all others
            FailureKind.UNFIT, statuses=frozenset({404}), message=phrases(r"no endpoints found that support")
        ),
        Rule(
            FailureKind.CONTENT_FILTER,
            statuses=frozenset({400, 422}),
            message=phrases(
                r"content management policy", r"content filter", r"flagged as potentially violating", r"safety system"
            ),
        ),
        Rule(  # organisation and project headers are the caller's own: no reason to blame our key
            FailureKind.CALLER,
            names=frozenset(
                {"mismatched_organization", "mismatched_project", "invalid_organization", "invalid_project"}
            ),
        ),
        Rule(
            FailureKind.CALLER,
            statuses=frozenset({401, 403}),
            message=phrases(r"OpenAI-(Organization|Project) header", r"no such (organization|project)"),
        ),
        Rule(
            FailureKind.CREDIT,
            names=frozenset(
                {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"}
            ),
        ),
        Rule(
            FailureKind.CREDIT,
            message=phrases(
                r"insufficient (balance|credits?|quota|funds)",
                r"exceeded your current quota",
                r"requires more credits",
                r"key limit exceeded",
                r"(credit|spend\w*|billing) .{0,30}(limit|exhausted|used up)",
                r"(out of|no|have any) credits",
            ),
        ),
        Rule(  # Groq sends it as 413 with type "tokens"
            FailureKind.RATE_LIMIT, names=frozenset({"rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"})
        ),
        Rule(
            FailureKind.CREDENTIAL,
            names=frozenset(
                {
                    "invalid_api_key",
                    "account_deactivated",
                    "access_terminated",
                    "authentication_error",
                    "invalid_authentication",
                    "unsupported_country_region_territory",
                    "ip_not_authorized",
                    "organization_restricted",
                }
            ),
        ),
        Rule(  # Gemini's compatible endpoint: 400
            FailureKind.CREDENTIAL,
            message=phrases(
                r"API key (not valid|expired)",
                r"incorrect API key",
                r"user location is not supported",
                r"enable billing on your project",
            ),
        ),
        Rule(FailureKind.MODEL, names=frozenset({"model_not_found", "DeploymentNotFound", "model_not_active"})),
        Rule(
            FailureKind.MODEL,
            statuses=frozenset({400}),
            message=phrases(
                r"model\b.{0,80}\b(does not exist|decommissioned|has been deprecated)",
                r"is not a valid model",
                r"(invalid|unknown) model\b",
            ),
        ),
        Rule(FailureKind.MODEL, statuses=frozenset({403}), message=phrases(r"\bmodel\b")),
        Rule(FailureKind.CONTEXT_LENGTH, message=CONTEXT_LENGTH),
        Rule(
            FailureKind.OVERLOAD,
            names=frozenset({"overloaded_error", "engine_overloaded", "server_overloaded", "slow_down"}),
        ),
    ),
    statuses={
        "invalid_request_error": 400,
        "BadRequestError": 400,
        "authentication_error": 401,
        "AuthenticationError": 401,
        "permission_error": 403,
        "PermissionDeniedError": 403,
        "not_found_error": 404,
        "NotFoundError": 404,
        "UnprocessableEntityError": 422,
        "requests": 429,
        "tokens": 429,
        "RateLimitError": 429,
        "rate_limit_exceeded": 429,
        "server_error": 500,
        "api_error": 500,
        "InternalServerError": 500,
        "service_unavailable": 503,
        "overloaded_error": 529,
        "timeout": 504,
    },
    tuning=frozenset(
        {
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "frequency_penalty",
            "presence_penalty",
            "repetition_penalty",
            "seed",
            "logit_bias",
            "stop",
            "verbosity",
            "reasoning_effort",
            "service_tier",
            "metadata",
            "user",
            "safety_identifier",
            "prompt_cache_key",
            "store",
            "parallel_tool_calls",
            "stream_options",
        }
    ),
    renames={"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"},
    needs=frozenset({"tools", "tool_choice", "response_format", "n", "logprobs", "modalities", "audio", "stream"}),
    parts=PARTS,
)
