"""OpenAI's SDK for Azure works: a deployment's name is the name of a model, and its key comes in `api-key`."""

from typing import Any

import aiohttp
import openai
import pytest

from sdk.clients import HI
from support.stand import KEY, Stand, stand
from weir_cli.sim import SimModel

VERSION = "2024-10-21"
OTHER = "sk-foreign-0123456789"
PATHS = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
TOKEN = "eyJhbGciOiJSUzI1NiJ9.e30.AA"


def azure(s: Stand, **options: Any) -> openai.AsyncAzureOpenAI:
    return openai.AsyncAzureOpenAI(
        **{"azure_endpoint": s.url, "api_key": KEY, "api_version": VERSION, "max_retries": 0, **options}
    )


async def posted(s: Stand, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, dict]:
    async with (
        aiohttp.ClientSession(headers={"api-key": KEY} if headers is None else headers) as session,
        session.post(s.url + path, **({"data": body} if isinstance(body, bytes) else {"json": body})) as answer,
    ):
        return answer.status, await answer.json()


async def test_chat_by_the_deployment_in_the_call() -> None:
    async with stand([SimModel("m")], models=("auto", "org/big model")) as s, azure(s) as client:
        for name in ("auto", "org/big model"):
            whole = await client.chat.completions.create(model=name, messages=HI)
            assert whole.choices[0].message.content
            assert s.last["model"] == name
        parts = [it async for it in await client.chat.completions.create(model="auto", messages=HI, stream=True)]
        assert parts[-1].choices[0].finish_reason == "stop"
        assert s.last["path"] == "/v1/chat/completions"


async def test_chat_by_the_deployment_of_the_client_which_wins_over_the_body() -> None:
    async with stand([SimModel("m")]) as s, azure(s, azure_deployment="auto") as client:
        await client.chat.completions.create(model="gpt-4o", messages=HI)
        assert s.last["model"] == "auto"
    async with stand([SimModel("m")]) as s, azure(s, azure_deployment="nothing") as client:
        with pytest.raises(openai.NotFoundError, match="'nothing'"):
            await client.chat.completions.create(model="auto", messages=HI)


async def test_responses_and_models_have_no_deployment_in_their_path() -> None:
    async with stand([SimModel("m")]) as s, azure(s) as client:
        assert (await client.responses.create(model="auto", input="hi")).output_text
        assert [it.id for it in (await client.models.list()).data] == ["auto"]
        async with openai.AsyncOpenAI(base_url=f"{s.url}/openai/v1/", api_key=KEY) as newer:
            assert (await newer.responses.create(model="auto", input="hi")).output_text
            assert (await newer.chat.completions.create(model="auto", messages=HI)).choices


@pytest.mark.parametrize(
    "body",
    [
        {"messages": HI},
        {"messages": HI, "model": None},
        {"model": "other", "messages": HI},
        {"messages": HI, "model": 7},
        b'  {"messages": [{"role": "user", "content": "hi"}] , "model": "a" , "model": "b" }\n ',
    ],
)
async def test_a_body_need_not_name_a_model(body: Any) -> None:
    async with stand([SimModel("m")], models=("auto", 'odd "name"')) as s:
        for name, path in (("auto", "auto"), ('odd "name"', "odd%20%22name%22")):
            at = f"/openai/deployments/{path}/chat/completions?api-version={VERSION}"
            status, answer = await posted(s, at, body)
            assert (status, s.last["model"]) == (200, name), answer
            assert s.sim.requests("m")[-1].body.count(b'"model"') == 1


@pytest.mark.parametrize("body", [b"{}", b"{ }", b"", b"[]", b"}", b'{"messages":[]}}', b'"}"', b"null", b'{"a":"}'])
async def test_a_body_that_is_none_is_refused_as_ever(body: bytes) -> None:
    async with stand([SimModel("m")]) as s:
        status, answer = await posted(s, "/openai/deployments/auto/chat/completions", body)
        assert (status, "error" in answer) == (400, True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"api-key": KEY}, 200),
        ({"api-key": KEY, "authorization": f"Bearer {KEY}"}, 200),
        ({"api-key": KEY, "authorization": f"Bearer {OTHER}"}, 200),
        ({"api-key": OTHER, "authorization": f"Bearer {KEY}"}, 200),
        ({"api-key": KEY, "authorization": "Basic YTpi"}, 200),
        ({"api-key": KEY, "authorization": f"Bearer {TOKEN}"}, 200),
        ({"api-key": KEY, "x-api-key": OTHER}, 200),
        ({"api-key": KEY, "x-api-key": OTHER, "authorization": f"Bearer {OTHER}"}, 200),
        ({"api-key": OTHER, "x-api-key": KEY, "authorization": f"Bearer {OTHER}"}, 200),
        ({"api-key": "", "authorization": f"Bearer {KEY}"}, 200),
        ({"api-key": OTHER}, 401),
        ({"api-key": OTHER, "authorization": f"Bearer {OTHER}"}, 401),
        ({"api-key": ""}, 401),
    ],
)
async def test_a_key_in_api_key_is_found_on_every_path_beside_any_other(headers: dict[str, str], status: int) -> None:
    async with stand([SimModel("m")]) as s:
        given = {"model": "auto", "max_tokens": 5, "messages": HI, "input": "hi"}
        for path in (*PATHS, "/openai/deployments/auto/chat/completions"):
            assert (await posted(s, path, given, headers))[0] == status, path
        async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{s.url}/v1/models") as answer:
            assert answer.status == status
