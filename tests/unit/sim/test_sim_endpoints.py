"""The simulator's endpoints beside the wire formats, as the SDKs and plain HTTP see them."""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from array import array
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from weir_cli.sim import Fault, FaultKind, SimModel, Simulator
from weir_cli.sim.endpoints import ENDPOINTS
from weir_cli.sim.models import Service
from weir_router.contract import Dialect

WAV = b"RIFF" + bytes(3_200)
JSON_BODIES: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"input": ["one", "two"]},
    "/v1/completions": {"prompt": "once upon a time"},
    "/v1/moderations": {"input": "hi"},
    "/v1/images/generations": {"prompt": "a dam"},
    "/v1/audio/speech": {"input": "hi", "voice": "alloy"},
    "/v1/rerank": {"query": "a dam", "documents": ["a river", "a dam"]},
    "/v1/responses/input_tokens": {"input": "hello there"},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "hello there"}]},
}
FORMS: dict[str, dict[str, Any]] = {
    "/v1/images/edits": {"image": WAV, "prompt": "a dam"},
    "/v1/images/variations": {"image": WAV},
    "/v1/audio/transcriptions": {"file": WAV},
    "/v1/audio/translations": {"file": WAV},
}
STREAMING = {
    "/v1/completions": {"stream": True},
    "/v1/images/generations": {"stream": True},
    "/v1/audio/speech": {"input": "hello there"},
    "/v1/images/edits": {"stream": "true"},
    "/v1/audio/transcriptions": {"stream": "true"},
}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator([SimModel("m"), SimModel("a", Dialect.ANTHROPIC)]) as sim:
        yield sim


@pytest.fixture
async def sdk(sim: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="x", max_retries=0) as sdk:
        yield sdk


async def post(sim: Simulator, path: str, *, leave_out: str = "", **more: Any) -> tuple[int, str, bytes]:
    """Status, content type and body of the answer to a request that is right but for `leave_out` and `more`."""
    given = {"model": "a" if ENDPOINTS[path].service is Service.MESSAGES else "m"}
    given |= JSON_BODIES.get(path) or FORMS[path]
    fields = {name: value for name, value in (given | more).items() if name != leave_out}
    headers = {"anthropic-version": "1"} if ENDPOINTS[path].service is Service.MESSAGES else {}
    async with aiohttp.ClientSession(sim.url, headers=headers) as http:
        sent: dict[str, Any] = {"json": fields}
        if path in FORMS:
            form = aiohttp.FormData(default_to_multipart=True)
            for name, value in fields.items():
                form.add_field(name, value, **({"filename": "a.wav"} if isinstance(value, bytes) else {}))
            sent = {"data": form}
        async with http.post(path, **sent) as answer:
            return answer.status, answer.headers["content-type"], await answer.read()


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_each_endpoint_answers_alike_each_time_and_counts_its_request(path: str, sim: Simulator) -> None:
    status, kind, body = await post(sim, path)
    assert status == 200, body
    assert (await post(sim, path))[2] == body
    assert kind.startswith("audio/mpeg" if path.endswith("speech") else "application/json")
    assert sum(stats.answered for stats in sim.stats.values()) == 2


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_each_endpoint_refuses_what_a_provider_refuses(path: str, sim: Simulator) -> None:
    assert (await post(sim, path, model="nobody"))[0] == 404
    assert (await post(sim, path, leave_out="model"))[0] == 404
    for field in JSON_BODIES.get(path) or FORMS[path]:
        status, _, body = await post(sim, path, leave_out=field)
        assert (status, field in body.decode()) == (400, True), field
    for kind in ("application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=x"):
        async with aiohttp.ClientSession(sim.url) as http:
            for data in (b"", b"[]", b"--x\r\n\r\n", b"--x\r\n\r\nhi\r\n--x--\r\n", b"\xff"):
                async with http.post(path, data=data, headers={"content-type": kind}) as answer:
                    assert answer.status == 400
                    assert "error" in await answer.json()


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_each_endpoint_has_the_faults(path: str, sim: Simulator) -> None:
    sim.fault("*", Fault(FaultKind.RATE_LIMIT, count=1, retry_after=2), Fault(FaultKind.CUT, after=0))
    assert (await post(sim, path))[0] == 429
    with pytest.raises(aiohttp.ClientPayloadError):
        await post(sim, path)
    sim.fault("*", Fault(FaultKind.ERROR_BODY))
    assert json.loads((await post(sim, path))[2])["error"]


@pytest.mark.parametrize("path", STREAMING)
async def test_streams_are_paced_broken_and_whole(path: str, sim: Simulator) -> None:
    whole = await post(sim, path, **STREAMING[path])
    assert whole[1] == ("audio/mpeg" if path.endswith("speech") else "text/event-stream; charset=utf-8")
    sim.fault("m", Fault(FaultKind.ENDS_EARLY, after=1))
    assert len((await post(sim, path, **STREAMING[path]))[2]) < len(whole[2])


async def test_a_text_has_one_vector_in_each_batch_and_encoding(sim: Simulator, sdk: openai.AsyncOpenAI) -> None:
    one = await sdk.embeddings.create(model="m", input="a dam")
    many = await sdk.embeddings.create(model="m", input=["a river", "a dam"], encoding_format="float")
    assert one.data[0].embedding == pytest.approx(many.data[1].embedding)
    assert one.data[0].embedding != many.data[0].embedding
    assert math.hypot(*one.data[0].embedding) == pytest.approx(1, abs=1e-5)
    assert (len(one.data[0].embedding), one.usage.prompt_tokens, one.usage.total_tokens) == (1536, 2, 2)
    raw = json.loads((await post(sim, "/v1/embeddings", input="a dam", encoding_format="base64"))[2])
    assert array("f", base64.b64decode(raw["data"][0]["embedding"])).tolist() == one.data[0].embedding
    short = (await sdk.embeddings.create(model="m", input=[[1, 2], [3]], dimensions=8)).data
    assert [len(it.embedding) for it in short] == [8, 8]
    assert math.hypot(*short[0].embedding) == pytest.approx(1, abs=1e-5)


async def test_two_simulators_embed_alike(sim: Simulator) -> None:
    async with Simulator([SimModel("m")], seed=7) as other:
        assert await post(sim, "/v1/embeddings") == await post(other, "/v1/embeddings")


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": []}, {"input": ""}, {"input": [""]}, {"input": {"a": 1}}, {"input": ["x"] * 2_049},
        {"input": "x" * 40_000}, {"dimensions": 0}, {"dimensions": 1_537}, {"encoding_format": "hex"},
        {"input": [True]}, {"input": [1.5]},
    ],
)  # fmt: skip
async def test_embeddings_refuse_odd_inputs(wrong: dict[str, Any], sim: Simulator) -> None:
    status, _, body = await post(sim, "/v1/embeddings", **wrong)
    assert (status, json.loads(body)["error"]["param"]) == (400, next(iter(wrong)))


async def test_the_sdk_reads_completions(sdk: openai.AsyncOpenAI) -> None:
    whole = await sdk.completions.create(model="m", prompt="once", max_tokens=5, n=2)
    assert [choice.finish_reason for choice in whole.choices] == ["length", "length"]
    stream = await sdk.completions.create(
        model="m", prompt="once", max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == whole.choices[0].text
    assert (chunks[-1].usage, whole.usage) != (None, None)
    assert chunks[-1].usage.completion_tokens == 5  # type: ignore[union-attr]


async def test_the_sdk_reads_moderations(sdk: openai.AsyncOpenAI) -> None:
    found = await sdk.moderations.create(model="m", input=["hello", "violence"])
    assert [result.flagged for result in found.results] == [False, True]


@pytest.mark.filterwarnings("ignore:deprecated")
async def test_the_sdk_reads_images(sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.images.generate(model="m", prompt="a dam", n=2)
    assert made.data is not None
    pictures = [base64.b64decode(it.b64_json or "") for it in made.data]
    assert pictures[0] != pictures[1]
    assert all(width_of(it) == 8 for it in pictures)
    assert made.usage is not None
    assert made.usage.output_tokens == 544
    edited = await sdk.images.edit(model="m", prompt="a dam", image=[("a.png", pictures[0]), ("b.png", pictures[1])])
    assert edited.usage is not None
    assert edited.usage.input_tokens_details.image_tokens == 170
    varied = await sdk.images.create_variation(model="m", image=("a.png", pictures[0]))
    assert varied.data is not None
    stream = await sdk.images.generate(model="m", prompt="a dam", stream=True, partial_images=2)
    assert [event.type.rpartition(".")[2] async for event in stream] == ["partial_image", "partial_image", "completed"]


def width_of(png: bytes) -> int:
    """The width that a PNG says, after a look at its pixels and sums."""
    at, pixels = 8, b""
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", png, at + 8 + size)[0] == zlib.crc32(kind + data)
        pixels += data if kind == b"IDAT" else b""
        at += size + 12
    width, height = struct.unpack_from(">II", png, 16)
    assert len(zlib.decompress(pixels)) == height * (3 * width + 1)
    return int(width)


@pytest.mark.filterwarnings("ignore:deprecated")
async def test_the_sdk_reads_audio(sdk: openai.AsyncOpenAI) -> None:
    for form, begins in (("wav", b"RIFF"), ("mp3", b"\xff\xfb"), ("pcm", b"\0\0")):
        spoken = await sdk.audio.speech.create(model="m", voice="alloy", input="hello there", response_format=form)  # type: ignore[arg-type]
        assert spoken.content.startswith(begins)
    heard = await sdk.audio.transcriptions.create(model="m", file=("a.wav", WAV))
    assert heard.text
    plain = {}
    for form in ("text", "srt", "vtt"):
        plain[form] = await sdk.audio.transcriptions.create(model="m", file=("a.wav", WAV), response_format=form)  # type: ignore[call-overload]
    assert plain["text"] == f"{heard.text}\n"
    assert plain["srt"].startswith("1\n00:00:00,000 --> 00:00:02,000\n")
    assert plain["vtt"].startswith("WEBVTT\n\n00:00:00.000 --> ")
    stream = await sdk.audio.transcriptions.create(model="m", file=("a.wav", WAV), stream=True)
    events = [event async for event in stream]
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == heard.text
    translated = await sdk.audio.translations.create(model="m", file=("a.wav", WAV))
    assert translated.text != heard.text


async def test_rerank_puts_the_best_first(sim: Simulator) -> None:
    documents = ["a river", {"text": "the dam and the mill"}, "a dam"]
    _, _, body = await post(sim, "/v1/rerank", documents=documents, top_n=2, return_documents=True)
    told = json.loads(body)
    assert [(it["index"], it["document"]["text"]) for it in told["results"]] == [(2, "a dam"), (0, "a river")]
    assert told["meta"]["billed_units"] == {"search_units": 1}
    assert told["usage"]["total_tokens"] > 0


async def test_tokens_are_counted_as_an_answer_counts_them(sim: Simulator, sdk: openai.AsyncOpenAI) -> None:
    answered = await sdk.responses.create(model="m", input="hello there", instructions="be brief")
    counted = await sdk.responses.input_tokens.count(model="m", input="hello there", instructions="be brief")
    assert answered.usage is not None
    assert counted.input_tokens == answered.usage.input_tokens
    async with anthropic.AsyncAnthropic(base_url=sim.url, api_key="x") as other:
        messages: Any = [{"role": "user", "content": "hello there"}]
        message = await other.messages.create(model="a", max_tokens=9, messages=messages)
        number = await other.messages.count_tokens(model="a", messages=messages)
    assert number.input_tokens == message.usage.input_tokens
    assert (await post(sim, "/v1/messages/count_tokens", max_tokens=9))[0] == 400


async def test_one_model_is_shown(sim: Simulator, sdk: openai.AsyncOpenAI) -> None:
    assert (await sdk.models.retrieve("m")).id == "m"
    with pytest.raises(openai.NotFoundError):
        await sdk.models.retrieve("a")
    async with anthropic.AsyncAnthropic(base_url=sim.url, api_key="x") as other:
        assert (await other.models.retrieve("a")).id == "a"


async def test_a_model_takes_what_it_offers_and_nothing_else() -> None:
    models = [SimModel("m", offers=(Service.EMBEDDINGS,)), SimModel("a", offers=(Service.MESSAGES, Service.CHAT))]
    async with Simulator(models) as sim:
        assert (await post(sim, "/v1/embeddings"))[0] == 200
        assert (await post(sim, "/v1/rerank"))[0] == 404
        assert (await post(sim, "/v1/messages/count_tokens"))[0] == 200
        assert (await post(sim, "/v1/embeddings", model="a"))[0] == 404
        async with openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="x") as sdk:
            assert {model.id async for model in sdk.models.list()} == {"m", "a"}
            said = await sdk.chat.completions.create(model="a", messages=[{"role": "user", "content": "hi"}])
            assert said.choices[0].message.content
