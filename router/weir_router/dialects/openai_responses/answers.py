"""Whole answers of this format, from and into the neutral form.

Answers come from upstreams: missing fields are left out, and only faults that make the answer useless are malformed.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.ask import Ask
from weir_router.dialects.neutral.answer import FILTER, LENGTH, STOP, TOOLS, Answer, Usage
from weir_router.dialects.neutral.checked import as_dict, as_list, as_name, as_text
from weir_router.dialects.neutral.conversation import Call, Text, Thought
from weir_router.dialects.neutral.ids import call_id
from weir_router.dialects.neutral.opaque import Opaque, tagged_id
from weir_router.dialects.openai_responses import shape
from weir_router.dialects.openai_responses.history import BETWEEN
from weir_router.dialects.openai_responses.namespaces import Named, names_in
from weir_router.dialects.openai_responses.sealed import RAW, SEALED, sealed
from weir_router.dialects.openai_responses.shape import CONTENT_FILTER, INCOMPLETE
from weir_router.dialects.openai_responses.usage import counted
from weir_router.dialects.wire.failures import malformed
from weir_router.dialects.wire.relay import encode

COMPLETED, INCOMPLETE_STATUS = "completed", "incomplete"
"""Status of an answer that is whole, and of one that is cut off."""

_TIERS = {"default": "standard", "priority": "priority", "fast": "priority"}
CALLS = ("function_call", "custom_tool_call")
"""Kinds of items that are calls of the caller's tools."""


def stop_of(response: dict[str, Any], *, calls: bool) -> str:
    """The neutral stop reason of a response that has ended."""
    if response.get("status") == INCOMPLETE_STATUS:
        return FILTER if reason_of(response) == CONTENT_FILTER else LENGTH
    return TOOLS if calls else STOP


def reason_of(response: dict[str, Any]) -> str:
    """The reason why a response is incomplete; empty: there is none."""
    return as_name(as_dict(response.get("incomplete_details")).get("reason"))


def tier_of(response: dict[str, Any]) -> str | None:
    """The service tier of an answer."""
    return _TIERS.get(as_text(response.get("service_tier")))


def usage_of(usage: dict[str, Any]) -> Usage:
    """Usage in the neutral form."""
    it = counted(usage)
    return Usage(it.input, it.cached_input, it.cache_write, it.output, it.reasoning, it.cache_write_long)


def read_answer(payload: dict[str, Any]) -> Answer:
    """A response in the neutral form."""
    output = payload.get("output")
    if not isinstance(output, list):
        raise malformed("a response without output")
    parts = [part for item in output for part in parts_of(as_dict(item))]
    calls = any(isinstance(part, Call) for part in parts)
    return Answer(
        as_name(payload.get("id")),
        as_name(payload.get("model")),
        tuple(parts),
        stop_of(payload, calls=calls),
        usage_of(as_dict(payload.get("usage"))),
        tier_of(payload),
    )


def parts_of(item: dict[str, Any]) -> list[Text | Thought | Call]:
    """One item of an answer; none for a tool that ran at the provider."""
    kind = item.get("type")
    if kind == "message":
        return [text for part in as_list(item.get("content")) if (text := text_of(as_dict(part))).text]
    if kind == "reasoning":
        return [thought_of(item)]
    if kind in CALLS:
        return [call_of(item)]
    return []


def text_of(part: dict[str, Any]) -> Text:
    """A part of a message."""
    refusal = as_text(part.get("refusal"))
    return Text(refusal, refusal=True) if refusal else Text(as_text(part.get("text")))


def thought_of(item: dict[str, Any]) -> Thought:
    """An item of reasoning: in its own words, or as a summary."""
    content = "".join([as_text(as_dict(part).get("text")) for part in as_list(item.get("content"))])
    summary = BETWEEN.join([as_text(as_dict(part).get("text")) for part in as_list(item.get("summary"))])
    text, blob = content or summary, as_text(item.get(SEALED))
    opaque = Opaque("", blob, redacted=not text) if blob else Opaque("", RAW) if content else None
    return Thought(text, opaque)


def call_of(item: dict[str, Any]) -> Call:
    """A call. Raises `AttemptFailed` (malformed) for one without a name."""
    if not (name := as_text(item.get("name"))):
        raise malformed("a tool call without a name")
    custom = item.get("type") == "custom_tool_call"
    return Call(as_text(item.get("call_id")) or as_text(item.get("id")), name, arguments_of(item), custom=custom)


def arguments_of(item: dict[str, Any]) -> str:
    """The arguments of a call as text; some servers send them as an object."""
    given = item.get("input") if item.get("type") == "custom_tool_call" else item.get("arguments")
    return encode(given).decode() if isinstance(given, dict) else as_text(given)


def write_answer(answer: Answer, ask: Ask, created: int, realm: str = "") -> dict[str, Any]:
    """A neutral answer as a response."""
    id = shape.response_id(answer.id)
    groups = _grouped(answer.parts)
    output: list[dict[str, Any]] = []
    calls, names = 0, names_in(ask)
    for index, group in enumerate(groups):
        last = index == len(groups) - 1
        status = INCOMPLETE_STATUS if last and answer.stop in INCOMPLETE else COMPLETED
        if isinstance(group, list):
            output.append(shape.message(shape.item_id("msg", id, index), _parts(group), status))
        elif isinstance(group, Thought):
            blob = sealed(realm, group.opaque.blob) if group.opaque else ""
            output.append(shape.reasoning(shape.item_id("rs", id, index), group.text, blob))
        else:
            shown = shown_call(group.id, answer.id, calls, realm, group.opaque.blob if group.opaque else "")
            item = shape.item_id("ctc" if group.custom else "fc", id, index)
            named = names.get(group.name) or Named("", group.name)
            output.append(shape.call(item, shown, named, group.arguments, status, custom=group.custom))
            calls += 1
    response = shape.begun(ask, id, answer.model, created, answer.tier)
    return shape.ended(response, output, answer.stop, answer.usage, created)


Group = list[Text] | Thought | Call


def _grouped(parts: tuple[Text | Thought | Call, ...]) -> list[Group]:
    """The parts that make one item each: texts that follow each other are one message, and thought up to its signature
    is one item of reasoning.
    """
    groups: list[Group] = []
    for part in parts:
        last = groups[-1] if groups else None
        if isinstance(part, Thought):
            if not part.text and part.opaque is None:
                continue
            redacted = part.opaque is not None and part.opaque.redacted
            if isinstance(last, Thought) and last.opaque is None and not redacted:
                groups[-1] = Thought(last.text + part.text, part.opaque)
            else:
                groups.append(part)
        elif isinstance(part, Call):
            groups.append(part)
        elif part.text:
            if isinstance(last, list):
                last.append(part)
            else:
                groups.append([part])
    return groups


def shown_call(given: str, answer: str, position: int, realm: str, signature: str) -> str:
    """A call's id for a caller, with the signature that must come back."""
    made = call_id(given, answer or "call", position)
    return tagged_id(made, realm, signature) if signature else made


def _parts(texts: list[Text]) -> list[dict[str, Any]]:
    """The parts of a message: texts of one kind that follow each other are one."""
    parts: list[dict[str, Any]] = []
    before: bool | None = None
    for text in texts:
        if text.refusal is before:
            parts[-1]["refusal" if before else "text"] += text.text
        else:
            parts.append(shape.refusal_part(text.text) if text.refusal else shape.text_part(text.text))
            before = text.refusal
    return parts
