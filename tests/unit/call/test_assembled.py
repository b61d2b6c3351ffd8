"""An assembled answer does not depend on the reads: whole events (the fast path) or single bytes."""

import asyncio
import copy
import json
import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.admit.ledger_local import LocalLedger
from weir_router.admit.memory import Memory
from weir_router.call import clocks
from weir_router.call.attempt import Attempt
from weir_router.call.held import Held
from weir_router.clock import ManualClock
from weir_router.contract import Backend, CompiledConfig, Dialect, Tier
from weir_router.decide.types import Candidate
from weir_router.dialects.registry import caller_named
from weir_router.errors import AttemptFailed
from weir_router.health.board import Board

from .conftest import ScriptedTransport, stream

TEXTS = st.sampled_from(
    ["word ", "more", " ", "", "木", "😀", "\ud83d", "\ude00", '"', "\\", "\n", "\x7f", "\x01", '","x":"', "[DONE]"]
)
SOME = st.sampled_from([None, "", "a", 0, 1.5, True, [], {}, ["a"], {"a": "b"}, [{"index": 0, "a": "b"}]])
USAGE = {"prompt_tokens": 3, "completion_tokens": 7}


def asked(dialect):
    body = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    return caller_named(dialect).read(msgspec.json.encode(body), {})


class Nobody:
    def available(self, besides):
        return False


def outcome(dialect, provider, parts):
    """The outcome of a plain request in `dialect` whose upstream streams these `parts`."""

    async def attempted():
        clock, transport = ManualClock(), ScriptedTransport()
        backend = Backend(name="a", provider=provider, base_url="http://a", model="m")
        board = Board(clock, random.Random(1))
        board.configure(CompiledConfig(tiers={"t/t": Tier(namespace="t", name="t", backends=(backend,))}))
        candidate = Candidate("t/t", backend, "t/t/a", ())
        transport.answers.update(a=[stream(*parts)])
        attempt = Attempt(
            asked(dialect),
            candidate,
            guard=board.begin("t/t/a", 5, panic=False, backend=backend),
            hold=LocalLedger(clock).reserve(()),
            clocks=clocks.Clocks(2.0, 5.0, None, 5.0, 50.0),
            transport=transport,
            clock=clock,
            timers=clocks.Timers(),
            prompt_tokens=5,
            held=Held(Memory(2**30), "team", stream=False),
            others=Nobody(),
        )
        failed = None
        try:
            await attempt.start("key", streamed=True, without=frozenset())
        except AttemptFailed as failure:
            failed = failure.kind, failure.message, failure.code
        return failed, attempt.body, attempt.usage

    return asyncio.run(attempted())


@st.composite
def changed(draw, base, fields):
    """`base` with some fields, at any depth, changed, dropped or added."""
    payload = json.loads(json.dumps(base))
    for _ in range(draw(st.integers(1, 2))):
        place = payload
        while True:
            key = draw(st.sampled_from([*(place if isinstance(place, dict) else range(len(place))), *fields]))
            inner = place[key] if key in (place if isinstance(place, dict) else range(len(place))) else None
            if not inner or not isinstance(inner, dict | list) or draw(st.booleans()):
                break
            place = inner
        if isinstance(place, dict) and isinstance(key, str):
            place[key] = copy.deepcopy(draw(SOME | TEXTS))
            if draw(st.integers(0, 3)) == 0:
                del place[key]
    return payload


@st.composite
def wire(draw, payloads, names):
    """The stream of `payloads`, in one of the ways in which servers write JSON, cut into parts."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    ascii_only, end = draw(st.booleans()), draw(st.sampled_from(["\n\n", "\n\n", "\r\n\r\n"]))
    events = []
    for payload in payloads:
        name = f"event: {payload.get('type')}{end[: len(end) // 2]}" if names else ""
        text = json.dumps(payload, separators=separators, ensure_ascii=ascii_only)
        text = text[:-1] + " " * draw(st.sampled_from([0, 0, 3, 5])) + text[-1]
        events.append(f"{name}data: {text}{end}".encode("utf-8", "surrogatepass"))
    if draw(st.integers(0, 3)) == 0:
        events.insert(draw(st.integers(0, len(events))), draw(st.sampled_from([b": ping\n\n", b"data: {broken\n\n"])))
    if draw(st.booleans()):
        events.append(b"data: [DONE]\n\n")
    if draw(st.integers(0, 3)) == 0:  # a byte that is another
        at = draw(st.integers(0, len(events) - 1))
        where = draw(st.integers(0, len(events[at])))
        events[at] = events[at][:where] + draw(st.binary(max_size=2)) + events[at][where + draw(st.integers(0, 2)) :]
    parts = []
    for event in events:
        if parts and draw(st.integers(0, 5)) == 0:
            parts[-1] += event
        elif draw(st.integers(0, 5)) == 0:
            where = draw(st.integers(0, len(event)))
            parts += [event[:where], event[where:]]
        else:
            parts.append(event)
    return [part for part in parts if part]


def openai_chunk(delta, finish=None, **more):
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 7, "choices": [choice], **more}


TEXT = "<text>"
DELTAS = [
    openai_chunk({"content": TEXT}),
    openai_chunk({"content": TEXT}, usage=None),
    openai_chunk({"content": TEXT}, obfuscation=TEXT),
    openai_chunk({"role": "assistant", "content": TEXT, "refusal": None}),
    openai_chunk({"content": None, "reasoning_content": TEXT}),
]


def saying(payload, text):
    return json.loads(json.dumps(payload).replace(json.dumps(TEXT), json.dumps(text)))


@st.composite
def openai_streams(draw):
    base = draw(st.sampled_from(DELTAS))
    fields = ["content", "error", "reasoning", "tool_calls", "logprobs", "x"]
    base = draw(st.just(base) | changed(base, fields))
    payloads = [openai_chunk({"role": "assistant", "content": ""})]
    for text in draw(st.lists(TEXTS, max_size=8)):
        other = draw(st.integers(0, 2)) == 0
        payloads.append(saying(draw(changed(base, fields)) if other else base, text))
    payloads += [openai_chunk({}, "stop")] * draw(st.integers(0, 1))
    payloads += [{"choices": [], "usage": USAGE}] * draw(st.integers(0, 1))
    return draw(wire(payloads, names=False))


BLOCKS = [("text", "text_delta", "text"), ("thinking", "thinking_delta", "thinking"), ("tool_use", "x", "partial_json")]


@st.composite
def anthropic_streams(draw):
    payloads = [{"type": "message_start", "message": {"id": "m", "role": "assistant", "usage": {"input_tokens": 3}}}]
    fields = ["text", "type", "error", "citation", "x"]
    for index in range(draw(st.integers(1, 2))):
        kind, named, field = draw(st.sampled_from(BLOCKS))
        block = {"type": kind, "input": {}} if kind == "tool_use" else {"type": kind, field: ""}
        payloads.append({"type": "content_block_start", "index": index, "content_block": block})
        for text in draw(st.lists(TEXTS, max_size=6)):
            payload = {"type": "content_block_delta", "index": index, "delta": {"type": named, field: text}}
            payloads.append(draw(changed(payload, fields)) if draw(st.integers(0, 2)) == 0 else payload)
        payloads.append({"type": "content_block_stop", "index": index})
    stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
    payloads += [stop] * draw(st.integers(0, 1))
    payloads += [{"type": "message_stop"}] * draw(st.integers(0, 1))
    return draw(wire(payloads, names=True))


def bytewise(parts):
    whole = b"".join(parts)
    return [whole[at : at + 1] for at in range(len(whole))]


def same_byte_by_byte(dialect, provider, parts):
    assert outcome(dialect, provider, parts) == outcome(dialect, provider, bytewise(parts))


@settings(max_examples=200, deadline=None)
@given(openai_streams(), st.sampled_from([Dialect.OPENAI, Dialect.OPENAI, Dialect.ANTHROPIC]))
def test_openai(parts, dialect):
    same_byte_by_byte(dialect, Dialect.OPENAI, parts)


@settings(max_examples=200, deadline=None)
@given(anthropic_streams(), st.sampled_from([Dialect.ANTHROPIC, Dialect.ANTHROPIC, Dialect.OPENAI]))
def test_anthropic(parts, dialect):
    same_byte_by_byte(dialect, Dialect.ANTHROPIC, parts)
