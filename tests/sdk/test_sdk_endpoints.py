"""Passed endpoints through the unchanged OpenAI SDK and plain HTTP: each answer is the simulator's own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest

from sdk.clients import openai_client, openai_direct, told
from support.stand import KEY, UPSTREAM_KEY, Stand, stand
from weir_cli.sim import Fault, FaultKind, SimModel
from weir_router.contract import Operation, Route, TierRef, When

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # by OpenAI, and still in use

ENDPOINTS = ("Completions", "Moderations", "Images", "Audio", "Rerank")
WAV = b"RIFF" + bytes(range(256)) * 40
FAULTS = (
    FaultKind.RATE_LIMIT,
    FaultKind.SERVER_ERROR,
    FaultKind.UNAVAILABLE,
    FaultKind.UNAUTHORIZED,
    FaultKind.NOT_FOUND,
    FaultKind.REFUSE,
    FaultKind.ERROR_BODY,
)


@contextlib.asynccontextmanager
async def served(
    *models: str, operations: tuple[Operation, ...] = tuple(Operation), **policy: Any
) -> AsyncIterator[Stand]:
    """A stand whose models list all endpoints, in one tier each."""
    sims = [SimModel(name) for name in models]
    routes = tuple(
        Route(
            name=it.value.lower(),
            when=When(operations=frozenset({it})),
            tiers=tuple(TierRef(tier=f"llm/t{n}") for n in range(len(sims))),
        )
        for it in operations
    )
    changes = {name: {"endpoints": ENDPOINTS} for name in models}
    async with stand(*[[it] for it in sims], changes=changes, routes=routes, **policy) as s:
        yield s


async def completion(client: openai.AsyncOpenAI, model: str) -> Any:
    return told(await client.completions.create(model=model, prompt="once upon a time"))


async def completion_stream(client: openai.AsyncOpenAI, model: str) -> Any:
    return [told(it) async for it in await client.completions.create(model=model, prompt="once", stream=True)]


async def moderation(client: openai.AsyncOpenAI, model: str) -> Any:
    return told(await client.moderations.create(model=model, input="violence"))


async def image(client: openai.AsyncOpenAI, model: str) -> Any:
    return told(await client.images.generate(model=model, prompt="a dam", n=2))


async def image_stream(client: openai.AsyncOpenAI, model: str) -> Any:
    stream = await client.images.generate(model=model, prompt="a dam", stream=True, partial_images=2)
    return [told(it) async for it in stream]


async def edit(client: openai.AsyncOpenAI, model: str) -> Any:
    return told(await client.images.edit(model=model, image=[("a.png", WAV), ("b.png", WAV)], prompt="a dam"))


async def variation(client: openai.AsyncOpenAI, model: str) -> Any:
    return told(await client.images.create_variation(model=model, image=("a.png", WAV)))


async def speech(client: openai.AsyncOpenAI, model: str) -> Any:
    speech = client.audio.speech.with_streaming_response
    async with speech.create(model=model, voice="alloy", input="hello there") as answer:
        return answer.headers["content-type"], b"".join([it async for it in answer.iter_bytes()])


async def transcription(client: openai.AsyncOpenAI, model: str) -> Any:
    return told(await client.audio.transcriptions.create(model=model, file=("a.wav", WAV)))


async def subtitles(client: openai.AsyncOpenAI, model: str) -> Any:
    return await client.audio.transcriptions.create(model=model, file=("a.wav", WAV), response_format="srt")


async def transcription_stream(client: openai.AsyncOpenAI, model: str) -> Any:
    stream = await client.audio.transcriptions.create(model=model, file=("a.wav", WAV), stream=True)
    return [told(it) async for it in stream]


async def translation(client: openai.AsyncOpenAI, model: str) -> Any:
    return told(await client.audio.translations.create(model=model, file=("a.wav", WAV)))


WAYS = {
    it.__name__: it
    for it in (
        completion,
        completion_stream,
        moderation,
        image,
        image_stream,
        edit,
        variation,
        speech,
        transcription,
        subtitles,
        transcription_stream,
        translation,
    )
}


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_is_the_upstream_s_own(way: str):
    ask = WAYS[way]
    async with served("m") as s, openai_client(s) as client, openai_direct(s.sim) as direct:
        assert await ask(client, "auto") == await ask(direct, "m")
        assert s.last["outcome"] == "ok"
        assert (s.last["model"], s.last["backend"], s.last["upstream_model"]) == ("auto", "m", "m")
        assert s.last.get("stream", False) is (way.endswith("_stream"))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", WAYS)
async def test_a_failure_before_the_answer_goes_to_another_backend(way: str, fault: FaultKind):
    ask = WAYS[way]
    async with served("bad", "good") as s, openai_client(s, max_retries=0) as client, openai_direct(s.sim) as direct:
        s.sim.fault("bad", Fault(fault))
        assert await ask(client, "auto") == await ask(direct, "good")
        assert [it["backend"] for it in s.last["attempts"]] == ["bad", "good"]
        assert s.last["backend"] == "good"


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
async def test_cohere_s_reranking_by_plain_http(path: str):
    body = {"query": "a dam", "documents": ["a river", "a dam"], "top_n": 1}
    async with served("m") as s, aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as http:
        async with http.post(s.url + path, json={"model": "auto", **body}) as answer:
            assert answer.status == 200
            ours = await answer.json()
        async with http.post(f"{s.sim.url}/v1/rerank", json={"model": "m", **body}) as answer:
            assert ours == await answer.json()


async def test_usage_and_cost_are_those_that_the_answer_states():
    async with served("m") as s, openai_client(s) as client:
        answer = await client.completions.create(model="auto", prompt="once upon a time")
        assert answer.usage is not None
        assert s.last["usage"]["input"] == answer.usage.prompt_tokens
        assert s.last["usage"]["output"] == answer.usage.completion_tokens
        assert s.last["dollars"] == pytest.approx(
            (answer.usage.prompt_tokens + 2 * answer.usage.completion_tokens) / 1e6
        )
        image = await client.images.generate(model="auto", prompt="a dam")
        assert image.usage is not None
        assert s.last["usage"]["output"] == image.usage.output_tokens
        async for _ in await client.images.generate(model="auto", prompt="a dam", stream=True):
            pass
        assert s.last["usage"]["output"] == image.usage.output_tokens


async def test_the_cost_of_an_answer_without_tokens_is_unknown_and_not_zero():
    async with served("m") as s, openai_client(s) as client:
        for ask in (moderation, speech, subtitles):
            await ask(client, "auto")
            assert s.last["outcome"] == "ok"
            assert s.last.get("usage") is None
            assert s.last.get("dollars") is None


async def test_an_endpoint_without_a_route_is_refused_with_the_remedy():
    async with (
        served("m", operations=(Operation.CHAT, Operation.IMAGES)) as s,
        openai_client(s, max_retries=0) as client,
    ):
        await image(client, "auto")
        with pytest.raises(openai.APIStatusError, match=r"serves Audio: name it in when\.operations"):
            await transcription(client, "auto")


async def test_no_key_of_the_platform_reaches_a_caller():
    async with served("m") as s, openai_client(s, max_retries=0) as client:
        for way, ask in WAYS.items():
            s.sim.fault(
                "m",
                Fault(
                    FaultKind.BAD_REQUEST,
                    body={"error": {"message": f"bad key {UPSTREAM_KEY}", "type": "invalid_request_error"}},
                ),
            )
            with pytest.raises(openai.BadRequestError) as caught:
                await ask(client, "auto")
            assert UPSTREAM_KEY not in str(caught.value), way


@pytest.mark.parametrize("way", ["image", "image_stream", "edit", "speech", "transcription", "transcription_stream"])
async def test_the_clients_for_azure_are_served(way: str):
    version = "2025-04-01-preview"
    async with (
        served("m") as s,
        openai_direct(s.sim) as direct,
        openai.AsyncAzureOpenAI(azure_endpoint=s.url, api_key=KEY, api_version=version) as azure,
    ):
        assert await WAYS[way](azure, "auto") == await WAYS[way](direct, "m")
