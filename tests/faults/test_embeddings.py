"""Embeddings from sick backends: a broken answer is never a caller's, and another backend of the same model answers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from support.callers import becomes
from support.scripted import Asked, head, upstream, whole
from support.stand import KEY, Stand, stand
from weir_cli.sim import SimModel
from weir_router.contract import BackendLimits, Parameters, Route, TierRef, When

Script = Callable[[Asked], list[bytes]]
ROUTE = Route(
    name="vectors",
    tiers=(TierRef(tier="llm/t0"), TierRef(tier="llm/t1")),
    when=When(operations=frozenset({"Embeddings"})),
)
FINE = {
    "object": "list",
    "model": "v",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1e-9]}, {"index": 1, "embedding": "AAAAPw=="}],
    "usage": {"prompt_tokens": 7, "total_tokens": 7},
}


def vectors(*embeddings: Any, **more: Any) -> dict[str, Any]:
    return {"data": [{"index": at, "embedding": it} for at, it in enumerate(embeddings)], **more}


@contextlib.asynccontextmanager
async def two(sick: Script, healthy: Script, **changes: Any) -> AsyncIterator[Stand]:
    """A router before two backends of one model."""
    both = {"endpoints": ("Embeddings",), "base_model": "v"}
    async with upstream(sick) as first, upstream(healthy) as second:
        given = {"a": {**both, "base_url": first, **changes}, "b": {**both, "base_url": second}}
        async with stand([SimModel("a")], [SimModel("b")], changes=given, routes=(ROUTE,)) as s:
            yield s


def says(answer: bytes) -> Script:
    return lambda asked: [answer]


async def embed(s: Stand, given: Any, **more: Any) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session,
        session.post(f"{s.url}/v1/embeddings", json={"model": "auto", "input": given, **more}) as answer,
    ):
        return answer.status, await answer.read()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (whole(vectors()), "0 vectors for 2 inputs"),
        (whole(vectors([1.0])), "1 vectors for 2 inputs"),
        (whole(vectors([1.0], [1.0], [1.0])), "3 vectors for 2 inputs"),
        (whole(vectors([1.0], [])), "no vector in data[1]"),
        (whole(vectors("", [1.0])), "no vector in data[0]"),
        (whole(vectors(None, [1.0])), "no vector in data[0]"),
        (whole({"data": [{"index": 0}, {"index": 1}]}), "no vector in data[0]"),
        (whole({"data": [{"index": 1, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]}), "not in the order"),
        (whole({"data": [1, 2]}), "no vector in data[0]"),
        (whole({"data": {}}), "without a list of vectors"),
        (whole([]), "not a JSON object"),
        (whole("vectors"), "not JSON"),
        (whole("data: {}\n\n", headers={"content-type": "text/event-stream"}), "not JSON"),
    ],
)
async def test_a_malformed_answer_fails_over(answer: bytes, why: str) -> None:
    fine = json.dumps(FINE, indent=1)
    async with two(says(answer), says(whole(fine))) as s:
        assert await embed(s, ["one", "two"]) == (200, fine.encode())
        first, second = s.last["attempts"]
        assert (first["outcome"], second["outcome"]) == ("malformed", "ok")
        assert why in first["message"]
        assert (s.last["usage"]["input"], s.last["usage"]["output"], s.last["usage"]["estimated"]) == (7, 0, False)


@pytest.mark.parametrize("status", [500, 503, 429, 401])
async def test_a_failing_backend_is_passed_over(status: int) -> None:
    error = whole({"error": {"message": "no", "type": "server_error"}}, status)
    async with two(says(error), says(whole(FINE))) as s:
        assert (await embed(s, ["one", "two"]))[0] == 200
        assert s.last["backend"] == "b"


async def test_an_error_in_a_200_fails_over() -> None:
    error = whole({"error": {"message": "overloaded", "type": "overloaded_error"}})
    async with two(says(error), says(whole(FINE))) as s:
        assert (await embed(s, ["one", "two"]))[0] == 200
        assert [it["outcome"] for it in s.last["attempts"]] == ["overload", "ok"]


async def test_an_answer_without_usage_is_estimated() -> None:
    bare = whole(vectors([1.0], [1.0]))
    async with two(says(bare), says(bare)) as s:
        assert (await embed(s, [*["x" * 40, [1, 2, 3]][:1], "y" * 40]))[0] == 200
        assert (s.last["usage"]["input"], s.last["usage"]["estimated"]) == (20, True)
        assert s.last["dollars"] == pytest.approx(20e-6)


async def test_a_large_request_is_sent_again_whole() -> None:
    seen: list[Any] = []

    def keep(asked: Asked) -> list[bytes]:
        seen.append(asked.body)
        return [whole(FINE) if len(seen) > 1 else head(500, {"content-length": "0"})]

    given = ["a" * 40_000, "b" * 40_000]
    async with two(keep, keep) as s:
        assert (await embed(s, given, dimensions=2, later="kept"))[0] == 200
        assert [it["input"] for it in seen] == [given, given]
        assert seen[1] == {"model": "b", "input": given, "dimensions": 2, "later": "kept"}


async def test_a_refused_model_is_asked_for_embeddings_before_it_is_out() -> None:
    """A chat would be refused by every model for embeddings, and settle nothing."""
    seen: list[Any] = []

    def script(asked: Asked) -> list[bytes]:
        seen.append((asked.path, asked.body))
        if asked.body["input"] == "Hi":
            return [whole(vectors([1.0]))]
        return [whole({"error": {"message": "The model does not exist", "code": "model_not_found"}}, 404)]

    async with two(script, says(whole(FINE))) as s:
        assert (await embed(s, ["one", "two"]))[0] == 200
        await becomes(lambda: len(seen) == 2 and not s.router.board.in_doubt("llm/t0/a"))
        assert seen[1] == ("/embeddings", {"model": "a", "input": "Hi"})
        assert s.router.board.view()["llm/t0/a"].state == "closed"


async def test_the_longest_input_must_fit_and_not_all_of_them() -> None:
    async with two(says(whole(FINE)), says(whole(FINE)), limits=BackendLimits(context_tokens=100)) as s:
        assert (await embed(s, ["a" * 500, "b" * 500]))[0] == 200
        assert s.last["backend"] == "a", "250 tokens together, 125 at most each: no text is refused by an estimate"
        assert (await embed(s, [list(range(101)), [1]]))[0] == 200
        assert s.last["backend"] == "b"


async def test_an_upstreams_refusal_of_an_input_is_the_callers_answer() -> None:
    refusal = {"error": {"message": "Invalid 'input[0]'", "type": "invalid_request_error", "param": "input"}}
    async with two(says(whole(refusal, 400)), says(whole(FINE))) as s:
        status, body = await embed(s, ["one", "two"])
        assert (status, json.loads(body)["error"]["message"]) == (400, "Invalid 'input[0]'")
        assert len(s.last["attempts"]) == 1


async def test_a_chats_defaults_are_not_added() -> None:
    seen: list[Any] = []

    def keep(asked: Asked) -> list[bytes]:
        seen.append(asked.body)
        return [whole(FINE)]

    defaults = Parameters(defaults={"temperature": "0.2", "reasoning_effort": '"low"', "dimensions": "2"})
    async with two(keep, keep, parameters=defaults) as s:
        assert (await embed(s, ["one", "two"]))[0] == 200
        assert seen == [{"model": "a", "input": ["one", "two"], "dimensions": 2}]
