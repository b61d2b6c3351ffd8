"""Assembles an OpenAI stream into the answer that the same request would have got without a stream.

Used through `relay.Assembled`. Unknown fields survive: texts are joined, lists of indexed objects merged
by their index, other lists appended and objects merged; for other values the last one stays. Tool calls follow the rule
of `calls`, and parts of content continue those of the same type.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.openai_chat.calls import Calls
from weir_router.dialects.wire import positions
from weir_router.dialects.wire.lossy import is_several, lossy
from weir_router.dialects.wire.relay import LoneText

_REPLACED = frozenset({"role", "type", "id", "format", "index", "status", "mime_type", "severity"})
"""Fields of a choice whose texts are names; providers repeat them, so they are never joined."""

_CALLS = "tool_calls"
_NAME = "name"  # of a function: some servers repeat it in each delta

_CONTENT, _JOINED_PARTS = "content", frozenset({"text", "thinking"})
"""The field whose value some servers send as a list of parts, e.g. Mistral, and types of parts that continue."""

_NOT_IN_ANSWERS = frozenset({"choices", "object", "obfuscation"})
"""Top-level fields of a chunk that a whole answer does not have, or has in another form."""


class OpenAIAssembler:
    """The assembler of one answer."""

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}  # by index
        self._deltas: dict[int, dict[str, Any]] = {}

    def feed(self, payload: dict[str, Any]) -> None:
        """Adds a chunk."""
        _keep_last(self._top, payload)
        for choice in payload.get("choices") or ():
            index = positions.position(choice.get("index") or 0)
            _merge_choice(self._choices.setdefault(index, {}), choice)
            delta = choice.get("delta")
            if delta:
                _merge(self._deltas.setdefault(index, {}), delta)

    def lone_text(self, payload: dict[str, Any]) -> LoneText | None:
        """See `relay.Assembler`."""
        choices = payload["choices"]
        choice: dict[str, Any] = choices[0]
        delta: dict[str, Any] = choice["delta"]
        said = [name for name, value in delta.items() if value and name not in _REPLACED]
        others = [name for name, value in choice.items() if value and name != "delta" and name != "index"]
        if len(choices) > 1 or others or len(said) != 1 or not isinstance(delta[said[0]], str) or said[0] == _NAME:
            return None
        text = self._deltas[choice.get("index") or 0][said[0]]
        return LoneText(said[0], text.pieces) if isinstance(text, _Text) else None

    def answer(self) -> dict[str, Any]:
        """The whole answer."""
        choices = [self._choice(index) for index in sorted(self._choices)]
        top = {name: value for name, value in self._top.items() if name not in _NOT_IN_ANSWERS}
        answer = {"object": "chat.completion", **top, "choices": choices}
        # Last, as providers write it; left out if they sent none.
        usage = answer.pop("usage", None)
        return answer if usage is None else {**answer, "usage": usage}

    def _choice(self, index: int) -> dict[str, Any]:
        message = _joined({"role": "assistant", "content": None, **self._deltas.get(index, {})})
        if "refusal" in message:
            # OpenAI's own form: plain answers always have the list, streams only if it is not empty.
            message.setdefault("annotations", [])
        for call in message.get("tool_calls") or ():
            _finish_call(call)
        return {"index": index, "message": message, "finish_reason": None, **_joined(self._choices[index])}


class _Text:
    """A text in pieces: to join them at each delta would cost the square of the answer's length."""

    __slots__ = ("pieces", "size")

    def __init__(self, piece: str) -> None:
        self.pieces: list[str] = [piece]
        self.size = len(piece)  # characters; kept for names only

    def is_name(self, value: str) -> bool:
        """Whether it is `value`. It is joined only for a value as long as itself, so nothing is joined often."""
        return len(value) == self.size and "".join(self.pieces) == value


class _Items:
    """A list whose objects continue one another, with a look-up of those that have an index."""

    __slots__ = ("_indexed", "items")

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._indexed: dict[int, dict[str, Any]] = {}

    def add(self, item: Any) -> None:
        """Adds an item, or what it adds to an earlier one of the same index."""
        if not isinstance(item, dict):
            self.items.append(item)
            return
        index = item.get("index")
        target = self._indexed.get(index) if isinstance(index, int) else None
        if target is None:
            target = {}
            self.items.append(target)
            if isinstance(index, int):
                self._indexed[index] = target
        _merge(target, item)

    def whole(self) -> list[Any]:
        """The items, with their texts joined."""
        return [_joined(item) for item in self.items]


class _CallItems:
    """The tool calls of a message."""

    __slots__ = ("_calls", "items")

    def __init__(self) -> None:
        self._calls = Calls()
        self.items: list[dict[str, Any]] = []

    def add(self, item: Any) -> None:
        """Adds a call, or what a part adds to one."""
        position = self._calls.position(item)
        if position == len(self.items):
            self.items.append({})
        target = self.items[position]
        if target.get("id"):  # some servers make a new one for each part
            item = {name: value for name, value in item.items() if name != "id"}
        if isinstance(item.get("function"), dict):
            item = _with_object(target, item)
        _merge(target, item)

    def whole(self) -> list[Any]:
        """The calls in the order of a plain answer."""
        return [_joined(self.items[position]) for position in self._calls.in_order()]


class _Parts:
    """Content that came as a list of parts, among texts or not."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[Any] = []

    def add(self, item: Any) -> None:
        """Adds a part, or what it adds to the last one. A text is a part, too."""
        if isinstance(item, str):
            if not item:
                return
            item = {"type": "text", "text": item}
        last = self.items[-1] if self.items else None
        if not isinstance(item, dict):
            self.items.append(item)
        elif isinstance(last, dict) and _continues(last, item):
            _merge_part(last, item)
        else:
            self.items.append(_merge_part({}, item))

    def whole(self) -> list[Any]:
        """The parts, with their texts joined."""
        return [_joined(item) for item in self.items]


def _keep_last(into: dict[str, Any], fields: dict[str, Any]) -> None:
    """Keeps the last non-empty values; Azure's first chunk has an empty id and model."""
    for name, value in fields.items():
        if value or name not in into or (value is not None and value != ""):
            into[name] = value


def _merge_choice(into: dict[str, Any], choice: dict[str, Any]) -> None:
    for name, value in choice.items():
        if name == "delta" or name == "index":
            continue
        if isinstance(value, (dict, list)):  # logprobs, content filter results
            _merge(into, {name: value})
        elif value is not None or name not in into:
            into[name] = value


def _merge(into: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        known = into.get(name)
        if value is None:
            into.setdefault(name, None)
        elif isinstance(value, str):
            _merge_text(into, name, known, value)
        elif isinstance(value, list):
            _merge_list(into, name, known, value)
        elif isinstance(value, dict):
            into[name] = known if isinstance(known, dict) else {}
            _merge(into[name], value)
        else:
            into[name] = value


def _merge_text(into: dict[str, Any], name: str, known: Any, value: str) -> None:
    if name in _REPLACED:
        if value or known is None:
            into[name] = value
    elif isinstance(known, _Parts):
        known.add(value)
    elif not isinstance(known, _Text):
        into[name] = _Text(value)
    elif name != _NAME or not known.is_name(value):
        known.pieces.append(value)
        if name == _NAME:
            known.size += len(value)


def _merge_list(into: dict[str, Any], name: str, known: Any, added: list[Any]) -> None:
    if not isinstance(known, (_Items, _CallItems, _Parts)):
        text = known
        known = into[name] = _CallItems() if name == _CALLS else _Parts() if name == _CONTENT else _Items()
        if isinstance(text, _Text) and isinstance(known, _Parts):
            known.add("".join(text.pieces))
    for item in added:
        known.add(item)


def _continues(last: dict[str, Any], part: dict[str, Any]) -> bool:
    """Whether a part of content continues the last one."""
    return last.get("type") == part.get("type") in _JOINED_PARTS and last.get("index") == part.get("index")


def _merge_part(into: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Adds a part of content to `into`. A thinking part has a list of parts itself."""
    for name, value in part.items():
        if isinstance(value, list) and name in _JOINED_PARTS:
            known = into.get(name)
            if not isinstance(known, _Parts):
                known = into[name] = _Parts()
            for item in value:
                known.add(item)
        else:
            _merge(into, {name: value})
    return into


def _with_object(target: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """A part without arguments that are an object, which goes to the caller as it came: `target` has it from now on."""
    arguments, known = part["function"].get("arguments"), target.get("function")
    before = known.get("arguments") if isinstance(known, dict) else None
    if isinstance(arguments, dict):
        if arguments or before is None:
            known = target["function"] = known if isinstance(known, dict) else {}
            known["arguments"] = arguments
    elif arguments != "" or not isinstance(before, dict):
        return part
    return {**part, "function": {name: it for name, it in part["function"].items() if name != "arguments"}}


def _finish_call(call: dict[str, Any]) -> None:
    """Gives a call the form of a plain answer. Raises `AttemptFailed` (lossy) for one that is none."""
    call.pop("index", None)
    function = call.get("function")
    if not isinstance(function, dict):
        return
    call.setdefault("type", "function")
    if not function.get(_NAME):
        raise lossy("a tool call has no name")
    arguments = function.get("arguments")
    if isinstance(arguments, str) and is_several(arguments):
        raise lossy("its tool calls are mixed up")


def _joined(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value.pieces)
    if isinstance(value, dict):
        return {name: _joined(item) for name, item in value.items()}
    if isinstance(value, (_Items, _CallItems, _Parts)):
        return value.whole()
    return value
