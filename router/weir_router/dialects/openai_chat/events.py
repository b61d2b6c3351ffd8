"""Chunks of this format as neutral events. Used by `neutral.translation`."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.neutral.answer import NO_USAGE, CallArguments, CallBegin, Event, Start, Stop
from weir_router.dialects.neutral.checked import as_dict, as_list, as_text
from weir_router.dialects.neutral.conversation import Text, Thought
from weir_router.dialects.openai_chat.answers import reasoning_of, stop_of, text_of, tier_of, usage_of
from weir_router.dialects.wire.failures import malformed


class _Call:
    """A tool call under way. It begins when the name is known."""

    def __init__(self, index: Any, position: int, given: str) -> None:
        self.index = index  # the upstream's own
        self.position = position
        self.id = given
        self.name = ""
        self.waiting = ""  # arguments that came before the name


class ChatEvents:
    """Reads one stream: see `base.EventReader`."""

    def __init__(self) -> None:
        self.stopped = False
        self.over = False
        self._started = False
        self._calls: list[_Call] = []

    def read(self, payload: dict[str, Any]) -> list[Event]:
        """The events of a chunk."""
        out: list[Event] = []
        given = payload.get("usage")
        usage = usage_of(given) if given and isinstance(given, dict) else None
        if not self._started:
            self._started = True
            model = as_text(payload.get("model"))
            out.append(Start(as_text(payload.get("id")), model, usage or NO_USAGE, tier_of(payload)))
        if usage is not None:
            out.append(usage)
        if choices := as_list(payload.get("choices")):
            self._choice(as_dict(choices[0]), out)
        else:
            # Usage alone after the finish reason is the last chunk: no need to wait for [DONE].
            self.over = usage is not None and self.stopped
        return out

    def check(self) -> None:
        """See `base.EventReader`."""
        if any(not call.name for call in self._calls):
            raise malformed("a tool call without a name")

    def _choice(self, choice: dict[str, Any], out: list[Event]) -> None:
        delta = as_dict(choice.get("delta"))
        if thought := reasoning_of(delta):
            out.append(Thought(thought))
        if text := text_of(delta.get("content")):
            out.append(Text(text))
        if refusal := as_text(delta.get("refusal")):
            out.append(Text(refusal, refusal=True))
        if delta.get("tool_calls"):
            for part in as_list(delta["tool_calls"]):
                self._call(as_dict(part), out)
        if not self.stopped and (finish := as_text(choice.get("finish_reason"))):
            self.stopped = True
            out.append(Stop(stop_of(finish)))

    def _call(self, part: dict[str, Any], out: list[Event]) -> None:
        call = self._which(part)
        function = as_dict(part.get("function"))
        call.waiting += as_text(function.get("arguments"))
        if not call.name:
            call.name = as_text(function.get("name"))
            if not call.name:
                return
            out.append(CallBegin(call.position, call.id, call.name))
        if call.waiting:
            out.append(CallArguments(call.position, call.waiting))
            call.waiting = ""

    def _which(self, part: dict[str, Any]) -> _Call:
        """The call that a part continues, or a new one."""
        # Some servers count wrongly (always 0) or not at all: a new id is a new call.
        index, given = part.get("index"), as_text(part.get("id"))
        for call in reversed(self._calls):
            if (index is None or call.index == index) and given in ("", call.id):
                return call
        call = _Call(index, len(self._calls), given)
        self._calls.append(call)
        return call
