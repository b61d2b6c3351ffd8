"""Requests to `/v1/chat/completions` with parts of the Responses API, as Cursor sends them.

Its agent sends a whole body of the Responses API (`input`, flat tools, `include`, `reasoning`), its other modes a chat
completion with tools and parts of other formats (see `foreign`). Both want chunks of a chat completion as the answer.
Each call in it has a `function` with a name: a custom tool has its plain text as arguments there, and comes back so in
the history. `request` finds such bodies. `registry` has pairings of their own for them, which translate every answer.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import EventWriter, Place
from weir_router.dialects.neutral.answer import Answer, CallBegin, Event
from weir_router.dialects.neutral.checked import Checked
from weir_router.dialects.neutral.conversation import Call, Conversation, Turn
from weir_router.dialects.neutral.custom import names_of
from weir_router.dialects.openai_chat import answers, foreign
from weir_router.dialects.openai_chat import request as of_chat
from weir_router.dialects.openai_chat import understand as chat
from weir_router.dialects.openai_chat.record import RECORD as CHAT
from weir_router.dialects.openai_responses import request as of_responses
from weir_router.dialects.openai_responses import understand as responses
from weir_router.dialects.wire import body as read_body
from weir_router.errors import BadRequest


def read(body: bytes, headers: dict[str, str], passed_on: dict[str, str]) -> Ask:
    """Reads a body with `input` in place of `messages`. `passed_on`: headers for an upstream. Raises `BadRequest`."""
    ask = of_responses.read(body, headers)
    if ask.state is not None and (ask.state.used or ask.state.background):
        raise BadRequest("A chat completion keeps no state: send the whole conversation as `input`.", param="input")
    options = read_body.optional_object(ask.body, "stream_options")
    return replace(
        ask,
        format=Format.OPENAI_CHAT,
        mixed=True,
        state=None,
        include_usage=not ask.stream or options.get("include_usage") is True,
        headers=passed_on,
    )


def plain(fields: dict[str, Any], raw: dict[str, msgspec.Raw], headers: dict[str, str]) -> Ask | None:
    """The request without parts and tools of other formats; None: it has none. `raw` has the undecoded fields. Raises
    `BadRequest`.

    It is a plain chat completion then, and only `mixed` if a custom tool or an earlier thought must be written in each
    backend's own way.
    """
    tools = fields.get("tools")
    flat = [tool for tool in tools if foreign.is_flat(tool)] if isinstance(tools, list) else []
    messages: list[dict[str, Any]] = fields["messages"]
    odd = [it for it in messages if foreign.has_parts(it.get("content"))]
    if not flat and not odd:
        return None
    changed: dict[str, Any] = dict(raw)
    customs = frozenset({str(it["name"]) for it in flat if foreign.nested(it)["type"] == "custom"})
    if flat:
        changed["tools"] = [foreign.nested(tool) if foreign.is_flat(tool) else tool for tool in tools or ()]
    if "tool_choice" in fields:
        changed["tool_choice"] = foreign.chosen(fields["tool_choice"], customs)
    thoughts = False
    if odd:
        changed["messages"] = foreign.messages(messages)
        thoughts = any("reasoning_content" in it for it in changed["messages"])
    return replace(of_chat.read(msgspec.json.encode(changed), headers, plain=True), mixed=bool(customs) or thoughts)


def understand(body: Checked, model: str) -> Conversation:
    """See `base.ConversationRecord`. A call of a custom tool is one, though the history has it as a function's."""
    asked = chat.understand(body, model) if body.raw("messages") else responses.understand(body, model)
    customs = names_of(asked)
    if not customs:
        return asked
    return replace(asked, turns=tuple([_with_customs(turn, customs) for turn in asked.turns]))


def _with_customs(turn: Turn, customs: frozenset[str]) -> Turn:
    calls = [it for it in turn.parts if isinstance(it, Call) and it.name in customs]
    if not calls:
        return turn
    parts = [replace(it, custom=True) if isinstance(it, Call) and it.name in customs else it for it in turn.parts]
    return replace(turn, parts=tuple(parts))


def write_answer(answer: Answer, ask: Ask, created: int, realm: str) -> dict[str, Any]:
    """See `base.ConversationRecord`."""
    parts = [replace(part, custom=False) if isinstance(part, Call) else part for part in answer.parts]
    return answers.write_answer(replace(answer, parts=tuple(parts)), ask, created, realm)


class _Functions:
    """An `EventWriter` that writes calls of custom tools as those of functions."""

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer

    def write(self, event: Event) -> bytes:
        """See `EventWriter`."""
        return self._writer.write(replace(event, custom=False) if isinstance(event, CallBegin) else event)

    def end(self) -> bytes:
        """See `EventWriter`."""
        return self._writer.end()

    def place(self) -> Place | None:
        """See `EventWriter`."""
        return self._writer.place()


RECORD = replace(
    CHAT,
    understand=understand,
    write_answer=write_answer,
    event_writer=lambda ask, created, realm: _Functions(CHAT.event_writer(ask, created, realm)),
)
