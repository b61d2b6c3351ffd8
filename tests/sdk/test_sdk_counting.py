"""Tokens are counted without an answer: by the provider where it can, otherwise by an estimate that says so."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from anthropic.types.beta import message_count_tokens_params as of_anthropic
from openai.types.responses import input_token_count_params as of_openai

from sdk.clients import ANTHROPIC_TOOLS, HI, PIXEL, anthropic_client, openai_client
from support.servers import one_request, talking
from support.sidecar import sidecar
from support.stand import KEY, UPSTREAM_KEY, stand
from weir_cli.sim import Fault, FaultKind, SimModel
from weir_operator.sidecar.inject import PLACEHOLDER
from weir_router.contract import BackendLimits, Dialect, Limit, Parameters, Route, Thinking, TierRef, Traits
from weir_router.dialects.anthropic.counting import FIELDS as MESSAGES_FIELDS
from weir_router.dialects.openai_responses.counting import FIELDS as RESPONSES_FIELDS
from weir_router.serve.counting import ESTIMATED

CLAUDE = SimModel("c", dialect=Dialect.ANTHROPIC)
GPT = SimModel("g")
RESPONSES = {"g": {"formats": ("Responses", "Chat")}}
TALK: Any = [
    {"role": "user", "content": "Read the file."},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "a.txt"}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "some text"}]},
]
COUNT, INPUT = "/v1/messages/count_tokens", "/v1/responses/input_tokens"
GIVEN = {"model": "auto", "messages": HI, "input": "hi"}


async def asked(s: Any, path: str, body: Any = GIVEN, **headers: str) -> tuple[int, dict[str, Any], Any]:
    keyed = {"authorization": f"Bearer {KEY}"} | headers
    async with (
        aiohttp.ClientSession(headers=keyed) as session,
        session.post(s.url + path, **({"data": body} if isinstance(body, bytes) else {"json": body})) as answer,
    ):
        return answer.status, await answer.json(), answer.headers


def test_the_counted_fields_are_those_of_the_sdks() -> None:
    account = {"betas", "user_profile_id", "workspace_id"}
    assert set(of_anthropic.MessageCountTokensParams.__annotations__) - account <= MESSAGES_FIELDS
    assert set(of_openai.InputTokenCountParams.__annotations__) == RESPONSES_FIELDS


async def test_anthropic_counts_what_a_message_would_cost_there() -> None:
    async with stand([CLAUDE]) as s, anthropic_client(s) as client:
        for more in ({}, {"system": "be brief"}, {"tools": ANTHROPIC_TOOLS}):
            message = await client.messages.create(model="auto", max_tokens=9, messages=TALK, **more)
            raw = await client.messages.with_raw_response.count_tokens(model="auto", messages=TALK, **more)
            assert (await raw.parse()).input_tokens == message.usage.input_tokens
            assert ESTIMATED not in raw.headers
            assert raw.headers["x-weir-backend"] == "c"
        counted = s.sim.requests("c")[-1]
        assert counted.path == COUNT
        assert counted.headers["x-api-key"] == UPSTREAM_KEY
        assert counted.json()["model"] == "c"


async def test_fields_of_a_message_do_not_hinder_a_count() -> None:
    traits = Traits(thinking=Thinking.BUDGET)
    changes = {"c": {"traits": traits, "parameters": Parameters(defaults={"temperature": "1", "stream": "true"})}}
    body = {
        **GIVEN,
        "max_tokens": 9,
        "stream": True,
        "temperature": 1,
        "metadata": {},
        "thinking": {"type": "adaptive"},
    }
    async with stand([CLAUDE], changes=changes) as s:
        status, said, headers = await asked(s, COUNT, body)
        assert (status, set(said), ESTIMATED in headers) == (200, {"input_tokens"}, False)
        assert set(s.sim.requests("c")[-1].json()) == {"model", "messages", "thinking"}


async def test_openai_counts_the_input_of_a_response() -> None:
    async with stand([GPT], changes=RESPONSES) as s, openai_client(s) as client:
        response = await client.responses.create(model="auto", input="hello there", instructions="be brief")
        raw = await client.responses.input_tokens.with_raw_response.count(
            model="auto", input="hello there", instructions="be brief"
        )
        counted = raw.parse()
        assert response.usage is not None
        assert (counted.object, counted.input_tokens) == ("response.input_tokens", response.usage.input_tokens)
        assert ESTIMATED not in raw.headers


@pytest.mark.parametrize("model", [GPT, SimModel("g", dialect=Dialect.ANTHROPIC)])
async def test_a_backend_of_another_format_leads_to_an_estimate_that_is_marked(model: SimModel) -> None:
    async with stand([model]) as s, anthropic_client(s) as of_claude, openai_client(s) as of_gpt:
        if model is GPT:
            raw = await of_claude.messages.with_raw_response.count_tokens(model="auto", messages=TALK)
            assert (raw.headers[ESTIMATED], (await raw.parse()).input_tokens > 5) == ("true", True)
            assert "x-weir-backend" not in raw.headers
        other = await of_gpt.responses.input_tokens.with_raw_response.count(model="auto", input="hello there")
        assert (other.headers[ESTIMATED], other.parse().input_tokens) == ("true", 7)
        assert not s.sim.requests("g")


@pytest.mark.parametrize(
    "kind", [FaultKind.SERVER_ERROR, FaultKind.UNAUTHORIZED, FaultKind.RESET, FaultKind.BAD_REQUEST]
)
async def test_a_count_that_fails_is_estimated_and_costs_the_backend_no_message(kind: FaultKind) -> None:
    async with stand([CLAUDE]) as s:
        s.sim.fault("c", Fault(kind))
        for _ in range(3):
            status, said, headers = await asked(s, COUNT)
            assert (status, headers[ESTIMATED], said["input_tokens"] > 0) == (200, "true", True)
        s.sim.clear("c")


async def test_a_server_without_the_path_is_not_asked_again_and_again() -> None:
    async with stand([CLAUDE]) as s:
        s.sim.fault("c", Fault(FaultKind.NOT_FOUND))
        for _ in range(5):
            assert (await asked(s, COUNT))[2][ESTIMATED] == "true"
        assert len(s.sim.requests("c")) == 1
        s.sim.clear("c")
        status, _, _ = await asked(s, "/v1/messages", GIVEN | {"max_tokens": 9})
        assert status == 200


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"no json", b'{"input_tokens":"7"}', b'{"input_tokens":-1}'])
async def test_an_answer_without_a_number_is_replaced_by_an_estimate(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

    async with talking(talk) as url, stand([CLAUDE], changes={"c": {"base_url": url}}) as s:
        status, said, headers = await asked(s, COUNT)
        assert (status, headers[ESTIMATED], type(said["input_tokens"])) == (200, "true", int)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (COUNT, {"messages": HI}, 400, "model"),
        (COUNT, {"model": "auto"}, 400, "messages"),
        (COUNT, {"model": "auto", "messages": "x"}, 400, "messages"),
        (COUNT, {"model": "auto", "messages": HI, "max_tokens": "x"}, 400, "max_tokens"),
        (COUNT, {"model": "nothing", "messages": HI}, 404, "nothing"),
        (COUNT, b"{", 400, "JSON"),
        (INPUT, {"model": "auto"}, 400, "input"),
        (INPUT, {"model": "auto", "input": 7}, 400, "input"),
        (INPUT, {"model": "nothing", "input": "hi"}, 404, "nothing"),
    ],
)
async def test_a_body_is_checked_as_that_of_a_message(path: str, body: Any, status: int, words: str) -> None:
    async with stand([CLAUDE]) as s:
        got, said, _ = await asked(s, path, body)
        assert (got, words in said["error"]["message"]) == (status, True), said
        assert (said.get("type") == "error") == (path == COUNT)
        assert (await asked(s, path, body, authorization="Bearer weir_foreign"))[0] == 401


async def test_limits_hold_for_counts_by_themselves() -> None:
    limits = Limit(key="p", requests_per_minute=3)
    async with stand([CLAUDE], limits=limits, max_request_bytes=2_000) as s:
        assert [(await asked(s, COUNT))[0] for _ in range(5)] == [200, 200, 200, 429, 429]
        message = GIVEN | {"max_tokens": 9}
        assert [(await asked(s, "/v1/messages", message))[0] for _ in range(4)] == [200, 200, 200, 429]
        assert (await asked(s, COUNT, GIVEN | {"system": "x" * 2_000}))[0] == 413


async def test_counts_are_logged_and_no_success_of_the_policy() -> None:
    async with stand([CLAUDE]) as s:
        await asked(s, COUNT)
        assert (s.last["path"], s.last["outcome"], s.last["backend"]) == (COUNT, "ok", "c")
        assert (s.last["policy"], s.last.get("dollars"), s.last.get("usage")) == ("team-a/assistants", None, None)
        assert s.router.metrics.in_flight.value == 0
        async with aiohttp.ClientSession() as session, session.get(f"{s.router.admin_url}/metrics") as answer:
            assert "weir_requests_total{" not in await answer.text()


async def test_a_count_takes_no_slot_and_no_turn_behind_a_full_backend() -> None:
    changes = {"c": {"limits": BackendLimits(concurrency=1)}}
    async with stand([CLAUDE], changes=changes) as s, anthropic_client(s) as client:
        stream = await client.messages.create(model="auto", max_tokens=50, messages=HI, stream=True)
        assert (await client.messages.count_tokens(model="auto", messages=HI)).input_tokens > 0
        assert [event.type async for event in stream][-1] == "message_stop"


async def test_the_estimate_knows_calls_tools_and_images() -> None:
    async with stand([GPT]) as s:

        async def tokens(**body: Any) -> int:
            return int((await asked(s, COUNT, {"model": "auto", **body}))[1]["input_tokens"])

        plain = await tokens(messages=HI)
        assert await tokens(messages=HI, tools=ANTHROPIC_TOOLS) > plain + 60
        long = [{"type": "tool_use", "id": "t1", "name": "w", "input": {"text": "word " * 1000}}]
        calls = [*HI, {"role": "assistant", "content": long}, *HI]
        assert 900 < await tokens(messages=calls) < 1500
        picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL * 50}}
        assert plain + 500 < await tokens(messages=[{"role": "user", "content": [picture]}]) < plain + 2000
        assert 600 < await tokens(messages=[{"role": "user", "content": "the quick brown fox " * 150}]) < 900


async def test_a_sidecar_counts_itself_or_asks_its_gateway(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as side, anthropic_client(side, api_key=PLACEHOLDER) as client:  # type: ignore[arg-type]
        assert (await client.messages.count_tokens(model="auto", messages=HI)).input_tokens > 0
    assert [line["path"] for line in side.relayed] == [COUNT]


async def test_a_limit_of_counts_is_none_of_messages() -> None:
    """A provider limits its counts apart. A tenant that floods them must not take the backend from all others."""
    paths: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await one_request(reader)
            paths.append(head.split()[1])
            body = b'{"type": "error", "error": {"type": "rate_limit_error", "message": "too many counts"}}'
            writer.write(b"HTTP/1.1 429 No\r\nretry-after: 60\r\ncontent-type: application/json\r\n")
            writer.write(b"content-length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()

    async with talking(talk) as url, stand([CLAUDE], changes={"c": {"base_url": url}}) as s:
        for _ in range(3):
            status, answer, headers = await asked(s, COUNT)
            assert (status, headers[ESTIMATED]) == (200, "true")
            assert answer["input_tokens"] > 0
        assert paths == [COUNT.encode()], "it is left alone until it counts again"
        assert s.router.board.view()["llm/t0/c"].available_at == 0


async def test_a_grant_limits_counts_apart() -> None:
    """A tenant writes the limits of its own policy; the owner of the tier those of the grant."""
    limits = (Limit(key="llm/t0/granted", requests_per_minute=2),)
    routes = (Route(name="all", tiers=(TierRef(tier="llm/t0", limits=limits),)),)
    async with stand([CLAUDE], routes=routes) as s:
        marked = [(await asked(s, COUNT))[2].get(ESTIMATED) for _ in range(4)]
        assert marked == [None, None, "true", "true"]
        assert len(s.sim.requests("c")) == 2
        message = {"model": "auto", "max_tokens": 9, "messages": HI}
        assert [(await asked(s, "/v1/messages", message))[0] for _ in range(3)] == [200, 200, 429]
