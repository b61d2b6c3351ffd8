"""Translation between the two dialects: OpenAI chat completions and Anthropic messages.

Each format's `upstream` calls these when a caller's dialect and a backend's differ, and `serve` asks
`untranslatable` before it chooses. Pure: dicts in, dicts or bytes out. No I/O, no clock, no ids of its own making
where the other dialect gave one. What is kept, dropped and refused stands field by field in `docs/translation.md`.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Renderer
from weir_router.dialects.translate import answers, anthropic_stream, openai_stream, to_anthropic, to_openai
from weir_router.dialects.translate.fields import Checked
from weir_router.dialects.translate.tables import DEFAULT_MAX_TOKENS
from weir_router.dialects.wire.failures import malformed
from weir_router.errors import BadRequest

__all__ = ["DEFAULT_MAX_TOKENS", "request", "response", "stream", "untranslatable"]


def request(ask: Ask, to: Format) -> dict[str, Any]:
    """The caller's request in the other dialect; `to` differs from `ask.format`.

    `model` is the caller's name for it, and `stream` is not set: the provider puts in both. What is nested may be
    shared with `ask.body`. Raises `BadRequest` for what is malformed, and for what the other dialect cannot say without
    a change of meaning.
    """
    translate = to_anthropic.request if to is Format.ANTHROPIC_MESSAGES else to_openai.request
    try:
        return translate(Checked(ask.body), ask.model)
    except RecursionError:
        raise BadRequest("the request is nested too deeply to be translated") from None


def untranslatable(ask: Ask, to: Format) -> str | None:
    """Why backends of the dialect `to` cannot serve this request, or None when they can.

    It translates to find out, so that this answer and `request` never disagree: ask once per request and dialect.
    """
    if to is ask.format:
        return None
    try:
        request(ask, to)
    except BadRequest as error:
        return error.message
    return None


def response(payload: dict[str, Any], to: Format, ask: Ask, *, created: int = 0) -> dict[str, Any]:
    """A whole answer of the other dialect in the caller's dialect `to`.

    `created` is in seconds since the epoch, for OpenAI answers only: Anthropic's carry no time, and nothing here reads
    a clock. Raises `AttemptFailed(MALFORMED)` for an answer that is not what its dialect says.
    """
    try:
        if to is Format.OPENAI_CHAT:
            return answers.to_openai(payload, created)
        return answers.to_anthropic(payload, thinking=answers.wants_thinking(ask))
    except RecursionError:
        raise malformed("an answer that is nested too deeply") from None


def stream(to: Format, ask: Ask, *, created: int = 0) -> Renderer:
    """A renderer from the other dialect's stream to a stream in the caller's dialect `to`; `created` as in `response`.

    Its `end` completes a stream that has a stop reason. One without stays open: that is for `call.attempt` to say.
    """
    if to is Format.OPENAI_CHAT:
        return openai_stream.OpenAIStream(include_usage=ask.include_usage, created=created)
    return anthropic_stream.AnthropicStream(thinking=answers.wants_thinking(ask))
