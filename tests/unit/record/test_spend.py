"""Cost of an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_router.contract import Backend, Dialect, Price, Tier
from weir_router.dialects.usage import Usage
from weir_router.record.spend import baseline_dollars, dollars

MILLION = 1_000_000


def test_input_and_output_have_their_own_price():
    assert dollars(Usage(input=MILLION, output=2 * MILLION), Price(input=1.5, output=6.0)) == pytest.approx(13.5)


def test_cache_reads_and_writes_have_theirs_and_are_not_counted_twice():
    usage = Usage(input=MILLION, cached_input=400_000, cache_write=100_000)
    assert dollars(usage, Price(input=3.0, output=15.0, cached_input=0.3, cache_write=3.75)) == pytest.approx(
        0.5 * 3 + 0.4 * 0.3 + 0.1 * 3.75
    )


def test_without_a_price_for_the_cache_its_tokens_cost_what_input_costs():
    assert dollars(Usage(input=MILLION, cached_input=500_000), Price(input=2.0, output=1.0)) == pytest.approx(2.0)


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
