"""Assembles an OpenAI stream into the answer that the same request would have got without a stream.

Used through `relay.Assembled`. Unknown fields survive: texts are joined, lists of indexed objects merged
by their index, other lists appended and objects merged; for other values the last one stays.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.wire import positions
from weir_router.dialects.wire.relay import LoneText

_REPLACED = frozenset({"role", "type", "id", "format", "index", "status", "mime_type", "severity"})
"""Fields of a choice whose texts are names; providers repeat them, so they are never joined."""

_CALLS = "tool_calls"
_NAME = "name"  # of a function: some servers repeat it in each delta

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
        return LoneText(said[0], self._deltas[choice.get("index") or 0][said[0]].pieces)

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
            call.pop("index", None)
            if "function" in call:
                call.setdefault("type", "function")
        return {"index": index, "message": message, "finish_reason": None, **_joined(self._choices[index])}


class _Text:
    """A text in pieces: to join them at each delta would cost the square of the answer's length."""

    __slots__ = ("pieces", "size")

    def __init__(self, piece: str) -> None:
        self.pieces: list[Any] = [piece]  # texts, and other values that an upstream puts beside them
        self.size = len(piece)  # characters; kept for names only

    def is_name(self, value: str) -> bool:
        """Whether it is `value`. It is joined only for a value as long as itself, so nothing is joined often."""
        return len(value) == self.size and "".join(self.pieces) == value


class _Items:
    """A list whose objects continue one another, with a look-up of those that have an index."""

    __slots__ = ("_indexed", "_most", "items")

    def __init__(self, name: str) -> None:
        self.items: list[Any] = []
        self._indexed: dict[int, dict[str, Any]] = {}
        self._most = positions.MOST if name == _CALLS else 0  # 0: no bound but that of the answer

    def add(self, item: Any) -> None:
        """Adds an item, or what it adds to an earlier one."""
        if not isinstance(item, dict):
            self.items.append(item)
            return
        target = self._same(item)
        if target is None:
            target = {}
            self.items.append(target)
            index = item.get("index")
            if isinstance(index, int):
                self._indexed[index] = target
            if self._most and len(self.items) > self._most:
                raise positions.too_many("tool calls")
        _merge(target, item)

    def _same(self, item: dict[str, Any]) -> dict[str, Any] | None:
        """The item that this one continues: that of the same index, or the last tool call if it has no index."""
        index = item.get("index")
        if self._most and index is not None:
            positions.position(index)
        if isinstance(index, int):
            return self._indexed.get(index)
        if "function" in item and not item.get("id") and self.items and isinstance(self.items[-1], dict):
            return self.items[-1]
        return None


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
    elif not isinstance(known, _Text):
        into[name] = _Text(value)
    elif name != _NAME or not known.is_name(value):
        known.pieces.append(value)
        if name == _NAME:
            known.size += len(value)


def _merge_list(into: dict[str, Any], name: str, known: Any, added: list[Any]) -> None:
    if isinstance(known, _Text):
        known.pieces.extend(added)
        return
    if not isinstance(known, _Items):
        known = into[name] = _Items(name)
    for item in added:
        known.add(item)


def _joined(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value.pieces)
    if isinstance(value, dict):
        return {name: _joined(item) for name, item in value.items()}
    if isinstance(value, _Items):
        return [_joined(item) for item in value.items]
    return value
