"""Each fault behaves on the socket as its line in `HELP` says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from weir_cli.sim import Fault, FaultKind, SimModel, Simulator
from weir_cli.sim.faults import HELP, FaultBoard
from weir_router.contract import Dialect

PATHS = {"m": "/v1/chat/completions", "a": "/v1/messages"}
QUIET = 0.1  # seconds without a byte that pass for silence


class Got(NamedTuple):
    """The data received until the connection ended or fell silent."""

    status: int
    headers: dict[str, str]
    body: bytes  # still in HTTP's chunks
    end: str  # "whole", "closed", "reset", "quiet"

    @property
    def events(self) -> list[bytes]:
        """The text after `data: `."""
        return [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]

    @property
    def tokens(self) -> list[bytes]:
        """The events that carry text."""
        return [e for e in self.events if b"text_delta" in e or b'"delta":{"content"' in e]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    models = [
        SimModel("m", answer="one two three four five"),
        SimModel("a", Dialect.ANTHROPIC, answer="one two three four five"),
    ]
    async with Simulator(models) as sim:
        yield sim


async def ask(sim: Simulator, model: str = "m", *, stream: bool = True, path: str | None = None, **fields: Any) -> Got:
    """One request on a connection of its own."""
    body = json.dumps({"model": model, "stream": stream, "max_tokens": 99, **fields} | MESSAGES).encode()
    head = f"POST {path or PATHS[model]} HTTP/1.1\r\nanthropic-version: 1\r\ncontent-length: {len(body)}\r\n\r\n"
    return await exchange(sim, head.encode() + body)


MESSAGES = {"messages": [{"role": "user", "content": "hi"}]}


async def exchange(sim: Simulator, request: bytes) -> Got:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sim.url.rpartition(":")[2]))
    writer.write(request)
    got, end = b"", ""
    while not end:
        try:
            data = await asyncio.wait_for(reader.read(65_536), QUIET)
            got += data
            end = "" if data else "closed"
        except TimeoutError:
            end = "quiet"
        except ConnectionResetError:
            end = "reset"
        if complete(got):
            end = "whole"
    writer.close()
    return parsed(got, end)


def parsed(got: bytes, end: str) -> Got:
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return Got(int(lines[0].split()[1]) if head else 0, headers, body, end)


def complete(got: bytes) -> bool:
    head, found, body = got.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length: "):
            return bool(found) and len(body) >= int(line[16:])
    return body.endswith(b"0\r\n\r\n")


def test_every_fault_has_its_line() -> None:
    assert set(HELP) == set(FaultKind)


async def test_without_a_fault_a_stream_is_whole(sim: Simulator) -> None:
    got = await ask(sim)
    assert (got.status, got.end, len(got.tokens), got.events[-1]) == (200, "whole", 5, b"[DONE]")


@pytest.mark.parametrize(
    ("kind", "openai", "anthropic"),
    [
        (FaultKind.RATE_LIMIT, (429, "rate_limit_exceeded"), (429, "rate_limit_error")),
        (FaultKind.INSUFFICIENT_QUOTA, (429, "insufficient_quota"), (400, "invalid_request_error")),
        (FaultKind.SERVER_ERROR, (500, None), (500, "api_error")),
        (FaultKind.UNAVAILABLE, (503, None), (503, "api_error")),
        (FaultKind.OVERLOADED, (529, "overloaded"), (529, "overloaded_error")),
        (FaultKind.UNAUTHORIZED, (401, "invalid_api_key"), (401, "authentication_error")),
        (FaultKind.PAYMENT_REQUIRED, (402, "invalid_request_error"), (402, "billing_error")),
        (FaultKind.FORBIDDEN, (403, "model_not_found"), (403, "permission_error")),
        (FaultKind.NOT_FOUND, (404, "model_not_found"), (404, "not_found_error")),
        (FaultKind.TIMEOUT, (408, "timeout"), (408, "timeout_error")),
        (FaultKind.BAD_REQUEST, (400, "invalid_value"), (400, "invalid_request_error")),
        (FaultKind.CONTENT_FILTER, (400, "content_policy_violation"), (400, "invalid_request_error")),
        (FaultKind.CONTEXT_LENGTH, (400, "context_length_exceeded"), (400, "invalid_request_error")),
        (FaultKind.STREAM_REFUSED, (400, "unsupported_value"), (400, "invalid_request_error")),
    ],
)
async def test_http_errors_have_each_providers_shape(
    sim: Simulator, kind: FaultKind, openai: tuple[int, str | None], anthropic: tuple[int, str]
) -> None:
    sim.fault("*", Fault(kind))
    one, other = await ask(sim, "m"), await ask(sim, "a")
    assert (one.status, json.loads(one.body)["error"]["code"]) == openai
    assert (other.status, json.loads(other.body)["error"]["type"]) == anthropic
    assert json.loads(other.body)["request_id"] == other.headers["request-id"]
    assert "retry-after" not in one.headers | other.headers


@pytest.mark.parametrize("value", [7, 0.5, "Fri, 01 Jan 2027 00:00:00 GMT"])
async def test_retry_after_is_sent_as_it_was_set(sim: Simulator, value: str | float) -> None:
    sim.fault("m", Fault(FaultKind.RATE_LIMIT, retry_after=value))
    assert (await ask(sim)).headers["retry-after"] == str(value).lower()


async def test_any_status_body_and_header_can_be_set(sim: Simulator) -> None:
    sim.fault("m", Fault(FaultKind.STATUS, status=502, body="<h1>Bad gateway</h1>", headers={"x-proxy": "yes"}))
    got = await ask(sim)
    assert (got.status, got.body, got.headers["x-proxy"]) == (502, b"<h1>Bad gateway</h1>", "yes")
    assert got.headers["content-type"].startswith("text/html")


async def test_a_400_can_have_its_own_body(sim: Simulator) -> None:
    sim.fault("m", Fault(FaultKind.BAD_REQUEST, body={"error": "own"}))
    assert json.loads((await ask(sim)).body) == {"error": "own"}


async def test_stream_refused_leaves_plain_requests_alone(sim: Simulator) -> None:
    sim.fault("m", Fault(FaultKind.STREAM_REFUSED))
    assert json.loads((await ask(sim)).body)["error"]["param"] == "stream"
    assert (await ask(sim, stream=False)).status == 200


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", [FaultKind.REFUSE, FaultKind.RESET])
async def test_a_connection_is_reset_without_an_answer(sim: Simulator, kind: FaultKind, stream: bool) -> None:
    sim.fault("m", Fault(kind))
    assert await ask(sim, stream=stream) == Got(0, {}, b"", "reset")


async def test_silence_says_nothing_at_all(sim: Simulator) -> None:
    sim.fault("m", Fault(FaultKind.SILENCE))
    assert await ask(sim) == Got(0, {}, b"", "quiet")


@pytest.mark.parametrize("model", ["m", "a"])
@pytest.mark.parametrize(
    ("kind", "end"),
    [
        (FaultKind.RESET, "reset"),
        (FaultKind.STALL, "quiet"),
        (FaultKind.CUT, "closed"),
        (FaultKind.ENDS_EARLY, "whole"),
    ],
)
async def test_a_stream_breaks_after_so_many_tokens(sim: Simulator, model: str, kind: FaultKind, end: str) -> None:
    sim.fault(model, Fault(kind, after=2))
    got = await ask(sim, model)
    assert (got.status, got.end, len(got.tokens)) == (200, end, 2)
    assert b"stop" not in got.body.replace(b"stop_", b"")


@pytest.mark.parametrize(
    ("kind", "end"), [(FaultKind.RESET, "reset"), (FaultKind.STALL, "quiet"), (FaultKind.CUT, "closed")]
)
async def test_a_plain_answer_breaks_half_way(sim: Simulator, kind: FaultKind, end: str) -> None:
    sim.fault("m", Fault(kind, after=1))
    got = await ask(sim, stream=False)
    assert got.end == end
    assert 0 < len(got.body) < int(got.headers["content-length"])


async def test_the_first_token_can_be_slowed_down(sim: Simulator) -> None:
    sim.fault("m", Fault(FaultKind.SLOW_FIRST_TOKEN, seconds=60))
    got = await ask(sim)
    assert (got.end, len(got.events), got.tokens) == ("quiet", 1, [])


async def test_a_malformed_chunk_stands_between_good_ones(sim: Simulator) -> None:
    sim.fault("m", Fault(FaultKind.MALFORMED, after=1))
    got = await ask(sim)
    broken = [number for number, event in enumerate(got.events) if not readable(event)]
    assert (got.end, broken, got.events[-1]) == ("whole", [2], b"[DONE]")


def readable(event: bytes) -> bool:
    try:
        json.loads(event)
    except json.JSONDecodeError:
        return event == b"[DONE]"
    return True


async def test_a_malformed_plain_answer_is_half_of_one(sim: Simulator) -> None:
    sim.fault("m", Fault(FaultKind.MALFORMED))
    got = await ask(sim, stream=False)
    assert (got.status, got.end, readable(got.body)) == (200, "whole", False)


@pytest.mark.parametrize(("model", "end"), [("m", b"[DONE]"), ("a", b"message_stop")])
async def test_the_end_marker_can_be_missing(sim: Simulator, model: str, end: bytes) -> None:
    sim.fault(model, Fault(FaultKind.NO_DONE))
    got = await ask(sim, model)
    assert end not in got.body
    assert b'"stop"' in got.events[-1] or b'"end_turn"' in got.events[-1]


@pytest.mark.parametrize(("model", "end"), [("m", b"[DONE]"), ("a", b"message_stop")])
async def test_the_finish_reason_can_be_missing(sim: Simulator, model: str, end: bytes) -> None:
    sim.fault(model, Fault(FaultKind.NO_FINISH))
    got = await ask(sim, model)
    assert end in got.events[-1]
    assert b'"stop"' not in got.body
    assert b'"end_turn"' not in got.body


async def test_tokens_can_drip(sim: Simulator) -> None:
    sim.fault("m", Fault(FaultKind.DRIP, seconds=60))
    got = await ask(sim)
    assert (got.end, len(got.tokens)) == ("quiet", 1)


async def test_bytes_can_drip(sim: Simulator) -> None:
    sim.fault("m", Fault(FaultKind.BYTE_DRIP, seconds=60))
    assert (await ask(sim)).body == b"1\r\nd\r\n"
    assert (await ask(sim, stream=False)).body == b"{"


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("model", ["m", "a"])
async def test_an_error_event_ends_a_200_stream(sim: Simulator, model: str, after: int) -> None:
    sim.fault(model, Fault(FaultKind.ERROR_EVENT, after=after))
    got = await ask(sim, model)
    assert (got.status, got.end, len(got.tokens)) == (200, "whole", after)
    assert json.loads(got.events[-1])["error"]["message"]
    assert (b"event: error" in got.body) == (model == "a")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_200_can_have_an_error_for_a_body(sim: Simulator, stream: bool) -> None:
    sim.fault("m", Fault(FaultKind.ERROR_BODY))
    got = await ask(sim, stream=stream)
    assert (got.status, got.headers["content-type"], list(json.loads(got.body))) == (200, "application/json", ["error"])


async def test_a_stream_can_be_ignored(sim: Simulator) -> None:
    sim.fault("m", Fault(FaultKind.STREAM_IGNORED))
    assert json.loads((await ask(sim)).body)["object"] == "chat.completion"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("model", "reason"), [("m", b'"length"'), ("a", b'"max_tokens"')])
async def test_an_answer_can_be_empty_for_its_length(sim: Simulator, model: str, reason: bytes, stream: bool) -> None:
    sim.fault(model, Fault(FaultKind.EMPTY_LENGTH))
    got = await ask(sim, model, stream=stream)
    assert (got.end, got.tokens) == ("whole", [])
    assert reason in got.body


@pytest.mark.parametrize(("model", "ping"), [("m", b": keep-alive\n\n"), ("a", b"event: ping\n")])
async def test_pings_are_all_that_comes(sim: Simulator, model: str, ping: bytes) -> None:
    sim.fault(model, Fault(FaultKind.PINGS, seconds=60))
    got = await ask(sim, model)
    assert (got.status, got.end) == (200, "quiet")
    assert ping in got.body
    assert got.tokens == []


async def test_a_closed_port_refuses_and_opens_again_at_the_same_place(sim: Simulator) -> None:
    url = sim.url
    await sim.refuse_connections()
    with pytest.raises(ConnectionRefusedError):
        await ask(sim)
    await sim.accept_connections()
    assert (sim.url, (await ask(sim)).status) == (url, 200)


async def test_a_fault_can_hold_for_the_next_requests_only(sim: Simulator) -> None:
    sim.fault("m", Fault(FaultKind.SERVER_ERROR, count=2))
    assert [(await ask(sim)).status for _ in range(3)] == [500, 500, 200]


async def test_a_models_own_faults_come_before_everyones(sim: Simulator) -> None:
    sim.fault("*", Fault(FaultKind.SERVER_ERROR))
    sim.fault("a", Fault(FaultKind.OVERLOADED))
    assert [(await ask(sim, "m")).status, (await ask(sim, "a")).status] == [500, 529]
    sim.clear()
    assert [(await ask(sim, "m")).status, (await ask(sim, "a")).status] == [200, 200]


def test_a_fault_can_have_a_probability_drawn_from_the_seed() -> None:
    def draws(seed: int) -> list[bool]:
        board = FaultBoard(seed)
        board.set("m", Fault(FaultKind.SILENCE, probability=0.3))
        return [board.take("m") is not None for _ in range(1000)]

    assert draws(1) == draws(1) != draws(2)
    assert 250 < sum(draws(1)) < 350


def test_a_fault_can_end_by_itself() -> None:
    now = [100.0]
    board = FaultBoard(0, now=lambda: now[0])
    board.set("m", Fault(FaultKind.SILENCE, lasts=5))
    assert board.take("m") is not None
    now[0] = 105.0
    assert (board.take("m"), bool(board)) == (None, False)


@pytest.mark.parametrize("fields", [{"probability": 2}, {"kind": FaultKind.STATUS}])
def test_a_senseless_fault_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"probability|status"):
        Fault(**{"kind": FaultKind.SILENCE, **fields})
