"""The grammar of event streams of OpenAI's Responses API, as a checker: `violation` gives the first offence.

    created  [queued]  in_progress  item*  completed | incomplete | failed
    item      = output_item.added (empty)  body  output_item.done (whole)
    message   = (content_part.added  text delta*  text done  content_part.done)*, or the same with a refusal
    reasoning = (summary part added  delta*  done  part done)*, or content parts with reasoning text
    call      = arguments or input delta*  done

Items may interleave, as the output index tells them apart. A stream that fails may leave items open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

LIFECYCLE = ("created", "queued", "in_progress")
TERMINAL = ("completed", "incomplete", "failed")
RESPONSE_FIELDS = (
    *("id", "object", "created_at", "status", "error", "incomplete_details", "instructions", "metadata", "model"),
    *("output", "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p", "usage", "store"),
)
"""Fields of every response, null or not."""

EMPTY: dict[str, tuple[str, Any]] = {
    "message": ("content", []),
    "reasoning": ("summary", []),
    "function_call": ("arguments", ""),
    "custom_tool_call": ("input", ""),
}
"""The field of an item that its events fill, and its value before."""

ITEM_FIELDS = {
    "message": ("id", "role", "status", "content"),
    "reasoning": ("id", "summary"),
    "function_call": ("id", "call_id", "name", "arguments", "status"),
    "custom_tool_call": ("id", "call_id", "name", "input"),
}
IDENTITY = ("type", "id", "call_id", "name")


class Sent(NamedTuple):
    """One event of a stream."""

    name: str | None
    data: Any  # decoded JSON, or the text where it is none


class _ViolationError(Exception):
    """The stream breaks a rule."""


def events_of(stream: bytes) -> list[Sent]:
    """The events of a stream's bytes, without comments."""
    found = []
    for block in stream.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        fields = [line.partition(": ") for line in lines]
        name = next((value for key, _, value in fields if key == "event"), None)
        data = "\n".join([value for key, _, value in fields if key == "data"])
        if lines:
            found.append(Sent(name, _decoded(data)))
    return found


def _decoded(data: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return data


def violation(events: Iterable[Sent]) -> str | None:
    """The first offence against the grammar; None: there is none."""
    checker = _Checker()
    number = -1
    try:
        for number, event in enumerate(events):
            checker.take(number, event)
        _demand(checker.ended, "the stream ends without completed, incomplete or failed")
    except _ViolationError as found:
        return f"event {number}: {found}"
    return None


def _demand(holds: object, what: str) -> None:
    if not holds:
        raise _ViolationError(what)


class _Part:
    """One part of an item: text, refusal, reasoning text, or a part of the summary."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.text = ""
        self.said = False  # its text is done
        self.done = False


class _Item:
    """One item under way."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.item = item
        self.kind: str = item["type"]
        self.parts: list[_Part] = []
        self.summary: list[_Part] = []
        self.text = ""  # of a call
        self.said = False
        self.done: dict[str, Any] | None = None

    def whole(self) -> dict[str, Any]:
        """The item as its events make it, but for fields that only `done` has."""
        made: dict[str, Any] = {name: self.item.get(name) for name in IDENTITY if name in self.item}
        if self.kind == "message":
            made["content"] = [(part.kind, part.text) for part in self.parts]
        elif self.kind == "reasoning":
            made["summary"] = [(part.kind, part.text) for part in self.summary]
            made["content"] = [(part.kind, part.text) for part in self.parts]
        elif self.kind in EMPTY:
            made[EMPTY[self.kind][0]] = self.text
        return made


class _Checker:
    """The state of one stream."""

    def __init__(self) -> None:
        self.ended = False
        self._id: str | None = None
        self._stage = -1  # index in LIFECYCLE
        self._items: list[_Item] = []
        self._ids: set[str] = set()
        self._call_ids: set[str] = set()

    def take(self, number: int, event: Sent) -> None:
        """Checks the next event."""
        _demand(not self.ended, "an event after the last one")
        _demand(event.data != "[DONE]", "[DONE] belongs to chat completions")
        _demand(isinstance(event.data, dict), "the data is no JSON object")
        data: dict[str, Any] = event.data
        kind = data.get("type")
        _demand(isinstance(kind, str) and kind.startswith("response."), f"the type is {kind!r}")
        assert isinstance(kind, str)
        _demand(event.name == kind, f"`event:` is {event.name!r}, the type {kind!r}")
        _demand(data.get("sequence_number") == number, f"sequence_number is {data.get('sequence_number')!r}")
        name = kind.removeprefix("response.")
        if name in LIFECYCLE or name in TERMINAL:
            self._lifecycle(name, data)
            return
        _demand(self._stage == LIFECYCLE.index("in_progress"), f"{name} before in_progress")
        handler = _HANDLERS.get(name)
        if handler is not None:
            handler(self, data)
        else:
            _demand(name.partition(".")[0].endswith(("_call", "_call_code", "_list_tools")), f"unknown type {kind!r}")
            self._open(data)

    def _lifecycle(self, name: str, data: dict[str, Any]) -> None:
        response = data.get("response")
        _demand(isinstance(response, dict), f"{name} without a response")
        assert isinstance(response, dict)
        for field in RESPONSE_FIELDS:
            _demand(field in response, f"the response of {name} lacks {field}")
        _demand(response["object"] == "response", "the object is no response")
        _demand(self._id in (None, response["id"]), "the response has another id")
        status = "in_progress" if name == "created" and response["status"] != "queued" else name
        _demand(name == "created" or response["status"] == status, f"the status of {name} is {response['status']!r}")
        if name in LIFECYCLE:
            stage = LIFECYCLE.index(name)
            _demand(stage > self._stage and (stage > 0) == (self._stage >= 0), f"{name} at the wrong place")
            _demand(not self._items and response["output"] == [], f"{name} has output")
            self._stage, self._id = stage, response["id"]
            return
        _demand(self._stage >= 0, f"{name} before created")
        _demand(name == "failed" or self._stage == LIFECYCLE.index("in_progress"), f"{name} before in_progress")
        self._finish(name, response)

    def _finish(self, name: str, response: dict[str, Any]) -> None:
        unfinished = [index for index, item in enumerate(self._items) if item.done is None]
        _demand(name == "failed" or not unfinished, f"{name} with open items {unfinished}")
        if name != "failed":
            _demand(
                response["output"] == [it.done for it in self._items], f"the output of {name} is not the done items"
            )
            _check_usage(response["usage"])
        _demand((name == "failed") == (response["error"] is not None), f"error of {name}")
        details = response["incomplete_details"]
        _demand((name == "incomplete") == (details is not None), f"incomplete_details of {name}")
        self.ended = True

    def added(self, data: dict[str, Any]) -> None:
        item, index = data.get("item"), data.get("output_index")
        _demand(isinstance(item, dict) and isinstance(item.get("type"), str), "no item")
        assert isinstance(item, dict)
        _demand(index == len(self._items), f"output_index is {index}, the next is {len(self._items)}")
        _demand(isinstance(item.get("id"), str) and item["id"] not in self._ids, f"the id {item.get('id')!r}")
        self._ids.add(item["id"])
        _demand_fields(item)
        if "call_id" in item:
            _demand(item["call_id"] not in self._call_ids, f"the call_id {item['call_id']!r} comes again")
            self._call_ids.add(item["call_id"])
        if item["type"] in EMPTY:
            field, value = EMPTY[item["type"]]
            _demand(item[field] == value, f"{field} of an added {item['type']} is not empty")
            _demand(item.get("status", "in_progress") == "in_progress", f"the status of an added {item['type']}")
        self._items.append(_Item(item))

    def done(self, data: dict[str, Any]) -> None:
        item, done = self._open(data, by_id=False), data.get("item")
        _demand(isinstance(done, dict), "no item")
        assert isinstance(done, dict)
        for name in IDENTITY:
            _demand(done.get(name) == item.item.get(name), f"{name} of the done item is not that of the added one")
        _demand_fields(done)
        if item.kind in EMPTY:
            _demand(all(part.done for part in (*item.parts, *item.summary)), "a part of the item is open")
            _demand(item.kind in ("message", "reasoning") or item.said, "the call's own done event is missing")
            _demand(_shape(done) == item.whole(), f"the done item is {_shape(done)}, its events made {item.whole()}")
            _demand(done.get("status", "completed") in ("completed", "incomplete"), "the status of a done item")
        item.done = done

    def _open(self, data: dict[str, Any], *, by_id: bool = True) -> _Item:
        index = data.get("output_index")
        _demand(type(index) is int and 0 <= index < len(self._items), f"no item {index!r} was added")
        assert isinstance(index, int)
        item = self._items[index]
        _demand(item.done is None, f"item {index} is done")
        if by_id:
            _demand(data.get("item_id") == item.item["id"], f"item_id is {data.get('item_id')!r}")
        return item

    def part_added(self, data: dict[str, Any]) -> None:
        item, part = self._open(data), data.get("part")
        _demand(isinstance(part, dict), "no part")
        assert isinstance(part, dict)
        kind = part.get("type")
        known = ("reasoning_text",) if item.kind == "reasoning" else ("output_text", "refusal")
        _demand(item.kind in ("message", "reasoning") and kind in known, f"a part {kind!r} of a {item.kind}")
        _demand(data.get("content_index") == len(item.parts), f"content_index is {data.get('content_index')!r}")
        _demand(all(it.done for it in item.parts), "the part before is open")
        _check_part(part, "")
        item.parts.append(_Part(str(kind)))

    def part_done(self, data: dict[str, Any]) -> None:
        part = _part(self._open(data).parts, data, "content_index")
        _demand(part.said, "the text of the part is not done")
        _demand(data["part"].get("type") == part.kind, "the type of the done part")
        _check_part(data["part"], part.text)
        part.done = True

    def summary_added(self, data: dict[str, Any]) -> None:
        item = self._open(data)
        _demand(item.kind == "reasoning", f"a summary of a {item.kind}")
        _demand(data.get("summary_index") == len(item.summary), f"summary_index is {data.get('summary_index')!r}")
        _demand(all(it.done for it in item.summary), "the part before is open")
        _demand(data.get("part") == {"type": "summary_text", "text": ""}, "the added part of the summary")
        item.summary.append(_Part("summary_text"))

    def summary_done(self, data: dict[str, Any]) -> None:
        part = _part(self._open(data).summary, data, "summary_index")
        _demand(part.said, "the text of the part is not done")
        _demand(data.get("part") == {"type": "summary_text", "text": part.text}, "the done part of the summary")
        part.done = True

    def text(self, kind: str, field: str, data: dict[str, Any]) -> None:
        item = self._open(data)
        summary = kind == "summary_text"
        part = _part(item.summary if summary else item.parts, data, "summary_index" if summary else "content_index")
        _demand(part.kind == kind and not part.said, f"{data['type']} for a part of type {part.kind}")
        if kind == "output_text":
            _demand(data.get("logprobs") == [], "logprobs are no empty list")
        if field == "delta":
            _demand(isinstance(data.get("delta"), str) and data["delta"], "an empty delta")
            part.text += data["delta"]
        else:
            _demand(data.get(field) == part.text, f"{field} is not what the deltas made")
            part.said = True

    def call(self, kind: str, field: str, data: dict[str, Any]) -> None:
        item = self._open(data)
        _demand(item.kind == kind and not item.said, f"{data['type']} for a {item.kind}")
        if field == "delta":
            _demand(isinstance(data.get("delta"), str) and data["delta"], "an empty delta")
            item.text += data["delta"]
        else:
            _demand(data.get(field) == item.text, f"{field} are not what the deltas made")
            item.said = True


def _part(parts: list[_Part], data: dict[str, Any], name: str) -> _Part:
    index = data.get(name)
    _demand(type(index) is int and index == len(parts) - 1, f"{name} is {index!r}")
    _demand(not parts[-1].done, "the part is done")
    return parts[-1]


def _check_part(part: dict[str, Any], text: str) -> None:
    if part["type"] == "output_text":
        _demand(part.get("annotations") == [] and part.get("logprobs") == [], "annotations and logprobs of a part")
    field = "refusal" if part["type"] == "refusal" else "text"
    _demand(part.get(field) == text, f"{field} of a part")


def _demand_fields(item: dict[str, Any]) -> None:
    for field in ITEM_FIELDS.get(item["type"], ()):
        _demand(item.get(field) is not None, f"the item {item['type']} lacks {field}")


def _shape(item: dict[str, Any]) -> dict[str, Any]:
    """A done item in the form of `_Item.whole`."""
    made: dict[str, Any] = {name: item.get(name) for name in IDENTITY if name in item}
    if item["type"] == "message":
        made["content"] = [(part["type"], part.get("text", part.get("refusal"))) for part in item["content"]]
    elif item["type"] == "reasoning":
        made["summary"] = [(part["type"], part["text"]) for part in item["summary"]]
        made["content"] = [(part["type"], part["text"]) for part in item.get("content") or ()]
    else:
        field = EMPTY[item["type"]][0]
        made[field] = item[field]
    return made


def _check_usage(usage: Any) -> None:
    _demand(isinstance(usage, dict), "no usage")
    for field in ("input_tokens", "output_tokens", "total_tokens"):
        _demand(type(usage.get(field)) is int, f"usage lacks {field}")
    given, made = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    _demand(isinstance(given, dict) and {"cached_tokens", "cache_write_tokens"} <= given.keys(), "usage of the input")
    _demand(isinstance(made, dict) and "reasoning_tokens" in made, "usage of the output")


def _texts(prefix: str, kind: str, field: str) -> dict[str, Callable[[_Checker, dict[str, Any]], None]]:
    return {
        f"{prefix}.delta": lambda checker, data: checker.text(kind, "delta", data),
        f"{prefix}.done": lambda checker, data: checker.text(kind, field, data),
    }


def _calls(prefix: str, kind: str, field: str) -> dict[str, Callable[[_Checker, dict[str, Any]], None]]:
    return {
        f"{prefix}.delta": lambda checker, data: checker.call(kind, "delta", data),
        f"{prefix}.done": lambda checker, data: checker.call(kind, field, data),
    }


_HANDLERS: dict[str, Callable[[_Checker, dict[str, Any]], None]] = {
    "output_item.added": _Checker.added,
    "output_item.done": _Checker.done,
    "content_part.added": _Checker.part_added,
    "content_part.done": _Checker.part_done,
    "reasoning_summary_part.added": _Checker.summary_added,
    "reasoning_summary_part.done": _Checker.summary_done,
    "output_text.annotation.added": lambda checker, data: None,
    **_texts("output_text", "output_text", "text"),
    **_texts("refusal", "refusal", "refusal"),
    **_texts("reasoning_text", "reasoning_text", "text"),
    **_texts("reasoning_summary_text", "summary_text", "text"),
    **_calls("function_call_arguments", "function_call", "arguments"),
    **_calls("custom_tool_call_input", "custom_tool_call", "input"),
}
