"""Batches of inputs for embeddings, within what each provider takes in one request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from weir_router.contract import Backend, Dialect
from weir_router.decide.asked import asked
from weir_router.dialects.openai_embeddings.request import read


def at(url: str, given: Any) -> str | None:
    measured = asked(read(json.dumps({"model": "auto", "input": given}).encode(), {}), {})
    assert measured.unable is not None
    return measured.unable(Backend(name="b", provider=Dialect.OPENAI, base_url=url, model="m"))


@pytest.mark.parametrize(
    ("url", "most"),
    [
        ("https://api.openai.com/v1", 2_048),
        ("https://us.openai.azure.com/openai/v1", 2_048),
        ("https://generativelanguage.googleapis.com/v1beta/openai", 100),
        ("https://api.cohere.com/compatibility/v1", 96),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", 10),
    ],
)
def test_a_provider_takes_as_many_inputs_as_it_says(url: str, most: int) -> None:
    assert at(url, ["a"] * most) is None
    if most < 2_048:
        assert at(url, ["a"] * (most + 1)) == (
            f"takes {most} inputs in one request, and this one has {most + 1}: send several"
        )


def test_an_own_server_says_itself_what_is_too_much() -> None:
    assert at("http://vllm.models:8000/v1", ["a"] * 2_048) is None
    assert at("https://notapi.openai.com.example/v1", [[1] * 8_000] * 100) is None


def test_openai_takes_300000_tokens_and_a_text_is_not_refused_by_an_estimate() -> None:
    openai = "https://api.openai.com/v1"
    assert at(openai, ["x" * 4 * 400_000]) is None
    assert at(openai, ["x" * 4 * 460_000]) == (
        "takes 300000 tokens in one request, and this one has 306666 at least: send several"
    )


def test_the_size_is_that_of_all_inputs_and_the_longest_counts_for_the_context() -> None:
    measured = asked(read(b'{"model": "auto", "input": ["0123456789ab", "abcd"]}', {}), {})
    assert (measured.features.tokens, measured.features.turns, measured.longest) == (4, 2, 2)
    tokens = asked(read(b'{"model": "auto", "input": [[1, 2, 3], [4]]}', {}), {"x-weir-feature": "search"})
    assert (tokens.features.tokens, tokens.longest, tokens.feature) == (4, 3, "search")
