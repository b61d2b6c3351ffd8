"""The relay of a stream that leaves state: every event has the sealed ids, by the frame or without it."""

from __future__ import annotations

import json

import pytest

from weir_router.dialects.base import Signal
from weir_router.dialects.openai_responses.relayed import Relayed
from weir_router.dialects.openai_responses.state import Shown
from weir_router.dialects.openai_responses.stream import ResponsesReader
from weir_router.dialects.sealed_ids import Seals
from weir_router.dialects.wire.sse import SSE
from weir_router.seal import KeyRing

SHOWN = Shown(Seals(KeyRing([(b"k" * 32, 0)]), "shop", 0), "AAAAAAAAAAAAAAAA")
RESPONSE = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}


def events(items=("msg_1",), rounds=4, text="a word"):
    """A stream whose items' deltas come in turns."""
    whole = [{"type": "response.created", "response": RESPONSE}]
    for index, id in enumerate(items):
        item = {"id": id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        whole.append({"type": "response.output_item.added", "output_index": index, "item": item})
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        at = {"item_id": id, "output_index": index, "content_index": 0}
        whole.append({"type": "response.content_part.added", **at, "part": part})
    for number in range(rounds):
        index = number % len(items)
        at = {"item_id": items[index], "output_index": index, "content_index": 0}
        whole.append({"type": "response.output_text.delta", **at, "delta": text, "logprobs": []})
    for index, id in enumerate(items):
        item = {"id": id, "type": "message", "role": "assistant", "status": "completed", "content": []}
        whole.append({"type": "response.output_item.done", "output_index": index, "item": item})
    whole.append({"type": "response.completed", "response": {**RESPONSE, "status": "completed"}})
    return [{"type": it["type"], "sequence_number": number, **it} for number, it in enumerate(whole)]


def relay(stream, separators):
    """The payloads that the caller gets, and how many parts passed without being read."""
    relayed, reader, splitter = Relayed("", 0, SHOWN), ResponsesReader(), SSE.splitter()
    out, passed = [], 0
    for event in stream:
        part = b"event: %b\ndata: %b\n\n" % (
            event["type"].encode(), json.dumps(event, separators=separators).encode(),
        )  # fmt: skip
        shown = relayed.frame().passed(part)
        if shown is None and (signal := reader.skim(part)) is not None:
            shown = relayed.pass_on(part, signal)
        if shown is None:
            (one,) = splitter.feed(part)
            shown = relayed.feed(one, SSE.decode(one), Signal.NONE)
        else:
            passed += 1
        out.append(json.loads(shown.partition(b"data: ")[2]))
    assert relayed.place().id == SHOWN.response("resp_1")
    return out, passed


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("text", ["a word", 'it says "item_id":"msg_1" and \\"item_id\\":\\"msg_1\\"', "é\n"])
def test_each_event_is_as_if_it_were_read(separators, text):
    stream = events(rounds=9, text=text)
    out, passed = relay(stream, separators)
    assert out == [SHOWN.event(event) for event in stream]
    assert passed >= 7 or separators == (", ", ": ")


def test_deltas_of_several_items_keep_their_own_ids():
    stream = events(items=("msg_1", "msg_12", "rs_1"), rounds=12)
    out, _ = relay(stream, (",", ":"))
    assert out == [SHOWN.event(event) for event in stream]
