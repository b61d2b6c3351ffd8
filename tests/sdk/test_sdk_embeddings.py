"""OpenAI's SDK asks for embeddings through Weir: every form of input, base64 and floats, usage, errors, failover."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from sdk.clients import HI
from support.sidecar import sidecar
from support.stand import KEY, NAMESPACE, Stand, stand
from weir_cli.sim import Fault, FaultKind, SimModel
from weir_router.contract import Route, TierRef, When

VECTORS = {"endpoints": ("Embeddings",)}
NAME = "text-embedding-3-small"


def routes(*tiers: str) -> tuple[Route, ...]:
    refs = tuple(TierRef(tier=f"llm/{tier}") for tier in tiers)
    return (
        Route(name="vectors", tiers=refs, when=When(operations=frozenset({"Embeddings"}))),
        Route(name="talk", tiers=refs),
    )


def one(**more: Any) -> Any:
    return stand([SimModel(NAME, dimensions=8)], changes={NAME: VECTORS}, routes=routes("t0"), **more)


def client(s: Stand, base: str = "/v1") -> openai.OpenAI:
    return openai.OpenAI(base_url=s.url + base, api_key=KEY, max_retries=0)


def asynchronous(s: Stand, base: str = "/v1") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=s.url + base, api_key=KEY, max_retries=0)


@pytest.mark.parametrize(
    ("given", "count"),
    [("hello", 1), (["hello", "you"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)],
    ids=["text", "texts", "tokens", "lists of tokens"],
)
async def test_every_form_of_input_gets_its_vectors(given: Any, count: int) -> None:
    async with one() as s, asynchronous(s) as ask, asynchronous(s, "") as bare:
        found = await ask.embeddings.create(model="auto", input=given)
        assert [len(it.embedding) for it in found.data] == [8] * count
        assert (await bare.embeddings.create(model="auto", input=given)).data == found.data
        assert s.last["path"] == "/v1/embeddings"
        assert (s.last["route"], s.last["backend"], s.last["outcome"]) == ("vectors", NAME, "ok")
        assert s.last["usage"]["input"] == found.usage.prompt_tokens
        assert s.last["dollars"] == pytest.approx(found.usage.prompt_tokens * 1e-6)


async def test_the_sdk_asks_for_base64_and_the_bytes_pass_unchanged() -> None:
    async with one() as s, asynchronous(s) as ask:
        floats = await ask.embeddings.create(model="auto", input="hello", encoding_format="float", dimensions=4)
        coded = await ask.embeddings.create(model="auto", input="hello", encoding_format="base64", dimensions=4)
        text: Any = coded.data[0].embedding
        assert struct.unpack("<4f", base64.b64decode(text)) == pytest.approx(floats.data[0].embedding)
        raw = await ask.embeddings.with_raw_response.create(
            model="auto", input=["a", "b"], user="me", extra_body={"task": "x"}
        )
        assert raw.headers["x-weir-backend"] == NAME
        assert raw.headers["x-request-id"]


async def test_azures_client_names_the_deployment() -> None:
    async with (
        one() as s,
        openai.AsyncAzureOpenAI(azure_endpoint=s.url, api_key=KEY, api_version="2024-10-21", max_retries=0) as ask,
    ):
        assert len((await ask.embeddings.create(model="auto", input="hello")).data) == 1


@pytest.mark.parametrize(
    ("fields", "where", "said"),
    [
        ({"input": ""}, "input", "`input` is empty"),
        ({"input": []}, "input", "`input` is empty"),
        ({"input": ["a", ""]}, "input[1]", "`input[1]` is empty"),
        ({"input": [[1], []]}, "input[1]", "`input[1]` is empty"),
        ({"input": None}, "input", "`input` is required"),
        ({"input": {"text": "a"}}, "input", "not an object"),
        ({"input": ["a", 1]}, "input[1]", "`input[1]` must be a text, as input[0] is, not a number"),
        ({"input": [1, "a"]}, "input[1]", "`input[1]` must be a token, a whole number from 0, not a string"),
        ({"input": [[1], [-1]]}, "input[1][0]", "not -1"),
        ({"input": [{"text": "a"}]}, "input[0]", "not an object"),
        ({"input": [True]}, "input[0]", "not a boolean"),
        ({"input": ["a"] * 2049}, "input", "has 2049 inputs, and a request has at most 2048"),
        ({"input": "a", "dimensions": 0}, "dimensions", "at least 1"),
        ({"input": "a", "dimensions": "4"}, "dimensions", "must be"),
    ],
)
async def test_what_is_wrong_is_named_with_its_place(fields: dict[str, Any], where: str, said: str) -> None:
    async with one() as s, asynchronous(s) as ask:
        with pytest.raises(openai.BadRequestError) as caught:
            await ask.post("/embeddings", body={"model": "auto", **fields}, cast_to=object)
        assert caught.value.param == where
        assert said in caught.value.message
        assert s.last["outcome"] == "refused"
        assert not s.last.get("attempts")


async def test_a_policy_without_a_route_for_embeddings_says_what_is_missing() -> None:
    async with stand([SimModel("m")]) as s, asynchronous(s) as ask:
        with pytest.raises(openai.BadRequestError, match=r"serves Embeddings: name it in when\.operations"):
            await ask.embeddings.create(model="auto", input="hello")


async def test_a_backend_that_does_not_list_them_is_skipped_with_the_reason() -> None:
    async with stand([SimModel("m")], routes=routes("t0")) as s, asynchronous(s) as ask:
        with pytest.raises(openai.BadRequestError, match="m: does not list Embeddings in its endpoints"):
            await ask.embeddings.create(model="auto", input="hello")


async def test_chats_of_the_same_policy_go_elsewhere() -> None:
    async with one() as s, asynchronous(s) as ask:
        await ask.chat.completions.create(model="auto", messages=HI)
        assert s.last["route"] == "talk"


async def test_they_have_metrics_of_their_own() -> None:
    async with one() as s, asynchronous(s) as ask:
        await ask.embeddings.create(model="auto", input="hello")
        value = s.router.metrics.registry.get_sample_value
        labels = {"gen_ai_operation_name": "embeddings", "gen_ai_request_model": NAME}
        assert value("gen_ai_client_operation_duration_seconds_count", labels) == 1
        assert value("gen_ai_client_token_usage_sum", {**labels, "gen_ai_token_type": "input"}) >= 1


async def test_another_backend_of_the_same_model_takes_over_and_one_of_another_never() -> None:
    models = [SimModel("a", dimensions=8)], [SimModel("b", dimensions=8)]
    same = {"endpoints": ("Embeddings",), "base_model": "v-small"}
    async with (
        stand(*models, changes={"a": same, "b": same}, routes=routes("t0", "t1")) as s,
        asynchronous(s) as ask,
    ):
        s.sim.fault("a", Fault(FaultKind.SERVER_ERROR))
        await ask.embeddings.create(model="auto", input="hello")
        assert [it["backend"] for it in s.last["attempts"]] == ["a", "b"]
    other = {"endpoints": ("Embeddings",)}
    async with (
        stand(*models, changes={"a": same, "b": other}, routes=routes("t0", "t1")) as s,
        asynchronous(s) as ask,
    ):
        with pytest.raises(openai.BadRequestError, match="2 models for embeddings, whose vectors cannot be compared"):
            await ask.embeddings.create(model="auto", input="hello")


async def test_a_pods_sidecar_relays_them_and_serves_them_itself(tmp_path: Path) -> None:
    async with (
        sidecar(tmp_path, SimModel(NAME, dimensions=8), changes={NAME: VECTORS}, routes=routes("t0")) as side,
        openai.AsyncOpenAI(base_url=f"{side.url}/v1", api_key="none", max_retries=0) as ask,
    ):
        relayed = await ask.embeddings.create(model="auto", input=["one", "two"])
        assert [line["path"] for line in side.relayed] == ["/v1/embeddings"]
        local = side.local(SimModel(NAME))
        backends = tuple(msgspec.structs.replace(it, **VECTORS) for it in local.tiers[f"{NAMESPACE}/t0"].backends)
        own = msgspec.structs.replace(local.tiers[f"{NAMESPACE}/t0"], backends=backends)
        ref = (TierRef(tier=f"{NAMESPACE}/t0"),)
        route = Route(name="vectors", tiers=ref, when=When(operations=frozenset({"Embeddings"})))
        policy = msgspec.structs.replace(local.policies[0], routes=(route,))
        side.knows(msgspec.structs.replace(local, tiers={f"{NAMESPACE}/t0": own}, policies=(policy,)))
        served = await ask.embeddings.create(model="auto", input=["one", "two"])
        assert served.data == relayed.data
        assert len(side.relayed) == 2
        assert side.relayed[-1]["tier"] == f"{NAMESPACE}/t0"
        assert len(side.own) == 1, "the second was served in the pod"
