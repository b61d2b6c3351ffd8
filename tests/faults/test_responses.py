"""Every fault of the simulator for a caller of the Responses API, on upstreams of each format: each stream that it gets
has the order of events that its SDK demands, and none ends cleanly but cut off.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sdk.clients import openai_client
from support.responses_grammar import Sent, events_of, violation
from support.sidecar import sidecar
from support.stand import KEY, stand
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_operator.sidecar.inject import PLACEHOLDER
from weir_router.contract import Dialect, Failover, Timeouts, WireFormat

QUICK = {"timeouts": Timeouts(connect=0.5, ttft=0.25, idle=0.25)}
WORDS = "one two three four five six seven eight nine ten"
BODY = {"model": "auto", "input": "hi"}

FIELDS: dict[FaultKind, dict[str, Any]] = {
    FaultKind.SLOW_FIRST_TOKEN: {"seconds": 5.0},
    FaultKind.PINGS: {"seconds": 0.02},
    FaultKind.DRIP: {"seconds": 0.02},
    FaultKind.STATUS: {"status": 413},
}
BREAKING = {FaultKind.STALL, FaultKind.CUT, FaultKind.RESET, FaultKind.ENDS_EARLY, FaultKind.MALFORMED}
BREAKING |= {FaultKind.ERROR_EVENT, FaultKind.QUOTA_EVENT, FaultKind.FAILED_EVENT, FaultKind.NO_FINISH}
REFUSED = {FaultKind.BAD_REQUEST: 400, FaultKind.CONTENT_FILTER: 400, FaultKind.STATUS: 413}


async def asked(s: Any, *, stream: bool) -> tuple[int, bytes]:
    headers = {"authorization": f"Bearer {KEY}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{s.url}/v1/responses", json={**BODY, "stream": stream}, headers=headers) as answer,
    ):
        return answer.status, await answer.read()


def text_of(events: list[Sent]) -> str:
    return "".join([it.data["delta"] for it in events if it.name == "response.output_text.delta"])


@pytest.mark.parametrize("upstream", WireFormat)
@pytest.mark.parametrize("kind", FaultKind)
async def test_every_stream_keeps_the_grammar(kind: FaultKind, upstream: WireFormat) -> None:
    dialect = Dialect.ANTHROPIC if upstream is WireFormat.MESSAGES else Dialect.OPENAI
    first = SimModel("a", dialect=dialect, answer=f"a: {WORDS}", tokens_per_second=100)
    second = SimModel("b", dialect=dialect, answer=f"b: {WORDS}")
    changes = {name: {**QUICK, "formats": (upstream.value,)} for name in ("a", "b")}
    async with stand([first], [second], changes=changes) as s:
        after = 3 if kind in BREAKING - {FaultKind.NO_FINISH} else None
        s.sim.fault("a", Fault(kind, after=after, **FIELDS.get(kind, {})))
        (status, raw), (plain_status, _) = await asyncio.gather(asked(s, stream=True), asked(s, stream=False))
        if kind in REFUSED:
            assert (status, plain_status) == (REFUSED[kind],) * 2
            assert b'"error"' in raw
            return
        assert (status, plain_status) == (200, 200)
        events = events_of(raw)
        assert violation(events) is None
        last = events[-1]
        if kind in BREAKING:
            assert last.name == "response.failed"
            assert last.data["error"]["code"] == "stream_broken"
            assert f"a: {WORDS}".startswith(text_of(events))
        elif kind is FaultKind.ITEM_NEVER_DONE and upstream is WireFormat.RESPONSES:
            assert (last.name, text_of(events)) == ("response.failed", f"a: {WORDS}")
        elif kind is FaultKind.EMPTY_LENGTH:
            assert last.name == "response.incomplete"
        else:
            assert last.name == "response.completed"
            assert text_of(events) in (f"a: {WORDS}", f"b: {WORDS}")
        assert b"[DONE]" not in raw


async def test_a_final_failure_after_signs_of_life_is_a_failed_response() -> None:
    async with stand([SimModel("a")], failover=Failover(keep_alive=0.1)) as s:
        s.sim.fault("a", Fault(FaultKind.SLOW_FIRST_TOKEN, seconds=0.4))
        s.sim.fault("a", Fault(FaultKind.ERROR_EVENT, after=0))
        _, raw = await asked(s, stream=True)
        events = events_of(raw)
        assert violation(events) is None
        assert events[-1].name == "response.failed"


async def test_the_sdk_behind_a_sidecar(tmp_path: Path) -> None:
    async with sidecar(tmp_path, SimModel("m", answer=WORDS)) as side, openai_client(side, api_key=PLACEHOLDER) as sdk:  # type: ignore[arg-type]
        plain = await sdk.responses.create(model="auto", input="hi")
        async with sdk.responses.stream(model="auto", input="hi") as stream:
            streamed = await stream.get_final_response()
    assert plain.output_text == streamed.output_text == WORDS


async def test_the_log_and_the_headers_are_those_of_any_request() -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    async with stand([SimModel("m")]) as s:
        async with aiohttp.ClientSession() as session:
            answer = await session.post(f"{s.url}/v1/responses", json=BODY, headers=headers)
            await answer.read()
        assert answer.headers["x-weir-backend"] == "m"
        assert answer.headers["x-weir-request-id"] == s.log.lines[-1]["id"]
        assert (s.log.lines[-1]["path"], s.log.lines[-1]["outcome"]) == ("/v1/responses", "ok")
