"""Requests to an upstream of this format, and renderers of its streams."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from weir_router.contract import Backend
from weir_router.dialects import translate
from weir_router.dialects.anthropic.assemble import AnthropicAssembler
from weir_router.dialects.anthropic.failures import TABLE
from weir_router.dialects.anthropic.stream import STOP_EVENT
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Outgoing, Renderer, Upstream
from weir_router.dialects.wire import failures
from weir_router.dialects.wire.fit import fit
from weir_router.dialects.wire.outgoing import body_of
from weir_router.dialects.wire.relay import Assembled, Relay
from weir_router.errors import AttemptFailed


def prepare(
    ask: Ask, backend: Backend, upstream: Upstream, credential: str | None, *, stream: bool, as_asked: bool = False
) -> Outgoing:
    """See `base.Prepare`."""
    same = ask.format is Format.ANTHROPIC_MESSAGES
    fields: dict[str, Any] = dict(ask.raw) if same else translate.request(ask, Format.ANTHROPIC_MESSAGES)
    stream = ask.stream if as_asked else stream
    if stream != ask.stream or not same:
        fields["stream"] = stream
    if same and (messages := _without_borrowed_thinking(ask.body["messages"])) is not None:
        fields["messages"] = messages
    fields["model"] = backend.model
    fit(fields, backend, ask.prompt)
    headers = upstream.host.headers(credential, tuple(ask.headers.items()) if same else ())
    added = frozenset({"stream"}) if stream and not ask.stream else frozenset()
    return Outgoing(upstream.path, headers, body_of(fields), added.intersection(fields))


def _without_borrowed_thinking(messages: list[Any]) -> list[Any] | None:
    """The conversation without thinking that another dialect's model did; None: there is none of it.

    `translate` shows such thinking to an Anthropic caller with an empty signature. The caller's SDK sends it back with
    the next turn, perhaps to another model, and Anthropic refuses a thinking block that it did not sign.
    """

    def borrowed(block: Any) -> bool:
        return isinstance(block, dict) and block.get("type") == "thinking" and block.get("signature") == ""

    result, found = [], False
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list) and any(map(borrowed, content)):
            found = True
            kept = [block for block in content if not borrowed(block)]
            message = {**message, "content": kept} if kept else None
        if message is not None:
            result.append(message)
    return result if found else None


def renderer(ask: Ask, *, created: int = 0) -> Renderer:
    """See `base.FormatRecord`."""
    if ask.format is not Format.ANTHROPIC_MESSAGES:
        if ask.stream:
            return translate.stream(ask.format, ask, created=created)
        return Assembled(AnthropicAssembler(), partial(translate.response, to=ask.format, ask=ask, created=created))
    return Relay(STOP_EVENT, b"text") if ask.stream else Assembled(AnthropicAssembler())


def failure(status: int, headers: Mapping[str, str], body: bytes, added: frozenset[str]) -> AttemptFailed:
    """See `base.FormatRecord`."""
    return failures.from_answer(TABLE, status, headers, body, added)
