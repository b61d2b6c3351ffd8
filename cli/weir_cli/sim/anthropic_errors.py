"""Each HTTP fault as Anthropic says it."""

from __future__ import annotations

from weir_cli.sim.faults import FaultKind
from weir_cli.sim.refused import Refused

_INVALID = "invalid_request_error"

ERRORS: dict[FaultKind, Refused] = {
    FaultKind.RATE_LIMIT: Refused(
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 500 requests per minute.",
    ),
    FaultKind.INSUFFICIENT_QUOTA: Refused(
        400,
        _INVALID,
        "Your credit balance is too low to access the Anthropic API. "
        "Please go to Plans & Billing to upgrade or purchase credits.",
    ),
    FaultKind.SERVER_ERROR: Refused(500, "api_error", "Internal server error"),
    FaultKind.UNAVAILABLE: Refused(503, "api_error", "Service unavailable"),
    FaultKind.OVERLOADED: Refused(529, "overloaded_error", "Overloaded"),
    FaultKind.UNAUTHORIZED: Refused(401, "authentication_error", "invalid x-api-key"),
    FaultKind.PAYMENT_REQUIRED: Refused(
        402, "billing_error", "There is an issue with your billing or payment information."
    ),
    FaultKind.FORBIDDEN: Refused(
        403, "permission_error", "Your API key does not have permission to use the specified resource."
    ),
    FaultKind.NOT_FOUND: Refused(404, "not_found_error", "model: {model}"),
    FaultKind.TIMEOUT: Refused(408, "timeout_error", "Request timed out."),
    FaultKind.BAD_REQUEST: Refused(400, _INVALID, "messages: Input should be a valid list"),
    FaultKind.CONTENT_FILTER: Refused(400, _INVALID, "Output blocked by content filtering policy"),
    FaultKind.CONTEXT_LENGTH: Refused(400, _INVALID, "prompt is too long: 208310 tokens > 200000 maximum"),
    FaultKind.STREAM_REFUSED: Refused(400, _INVALID, "stream: streaming is not supported for this model"),
}
"""Errors by fault. A fault that is no HTTP error has none."""
