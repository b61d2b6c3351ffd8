"""Reads the items of a request's `input` as neutral turns. Used by `understand` only.

Items of the model (reasoning, messages, calls) that follow each other are one turn, as are a user's messages and the
outputs of tools. A further message of the model begins a new turn, unless calls wait for their outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from weir_router.dialects.neutral.checked import Checked, as_dict, as_list, as_text
from weir_router.dialects.neutral.conversation import (
    Call,
    Document,
    Extra,
    Foreign,
    Image,
    Part,
    Result,
    Text,
    Thought,
    Turn,
    Unknown,
)
from weir_router.dialects.neutral.media import image_type, is_data_url, split_data_url
from weir_router.dialects.neutral.opaque import Opaque, untagged_id
from weir_router.dialects.neutral.table import Field, refusal
from weir_router.dialects.openai_responses.namespaces import joined
from weir_router.dialects.openai_responses.sealed import RAW, SEALED, unsealed
from weir_router.errors import BadRequest

STATELESS = "send the item itself: with store: false, clients do so"
"""Remedy for a reference to an item that is stored at a provider."""

HOSTED = ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_list_tools")
"""Items of tools that ran at the provider. The model's next message holds what came of them."""

BETWEEN = "\n\n"
"""Text between two parts of a summary."""

TOOLS_ITEM = "additional_tools"
"""Item that holds tools: `understand` reads it."""

Said = Text | Thought | Call | Foreign


class History:
    """The turns of one request."""

    def __init__(self, extras: list[Extra]) -> None:
        self.turns: list[Turn] = []
        self._extras = extras
        self._role = ""
        self._parts: list[Any] = []

    def read(self, item: Checked) -> None:
        """Adds an item. Raises `BadRequest`."""
        kind = item.maybe_text("type") or ("message" if item.has("role") else "item_reference")
        reader = _READERS.get(kind)
        if reader is not None:
            reader(self, item)
        elif kind == TOOLS_ITEM:
            return
        elif kind in HOSTED:
            self._extras.append(Extra(Field.SERVER_TOOLS, "server_tools"))
        else:
            self._add("assistant", Foreign(Unknown.CALL, kind, item.at("type")))

    def finish(self) -> tuple[Turn, ...]:
        """All turns."""
        self._close()
        return tuple(self.turns)

    def _add(self, role: str, *parts: Part | Said | Result) -> None:
        if role != self._role:
            self._close()
            self._role = role
        self._parts += parts

    def _close(self) -> None:
        if self._parts:
            self.turns.append(Turn(self._role, tuple(self._parts)))
        self._role, self._parts = "", []

    def _message(self, item: Checked) -> None:
        role = item.text("role")
        if item.has("phase"):
            self._extras.append(Extra(Field.PHASE, item.at("phase")))
        if role == "user":
            self._add("user", *self._given(item, "content"))
        elif role == "assistant":
            if any(isinstance(it, Text) for it in self._parts) and not any(isinstance(it, Call) for it in self._parts):
                self._split()
            self._add("assistant", *[_said(part) for part in item.parts("content")])
        elif role in ("system", "developer"):
            self._close()
            self._add("system", *[_instruction(part) for part in item.parts("content")])
            self._close()
        else:
            raise BadRequest(f"{item.at('role')} must be system, developer, user or assistant", param=item.at("role"))

    def _split(self) -> None:
        """Ends the model's turn before the reasoning that leads to its next message."""
        after = len(self._parts)
        while after and isinstance(self._parts[after - 1], Thought):
            after -= 1
        following = self._parts[after:]
        del self._parts[after:]
        role = self._role
        self._close()
        self._add(role, *following)

    def _reasoning(self, item: Checked) -> None:
        summary = BETWEEN.join([as_text(as_dict(it).get("text")) for it in as_list(item.raw("summary"))])
        content = "".join([as_text(as_dict(it).get("text")) for it in as_list(item.raw("content"))])
        text, blob = content or summary, as_text(item.raw(SEALED))
        opaque = unsealed(blob, redacted=not text) if blob else Opaque("", RAW) if content else None
        self._add("assistant", Thought(text, opaque))

    def _call(self, item: Checked) -> None:
        call, opaque = untagged_id(item.text("call_id"))
        name, arguments = joined(item), item.text("arguments")
        self._add("assistant", Call(call, name, arguments, item.at("arguments"), opaque))

    def _custom_call(self, item: Checked) -> None:
        call, opaque = untagged_id(item.text("call_id"))
        name, text = joined(item), item.text("input")
        self._add("assistant", Call(call, name, text, item.at("input"), opaque, custom=True))

    def _output(self, item: Checked) -> None:
        call, _ = untagged_id(item.text("call_id"))
        self._add("user", Result(call, tuple(self._given(item, "output"))))

    def _reference(self, item: Checked) -> None:
        raise refusal(item.where, "an item by its id is known to its own provider only", STATELESS)

    def _given(self, holder: Checked, key: str) -> list[Part]:
        return [self._part(part) for part in holder.parts(key)]

    def _part(self, part: Checked) -> Part:
        kind = part.text("type")
        if part.has("prompt_cache_breakpoint"):
            self._extras.append(Extra(Field.UNKNOWN, part.at("prompt_cache_breakpoint")))
        if kind in ("input_text", "text", "output_text"):
            return Text(part.text("text"))
        if kind == "input_image":
            return self._image(part)
        if kind == "input_file":
            return _document(part)
        return Foreign(Unknown.PART, kind, part.at("type"))

    def _image(self, part: Checked) -> Image:
        if part.raw("detail") not in (None, "auto"):
            self._extras.append(Extra(Field.DETAIL, part.at("detail")))
        if not part.has("image_url"):
            raise refusal(
                part.at("file_id"), "an uploaded file is known to its own provider only", "send it as image_url"
            )
        url, at = part.text("image_url"), part.at("image_url")
        if not is_data_url(url):
            return Image(at, url)
        media_type, data = split_data_url(url, at)
        return Image(at, None, image_type(media_type, data), data)


_READERS: dict[str, Callable[[History, Checked], None]] = {
    "message": History._message,
    "reasoning": History._reasoning,
    "function_call": History._call,
    "custom_tool_call": History._custom_call,
    "function_call_output": History._output,
    "custom_tool_call_output": History._output,
    "item_reference": History._reference,
}


def _said(part: Checked) -> Text:
    """A part of the model's message."""
    kind = part.text("type")
    if kind == "refusal":
        return Text(part.text("refusal"), refusal=True)
    if kind in ("output_text", "input_text", "text"):
        return Text(part.text("text"))
    raise refusal(
        part.at("type"), f"an assistant's message cannot hold a part of type {kind!r}", "send output_text or refusal"
    )


def _instruction(part: Checked) -> Text:
    if part.text("type") not in ("input_text", "text"):
        raise refusal(part.at("type"), "a system prompt is text", "move it to a user message")
    return Text(part.text("text"))


def _document(part: Checked) -> Document | Foreign:
    if part.has("file_data"):
        at, given = part.at("file_data"), part.text("file_data")
        # OpenAI takes plain base64, too, and then goes by the name.
        media_type, data = split_data_url(given, at) if is_data_url(given) else ("application/pdf", given)
        return Document(at, media_type, data, title=part.maybe_text("filename"))
    if part.has("file_url"):
        return Foreign(Unknown.DOCUMENT, "file_url", part.at("file_url"))
    raise refusal(
        part.at("file_id"), "an uploaded file is known to its own provider only", "send it inline as file_data"
    )
