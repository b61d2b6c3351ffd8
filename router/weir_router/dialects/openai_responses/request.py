"""Reads Responses requests: an `Ask` from body and headers. Called by `serve`; changes nothing, sends nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.openai_chat.request import PASSED_HEADERS as PASSED_BY_CHAT
from weir_router.dialects.openai_responses import skim
from weir_router.dialects.openai_responses.history import TOOLS_ITEM
from weir_router.dialects.openai_responses.state import is_reference
from weir_router.dialects.sealed_ids import MARK, State
from weir_router.dialects.wire import body as read_body
from weir_router.dialects.wire.outgoing import IN_PLACE
from weir_router.dialects.wire.tally import Tally, extra_chars, text_of
from weir_router.errors import BadRequest

PASSED_HEADERS = (*PASSED_BY_CHAT, "openai-safety-identifier", "session_id", "x-codex-turn-state")
"""Headers for upstreams of the same format that change or trace the answer. Never credentials."""

CONVERSATION = "Send its items as `input`, or go on from a response with `previous_response_id`"
"""The remedy for `conversation`: Weir does not serve `/v1/conversations`, so no id of one is a caller's own."""

STATE_SIGNS = (b"previous_response_id", b"item_reference", b'"background"', MARK.encode())
"""Bytes of requests that use state at a provider, or may: names of fields, and the mark of sealed ids."""

COMPACT = "/compact"
"""The path below the format's that makes a conversation shorter."""

_NOT_DEMANDING = frozenset({None, "none", "minimal"})
_ROLES = {"developer": "system"}


def read(body: bytes, headers: dict[str, str]) -> Ask:
    """Reads a `POST /v1/responses`. Unknown fields, roles and items are kept. Raises `errors.BadRequest`."""
    fields, raw = read_body.parse(body)
    model = "" if fields.get("model") is None else read_body.model(fields)
    if fields.get("conversation"):
        what = "`conversation` names a stored conversation, which Weir does not serve"
        raise BadRequest(f"{what}. {CONVERSATION}.", param="conversation")
    tally = Tally()
    references: list[tuple[str, str]] = []
    instructions = fields.get("instructions")
    if isinstance(instructions, str) and instructions:
        tally.turn("system", [instructions])
    _read_input(tally, fields, references)
    more_tools, more_chars = _more_tools(fields)
    prompt = tally.prompt(
        tools=len(read_body.optional_list(fields, "tools")) + more_tools,
        schema=_schema(fields),
        reasoning=_reasoning(fields),
        max_output=read_body.whole_number(fields, "max_output_tokens"),
        extra=extra_chars(raw, "tools", "text") + more_chars,
    )
    background = read_body.flag(fields, "background")
    return Ask(
        format=Format.OPENAI_RESPONSES,
        model=model,
        stream=read_body.flag(fields, "stream"),
        body=fields,
        raw=raw,
        prompt=prompt,
        headers=read_body.passed_on(headers, PASSED_HEADERS),
        streamable=not background,  # a stream would be one more answer that runs in the background
        state=State(_previous(fields), tuple(references), background, fields.get("store") is not False),
        large=len(body) >= IN_PLACE,
    )


def _previous(fields: dict[str, Any]) -> str | None:
    """The id of the earlier response; None: there is none."""
    previous = fields.get("previous_response_id")
    if previous is not None and not isinstance(previous, str):
        raise read_body.wrong_type("previous_response_id", "a string", previous)
    return previous or None


def _read_input(tally: Tally, fields: dict[str, Any], references: list[tuple[str, str]]) -> None:
    given = fields.get("input")
    if isinstance(given, str):
        tally.turn("user", [given])
        return
    if given is None:
        if fields.get("prompt") is not None or fields.get("previous_response_id"):
            return
        raise read_body.missing("input", 'Send a text or items, e.g. "input": "Hello".')
    if not isinstance(given, list):
        raise read_body.wrong_type("input", "a string or a list of items", given)
    if not given:
        raise BadRequest('`input` is empty. Send a text or items, e.g. "input": "Hello".', param="input")
    for index, item in enumerate(given):
        if not isinstance(item, dict):
            raise read_body.wrong_type(f"input[{index}]", 'an object such as {"role": "user", "content": ...}', item)
        _read_item(tally, item, f"input[{index}]", references)


def _read_item(tally: Tally, item: dict[str, Any], where: str, references: list[tuple[str, str]]) -> None:
    kind = item.get("type")
    texts: list[str] = []
    if is_reference(item):
        if not isinstance(id := item.get("id"), str):
            raise read_body.wrong_type(f"{where}.id", "the id of a stored item", id)
        references.append((f"{where}.id", id))
        return
    if isinstance(kind, str) and kind.endswith("_output"):
        _read_parts(tally, item.get("output"), f"{where}.output", texts)
        tally.tool_results += 1
        tally.turn("tool", texts)
    elif kind in (None, "message"):
        role = item.get("role")
        if not isinstance(role, str):
            raise read_body.wrong_type(f"{where}.role", "a string such as user or assistant", role)
        _read_parts(tally, item.get("content"), f"{where}.content", texts)
        tally.turn(_ROLES.get(role, role), texts)
    else:
        texts += [it for name in ("arguments", "input") if isinstance(it := item.get(name), str)]
        if texts:
            tally.turn("assistant", texts)


def _more_tools(fields: dict[str, Any]) -> tuple[int, int]:
    """The number of tools that stand among the items, where Codex puts them, and their characters."""
    given = fields.get("input")
    if not isinstance(given, list):
        return 0, 0
    tools = [it for item in given if item.get("type") == TOOLS_ITEM for it in read_body.optional_list(item, "tools")]
    return len(tools), len(msgspec.json.encode(tools)) if tools else 0


def _read_parts(tally: Tally, content: object, where: str, texts: list[str]) -> None:
    if isinstance(content, dict):  # the output of a computer call
        return
    for part in read_body.parts(content, where):
        match part.get("type"):
            case "input_image":
                tally.images += 1
            case "input_file":
                tally.documents += 1
            case "input_audio":
                tally.audio += 1
            case _ if (text := text_of(part)) is not None:
                texts.append(text)


def _schema(fields: dict[str, Any]) -> bool:
    form = read_body.optional_object(fields, "text").get("format")
    return isinstance(form, dict) and form.get("type") == "json_schema"


def _reasoning(fields: dict[str, Any]) -> bool:
    effort = read_body.optional_object(fields, "reasoning").get("effort")
    if effort is not None and not isinstance(effort, str):
        raise read_body.wrong_type("reasoning.effort", "a string", effort)
    return effort not in _NOT_DEMANDING


def needs_state(body: bytes) -> bool:
    """See `base.ConversationRecord`. An answer is kept by default. In doubt it is, and what may be an id is one."""
    if any(sign in body for sign in STATE_SIGNS):
        return True
    try:
        return skim.storing(body).store is not False
    except (ValueError, RecursionError):
        return True


def read_compact(body: bytes, headers: dict[str, str]) -> Ask:
    """Reads a `POST /v1/responses/compact`, whose answer is whole. Raises `errors.BadRequest`."""
    return msgspec.structs.replace(read(body, headers), below=COMPACT, stream=False, streamable=False)
