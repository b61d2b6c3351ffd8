"""Reads OpenAI chat completions: an `Ask` from body and headers. Called by `serve`; changes nothing, sends nothing."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.openai_chat.foreign import PARTS, has_flat
from weir_router.dialects.wire import body as read_body
from weir_router.dialects.wire.outgoing import IN_PLACE
from weir_router.dialects.wire.tally import Tally, extra_chars, text_of
from weir_router.estimate.prompt import Turn

PASSED_HEADERS = ("openai-organization", "openai-project", "openai-beta", "x-request-id", "x-client-request-id")
"""Headers for upstreams of the same format that change or trace the answer. Never credentials; never an idempotency
key, which our own attempts would send again with another body.
"""

_ROLES = {"developer": "system", "function": "tool"}
_NOT_DEMANDING = frozenset({None, "none", "minimal"})


def read(body: bytes, headers: dict[str, str], plain: bool = False) -> Ask:
    """Reads a `POST /v1/chat/completions`. Unknown fields and roles are kept. `plain`: parts and tools of other formats
    are not searched for. Raises `errors.BadRequest`.
    """
    fields, raw = read_body.parse(body)
    model = read_body.model(fields)
    if "input" in fields and ("messages" not in fields or not fields["messages"]):
        ask: Ask = _mixed().read(body, headers, read_body.passed_on(headers, PASSED_HEADERS))
        return ask
    tally = Tally()
    odd = "tools" in fields and has_flat(read_body.optional_list(fields, "tools"))
    for index, message in enumerate(read_body.messages(fields)):
        content, role = message.get("content"), message["role"]
        if type(content) is str and role not in _ROLES and role != "tool":
            tally.turns.append(Turn(role, content))  # nearly every message
        else:
            odd = _read_message(tally, message, f"messages[{index}]") or odd
    if odd and not plain:
        other: Ask | None = _mixed().plain(fields, raw, headers)
        if other is not None:
            return other
    stream = read_body.flag(fields, "stream")
    audio_out = "modalities" in fields and "audio" in read_body.optional_list(fields, "modalities")
    tally.audio += audio_out
    options = read_body.optional_object(fields, "stream_options") if "stream_options" in fields else {}
    prompt = tally.prompt(
        tools=len(read_body.optional_list(fields, "tools")) + len(read_body.optional_list(fields, "functions")),
        schema=_schema(fields),
        reasoning=_reasoning(fields),
        max_output=_max_output(fields),
        extra=extra_chars(raw, "tools", "functions", "response_format"),
    )
    include_usage = not stream or options.get("include_usage") is True
    streamable = not audio_out and _streamable(fields)
    passed_on = read_body.passed_on(headers, PASSED_HEADERS)
    return Ask(
        Format.OPENAI_CHAT,
        model,
        stream,
        fields,
        raw,
        prompt,
        include_usage,
        streamable,
        passed_on,
        len(body) >= IN_PLACE,
    )


def _mixed() -> ModuleType:
    """The reader of bodies that are not only of this format. It imports this module."""
    from weir_router.dialects.openai_chat import mixed

    return mixed


def _read_message(tally: Tally, message: dict[str, Any], where: str) -> bool:
    """Counts a message. Returns whether a part of it is of another format."""
    odd = False
    role = _ROLES.get(message["role"], message["role"])
    texts = []
    for part in read_body.parts(message.get("content"), f"{where}.content"):
        kind = part.get("type")
        odd = odd or (isinstance(kind, str) and kind in PARTS)
        match kind:
            case "image_url" | "input_image" | "image":
                tally.images += 1
            case "input_audio":
                tally.audio += 1
            case "file" | "input_file" | "document":
                tally.documents += 1
            case _ if (text := text_of(part)) is not None:
                texts.append(text)
    tally.tool_results += role == "tool"
    tally.turn(role, texts)
    return odd


def _schema(fields: dict[str, Any]) -> bool:
    if "response_format" not in fields:
        return False
    return read_body.optional_object(fields, "response_format").get("type") == "json_schema"


def _reasoning(fields: dict[str, Any]) -> bool:
    effort = fields.get("reasoning_effort")
    if effort is not None and not isinstance(effort, str):
        raise read_body.wrong_type("reasoning_effort", "a string", effort)
    return effort not in _NOT_DEMANDING


def _max_output(fields: dict[str, Any]) -> int | None:
    newer, older = read_body.whole_number(fields, "max_completion_tokens"), read_body.whole_number(fields, "max_tokens")
    return older if newer is None else newer


def _streamable(fields: dict[str, Any]) -> bool:
    """Whether a stream makes a plain answer without loss; odd requests are sent as asked."""
    if "n" not in fields and "logprobs" not in fields and "top_logprobs" not in fields and "audio" not in fields:
        return True  # nearly always
    one_choice = fields.get("n") in (None, 1)
    return (
        one_choice and not fields.get("logprobs") and fields.get("top_logprobs") is None and fields.get("audio") is None
    )
