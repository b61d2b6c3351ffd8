"""Each HTTP fault as OpenAI says it."""

from __future__ import annotations

from weir_cli.sim.faults import FaultKind
from weir_cli.sim.refused import Refused

_INVALID = "invalid_request_error"

ERRORS: dict[FaultKind, Refused] = {
    FaultKind.RATE_LIMIT: Refused(
        429,
        "requests",
        "Rate limit reached for {model} on requests per min (RPM): Limit 500, Used 500, Requested 1.",
        code="rate_limit_exceeded",
    ),
    FaultKind.INSUFFICIENT_QUOTA: Refused(
        429,
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
        code="insufficient_quota",
    ),
    FaultKind.SERVER_ERROR: Refused(
        500, "server_error", "The server had an error while processing your request. Sorry about that!"
    ),
    FaultKind.UNAVAILABLE: Refused(503, "server_error", "The engine is currently overloaded, please try again later."),
    FaultKind.OVERLOADED: Refused(529, "overloaded_error", "Overloaded", code="overloaded"),
    FaultKind.UNAUTHORIZED: Refused(401, _INVALID, "Incorrect API key provided: ****.", code="invalid_api_key"),
    FaultKind.PAYMENT_REQUIRED: Refused(402, "unknown_error", "Insufficient Balance", code=_INVALID),
    FaultKind.FORBIDDEN: Refused(
        403, _INVALID, "Project `proj_sim` does not have access to model `{model}`", code="model_not_found"
    ),
    FaultKind.NOT_FOUND: Refused(
        404, _INVALID, "The model `{model}` does not exist or you do not have access to it.", code="model_not_found"
    ),
    FaultKind.TIMEOUT: Refused(408, "timeout", "Request timed out.", code="timeout"),
    FaultKind.BAD_REQUEST: Refused(
        400, _INVALID, "Invalid value for 'messages'.", param="messages", code="invalid_value"
    ),
    FaultKind.CONTENT_FILTER: Refused(
        400,
        _INVALID,
        "Your request was rejected as a result of our safety system.",
        code="content_policy_violation",
    ),
    FaultKind.CONTEXT_LENGTH: Refused(
        400,
        _INVALID,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. "
        "Please reduce the length of the messages.",
        param="messages",
        code="context_length_exceeded",
    ),
    FaultKind.STREAM_REFUSED: Refused(
        400,
        _INVALID,
        "Your organization must be verified to stream this model.",
        param="stream",
        code="unsupported_value",
    ),
}
"""Errors by fault. A fault that is no HTTP error has none."""
