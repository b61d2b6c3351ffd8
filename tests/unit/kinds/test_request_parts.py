"""Headers, query, the key's header and default parameters of a backend: what is taken, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from weir_operator.kinds.modeltier.request import (
    AUTH_HEADERS,
    OWN_HEADERS,
    HeaderSpec,
    ParametersSpec,
    QueryParameter,
    default_of,
    extra_of,
)
from weir_operator.kinds.modeltier.schema import BackendSpec
from weir_router.contract import Extra

BACKEND = {"name": "b", "provider": "OpenAI", "model": "m"}


def spec(**fields: Any) -> BackendSpec:
    return BackendSpec.model_validate(BACKEND | fields)


@pytest.mark.parametrize(
    "name", [*OWN_HEADERS, *AUTH_HEADERS, "x-weir-tier", "X-Weir-Hops", "Content-Length", "a b", ""]
)
def test_a_header_that_the_router_sets_or_that_holds_a_key_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        HeaderSpec.model_validate({"name": name, "value": "v"})


@pytest.mark.parametrize("value", ["", " a", "a\r\nhost: evil", "a\x00", "é"])
def test_a_value_that_could_end_a_header_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        HeaderSpec.model_validate({"name": "x-a", "value": value})
    with pytest.raises(ValidationError):
        QueryParameter.model_validate({"name": "a", "value": value})


@pytest.mark.parametrize("name", ["key", "api_key", "Access_Token", "a&b", "a=b", "a b"])
def test_no_key_goes_into_a_url(name: str) -> None:
    with pytest.raises(ValidationError):
        QueryParameter.model_validate({"name": name, "value": "v"})


def test_headers_differ_by_more_than_their_case() -> None:
    with pytest.raises(ValidationError, match="must differ"):
        spec(headers=[{"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}])


@pytest.mark.parametrize("name", ["model", "messages", "stream", "stream_options", ""])
def test_what_the_router_writes_has_no_default(name: str) -> None:
    with pytest.raises(ValidationError):
        ParametersSpec.model_validate({"defaults": {name: "1"}})


def test_a_backend_without_any_of_it_has_nothing_extra() -> None:
    it = spec()
    assert extra_of(it.headers, it.query, None) is None


def test_the_compiled_form() -> None:
    it = spec(
        headers=[{"name": "HTTP-Referer", "value": "https://a.example/?b=c"}],
        query=[{"name": "api-version", "value": "2024-10-21"}, {"name": "q", "value": "a b&c=d#e"}],
        credentials={"secretRef": {"name": "s", "key": "k"}, "header": "Api-Key"},
    )
    assert it.credentials is not None
    assert extra_of(it.headers, it.query, it.credentials.header) == Extra(
        headers={"http-referer": "https://a.example/?b=c"},
        query="api-version=2024-10-21&q=a+b%26c%3Dd%23e",
        key_header="api-key",
    )


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0.2", 0.2),
        ("true", True),
        ("null", None),
        ("high", "high"),
        ('"5"', "5"),
        ('["a", "b"]', ["a", "b"]),
        ('{"type": "adaptive"}', {"type": "adaptive"}),
        ("NaN", "NaN"),
        ("{broken", "{broken"),
        ("1e999", "1e999"),
        ("[" * 4000, "[" * 4000),
    ],
)
def test_a_default_is_json_or_else_a_text(written: str, value: object) -> None:
    assert json.loads(default_of(written)) == value


@given(st.text(min_size=1, max_size=50))
def test_any_default_is_json_in_the_end(written: str) -> None:
    json.loads(default_of(written), parse_constant=lambda it: pytest.fail(it))
