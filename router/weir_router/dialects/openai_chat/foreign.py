"""Parts and tools of other formats in a chat completion, as Cursor sends them, made those of its own. Used by `mixed`.

With Claude's models Cursor sends Anthropic's blocks: `tool_use` and `thinking` in an assistant's turn, `tool_result` in
a user's, and tools that are only a name with an `input_schema`. With OpenAI's it sends parts of the Responses API
(`input_text`) and flat tools. Values of an unexpected type stay as they are: reading refuses them with their place.
"""

from __future__ import annotations

from typing import Any

import msgspec

PARTS = frozenset(
    {"input_text", "output_text", "input_image", "image", "tool_use", "tool_result", "thinking", "redacted_thinking"}
)
"""Types of parts that OpenAI's chat completions do not have."""

_MODES = {"auto": "auto", "any": "required", "none": "none"}

Message = dict[str, Any]


def is_flat(tool: object) -> bool:
    """Whether a tool has its name beside its type, or is one of Anthropic's, which need no type."""
    if not isinstance(tool, dict) or "name" not in tool:
        return False
    kind = tool.get("type")
    return "input_schema" in tool if kind is None else kind in ("function", "custom") and kind not in tool


def nested(tool: dict[str, Any]) -> dict[str, Any]:
    """A flat tool, or a choice of one, with the rest of it below its type."""
    kind = "function" if "input_schema" in tool else tool.get("type", "function")
    inner = {name: value for name, value in tool.items() if name != "type"}
    if "input_schema" in inner:
        inner["parameters"] = inner.pop("input_schema")
    form = inner.get("format")
    if isinstance(form, dict) and form.get("type") == "grammar" and "grammar" not in form:
        inner["format"] = {"type": "grammar", "grammar": {name: it for name, it in form.items() if name != "type"}}
    return {"type": kind, kind: inner}


def chosen(choice: object, customs: frozenset[str]) -> object:
    """A choice of tools; `customs` are the names of custom tools."""
    if not isinstance(choice, dict):
        return choice
    kind, name = choice.get("type"), choice.get("name")
    if isinstance(kind, str) and kind in _MODES and name is None:
        return _MODES[kind]
    if isinstance(name, str) and (kind == "tool" or is_flat(choice)):
        kind = "custom" if name in customs else "function"
        return {"type": kind, kind: {"name": name}}
    return choice


def has_flat(tools: list[Any]) -> bool:
    """Whether some tool is flat."""
    return any(is_flat(tool) for tool in tools)


def has_parts(content: object) -> bool:
    """Whether some part of a message's content is of another format."""
    return isinstance(content, list) and any(_is_foreign(part) for part in content)


def _is_foreign(part: object) -> bool:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str) or kind not in PARTS:
        return False
    return kind != "thinking" or isinstance(part.get("thinking"), str)  # Mistral's has a list, and takes it back


def messages(given: list[Message]) -> list[Message]:
    """The messages with parts of this format only."""
    out: list[Message] = []
    for message in given:
        if not has_parts(message.get("content")):
            out.append(message)
        elif message["role"] == "assistant":
            out.append(_assistant(message))
        else:
            out += _user(message)
    return out


def _assistant(message: Message) -> Message:
    had = message.get("tool_calls") or []
    if not isinstance(had, list):
        return message
    calls = list(had)
    thoughts: list[str] = []
    parts: list[Any] = []
    for part in message["content"]:
        match part:
            case {"type": "tool_use", "id": str(id), "name": str(name)}:
                arguments = msgspec.json.encode(part.get("input") or {}).decode()
                calls.append({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
            case {"type": "thinking", "thinking": str(thought)}:
                thoughts.append(thought)
            case {"type": "redacted_thinking"}:
                pass  # good only for the model that made it
            case _:
                parts.append(_part(part))
    out = message | {"content": parts or None}
    if thoughts:
        out["reasoning_content"] = "\n".join(thoughts)
    return out | {"tool_calls": calls} if calls else out


def _user(message: Message) -> list[Message]:
    """The results of tools, and then the rest of the message."""
    results = [it for it in message["content"] if isinstance(it, dict) and it.get("type") == "tool_result"]
    out: list[Message] = []
    rest = [_part(it) for it in message["content"] if not (isinstance(it, dict) and it.get("type") == "tool_result")]
    for result in results:
        text, media = _result(result.get("content"))
        text = f"Error: {text}" if result.get("is_error") is True else text
        out.append({"role": "tool", "tool_call_id": result.get("tool_use_id"), "content": text})
        rest += media
    return [*out, message | {"content": rest}] if rest else out


def _result(content: object) -> tuple[object, list[Any]]:
    """A result's text, and its other parts."""
    if not isinstance(content, list):
        return content or "", []
    parts = [_part(part) for part in content]
    texts = [it["text"] for it in parts if isinstance(it, dict) and isinstance(it.get("text"), str)]
    return "\n".join(texts), [it for it in parts if isinstance(it, dict) and it.get("type") != "text"]


def _part(part: Any) -> Any:
    match part:
        case {"type": "input_text" | "output_text", "text": text}:
            return {"type": "text", "text": text}
        case {"type": "input_image", "image_url": str(url)}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {"type": "image", "source": {"type": "base64", "media_type": str(kind), "data": str(data)}}:
            return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
        case {"type": "image", "source": {"type": "url", "url": str(url)}}:
            return {"type": "image_url", "image_url": {"url": url}}
    return part
