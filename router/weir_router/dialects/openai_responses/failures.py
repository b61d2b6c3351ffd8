"""The table of errors of this format: that of chat completions, with this format's fields. Read by `wire.failures`.

A response that failed has its error in a 200: its codes name no status, so the table gives them one.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.openai_chat.failures import TABLE as CHAT
from weir_router.dialects.wire.failures import Rule
from weir_router.errors import FailureKind

SUMMARY = "summary"
"""Part of `reasoning` that only tunes: OpenAI gives summaries to verified organisations only."""

_IMAGES = (
    *("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "image_too_large"),
    *("image_too_small", "image_parse_error", "invalid_image_mode", "image_file_too_large"),
    *("unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "image_file_not_found"),
)
"""Codes of failures that an image of the request causes."""

TABLE = CHAT._replace(
    rules=(
        Rule(
            FailureKind.CONTENT_FILTER,
            names=frozenset({"bio_policy", "misalignment_policy_violation", "image_content_policy_violation"}),
        ),
        *CHAT.rules,
    ),
    statuses={
        **CHAT.statuses,
        **dict.fromkeys(_IMAGES, 400),
        "invalid_prompt": 400,
        "data_residency_mismatch": 403,
        "vector_store_timeout": 504,
    },
    tuning=frozenset(
        {
            *("temperature", "top_p", "service_tier", "metadata", "user", "safety_identifier", "prompt_cache_key"),
            *("store", "include", "truncation", "parallel_tool_calls", "stream_options", "prompt_cache_retention"),
            *("prompt_cache_options", "max_tool_calls", SUMMARY),
        }
    ),
    renames={},
    needs=frozenset(
        {
            *("tools", "tool_choice", "text", "reasoning", "top_logprobs", "background", "previous_response_id"),
            *("conversation", "prompt", "context_management", "moderation", "stream"),
        }
    ),
)


def error_of(response: dict[str, Any]) -> dict[str, Any]:
    """The error of a failed response, in the form of an error's body."""
    error = response.get("error")
    if isinstance(error, dict) and error:
        return {"error": error}
    return {"error": {"code": "server_error", "message": "the response failed without a reason"}}
