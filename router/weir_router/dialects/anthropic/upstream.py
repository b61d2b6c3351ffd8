"""Requests to an upstream of this format, and renderers of its streams."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from weir_router.contract import Backend
from weir_router.dialects.anthropic.assemble import AnthropicAssembler
from weir_router.dialects.anthropic.failures import TABLE
from weir_router.dialects.anthropic.stream import STOP_EVENT
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Outgoing, Pairing, Renderer
from weir_router.dialects.neutral import translation
from weir_router.dialects.wire import failures
from weir_router.dialects.wire.fit import fit, leave_out
from weir_router.dialects.wire.outgoing import body_of
from weir_router.dialects.wire.relay import Assembled, Relay
from weir_router.errors import AttemptFailed


def prepare(
    ask: Ask,
    backend: Backend,
    pairing: Pairing,
    credential: str | None,
    *,
    stream: bool,
    without: frozenset[str] = frozenset(),
) -> Outgoing:
    """See `base.Prepare`."""
    same = pairing.same
    fields: dict[str, Any] = dict(ask.raw) if same else translation.request(ask, pairing.caller, pairing.format)
    stream = ask.stream if "stream" in without else stream
    if stream != ask.stream or not same:
        fields["stream"] = stream
    if same and (messages := _without_borrowed_thinking(ask.body["messages"])) is not None:
        fields["messages"] = messages
    fields["model"] = backend.model
    fit(fields, backend, ask.prompt)
    dropped = leave_out(fields, without, TABLE.tuning, TABLE.renames) if without else ()
    headers = pairing.host.headers(credential, tuple(ask.headers.items()) if same else ())
    added = frozenset({"stream"}) if stream and not ask.stream else frozenset()
    return Outgoing(pairing.path, headers, body_of(fields), added.intersection(fields), dropped)


def _without_borrowed_thinking(messages: list[Any]) -> list[Any] | None:
    """The conversation without the thinking of another format's model; None: it has no such thinking.

    `blocks` and `answers` give such thinking to a caller with an empty signature. The caller's SDK sends it back with
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


def renderer(ask: Ask, pairing: Pairing, *, created: int = 0) -> Renderer:
    """See `base.FormatRecord`."""
    if not pairing.same:
        if ask.stream:
            return translation.stream(ask, pairing.caller, pairing.format, created)
        translated = partial(
            translation.response, ask=ask, caller=pairing.caller, upstream=pairing.format, created=created
        )
        return Assembled(AnthropicAssembler(), translated)
    return Relay(STOP_EVENT, b"text") if ask.stream else Assembled(AnthropicAssembler())


def failure(status: int, headers: Mapping[str, str], body: bytes, added: frozenset[str]) -> AttemptFailed:
    """See `base.FormatRecord`."""
    return failures.from_answer(TABLE, status, headers, body, added)
