"""Chunks of this format as neutral events. Used by `neutral.translation`."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.neutral.answer import NO_USAGE, CallArguments, CallBegin, Event, Signed, Start, Stop
from weir_router.dialects.neutral.checked import as_dict, as_list, as_name, as_text
from weir_router.dialects.neutral.conversation import Text, Thought
from weir_router.dialects.openai_chat.answers import (
    arguments_of,
    parts_of,
    reasoning_of,
    says_reasoning,
    stop_of,
    tier_of,
    usage_of,
)
from weir_router.dialects.openai_chat.calls import Calls, function_of
from weir_router.dialects.openai_chat.turns import REASONING
from weir_router.dialects.openai_chat.understand import signature_of
from weir_router.dialects.wire.failures import malformed

MAX_WAITING = 1024 * 1024
"""Characters of a tool call's arguments that may come before its name. The servers that do so send a few."""


class _Call:
    """A tool call under way. It begins when the name is known."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.id = ""
        self.name = ""
        self.waiting: list[str] = []  # arguments that came before the name
        self.length = 0  # characters of `waiting`
        self.opaque = ""  # Gemini's signature
        self.custom = False

    def wait(self, arguments: str) -> None:
        """Keeps arguments until the name comes. Raises `AttemptFailed` (malformed) if there are too many."""
        self.length += len(arguments)
        if self.length > MAX_WAITING:
            raise malformed(f"more than {MAX_WAITING} characters of a tool call's arguments before its name")
        if arguments:
            self.waiting.append(arguments)


class ChatEvents:
    """Reads one stream: see `base.EventReader`."""

    def __init__(self) -> None:
        self.stopped = False
        self.over = False
        self._started = False
        self._says = False  # the thought so far has the name that must come back with it
        self._order = Calls()
        self._calls: list[_Call] = []
        self._nameless = 0  # of them, those whose name has not come

    def read(self, payload: dict[str, Any]) -> list[Event]:
        """The events of a chunk."""
        out: list[Event] = []
        given = payload.get("usage")
        usage = usage_of(given) if given and isinstance(given, dict) else None
        if not self._started:
            self._started = True
            model = as_name(payload.get("model"))
            out.append(Start(as_name(payload.get("id")), model, usage or NO_USAGE, tier_of(payload)))
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
        if self._nameless:
            raise malformed("a tool call without a name")

    def _choice(self, choice: dict[str, Any], out: list[Event]) -> None:
        delta = as_dict(choice.get("delta"))
        if thought := reasoning_of(delta):
            self._says = self._says or says_reasoning(delta)
            out.append(Thought(thought))
        content = delta.get("content")
        if self._says and (content or delta.get("refusal") or delta.get("tool_calls") or choice.get("finish_reason")):
            self._says = False
            out.append(Signed(REASONING))
        if isinstance(content, list):
            out += parts_of(content)
        elif text := as_text(content):
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
        position = self._order.position(part)
        if position == len(self._calls):
            self._calls.append(_Call(position))
            self._nameless += 1
        call = self._calls[position]
        call.id = call.id or as_text(part.get("id"))
        function = function_of(part)
        call.custom = call.custom or bool(as_dict(part.get("custom")))
        arguments = as_text(function.get("input")) if call.custom else arguments_of(function)
        call.opaque = call.opaque or signature_of(part)
        if not call.name:
            call.name = as_text(function.get("name"))
            if not call.name:
                call.wait(arguments)
                return
            self._nameless -= 1
            out.append(CallBegin(call.position, call.id, call.name, call.opaque, call.custom))
            arguments = "".join(call.waiting) + arguments
            call.waiting.clear()
        if arguments:
            out.append(CallArguments(call.position, arguments))
