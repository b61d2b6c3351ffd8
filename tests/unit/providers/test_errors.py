"""Upstreams' errors: classified by type, code, param and message before status. Bodies are as providers send them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.dialects.axes import Format
from weir_router.dialects.base import FormatRecord
from weir_router.dialects.registry import record_of
from weir_router.errors import AttemptFailed, FailureKind

openai, anthropic = record_of(Format.OPENAI_CHAT), record_of(Format.ANTHROPIC_MESSAGES)

K = FailureKind
NONE: frozenset[str] = frozenset()
ADDED = frozenset({"stream", "stream_options"})


def openai_error(message: str, type: str | None = None, code: Any = None, param: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": type, "code": code, "param": param}}).encode()


def anthropic_error(type: str, message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": type, "message": message}, "request_id": "req_1"}).encode()


def failed(provider: Any, status: int, body: bytes, added: frozenset[str] = NONE, **headers: str) -> AttemptFailed:
    found: AttemptFailed = provider.failure(status, {k.replace("_", "-"): v for k, v in headers.items()}, body, added)
    return found


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, openai_error("Invalid value: 'x'.", "invalid_request_error", "invalid_value", "tool_choice"), K.CALLER),
        (413, b"", K.CALLER),
        (422, b'{"detail":[{"loc":["body","messages",0],"msg":"field required"}]}', K.CALLER),
        (
            400,
            openai_error(
                "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
                "invalid_request_error",
                "context_length_exceeded",
                "messages",
            ),
            K.CONTEXT_LENGTH,
        ),
        (
            400,
            openai_error(
                "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens "
                "(4000 in the messages, 1000 in the completion).",
                "BadRequestError",
                400,
            ),
            K.CONTEXT_LENGTH,
        ),
        (
            400,
            openai_error(
                "'max_tokens' or 'max_completion_tokens' is too large: 9. This model's maximum context "
                "length is 8 tokens",
                "BadRequestError",
                400,
            ),
            K.CONTEXT_LENGTH,
        ),
        (
            400,
            openai_error("the request exceeds the available context size", "exceed_context_size_error", 400),
            K.CONTEXT_LENGTH,
        ),
        (
            400,
            openai_error(
                "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                None,
                "content_filter",
                "prompt",
            ),
            K.CONTENT_FILTER,
        ),
        (
            403,
            openai_error('Your chosen model requires moderation and your input was flagged for "violence".', None, 403),
            K.CONTENT_FILTER,
        ),
        (
            401,
            openai_error(
                "Incorrect API key provided: sk-abc. You can find your API key at ...",
                "invalid_request_error",
                "invalid_api_key",
            ),
            K.CREDENTIAL,
        ),
        (
            400,
            b'[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]',
            K.CREDENTIAL,
        ),
        (
            403,
            openai_error(
                "Country, region, or territory not supported",
                "request_forbidden",
                "unsupported_country_region_territory",
            ),
            K.CREDENTIAL,
        ),
        (403, b"<html>Forbidden</html>", K.BLOCKED),
        (
            403,
            b'{"code":"The caller does not have permission to execute the specified operation",'
            b'"error":"Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"}',
            K.CONTENT_FILTER,
        ),
        (
            403,
            b'{"code":"The caller does not have permission to execute the specified operation",'
            b'"error":"Your newly created team doesn\'t have any credits yet."}',
            K.CREDIT,
        ),
        (404, openai_error("No endpoints found that support tool use. To learn more ...", None, 404), K.UNFIT),
        (404, openai_error("No endpoints found for foo/bar.", None, 404), K.MODEL),
        (
            400,
            b'[{"error":{"code":400,"message":"User location is not supported for the API use.",'
            b'"status":"FAILED_PRECONDITION"}}]',
            K.CREDENTIAL,
        ),
        (
            400,
            openai_error("Organization has been restricted.", "invalid_request_error", "organization_restricted"),
            K.CREDENTIAL,
        ),
        (
            401,
            openai_error(
                "OpenAI-Organization header should match organization for API key",
                "invalid_request_error",
                "mismatched_organization",
            ),
            K.CALLER,
        ),
        (402, openai_error("Insufficient Balance", "unknown_error", "invalid_request_error"), K.CREDIT),
        (
            429,
            openai_error(
                "You exceeded your current quota, please check your plan and billing details.",
                "insufficient_quota",
                "insufficient_quota",
            ),
            K.CREDIT,
        ),
        (
            400,
            openai_error("Billing hard limit has been reached", "invalid_request_error", "billing_hard_limit_reached"),
            K.CREDIT,
        ),
        (403, openai_error("Key limit exceeded (total limit).", None, 403), K.CREDIT),
        (
            404,
            openai_error(
                "The model `gpt-x` does not exist or you do not have access to it.",
                "invalid_request_error",
                "model_not_found",
            ),
            K.MODEL,
        ),
        (
            403,
            openai_error("Project `p` does not have access to model `gpt-4`", "invalid_request_error", None),
            K.MODEL,
        ),
        (400, openai_error("qwen/nope is not a valid model ID", None, 400), K.MODEL),
        (404, b"404 page not found", K.MODEL),
        (405, b"", K.MODEL),
        (301, b"", K.MODEL),
        (429, openai_error("Rate limit reached for gpt-4o", "tokens", "rate_limit_exceeded"), K.RATE_LIMIT),
        (
            413,
            openai_error("Request too large for model on tokens per minute (TPM)", "tokens", "rate_limit_exceeded"),
            K.RATE_LIMIT,
        ),
        (429, b"slow down", K.RATE_LIMIT),
        (408, b"", K.SERVER),
        (500, openai_error("The server had an error", "server_error"), K.SERVER),
        (502, b"<html><h1>502 Bad Gateway</h1></html>", K.SERVER),
        (504, b"", K.SERVER),
        (520, b"", K.SERVER),
        (503, b'{"error":"overloaded"}', K.OVERLOAD),
        (500, openai_error("slow", "overloaded_error"), K.OVERLOAD),
    ],
)
def test_openai_errors(status: int, body: bytes, kind: FailureKind) -> None:
    assert failed(openai, status, body).kind is kind


@pytest.mark.parametrize(
    ("status", "type", "message", "kind"),
    [
        (400, "invalid_request_error", "messages.0.content: Field required", K.CALLER),
        (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", K.CONTEXT_LENGTH),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
            K.CONTEXT_LENGTH,
        ),
        (400, "invalid_request_error", "Output blocked by content filtering policy", K.CONTENT_FILTER),
        (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", K.CREDIT),
        (400, "invalid_request_error", "You have reached your specified API usage limits.", K.CREDIT),
        (402, "billing_error", "Pay.", K.CREDIT),
        (400, "invalid_request_error", "This organization has been disabled.", K.CREDENTIAL),
        (401, "authentication_error", "invalid x-api-key", K.CREDENTIAL),
        (403, "permission_error", "Your API key does not have permission to use the specified resource.", K.CREDENTIAL),
        (403, "permission_error", "Your account may not use this model.", K.MODEL),
        (404, "not_found_error", "model: claude-x", K.MODEL),
        (413, "request_too_large", "Request exceeds the maximum size", K.CALLER),
        (429, "rate_limit_error", "This request would exceed the rate limit", K.RATE_LIMIT),
        (500, "api_error", "Internal server error", K.SERVER),
        (529, "overloaded_error", "Overloaded", K.OVERLOAD),
        (503, "overloaded_error", "Overloaded", K.OVERLOAD),
        (508, "api_error", "This request has passed this Weir installation already", K.LOOP),
    ],
)
def test_anthropic_errors(status: int, type: str, message: str, kind: FailureKind) -> None:
    assert failed(anthropic, status, anthropic_error(type, message)).kind is kind


@pytest.mark.parametrize(
    "body",
    [
        openai_error(
            "Your organization must be verified to stream this model.",
            "invalid_request_error",
            "unsupported_value",
            "stream",
        ),
        openai_error("Unrecognized request argument supplied: stream_options", "invalid_request_error"),
        openai_error("Extra inputs", None, None, "stream_options.include_usage"),
        openai_error("This model does not support streaming", None),
        b'{"detail":[{"loc":["body","stream_options"],"msg":"extra fields not permitted"}]}',
    ],
)
def test_a_400_about_what_weir_added(body: bytes) -> None:
    assert failed(openai, 400, body, ADDED).kind is K.ADDED
    assert failed(openai, 400, body).kind in (K.CALLER, K.UNFIT)  # where the caller asked for it


@pytest.mark.parametrize(
    "body",
    [
        openai_error("Invalid schema for the stream of events", None),
        openai_error("Invalid 'tools'", None, None, "tools"),
        openai_error("`stream_options` is odd", None, None, "messages"),
    ],
)
def test_a_400_about_something_else_stays_the_callers(body: bytes) -> None:
    assert failed(openai, 400, body, ADDED).kind is K.CALLER


def test_anthropic_400_about_the_stream_that_weir_added() -> None:
    body = anthropic_error("invalid_request_error", "stream: Extra inputs are not permitted")
    assert failed(anthropic, 400, body, frozenset({"stream"})).kind is K.ADDED


@pytest.mark.parametrize(
    "value",
    ["insufficient credits", "x' insufficient credits 'y", 'x" incorrect API key "y', "model nope does not exist"],
)
@pytest.mark.parametrize("quote", ["'", '"', "`"])
def test_a_callers_own_words_put_no_backend_out(value: str, quote: str) -> None:
    """Providers echo refused values; one caller's text must not put a backend out for all callers."""
    message = f"Invalid value: {quote}{value}{quote}. Don't do that."
    assert failed(openai, 400, openai_error(message, "invalid_request_error")).kind is not K.CREDIT
    assert failed(openai, 400, openai_error(f"{message} {value}", param="tool_choice")).kind is K.CALLER


def test_what_was_said_is_kept() -> None:
    found = failed(openai, 400, openai_error("Bad.", "invalid_request_error", "invalid_value", "n"))
    assert (found.status, found.message, found.type, found.code, found.param) == (
        400,
        "Bad.",
        "invalid_request_error",
        "invalid_value",
        "n",
    )


def test_a_508_is_a_loop_only_in_an_error_of_the_format() -> None:
    said = {"message": "a tier leads back to it", "type": "server_error", "code": "loop_detected"}
    assert failed(openai, 508, json.dumps({"error": said}).encode()).kind is K.LOOP
    assert failed(openai, 508, b"<html>508 Resource Limit Is Reached</html>").kind is K.SERVER


def test_a_callers_fault_is_never_a_401() -> None:
    found = failed(openai, 401, openai_error("no such organization: org-x", "invalid_request_error"))
    assert (found.kind, found.status) == (K.CALLER, 400)


@pytest.mark.parametrize(
    "message",
    [
        "Incorrect API key provided: sk-proj-abcdef123456. Find yours.",
        "Incorrect API key provided: sk-pr***3456.",
        "key sk-ant-api03-secretsecret is revoked",
        "Authorization: Bearer abcdefsecret was refused",
        "api_key=secretsecret",
        "eyJhbGciOiJIUzI1NiJ9.eyJzZWNyZXQi.secret",
        "AIzaSySecretSecretSecret",
        '{"api_key": "secretsecret", "model": "m"}',
        "{'apiKey':'secretsecret'}",
        "Access denied: invalid subscription key: secretsecret",
        "Ocp-Apim-Subscription-Key=secretsecret",
        "Invalid API key 3456abcdef0123456789abcdef012345",
        "client_secret=secretsecret",
        "ghp_secretsecretsecretsecret",
        "ASIASECRETSECRET",
    ],
)
def test_keys_are_redacted(message: str) -> None:
    found = failed(openai, 400, openai_error(message))
    assert "[redacted]" in found.message
    assert not any(part in found.message for part in ("secretsecret", "Secret", "SECRET", "abcdef", "3456"))


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens: 9 > 8, the risk-assessment of token limits is key-value based",
        "Access denied due to invalid subscription key or wrong API endpoint.",
        "API key expired. Please renew the API key.",
        "Unrecognized keys: 'foo', 'bar'",
        "the secret of a good prompt is brevity",
    ],
)
def test_ordinary_words_are_not_redacted(message: str) -> None:
    assert failed(openai, 400, openai_error(message)).message == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "HTTP 502 without a body"),
        (b"upstream  connect\nerror", "upstream connect error"),
        (b"<html>" + b"x" * 5000, "HTTP 502 with 5006 bytes of text/html"),
        (b'{"error":"boom"}', "boom"),
        (b'{"message":"boom"}', "boom"),
        (b'{"error":{"message":"Provider returned error","metadata":{"raw":"boom"}}}', "Provider returned error: boom"),
        (b'{"error":{}}', "HTTP 502"),
        (b"[]", "[]"),
    ],
)
def test_any_body_has_a_message(body: bytes, message: str) -> None:
    assert failed(openai, 502, body, content_type="text/html").message == message


def test_a_huge_message_is_cut() -> None:
    assert len(failed(openai, 400, openai_error("x" * 500_000)).message) == 2_000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "600"}, 600.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:28:30 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 -0000", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m1.5s"}, 361.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "1s"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1.2.3s"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    found = openai.failure(429, headers, b"", NONE).retry_after
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"message": "x", "code": 502}, K.SERVER, 502),
        ({"message": "x", "code": "429"}, K.RATE_LIMIT, 429),
        ({"message": "x", "type": "insufficient_quota", "code": "insufficient_quota"}, K.CREDIT, None),
        ({"message": "x", "type": "invalid_request_error"}, K.CALLER, 400),
        ({"message": "x", "type": "server_error"}, K.SERVER, 500),
        ({"message": "x", "type": "tokens"}, K.RATE_LIMIT, 429),
        ({"message": "x", "code": "content_filter"}, K.CONTENT_FILTER, 400),
        ("boom", K.SERVER, None),
    ],
)
def test_openai_errors_inside_a_stream_or_a_200(error: Any, kind: FailureKind, status: int | None) -> None:
    for understand in (openai.reader().read, openai.read_whole):
        with pytest.raises(AttemptFailed) as caught:
            understand({"error": error})
        assert (caught.value.kind, caught.value.status) == (kind, status)


def test_vllms_older_error_event() -> None:
    with pytest.raises(AttemptFailed) as caught:
        openai.reader().read({"object": "error", "message": "boom", "type": "BadRequestError", "code": 400})
    assert (caught.value.kind, caught.value.message) == (K.CALLER, "boom")


@pytest.mark.parametrize(
    ("type", "kind", "status"),
    [
        ("overloaded_error", K.OVERLOAD, 529),
        ("api_error", K.SERVER, 500),
        ("rate_limit_error", K.RATE_LIMIT, 429),
        ("invalid_request_error", K.CALLER, 400),
        ("authentication_error", K.CREDENTIAL, 401),
        ("something_new", K.SERVER, None),
    ],
)
def test_anthropic_errors_inside_a_stream_or_a_200(type: str, kind: FailureKind, status: int | None) -> None:
    for understand in (anthropic.reader().read, anthropic.read_whole):
        with pytest.raises(AttemptFailed) as caught:
            understand({"type": "error", "error": {"type": type, "message": "x"}})
        assert (caught.value.kind, caught.value.status) == (kind, status)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "type", "code", "param", "detail", "metadata", "raw", "loc"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(100, 999),
    JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50),
    st.text(max_size=20),
)
def test_any_error_answer_is_classified(status: int, body: bytes, header: str) -> None:
    headers = {"retry-after": header, "date": header, "content-type": header, "retry-after-ms": header}
    for provider in (openai, anthropic):
        assert provider.failure(status, headers, body, ADDED).kind in FailureKind


def refuses(text: str) -> bytes:
    return anthropic_error("invalid_request_error", text)


MISTRAL = b'{"detail":[{"type":"extra_forbidden","loc":["body","user"],"msg":"Extra inputs are not permitted"}]}'


@pytest.mark.parametrize(
    ("format", "status", "body", "field", "tunes"),
    [
        (
            openai,
            400,
            openai_error("Unsupported parameter", None, "unsupported_parameter", "max_tokens"),
            "max_tokens",
            True,
        ),
        (
            openai,
            400,
            openai_error("Only the default (1)", None, "unsupported_value", "temperature"),
            "temperature",
            True,
        ),
        (openai, 400, openai_error("Unsupported parameter: 'seed' is not supported with this model."), "seed", True),
        (openai, 400, openai_error("Unrecognized request argument supplied: logit_bias"), "logit_bias", True),
        (openai, 422, MISTRAL, "user", True),
        (openai, 400, openai_error("registry/gemma3:latest does not support tools"), "tools", False),
        (openai, 400, openai_error("This model does not support image input."), "image", False),
        (openai, 400, openai_error("messages[0].content: this model is not multimodal"), "image", False),
        (openai, 500, openai_error("Cannot use tools with stream", "server_error"), "tools", False),
        (openai, 404, openai_error("No endpoints found that support image input", None, 404), "image", False),
        (openai, 400, openai_error("The value 'temperature' is not supported"), None, False),
        (anthropic, 400, refuses("`temperature` and `top_p` cannot both be specified"), "temperature", True),
        (anthropic, 400, refuses("thinking.type.enabled is not supported for this model"), "thinking", False),
        (anthropic, 400, refuses("This model does not support assistant message prefill."), "prefill", False),
        (anthropic, 400, refuses("mcp_servers: Extra inputs are not permitted"), "mcp_servers", False),
        (anthropic, 400, refuses("This model does not support the effort parameter."), "effort", True),
        (anthropic, 400, refuses("output_config.effort: Extra inputs are not permitted"), "effort", True),
        (anthropic, 400, refuses("output_config.format: Extra inputs are not permitted"), "output_config", False),
        (anthropic, 400, refuses("metadata.temperature: Extra inputs are not permitted"), "metadata", True),
    ],
)
def test_a_refusal_of_this_model_names_the_field(
    format: FormatRecord, status: int, body: bytes, field: str | None, tunes: bool
) -> None:
    failure = failed(format, status, body)
    assert (failure.kind, failure.field, failure.tunes) == (K.UNFIT, field, tunes)


@pytest.mark.parametrize(
    "body",
    [
        openai_error("Invalid type for 'messages': expected an array", "invalid_request_error", None, "messages"),
        openai_error("Missing required parameter: 'messages'"),
        openai_error("you must provide a model parameter"),
    ],
)
def test_a_callers_mistake_is_no_matter_of_the_model(body: bytes) -> None:
    assert failed(openai, 400, body).kind is K.CALLER


def test_a_stream_that_cannot_have_tools_is_taken_back() -> None:
    body = openai_error("Cannot use tools with stream", "server_error")
    assert failed(openai, 500, body, frozenset({"stream"})).kind is K.ADDED
