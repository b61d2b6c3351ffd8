"""Reviews of tokens: remembered for a while, bounded, and asked for once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from support.config_server import GATEWAY, TENANT, KnownTokens
from weir_operator.distribute import reviews
from weir_operator.distribute.reviews import CachedReviewer
from weir_operator.kube import token_reviews
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.token_reviews import ReviewUnavailable, TokenRefused


@dataclass
class HeldTokens(KnownTokens):
    """An API server that answers once `held` is set."""

    held: asyncio.Event | None = None

    async def review(self, token: str) -> ServiceAccount:
        if self.held is not None:
            self.asked.append(token)
            await self.held.wait()
            self.asked.remove(token)
        return await super().review(token)


class Cache:
    """A cache with a clock, in front of a reviewer that knows some tokens."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.known = HeldTokens()
        self.reviewer = CachedReviewer(self.known, monotonic=lambda: self.now, **options)
        self.review = self.reviewer.review


def by_name(token: str) -> ServiceAccount:
    """An offline check of tokens such as `team-a:anything`."""
    known = {"gateway": GATEWAY, "tenant": TENANT}
    return known.get(token) or ServiceAccount(token.partition(":")[0], "default")


async def settled(cache: Cache) -> None:
    """Waits until no review runs."""
    await asyncio.gather(*cache.reviewer._asked.values(), return_exceptions=True)


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


async def test_a_token_that_is_shown_again_is_renewed_before_it_lapses(cache: Cache):
    await cache.review("tenant")
    for shown in (50, 100, 150, 200):  # a router polls every 50 s
        cache.now = shown
        held = cache.known.held = asyncio.Event()
        assert await cache.review("tenant") == TENANT  # though the API server has not answered yet
        held.set()
        await settled(cache)
    assert cache.known.asked == ["tenant"] * 5


async def test_an_account_that_is_gone_is_refused_with_the_renewal(cache: Cache):
    await cache.review("tenant")
    del cache.known.accounts["tenant"]
    cache.now = reviews.RENEW_SECONDS
    assert await cache.review("tenant") == TENANT
    await settled(cache)
    with pytest.raises(TokenRefused):
        await cache.review("tenant")


async def test_while_the_api_server_is_away_a_renewal_changes_nothing(cache: Cache):
    await cache.review("tenant")
    cache.known.trouble = ReviewUnavailable("away")
    cache.now = reviews.RENEW_SECONDS
    for _ in range(2):
        assert await cache.review("tenant") == TENANT
        await settled(cache)
    cache.now = reviews.ACCEPTED_SECONDS
    with pytest.raises(ReviewUnavailable):
        await cache.review("tenant")


async def test_what_is_refused_offline_reaches_no_api_server_and_no_memory():
    def refuse(_: str) -> None:
        raise TokenRefused("garbage")

    cache = Cache(check=refuse)
    for number in range(2000):
        with pytest.raises(TokenRefused, match="garbage"):
            await cache.review(str(number))
    assert cache.known.asked == []
    assert len(cache.reviewer._refused._answers) == 0


async def test_a_namespace_s_refusals_and_tokens_crowd_out_only_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reviews, "ACCEPTED_MAX", 100)
    monkeypatch.setattr(reviews, "REFUSED_MAX", 100)
    cache = Cache(check=by_name)
    await cache.review("tenant")
    with pytest.raises(TokenRefused):
        await cache.review("team-a:refused")
    for number in range(300):
        cache.known.accounts[f"loud:{number}"] = ServiceAccount("loud", "default")
        await cache.review(f"loud:{number}")
        with pytest.raises(TokenRefused):
            await cache.review(f"loud:refused-{number}")
    asked = len(cache.known.asked)
    await cache.review("tenant")
    with pytest.raises(TokenRefused):
        await cache.review("team-a:refused")
    assert len(cache.known.asked) == asked
    assert len(cache.reviewer._accepted._answers) == len(cache.reviewer._refused._answers) == 100


async def test_a_flood_of_one_namespace_delays_neither_the_gateway_nor_another_by_more_than_a_turn():
    cache = Cache(check=by_name, own=(GATEWAY,))
    held = cache.known.held = asyncio.Event()
    flood = [asyncio.create_task(cache.review(f"loud:{number}")) for number in range(1000)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(cache.known.asked) == reviews.OTHERS_AT_ONCE
    own, other = asyncio.create_task(cache.review("gateway")), asyncio.create_task(cache.review("tenant"))
    async with asyncio.timeout(5):
        while "gateway" not in cache.known.asked:  # noqa: ASYNC110 - nobody else needs an event for it
            await asyncio.sleep(0)
    held.set()
    assert (await own, await other) == (GATEWAY, TENANT)
    assert cache.known.asked.index("tenant") <= reviews.OTHERS_AT_ONCE + 2
    ends = await asyncio.gather(*flood, return_exceptions=True)
    assert {type(it) for it in ends} == {TokenRefused, ReviewUnavailable}
    assert sum(isinstance(it, TokenRefused) for it in ends) == reviews.OTHERS_AT_ONCE + reviews.WAITING_MAX


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
