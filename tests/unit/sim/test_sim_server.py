"""Counts, control endpoints, pace, and HTTP itself."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from weir_cli.sim import Fault, FaultKind, SimModel, Simulator
from weir_cli.sim.http1 import BadHttp, Request, Short, read_request
from weir_cli.sim.playback import Pace
from weir_router.contract import Dialect

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator([SimModel("m"), SimModel("slow", ttft=60), SimModel("a", Dialect.ANTHROPIC)]) as sim:
        yield sim


@pytest.fixture
async def http(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(sim.url) as session:
        yield session


async def ask(http: aiohttp.ClientSession, **fields: Any) -> int:
    async with http.post("/v1/chat/completions", json=BODY | fields) as response:
        await response.read()
        return response.status


async def test_requests_are_counted_and_kept_with_their_headers(sim: Simulator, http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/chat/completions", json=BODY, headers={"X-Mine": "yes"}):
        pass
    assert (sim.stats["m"].requests, sim.stats["m"].answered, sim.stats["a"].requests) == (1, 1, 0)
    seen = sim.requests("m")[0]
    assert (seen.path, seen.headers["x-mine"], seen.json()) == ("/v1/chat/completions", "yes", BODY)
    assert "yes" not in repr(seen)


async def test_only_the_last_fifty_requests_are_kept(sim: Simulator, http: aiohttp.ClientSession) -> None:
    for number in range(52):
        await ask(http, user=str(number))
    assert [sim.requests("m")[0].json()["user"], len(sim.requests("m"))] == ["2", 50]


async def test_a_client_that_goes_away_is_counted(sim: Simulator, http: aiohttp.ClientSession) -> None:
    gone = asyncio.create_task(ask(http, model="slow"))
    await sim.until(lambda: sim.stats["slow"].in_flight == 1)
    gone.cancel()
    await sim.until(lambda: sim.stats["slow"].cancelled == 1)
    assert sim.stats["slow"].in_flight == 0


async def test_until_gives_up(sim: Simulator) -> None:
    with pytest.raises(TimeoutError):
        await sim.until(lambda: False, timeout=0.01)


async def test_unknown_models_are_kept_under_a_dash(sim: Simulator, http: aiohttp.ClientSession) -> None:
    assert await ask(http, model="nobody") == 404
    assert await ask(http, model="a") == 404
    assert sim.stats["-"].requests == 2


async def test_faults_are_switched_over_http(sim: Simulator, http: aiohttp.ClientSession) -> None:
    async with http.put("/_sim/faults/m", json={"kind": "server_error", "count": 3}) as response:
        assert (response.status, await response.json()) == (200, [{"kind": "server_error", "count": 3}])
    assert await ask(http) == 500
    async with http.delete("/_sim/faults/m"):
        assert await ask(http) == 200
    async with http.get("/_sim/faults/m") as response:
        assert await response.json() == []


@pytest.mark.parametrize(
    ("model", "fault", "status"), [("m", {"kind": "nonsense"}, 400), ("nobody", {"kind": "silence"}, 404)]
)
async def test_a_wrong_fault_is_explained(
    http: aiohttp.ClientSession, model: str, fault: dict[str, Any], status: int
) -> None:
    async with http.put(f"/_sim/faults/{model}", json=fault) as response:
        assert response.status == status
        assert (await response.json())["error"]


async def test_stats_and_requests_are_read_over_http(http: aiohttp.ClientSession) -> None:
    await ask(http)
    async with http.get("/_sim/stats") as stats, http.get("/_sim/requests/m") as requests:
        assert (await stats.json())["m"]["requests"] == 1
        assert [r["body"] for r in await requests.json()] == [BODY]


async def test_reset_forgets_all(sim: Simulator, http: aiohttp.ClientSession) -> None:
    sim.fault("m", Fault(FaultKind.SERVER_ERROR))
    await ask(http)
    async with http.post("/_sim/reset"):
        assert (sim.stats["m"].requests, sim.requests("m"), await ask(http)) == (0, [], 200)


async def test_an_unknown_path_is_404(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/nothing") as response:
        assert (response.status, list(await response.json())) == (404, ["error"])


async def test_an_unknown_model_has_no_faults(sim: Simulator) -> None:
    with pytest.raises(KeyError):
        sim.fault("nobody", Fault(FaultKind.SILENCE))


async def test_anthropics_version_header_is_insisted_on(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/messages", json=BODY | {"model": "a", "max_tokens": 5}) as response:
        assert (await response.json())["error"]["message"] == "anthropic-version: header is required"


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"model": ["m"]}', b'{"model": "m", "messages": 5}'])
async def test_a_body_that_makes_no_sense_gets_a_4xx(http: aiohttp.ClientSession, body: bytes) -> None:
    async with http.post("/v1/chat/completions", data=body) as response:
        assert response.status in (400, 404)
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_chunked_requests_of_megabytes_arrive_whole(sim: Simulator, http: aiohttp.ClientSession) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        text = json.dumps(
            {"model": "m", "messages": [{"role": "user", "content": "x" * 400_000}], "pad": "y" * 2_000_000}
        )
        for at in range(0, len(text), 100_000):
            yield text[at : at + 100_000].encode()

    async with http.post("/v1/chat/completions", data=pieces()) as response:
        assert response.status == 200
    assert len(sim.requests("m")[0].json()["pad"]) == 2_000_000


async def test_an_expected_100_continue_is_given(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/chat/completions", json=BODY, expect100=True) as response:
        assert response.status == 200


async def test_http_1_0_gets_a_stream_that_ends_with_the_connection(sim: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sim.url.rpartition(":")[2]))
    body = json.dumps(BODY | {"stream": True}).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    answer = await reader.read()
    writer.close()
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"\n\ndata: [DONE]\n\n")


async def test_pipelined_requests_are_answered_in_turn(sim: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sim.url.rpartition(":")[2]))
    writer.write(b"GET /_sim/stats HTTP/1.1\r\n\r\nGET /v1/models HTTP/1.1\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert b'"object":"list"' in answer.rpartition(b"\r\n")[2]


def test_a_request_is_cut_from_what_follows() -> None:
    found = read_request(b"POST /x?y HTTP/1.1\r\nContent-Length:  2\r\nX: a:b\r\n\r\nokPOST")
    assert not isinstance(found, Short)
    request, rest = found
    assert (request.path, request.body, rest) == ("/x", b"ok", b"POST")
    assert (request.headers, request.header(b"x")) == ({"content-length": "2", "x": "a:b"}, "a:b")


@pytest.mark.parametrize("cut", range(1, 63))
def test_half_a_request_waits_for_the_rest(cut: int) -> None:
    whole = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    assert isinstance(read_request(whole[: cut - len(whole) - 1 or None][: len(whole) - 1]), Short)
    found = read_request(whole)
    assert isinstance(found[0], Request)
    assert found[0].body == b"ok"


@pytest.mark.parametrize("data", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"x" * 70_000])
def test_what_is_not_http_is_told_apart(data: bytes) -> None:
    with pytest.raises(BadHttp):
        read_request(data)


def test_pace_follows_the_model_within_its_jitter() -> None:
    steady = Pace(SimModel("m", ttft=0.5, tokens_per_second=10), None, random.Random(1))
    shaky = Pace(SimModel("m", ttft=0.5, tokens_per_second=10, jitter=0.1), None, random.Random(1))
    assert (steady.first(), steady.each(), steady.whole(11)) == (0.5, 0.1, 1.5)
    assert all(0.45 <= shaky.first() <= 0.55 for _ in range(100))


async def test_a_paced_stream_takes_its_time() -> None:
    loop = asyncio.get_running_loop()
    async with (
        Simulator([SimModel("p", ttft=0.05, tokens_per_second=200, answer_tokens=11)]) as sim,
        aiohttp.ClientSession(sim.url) as http,
    ):
        start = loop.time()
        async with http.post("/v1/chat/completions", json=BODY | {"model": "p", "stream": True}) as response:
            await response.read()
        assert loop.time() - start >= 0.1
