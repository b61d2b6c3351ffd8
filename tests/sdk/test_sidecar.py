"""The unchanged SDKs behind a pod's sidecar: relayed requests, requests served in the pod, and their callers."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import msgspec
import openai
import pytest

from sdk.clients import HI, anthropic_client, openai_client
from support.callers import SHAPES, request_for
from support.servers import talking
from support.sidecar import Side, sidecar
from support.stand import KEY, NAMESPACE
from support.tokens import RSA, STRANGER
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_operator.sidecar.inject import PLACEHOLDER
from weir_router.contract import Dialect


async def raw(side: Side, dialect: Dialect = Dialect.OPENAI, *, stream: bool = False, **headers: str) -> Any:
    """Sends one request without a key to the sidecar; returns status, headers and body."""
    path, body, usual = request_for(dialect, stream=stream)
    sent = {name: value for name, value in usual.items() if name not in ("x-api-key", "authorization")} | headers
    async with aiohttp.ClientSession() as session, session.post(side.url + path, json=body, headers=sent) as answer:
        return answer.status, answer.headers, await answer.read()


async def test_the_openai_sdk_with_a_placeholder_is_the_pod_s_service_account(tmp_path: Path):
    async with sidecar(tmp_path) as side, openai_client(side, api_key=PLACEHOLDER) as client:  # type: ignore[arg-type]
        answer = await client.chat.completions.create(model="auto", messages=HI)
        assert answer.choices[0].message.content
    assert [(line["caller"], line["caller_pod"]) for line in side.relayed] == [(f"{NAMESPACE}/web", "web-0")]


async def test_the_anthropic_sdk_streams_through_both(tmp_path: Path):
    async with sidecar(tmp_path) as side, anthropic_client(side, api_key=PLACEHOLDER) as client:  # type: ignore[arg-type]
        async with client.messages.stream(model="auto", max_tokens=50, messages=HI) as stream:
            text = "".join([part async for part in stream.text_stream])
        assert text == (await stream.get_final_message()).content[0].text  # type: ignore[union-attr]
    assert [line["caller"] for line in side.relayed] == [f"{NAMESPACE}/web"]


@pytest.mark.parametrize(("dialect", "stream"), SHAPES)
async def test_an_answer_is_the_gateway_s_own_to_the_last_byte(tmp_path: Path, dialect: Dialect, stream: bool):
    async with sidecar(tmp_path) as side:
        status, headers, body = await raw(side, dialect, stream=stream)
        direct = await raw(
            Side(side.gateway, side.gateway.router, tmp_path), dialect, stream=stream, authorization=f"Bearer {KEY}"
        )
        assert (status, body) == (direct[0], direct[2])
        assert headers["x-weir-tier"] == direct[1]["x-weir-tier"] == "llm/t0"
        assert headers.keys() == direct[1].keys()


async def test_events_arrive_one_by_one_and_not_at_the_end(tmp_path: Path):
    async with sidecar(tmp_path, SimModel("m")) as side:
        side.gateway.sim.fault("m", Fault(FaultKind.STALL))
        path, body, _ = request_for(Dialect.OPENAI, stream=True)
        async with aiohttp.ClientSession() as session, session.post(side.url + path, json=body) as answer:
            assert await answer.content.readline()  # content, while the model has stalled


async def test_a_token_that_the_kubelet_renews_is_the_next_request_s(tmp_path: Path):
    async with sidecar(tmp_path) as side:
        for account in ("one", "two"):
            side.token_file.write_text(RSA.token(NAMESPACE, account))
            assert (await raw(side))[0] == 200
        assert [line["caller"] for line in side.relayed] == [f"{NAMESPACE}/one", f"{NAMESPACE}/two"]


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}])
async def test_an_application_s_own_weir_key_is_its_own(tmp_path: Path, headers: dict[str, str]):
    async with sidecar(tmp_path) as side:
        assert (await raw(side, **headers))[0] == 200
        assert side.relayed[0]["caller"] == f"{NAMESPACE}/tester"


async def test_a_provider_s_key_goes_no_further(tmp_path: Path):
    seen: list[bytes] = []

    async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")

    async with talking(gateway) as url, sidecar(tmp_path, gateway_url=url) as side:
        await raw(side, authorization="Bearer sk-of-openai", **{"x-api-key": "sk-ant-of-anthropic"})
    assert b"sk-" not in seen[0]
    assert f"authorization: bearer {side.token_file.read_text()}".encode().lower() in seen[0].lower()


async def test_a_forged_token_is_not_replaced_by_the_pod_s(tmp_path: Path):
    async with sidecar(tmp_path) as side:
        status, _, body = await raw(side, authorization=f"Bearer {STRANGER.token(NAMESPACE, 'admin')}")
        assert (status, b"signature does not fit" in body) == (401, True)


async def test_what_the_namespace_has_the_credentials_for_never_leaves_the_pod(tmp_path: Path):
    async with sidecar(tmp_path) as side:
        side.knows(side.local(SimModel("m")))
        assert (await raw(side))[1]["x-weir-tier"] == f"{NAMESPACE}/t0"
        assert [(line["caller"], line["tier"]) for line in side.gateway.log.lines] == [
            (f"{NAMESPACE}/web", f"{NAMESPACE}/t0")
        ]


async def test_a_policy_with_a_tier_of_another_namespace_is_the_gateway_s(tmp_path: Path):
    async with sidecar(tmp_path) as side:
        side.knows(side.local(SimModel("m"), namespace="llm"))
        assert (await raw(side))[1]["x-weir-tier"] == "llm/t0"
        assert len(side.own) == len(side.relayed) == 1


async def test_what_cannot_be_looked_into_is_the_gateway_s(tmp_path: Path):
    path, body, _ = request_for(Dialect.OPENAI, stream=False)
    packed = gzip.compress(json.dumps(body).encode())
    async with sidecar(tmp_path) as side:
        side.knows(side.local(SimModel("m")))
        headers = {"content-encoding": "gzip", "content-type": "application/json"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(side.url + path, data=packed, headers=headers) as answer,
        ):
            assert (answer.status, answer.headers["x-weir-tier"]) == (200, "llm/t0")


@pytest.mark.parametrize("body", [b"", b"{", b'{"model": 7}', b'{"messages": []}'])
async def test_what_is_no_request_gets_the_gateway_s_answer(tmp_path: Path, body: bytes):
    async with sidecar(tmp_path) as side, aiohttp.ClientSession() as session:
        side.knows(side.local(SimModel("m")))
        for url in (side.url, side.gateway.url):
            headers = {"authorization": f"Bearer {KEY}"}
            async with session.post(url + "/v1/chat/completions", data=body, headers=headers) as answer:
                assert (answer.status, (await answer.json())["error"]["code"]) == (400, "invalid_request")


async def test_the_gateway_s_refusals_are_the_sdk_s_own_exceptions(tmp_path: Path):
    async with sidecar(tmp_path) as side:
        async with openai_client(side, api_key=PLACEHOLDER) as client:  # type: ignore[arg-type]
            with pytest.raises(openai.NotFoundError, match="No RoutingPolicy lets team-a/web ask"):
                await client.chat.completions.create(model="other", messages=HI)
        async with anthropic_client(side, api_key=PLACEHOLDER) as claude:  # type: ignore[arg-type]
            with pytest.raises(anthropic.NotFoundError, match="No RoutingPolicy lets team-a/web ask"):
                await claude.messages.create(model="other", max_tokens=5, messages=HI)
    assert {(line["status"], line["outcome"]) for line in side.own} == {(404, "refused")}


async def test_a_gateway_that_is_away_is_said_and_worth_another_try(tmp_path: Path):
    async with sidecar(tmp_path, gateway_url="http://127.0.0.1:9") as side:
        status, headers, body = await raw(side)
        error = json.loads(body)["error"]
        assert (status, error["code"], error["source"]) == (503, "gateway_unavailable", "router")
        assert "cannot reach Weir's gateway at http://127.0.0.1:9" in error["message"]
        assert (headers["x-should-retry"], headers["retry-after"]) == ("true", "1")


@pytest.mark.parametrize("content", ["", "two words", None])
async def test_a_token_that_is_not_there_is_said_without_what_is(tmp_path: Path, content: str | None):
    async with sidecar(tmp_path) as side:
        side.token_file.unlink() if content is None else side.token_file.write_text(content)
        status, _, body = await raw(side)
        assert (status, b"holds no token of this pod" in body, b"two words" in body) == (503, True, False)


@pytest.mark.parametrize("dialect", Dialect)
async def test_a_gateway_that_breaks_a_stream_ends_it_in_an_error_event(tmp_path: Path, dialect: Dialect):
    async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b'10\r\ndata: {"a": 1}\n\n\r\n')
        await writer.drain()

    async with talking(gateway) as url, sidecar(tmp_path, gateway_url=url) as side:
        status, _, body = await raw(side, dialect, stream=True)
        assert (status, body.startswith(b'data: {"a": 1}\n\n'), b"stream_broken" in body) == (200, True, True)
        assert side.own[0]["outcome"] == "broken"


async def test_a_caller_that_goes_away_stops_the_gateway_s_call_too(tmp_path: Path):
    async with sidecar(tmp_path) as side:
        side.gateway.sim.fault("m", Fault(FaultKind.SILENCE))
        caller = asyncio.create_task(raw(side))
        await side.gateway.sim.until(lambda: side.gateway.sim.stats["m"].in_flight == 1)
        caller.cancel()
        await side.gateway.sim.until(lambda: side.gateway.sim.stats["m"].cancelled == 1)


async def test_models_are_those_of_the_pod_and_without_a_config_the_reason_is_said(tmp_path: Path):
    async with sidecar(tmp_path) as side, aiohttp.ClientSession() as session:
        async with session.get(f"{side.url}/v1/models") as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (503, "not_configured")
        side.knows(side.local(SimModel("m")))
        async with session.get(f"{side.url}/v1/models") as answer:
            assert [it["id"] for it in (await answer.json())["data"]] == ["auto"]


STATEFUL = {"formats": ("Responses", "Chat"), "account": "AAAAAAAAAAAAAAAA"}


async def test_what_uses_or_leaves_state_is_relayed_since_a_sidecar_has_no_keys(tmp_path: Path):
    model = SimModel("m")
    async with (
        sidecar(tmp_path, model, changes={"m": STATEFUL}) as side,
        openai_client(side, api_key=PLACEHOLDER) as client,  # type: ignore[arg-type]
    ):
        local = side.local(model)
        (key,) = local.tiers
        tier = local.tiers[key]
        backends = tuple(msgspec.structs.replace(it, **STATEFUL) for it in tier.backends)
        side.knows(msgspec.structs.replace(local, tiers={key: msgspec.structs.replace(tier, backends=backends)}))
        assert side.router.store.secrets.state_keys == ()
        alone = await client.responses.create(model="auto", input="hi", store=False)
        assert "_w1" not in alone.id
        assert side.relayed == [] or side.relayed[-1]["tier"] == key
        first = await client.responses.create(model="auto", input="hi")
        assert first.id.startswith("resp_w1")
        second = await client.responses.create(model="auto", input="more", previous_response_id=first.id, store=False)
        assert second.previous_response_id == first.id
        assert (await client.responses.retrieve(first.id)).id == first.id
        items = await client.responses.input_items.list(first.id, limit=5)
        assert items.data
        events = [event async for event in await client.responses.retrieve(first.id, stream=True)]
        assert events[-1].type == "response.completed"
        background = await client.responses.create(model="auto", input="slow", background=True)
        await client.responses.cancel(background.id)
        await client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(first.id)
        assert len(side.own) == 9


async def test_a_sidecar_answers_itself_where_no_backend_keeps_state(tmp_path: Path):
    model = SimModel("m")
    async with (
        sidecar(tmp_path, model) as side,
        openai_client(side, api_key=PLACEHOLDER) as client,  # type: ignore[arg-type]
    ):
        side.knows(side.local(model))
        await client.responses.create(model="auto", input="hi")
        assert side.own == []


async def test_a_sidecar_answers_head_for_a_stored_answer_at_once(tmp_path: Path):
    async with sidecar(tmp_path, SimModel("m")) as side, aiohttp.ClientSession() as http, asyncio.timeout(5):
        for path in ("/v1/responses/resp_1", "/v1/responses/resp_1?stream=true"):
            async with http.head(side.url + path) as answer:
                assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, POST")
        assert not side.relayed
