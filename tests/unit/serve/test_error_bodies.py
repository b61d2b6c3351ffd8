"""Errors name the failed part, in the caller's format, and say whether a retry can help."""

import inspect

import msgspec
import pytest

from weir_router import errors as tree
from weir_router.contract import Dialect
from weir_router.dialects.anthropic import errors as anthropic
from weir_router.dialects.openai_chat import errors as openai
from weir_router.dialects.registry import caller_named
from weir_router.errors import AttemptRecord, RateLimited, Unavailable, UpstreamRefused, WeirError
from weir_router.serve import errors

TRAIL = [AttemptRecord("llm/t", "b", "silent", 2.0, message="no content within 2.0 s")]
ALL = [
    c
    for _, c in inspect.getmembers(tree, inspect.isclass)
    if issubclass(c, WeirError) and c not in (WeirError, UpstreamRefused)
]


def body(error, dialect):
    return msgspec.json.decode(caller_named(dialect).error_body(error, "weir-1"))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dialect", list(Dialect))
def test_every_error_has_a_body_with_source_code_and_trail(kind, dialect):
    detail = body(kind("prompt is too long", trail=TRAIL), dialect)["error"]
    assert (detail["message"], detail["code"], detail["source"]) == ("prompt is too long", kind.code, kind.source.value)
    assert detail["attempts"][0]["backend"] == "b"


@pytest.mark.parametrize("kind", ALL)
def test_every_error_says_that_a_retry_does_not_help_unless_it_does(kind):
    assert errors.headers(kind("x"))["x-should-retry"] == "false"
    assert errors.headers(kind("x", retry_after=3.2))["retry-after"] == "4"


def test_a_retry_that_can_help_says_when():
    said = errors.headers(RateLimited("x", retry_after=12))
    assert (said["x-should-retry"], said["retry-after"]) == ("true", "12")


def test_a_wait_longer_than_the_sdks_honour_is_no_retry():
    said = errors.headers(Unavailable("x", retry_after=3600))
    assert (said["x-should-retry"], said["retry-after"]) == ("false", "120")


def test_an_upstreams_refusal_keeps_its_status_type_and_param():
    error = UpstreamRefused("bad tool", status=422, code="invalid_tool", kind="invalid_request_error", param="tools")
    detail = body(error, Dialect.OPENAI)["error"]
    assert (error.status, detail["type"], detail["param"], detail["code"]) == (
        422,
        "invalid_request_error",
        "tools",
        "invalid_tool",
    )


def test_the_anthropic_dialect_has_its_own_shape_and_types():
    shape = body(Unavailable("x"), Dialect.ANTHROPIC)
    assert (shape["type"], shape["error"]["type"], shape["request_id"]) == ("error", "overloaded_error", "weir-1")


def test_a_stream_ends_in_an_event_of_its_dialect():
    assert anthropic.event(Unavailable("x"), "r").startswith(b"event: error\ndata: {")
    assert openai.event(Unavailable("x"), "r").startswith(b'data: {"error":')
    assert openai.event(Unavailable("x"), "r").endswith(b"\n\n")
