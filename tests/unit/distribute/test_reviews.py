"""Reviews of tokens: remembered for a while, bounded, and asked for once."""

from __future__ import annotations

import asyncio

import pytest

from support.config_server import TENANT, KnownTokens
from weir_operator.distribute import reviews
from weir_operator.distribute.reviews import CachedReviewer
from weir_operator.kube import token_reviews
from weir_operator.kube.token_reviews import ReviewUnavailable, TokenRefused


class Cache:
    """A cache with a clock, in front of a reviewer that knows some tokens."""

    def __init__(self) -> None:
        self.now = 0.0
        self.known = KnownTokens()
        self.reviewer = CachedReviewer(self.known, monotonic=lambda: self.now)
        self.review = self.reviewer.review


@pytest.fixture
def cache() -> Cache:
    return Cache()


async def test_an_accepted_token_is_asked_about_once_a_minute(cache: Cache):
    assert await cache.review("tenant") == TENANT
    cache.now = reviews.ACCEPTED_SECONDS - 0.1
    assert await cache.review("tenant") == TENANT
    assert cache.known.asked == ["tenant"]
    cache.now += 0.2
    del cache.known.accounts["tenant"]
    with pytest.raises(TokenRefused):
        await cache.review("tenant")


async def test_a_refused_token_is_remembered_shortly_with_its_reason(cache: Cache):
    for _ in range(2):
        with pytest.raises(TokenRefused, match="nobody knows this token"):
            await cache.review("late")
    assert cache.known.asked == ["late"]
    cache.known.accounts["late"] = TENANT
    cache.now = reviews.REFUSED_SECONDS + 0.1
    assert await cache.review("late") == TENANT


async def test_while_the_api_server_is_away_known_tokens_are_good_and_others_are_not_refused(cache: Cache):
    await cache.review("tenant")
    cache.known.trouble = ReviewUnavailable("away")
    assert await cache.review("tenant") == TENANT
    with pytest.raises(ReviewUnavailable):
        await cache.review("gateway")
    cache.known.trouble = None
    assert await cache.review("gateway")


async def test_many_who_ask_at_the_same_time_cost_one_review(cache: Cache):
    assert set(await asyncio.gather(*(cache.review("tenant") for _ in range(50)))) == {TENANT}
    assert cache.known.asked == ["tenant"]


async def test_one_who_goes_away_does_not_take_the_answer_from_the_others(cache: Cache):
    first = asyncio.create_task(cache.review("tenant"))
    second = asyncio.create_task(cache.review("tenant"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == TENANT


async def test_strangers_cannot_drive_out_what_is_accepted(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    await cache.review("tenant")
    for number in range(reviews.REFUSED_MAX + 1):
        with pytest.raises(TokenRefused):
            await cache.review(str(number))
    asked = len(cache.known.asked)
    await cache.review("tenant")
    assert len(cache.known.asked) == asked
    with pytest.raises(TokenRefused):
        await cache.review("0")  # the oldest refusal was forgotten
    assert len(cache.known.asked) == asked + 1


async def test_no_token_is_kept(cache: Cache):
    await cache.review("tenant")
    assert "tenant" not in repr(vars(cache.reviewer._accepted)).replace(repr(TENANT), "")


@pytest.mark.parametrize(
    "username", ["admin", "", "system:node:a", "system:serviceaccount:team-a", "system:serviceaccount:team-a:"]
)
def test_only_a_service_account_is_a_router(username: str):
    with pytest.raises(TokenRefused, match="not that of a ServiceAccount"):
        token_reviews._service_account(username)
    assert token_reviews._service_account("system:serviceaccount:team-a:default") == TENANT
