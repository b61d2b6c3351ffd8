"""The table of errors of Anthropic and compatible servers. Read by `wire.failures`.

Anthropic's `type` names the status, so most of the table is about 400s that are not the caller's fault.
"""

from __future__ import annotations

from weir_router.dialects.wire.failures import PARTS, Rule, Table, phrases
from weir_router.dialects.wire.fit import EFFORT
from weir_router.errors import FailureKind

TABLE = Table(
    rules=(
        Rule(
            FailureKind.CONTEXT_LENGTH,
            message=phrases(
                r"(prompt|input) is too long",
                r"exceeds? (the )?(context|maximum) (limit|window|length)",
                r"input length and `?max_tokens`?",
                r"maximum context length",
            ),
        ),
        Rule(FailureKind.CONTENT_FILTER, message=phrases(r"content filtering policy", r"usage policy")),
        Rule(FailureKind.CREDIT, names=frozenset({"billing_error", "insufficient_quota"})),
        Rule(
            FailureKind.CREDIT,
            message=phrases(r"credit balance is too low", r"API usage limits", r"insufficient (balance|credits?)"),
        ),
        Rule(
            FailureKind.CREDENTIAL,
            message=phrases(
                r"organization has been disabled",
                r"invalid (x-)?api[- ]key",
                r"API key .{0,20}(disabled|expired|revoked)",
            ),
        ),
        Rule(FailureKind.CREDENTIAL, names=frozenset({"authentication_error"})),
        Rule(FailureKind.MODEL, statuses=frozenset({403}), message=phrases(r"\bmodel\b")),
        Rule(FailureKind.MODEL, names=frozenset({"not_found_error"})),
        Rule(FailureKind.RATE_LIMIT, names=frozenset({"rate_limit_error"})),
        Rule(FailureKind.OVERLOAD, names=frozenset({"overloaded_error"})),
    ),
    statuses={
        "invalid_request_error": 400,
        "authentication_error": 401,
        "billing_error": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "api_error": 500,
        "timeout_error": 504,
        "overloaded_error": 529,
    },
    tuning=frozenset({"temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier", EFFORT}),
    renames={},
    needs=frozenset({"tools", "tool_choice", "thinking", "output_config", "context_management", "mcp_servers"}),
    parts=PARTS,
)
