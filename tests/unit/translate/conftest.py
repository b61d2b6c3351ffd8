"""Asks built by hand, streams as the attempt feeds them, and the real SDKs as judges of the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import anthropic
import httpx2
import msgspec
import openai
import pydantic
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming as AnthropicRequest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as OpenAIRequest

from support import translate
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Event, Signal
from weir_router.estimate.prompt import Prompt

AskMaker = Callable[..., Ask]
Payload = dict[str, Any]


@pytest.fixture(scope="session")
def openai_ask() -> AskMaker:
    """An OpenAI caller's ask; without messages it says hello."""

    def make(*, include_usage: bool = True, **body: Any) -> Ask:
        body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], **body}
        return Ask(Format.OPENAI_CHAT, "auto", True, body, {}, Prompt(()), include_usage)

    return make


@pytest.fixture(scope="session")
def anthropic_ask() -> AskMaker:
    """An Anthropic caller's ask; without messages it says hello."""

    def make(**body: Any) -> Ask:
        body = {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}], **body}
        return Ask(Format.ANTHROPIC_MESSAGES, "auto", True, body, {}, Prompt(()))

    return make


_REQUESTS = {
    Format.ANTHROPIC_MESSAGES: pydantic.TypeAdapter(AnthropicRequest),
    Format.OPENAI_CHAT: pydantic.TypeAdapter(OpenAIRequest),
}


def _read_out(value: Any) -> Any:
    """Reads pydantic's lazy iterables to their ends, which validates them."""
    if isinstance(value, dict):
        return {key: _read_out(item) for key, item in value.items()}
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    return [_read_out(item) for item in value]


def translated(ask: Ask) -> Payload:
    """The request in the other format, validated by the types of that format's SDK."""
    to = Format.OPENAI_CHAT if ask.format is Format.ANTHROPIC_MESSAGES else Format.ANTHROPIC_MESSAGES
    out = translate.request(ask, to)
    _read_out(_REQUESTS[to].validate_python(out))
    return out


def rendered(ask: Ask, payloads: Iterable[Payload | None], realm: str = "") -> bytes:
    """The bytes for the caller of `ask`, from these payloads of the other dialect; None stands for `[DONE]`."""
    renderer = translate.stream(ask.format, ask, created=1_700_000_000, realm=realm)
    out = b""
    for payload in payloads:
        data = b"[DONE]" if payload is None else msgspec.json.encode(payload)
        out += renderer.feed(Event(b"", None, data), payload, Signal.DONE if payload is None else Signal.NONE)
    return out + renderer.end()


def sent(stream: bytes) -> list[Any]:
    """The decoded `data:` lines of a rendered stream; `[DONE]` as None."""
    lines = [line[6:] for line in stream.split(b"\n") if line.startswith(b"data: ")]
    return [None if line == b"[DONE]" else msgspec.json.decode(line) for line in lines]


def _transport(stream: bytes) -> httpx2.MockTransport:
    answer = lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    return httpx2.MockTransport(answer)


def read_by_openai(stream: bytes) -> Payload:
    """The whole completion that the openai SDK puts together from a stream."""
    with (
        httpx2.Client(transport=_transport(stream)) as http,
        openai.OpenAI(api_key="x", base_url="http://test/v1", http_client=http) as client,
        client.chat.completions.stream(model="auto", messages=[]) as events,
    ):
        # `get_final_completion` raises for a length or content_filter finish, as it should.
        return events.until_done().current_completion_snapshot.to_dict()


def read_by_anthropic(stream: bytes) -> Payload:
    """The whole message that the anthropic SDK puts together from a stream."""
    with (
        httpx2.Client(transport=_transport(stream)) as http,
        anthropic.Anthropic(api_key="x", base_url="http://test", http_client=http) as client,
        client.messages.stream(model="auto", max_tokens=1, messages=[]) as events,
    ):
        return events.get_final_message().to_dict()


@pytest.fixture(scope="session")
def kit() -> Any:
    """The helpers above, since test modules here cannot import one another."""

    class Kit:
        translated = staticmethod(translated)
        rendered = staticmethod(rendered)
        sent = staticmethod(sent)
        read_by_openai = staticmethod(read_by_openai)
        read_by_anthropic = staticmethod(read_by_anthropic)

    return Kit
