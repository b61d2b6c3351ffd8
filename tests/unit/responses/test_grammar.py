"""The checker of event sequences takes right ones, and names the first offence of each broken one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from support.responses_grammar import Sent, events_of, violation

RESPONSE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "in_progress", "error": None,
    "incomplete_details": None, "instructions": None, "metadata": {}, "model": "m", "output": [],
    "parallel_tool_calls": True, "temperature": None, "tool_choice": "auto", "tools": [], "top_p": None,
    "usage": None, "store": False,
}  # fmt: skip
USAGE = {
    "input_tokens": 1,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 1,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 2,
}
TEXT = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
WHOLE_MESSAGE = {**MESSAGE, "content": [{**TEXT, "text": "Hi"}]}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
CUSTOM = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "patch", "input": "ab"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}


def event(kind: str, **data: Any) -> tuple[str, dict[str, Any]]:
    return f"response.{kind}", data


def right() -> list[tuple[str, dict[str, Any]]]:
    """A stream with an item of each kind."""
    output = [THOUGHT, WHOLE_MESSAGE, {**CALL, "status": "completed"}, CUSTOM]
    summary = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    text = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    call = {"item_id": "fc_1", "output_index": 2}
    custom = {"item_id": "ctc_1", "output_index": 3}
    return [
        event("created", response=RESPONSE),
        event("in_progress", response=RESPONSE),
        event("output_item.added", output_index=0, item={**THOUGHT, "summary": []}),
        event("reasoning_summary_part.added", **summary, part={"type": "summary_text", "text": ""}),
        event("reasoning_summary_text.delta", **summary, delta="hm"),
        event("reasoning_summary_text.done", **summary, text="hm"),
        event("reasoning_summary_part.done", **summary, part={"type": "summary_text", "text": "hm"}),
        event("output_item.done", output_index=0, item=output[0]),
        event("output_item.added", output_index=1, item={**MESSAGE, "status": "in_progress", "content": []}),
        event("content_part.added", **text, part=TEXT),
        event("output_text.delta", **text, delta="H", logprobs=[]),
        event("output_text.delta", **text, delta="i", logprobs=[]),
        event("output_text.done", **text, text="Hi", logprobs=[]),
        event("content_part.done", **text, part={**TEXT, "text": "Hi"}),
        event("output_item.done", output_index=1, item=output[1]),
        event("output_item.added", output_index=2, item={**CALL, "arguments": "", "status": "in_progress"}),
        event("function_call_arguments.delta", **call, delta="{}"),
        event("function_call_arguments.done", **call, arguments="{}"),
        event("output_item.done", output_index=2, item=output[2]),
        event("output_item.added", output_index=3, item={**CUSTOM, "input": ""}),
        event("custom_tool_call_input.delta", **custom, delta="ab"),
        event("custom_tool_call_input.done", **custom, input="ab"),
        event("output_item.done", output_index=3, item=output[3]),
        event("completed", response={**RESPONSE, "status": "completed", "output": output, "usage": USAGE}),
    ]


def numbered(events: list[tuple[str, dict[str, Any]]]) -> list[Sent]:
    return [Sent(kind, {"type": kind, "sequence_number": at, **data}) for at, (kind, data) in enumerate(events)]


def broken(change: Callable[[list[tuple[str, dict[str, Any]]]], Any]) -> str | None:
    """The offence of the right stream after a change."""
    events = copy.deepcopy(right())
    change(events)
    return violation(numbered(events))


def test_a_right_stream_has_no_violation():
    assert violation(numbered(right())) is None


def test_items_may_interleave():
    events = right()
    call, custom = events[15:19], events[19:23]
    mixed = [*events[:15], call[0], custom[0], call[1], custom[1], *custom[2:], *call[2:], events[23]]
    assert violation(numbered(mixed)) is None


def test_a_stream_that_fails_may_leave_items_open():
    failed = {**RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "x"}}
    assert violation(numbered([*right()[:11], event("failed", response=failed)])) is None
    assert violation(numbered([right()[0], event("failed", response=failed)])) is None


def set_item(events: list[Any], at: int, **fields: Any) -> None:
    events[at][1]["item"].update(fields)


def swap(events: list[Any], at: int) -> None:
    events[at], events[at + 1] = events[at + 1], events[at]


ROWS: dict[str, tuple[Callable[[list[Any]], Any], str]] = {
    "nothing before created": (lambda it: it.pop(0), "event 0: in_progress at the wrong place"),
    "no in_progress": (lambda it: it.pop(1), "event 1: output_item.added before in_progress"),
    "created twice": (lambda it: it.insert(1, it[0]), "event 1: created at the wrong place"),
    "another response": (lambda it: it[23][1]["response"].update(id="resp_2"), "event 23: the response has another id"),
    "a response without tools": (lambda it: it[0][1]["response"].pop("tools"), "event 0: the response of created"),
    "an index left out": (lambda it: it[8][1].update(output_index=2), "event 8: output_index is 2, the next is 1"),
    "an index twice": (lambda it: it[8][1].update(output_index=0), "event 8: output_index is 0, the next is 1"),
    "an id twice": (lambda it: set_item(it, 15, id="msg_1"), "event 15: the id 'msg_1'"),
    "a call_id twice": (lambda it: set_item(it, 19, call_id="call_1"), "event 19: the call_id 'call_1' comes again"),
    "an item that is added full": (lambda it: set_item(it, 15, arguments="{"), "event 15: arguments of an added"),
    "an item that is added done": (lambda it: set_item(it, 8, status="completed"), "event 8: the status of an added"),
    "a delta before its item": (lambda it: it.pop(15), "event 15: no item 2 was added"),
    "a delta before its part": (lambda it: swap(it, 9), "event 9: content_index is 0"),
    "a delta of another item": (lambda it: it[10][1].update(item_id="msg_2"), "event 10: item_id is 'msg_2'"),
    "a delta of another part": (lambda it: it[10][1].update(content_index=1), "event 10: content_index is 1"),
    "an empty delta": (lambda it: it[10][1].update(delta=""), "event 10: an empty delta"),
    "no logprobs": (lambda it: it[10][1].pop("logprobs"), "event 10: logprobs are no empty list"),
    "another text at its end": (lambda it: it[12][1].update(text="Ho"), "event 12: text is not what the deltas made"),
    "a text that is not done": (lambda it: it.pop(12), "event 12: the text of the part is not done"),
    "a part that is not done": (lambda it: it.pop(13), "event 13: a part of the item is open"),
    "a part without annotations": (lambda it: it[13][1]["part"].pop("annotations"), "event 13: annotations and logp"),
    "arguments that are not done": (lambda it: it.pop(17), "event 17: the call's own done event is missing"),
    "other arguments": (lambda it: it[17][1].update(arguments="{ }"), "event 17: arguments are not what the deltas"),
    "an item that is done with another id": (lambda it: set_item(it, 18, id="fc_2"), "event 18: id of the done item"),
    "another call_id": (lambda it: set_item(it, 18, call_id="call_3"), "event 18: call_id of the done item"),
    "an item that is done with less": (lambda it: set_item(it, 14, content=[]), "event 14: the done item is"),
    "an item that is done twice": (lambda it: it.insert(19, it[18]), "event 19: item 2 is done"),
    "an item that is not done": (lambda it: it.pop(22), "event 22: completed with open items [3]"),
    "an output without an item": (lambda it: it[23][1]["response"]["output"].pop(), "event 23: the output of"),
    "no usage": (lambda it: it[23][1]["response"].update(usage=None), "event 23: no usage"),
    "usage without details": (
        lambda it: it[23][1]["response"]["usage"].update(output_tokens_details={}), "event 23: usage of the output",
    ),
    "an end with an error": (lambda it: it[23][1]["response"].update(error={}), "event 23: error of completed"),
    "an event after the end": (lambda it: it.append(it[22]), "event 24: an event after the last one"),
    "no end": (lambda it: it.pop(), "event 22: the stream ends without completed"),
    "an unknown event": (lambda it: it.insert(5, event("smell.delta")), "event 5: unknown type 'response.smell.delta'"),
    "a summary of a message": (
        lambda it: it.insert(10, event("reasoning_summary_part.added", item_id="msg_1", output_index=1)),
        "event 10: a summary of a message",
    ),
    "a refusal in a part of text": (
        lambda it: it.insert(10, event("refusal.delta", item_id="msg_1", output_index=1, content_index=0, delta="x")),
        "event 10: response.refusal.delta for a part of type output_text",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_a_broken_stream_is_named(row):
    change, offence = ROWS[row]
    found = broken(change)
    assert found is not None
    assert found.startswith(offence)


def test_numbers_names_and_the_end_of_another_format_are_checked():
    events = numbered(right())
    assert violation([events[0], events[2]]) == "event 1: sequence_number is 2"
    assert violation([Sent("message", events[0].data)]) == "event 0: `event:` is 'message', the type 'response.created'"
    assert violation([*events[:23], Sent(None, "[DONE]")]) == "event 23: [DONE] belongs to chat completions"


def test_events_are_read_from_bytes():
    stream = b': weir {}\n\nevent: response.created\ndata: {"type":"response.created"}\n\ndata: [DONE]\n\n'
    assert events_of(stream) == [Sent("response.created", {"type": "response.created"}), Sent(None, "[DONE]")]
