"""Reads Anthropic Messages: an `Ask` from body and headers. Called by `serve`; changes nothing, sends nothing."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.wire import body as read_body
from weir_router.dialects.wire.outgoing import IN_PLACE
from weir_router.dialects.wire.tally import Tally, extra_chars, text_of

PASSED_HEADERS = ("anthropic-version", "anthropic-beta", "x-request-id")
"""Headers for upstreams of the same format that change or trace the answer. Never credentials."""


def read(body: bytes, headers: dict[str, str], limited: bool = True) -> Ask:
    """Reads a `POST /v1/messages`. Unknown fields, roles and blocks are kept. `limited`: it must say how long the
    answer may be. Raises `errors.BadRequest`.
    """
    fields, raw = read_body.parse(body)
    model = read_body.model(fields)
    max_tokens = read_body.whole_number(fields, "max_tokens")
    if max_tokens is None and limited:
        raise read_body.missing("max_tokens", 'Say how long the answer may be, e.g. "max_tokens": 1024.')
    tally = Tally()
    _read_system(tally, fields)
    for index, message in enumerate(read_body.messages(fields)):
        _read_message(tally, message, f"messages[{index}]")
    prompt = tally.prompt(
        tools=len(read_body.optional_list(fields, "tools")),
        schema=_schema(fields),
        reasoning=read_body.optional_object(fields, "thinking").get("type") == "enabled",
        max_output=max_tokens,
        extra=extra_chars(raw, "tools", "output_config", "output_format"),
    )
    return Ask(
        format=Format.ANTHROPIC_MESSAGES,
        model=model,
        stream=read_body.flag(fields, "stream"),
        body=fields,
        raw=raw,
        prompt=prompt,
        headers=read_body.passed_on(headers, PASSED_HEADERS),
        large=len(body) >= IN_PLACE,
    )


def _read_system(tally: Tally, fields: dict[str, Any]) -> None:
    texts = [text for part in read_body.parts(fields.get("system"), "system") if (text := text_of(part)) is not None]
    if texts:
        tally.turn("system", texts)


def _read_message(tally: Tally, message: dict[str, Any], where: str) -> None:
    """Counts one turn, before a `tool` turn if the message holds tools' results."""
    texts: list[str] = []
    results: list[str] = []
    carries_result = False
    for index, part in enumerate(read_body.parts(message.get("content"), f"{where}.content")):
        if part.get("type") == "tool_result":
            carries_result = True
            for inner in read_body.parts(part.get("content"), f"{where}.content[{index}].content"):
                _read_part(tally, inner, results)
        else:
            _read_part(tally, part, texts)
    if texts or not carries_result:
        tally.turn(message["role"], texts)
    if carries_result:
        tally.tool_results += 1
        tally.turn("tool", results)


def _read_part(tally: Tally, part: dict[str, Any], texts: list[str]) -> None:
    match part.get("type"):
        case "image":
            tally.images += 1
        case "document":
            tally.documents += 1
        case _ if (text := text_of(part)) is not None:
            texts.append(text)


def _schema(fields: dict[str, Any]) -> bool:
    """Whether the caller wants structured output: `output_config.format`, or the older `output_format`."""
    output_format = read_body.optional_object(fields, "output_config").get("format") or fields.get("output_format")
    return isinstance(output_format, dict) and output_format.get("type") == "json_schema"
