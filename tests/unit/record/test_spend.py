"""Cost of an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_router.contract import Backend, Dialect, Price, PriceStep, Tier
from weir_router.dialects.anthropic import usage as of_anthropic
from weir_router.dialects.openai_chat import usage as of_openai
from weir_router.dialects.usage import Usage
from weir_router.record.spend import baseline_dollars, dollars

MILLION = 1_000_000


def anthropic(**counts):
    """The usage that an Anthropic upstream reports."""
    return of_anthropic.counted(counts)


def openai(**counts):
    """The usage that an OpenAI upstream reports."""
    return of_openai.counted(counts)


def test_input_and_output_have_their_own_price():
    assert dollars(Usage(input=MILLION, output=2 * MILLION), Price(input=1.5, output=6.0)) == pytest.approx(13.5)


def test_cache_reads_and_writes_have_theirs_and_are_not_counted_twice():
    usage = Usage(input=MILLION, cached_input=400_000, cache_write=100_000)
    assert dollars(usage, Price(input=3.0, output=15.0, cached_input=0.3, cache_write=3.75)) == pytest.approx(
        0.5 * 3 + 0.4 * 0.3 + 0.1 * 3.75
    )


def test_without_a_price_for_the_cache_its_tokens_cost_what_input_costs():
    assert dollars(Usage(input=MILLION, cached_input=500_000), Price(input=2.0, output=1.0)) == pytest.approx(2.0)


SONNET = Price(input=3, output=15, cached_input=0.3, cache_write=3.75, cache_write_long=6)
"""Claude Sonnet 4.5."""
GEMINI = Price(
    input=1.25,
    output=10,
    cached_input=0.125,
    steps=(PriceStep(above=200_000, input=2.5, output=15, cached_input=0.25),),
)
"""Gemini 2.5 Pro."""
GPT = Price(
    input=4,
    output=20,
    cached_input=0.4,
    cache_write=5,
    cache_write_long=10,
    steps=(PriceStep(above=272_000, input=8, output=30, cached_input=0.8, cache_write=10, cache_write_long=20),),
)
"""GPT-5.6."""


@pytest.mark.parametrize(
    ("usage", "price", "cents"),
    [
        # Anthropic: 50 tokens of prompt, 100,000 written for an hour, 503 of output.
        (
            anthropic(input_tokens=50, cache_creation={"ephemeral_1h_input_tokens": 100_000}, output_tokens=503),
            SONNET,
            60.7695,
        ),
        # The next turn reads it, and writes 248 tokens for five minutes and 1,000 for an hour.
        (
            anthropic(
                input_tokens=50,
                cache_read_input_tokens=100_000,
                cache_creation_input_tokens=1_248,
                cache_creation={"ephemeral_5m_input_tokens": 248, "ephemeral_1h_input_tokens": 1_000},
                output_tokens=503,
            ),
            SONNET,
            4.4625,
        ),
        # An older server that tells no lifetimes writes for five minutes.
        (anthropic(input_tokens=0, cache_creation_input_tokens=100_000, output_tokens=0), SONNET, 37.5),
        # Gemini: the completion leaves thought out, the total has it.
        (openai(prompt_tokens=1_000, completion_tokens=100, total_tokens=3_100), GEMINI, 2.225),
        # xAI: thought stands beside the completion.
        (
            openai(
                prompt_tokens=1_000,
                completion_tokens=100,
                total_tokens=3_100,
                completion_tokens_details={"reasoning_tokens": 2_000},
            ),
            GEMINI,
            2.225,
        ),
        # OpenAI: thought is part of the completion, and the total agrees.
        (
            openai(
                prompt_tokens=1_000,
                completion_tokens=2_100,
                total_tokens=3_100,
                completion_tokens_details={"reasoning_tokens": 2_000},
            ),
            GEMINI,
            2.225,
        ),
        # At the step the ordinary price still counts; one token more, and all tokens have the step's price.
        (openai(prompt_tokens=200_000, completion_tokens=1_000, total_tokens=201_000), GEMINI, 26.0),
        (openai(prompt_tokens=200_001, completion_tokens=1_000, total_tokens=201_001), GEMINI, 51.50025),
        (
            openai(
                prompt_tokens=300_000,
                completion_tokens=10_000,
                total_tokens=310_000,
                prompt_tokens_details={"cached_tokens": 200_000, "cache_write_tokens": 50_000},
            ),
            GPT,
            136.0,
        ),
        # A server that tells the total alone.
        (openai(total_tokens=1_000), GEMINI, 0.125),
    ],
)
def test_a_bill_is_the_providers_to_the_cent(usage, price, cents):
    assert 100 * dollars(usage, price) == pytest.approx(cents, abs=1e-9)


def test_without_a_price_for_the_longer_lifetime_it_is_twice_the_input():
    usage = Usage(input=MILLION, cache_write=MILLION, cache_write_long=MILLION)
    assert dollars(usage, Price(input=3, output=15, cache_write=3.75)) == pytest.approx(6)
    assert dollars(usage, Price(input=3, output=15)) == pytest.approx(3)


def test_the_baseline_is_the_cheapest_priced_backend_of_its_tier():
    def backend(name, price):
        return Backend(name=name, provider=Dialect.OPENAI, base_url="http://x", model="m", price=price)

    tier = Tier(
        namespace="n",
        name="t",
        backends=(backend("a", Price(input=1, output=9)), backend("b", Price(input=1, output=3)), backend("c", None)),
    )
    assert baseline_dollars(Usage(output=MILLION), tier) == pytest.approx(3.0)


def test_nothing_is_claimed_without_a_baseline_or_without_its_price():
    assert baseline_dollars(Usage(output=5), None) is None
    assert baseline_dollars(Usage(output=5), Tier(namespace="n", name="t")) is None


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_no_usage_costs_less_than_nothing(fresh, cached, write, output):
    """The cost is not negative, even if an upstream counts more cached tokens than tokens."""
    assert (
        dollars(
            Usage(input=fresh, cached_input=cached, cache_write=write, output=output),
            Price(input=1, output=2, cached_input=0.1),
        )
        >= 0
    )
