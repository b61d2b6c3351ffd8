"""Token reviews for routers: the rights to ask, and answers without the token."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.config_server import GATEWAY, TENANT, KnownTokens
from weir_operator.distribute.server import ConfigServer, listen
from weir_operator.kube.token_reviews import ReviewUnavailable
from weir_router.config.access import Access
from weir_router.identify.review_client import ReviewClient
from weir_router.identify.reviews import NoAnswer

TOKEN = "eyJ-of-a-caller"


@contextlib.asynccontextmanager
async def reviews(folder: Path, callers: KnownTokens | None, *, own: str = "gateway") -> AsyncIterator[ReviewClient]:
    """A router's client of a config server that knows `callers`; `own` is the router's token."""
    runner = await listen(ConfigServer(KnownTokens(), GATEWAY, callers=callers), "127.0.0.1", 0)
    (folder / "token").write_text(own)
    client = ReviewClient(Access(f"http://127.0.0.1:{runner.addresses[0][1]}", folder / "token"))
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()


async def test_a_good_token_and_a_bad_one(tmp_path: Path):
    async with reviews(tmp_path, KnownTokens({TOKEN: TENANT})) as client:
        assert await client.review(TOKEN) is None
        assert await client.review("eyJ-other") == "nobody knows this token"


@pytest.mark.parametrize("own", ["gateway", "stranger"])
async def test_any_router_may_ask(tmp_path: Path, own: str):
    async with reviews(tmp_path, KnownTokens({TOKEN: TENANT}), own=own) as client:
        assert await client.review(TOKEN) is None


async def test_whoever_is_no_router_may_not(tmp_path: Path):
    known = KnownTokens({TOKEN: TENANT})
    async with reviews(tmp_path, known, own="nobody") as client:
        with pytest.raises(NoAnswer, match="HTTP 401: nobody knows this token"):
            await client.review(TOKEN)
    assert known.asked == []


async def test_no_answer_of_the_api_server_is_no_answer(tmp_path: Path):
    async with reviews(tmp_path, KnownTokens(trouble=ReviewUnavailable("TokenReview failed: 500"))) as client:
        with pytest.raises(NoAnswer, match="HTTP 503: TokenReview failed: 500"):
            await client.review(TOKEN)


async def test_an_operator_that_does_not_review_says_so(tmp_path: Path):
    async with reviews(tmp_path, None) as client:
        with pytest.raises(NoAnswer, match="reviews no callers' tokens"):
            await client.review(TOKEN)


async def test_what_is_too_long_is_not_read(tmp_path: Path):
    async with reviews(tmp_path, KnownTokens()) as client:
        with pytest.raises(NoAnswer, match="HTTP 413"):
            await client.review("x" * 20_000)


async def test_a_missing_token_file_and_a_server_that_is_away_are_no_answers(tmp_path: Path):
    client = ReviewClient(Access("http://127.0.0.1:9", tmp_path / "token"))
    with pytest.raises(NoAnswer, match="FileNotFoundError"):
        await client.review(TOKEN)
    (tmp_path / "token").write_text("two words")
    with pytest.raises(NoAnswer, match="does not hold a token"):
        await client.review(TOKEN)
    (tmp_path / "token").write_text("router")
    with pytest.raises(NoAnswer, match="ClientConnectorError"):
        await client.review(TOKEN)
    await client.close()
