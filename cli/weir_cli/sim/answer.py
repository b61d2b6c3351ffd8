"""The answer of a simulated model: one neutral form, made from the prompt and a seed, for either dialect to write down.

The dialects fill in an `Ask`, and `compose` turns it into an `Answer`. Pure: the same ask, model and seed give the same
answer, token by token. Nothing here knows a wire format.
"""

from __future__ import annotations

import math
import random
import re
import zlib
from enum import Enum, auto
from typing import Any

import msgspec

from weir_cli.sim.models import SimModel
from weir_cli.sim.sample import sample

CALL_TOOL = "call the tool"
"""Words in the last prompt that make the model call the first tool."""

CALL_EVERY_TOOL = "call every tool"
"""Words in the last prompt that make the model call each tool once, in parallel."""

REFUSE = "refuse this request"
"""Words in the last prompt that make the model refuse."""

REFUSAL_TEXT = "I'm sorry, but I can't help with that."

IMAGE_TOKENS = 85
"""Tokens of an image, a sound or a document: OpenAI's figure for a low-detail image."""

FRAGMENT = 4
"""Characters of a streamed tool call's arguments at a time: JSON's own tokens are short, and cut anywhere."""

CHARACTERS_PER_TOKEN = 4
"""The usual rule of thumb for English."""

_TOKEN = re.compile(r"\s*\S{1,16}|\s+")
"""A word with the space before it; endless words are cut, so that any text streams in many chunks. Loses nothing."""

_VOCABULARY = """
water river level dam gate flow spring lower upper bank stream stone bridge mill wheel pool fish rain cloud
valley meadow path field forest hill morning evening season winter summer north south light shadow wind calm
deep shallow narrow wide slow quick clear cold warm fresh still moving early late near far open closed high
low long short plain simple steady even
"""
_WORDS = _VOCABULARY.split()


class Stop(Enum):
    """Why the model stopped."""

    END = auto()
    LENGTH = auto()
    SEQUENCE = auto()
    TOOLS = auto()
    REFUSAL = auto()


class Tool(msgspec.Struct, frozen=True):
    """A tool that the caller offers."""

    name: str
    schema: dict[str, Any] = {}


class Ask(msgspec.Struct, kw_only=True):
    """A request as the model sees it."""

    body: dict[str, Any]
    prompt: str = ""  # text of the last user message
    prompt_tokens: int = 0
    limit: int | None = None  # of output tokens, thinking included
    stops: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    forced: str | None = None  # "*": any tool must be called; otherwise a tool's name
    may_call: bool = True  # the choice is not "none", and the last message is the user's
    parallel: bool = True
    schema: dict[str, Any] | None = None  # the answer must be JSON of this shape
    thinking_tokens: int = 0
    cached_tokens: int = 0  # read from the prompt cache
    stream: bool = False


class Call(msgspec.Struct, frozen=True):
    """A tool call."""

    id: str  # without a dialect's prefix
    name: str
    arguments: str  # JSON

    @property
    def fragments(self) -> list[str]:
        """The arguments as a stream brings them."""
        return [self.arguments[at : at + FRAGMENT] for at in range(0, len(self.arguments), FRAGMENT)]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The model's answer, in tokens."""

    id: str  # hex, without a dialect's prefix
    thinking: list[str]
    text: list[str]  # the refusal's words when `stop` is REFUSAL
    calls: list[Call]
    stop: Stop
    stop_sequence: str | None
    output_tokens: int  # thinking included

    @property
    def steps(self) -> int:
        """How many tokens there are to wait for."""
        return max(1, self.output_tokens)


def compose(ask: Ask, model: SimModel, seed: int, choice: int = 0, *, exhausted: bool = False) -> Answer:
    """The answer number `choice` to `ask`. `exhausted`: thinking used up the limit, so there is no content."""
    rng = random.Random(
        zlib.crc32(f"{model.name}\0{seed}\0{ask.body.get('seed')}\0{choice}\0{ask.prompt}".encode("utf-8", "replace"))
    )
    identity = f"{rng.getrandbits(96):024x}"
    thinking = _words(rng, ask.thinking_tokens)[: ask.limit]
    calls = [] if exhausted else _calls(ask, rng)
    room = None if ask.limit is None else ask.limit - len(thinking)
    text, stop, sequence = ([], Stop.TOOLS, None) if calls else _text(ask, model, rng, 0 if exhausted else room)
    return Answer(
        id=identity,
        thinking=thinking,
        text=text,
        calls=calls,
        stop=stop,
        stop_sequence=sequence,
        output_tokens=len(thinking) + len(text) + sum(1 + len(call.fragments) for call in calls),
    )


def tokens_of(text: str) -> list[str]:
    """`text` cut into what a stream brings one by one; joined they give `text` again."""
    return _TOKEN.findall(text)


def count_tokens(content: Any) -> int:
    """Tokens of a message's content, a tool list, a system prompt: text by its length, media by `IMAGE_TOKENS`."""
    characters, media = _measure(content)
    return math.ceil(characters / CHARACTERS_PER_TOKEN) + media * IMAGE_TOKENS


def text_of(content: Any) -> str:
    """The text parts of a message's content, joined by line feeds."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))


MEDIA = frozenset({"image_url", "image", "input_audio", "audio", "file", "document"})
"""Types of parts that count as `IMAGE_TOKENS`."""


def is_media(part: dict[str, Any]) -> bool:
    """Whether a part counts as `IMAGE_TOKENS`. The `type` of a tool's schema may be a list, or a schema by itself."""
    kind = part.get("type")
    return isinstance(kind, str) and kind in MEDIA


def _measure(content: Any) -> tuple[int, int]:
    if isinstance(content, str):
        return len(content), 0
    if isinstance(content, dict):
        if is_media(content):
            return 0, 1
        content = list(content.values())
    if not isinstance(content, list):
        return 0, 0
    sizes = [_measure(part) for part in content]
    return sum(size[0] for size in sizes), sum(size[1] for size in sizes)


def _words(rng: random.Random, count: int) -> list[str]:
    words = rng.choices(_WORDS, k=count)
    return [words[0].capitalize(), *(f" {word}" for word in words[1:])] if words else []


def _text(ask: Ask, model: SimModel, rng: random.Random, room: int | None) -> tuple[list[str], Stop, str | None]:
    if REFUSE in ask.prompt.lower():
        return tokens_of(REFUSAL_TEXT), Stop.REFUSAL, None
    tokens, stop, sequence = _said(ask, model, rng), Stop.END, None
    if ask.stops:
        tokens, sequence = _until(tokens, ask.stops)
        stop = Stop.END if sequence is None else Stop.SEQUENCE
    if room is not None and len(tokens) > room:
        return tokens[: max(0, room)], Stop.LENGTH, None
    return tokens, stop, sequence


def _said(ask: Ask, model: SimModel, rng: random.Random) -> list[str]:
    if ask.schema is not None:
        return tokens_of(msgspec.json.encode(sample(ask.schema)).decode())
    if model.answer is None:
        return _words(rng, model.answer_tokens)
    text = model.answer.replace("{prompt}", ask.prompt) if "{prompt}" in model.answer else model.answer
    if "{request}" in model.answer:
        text = text.replace("{request}", msgspec.json.encode(ask.body).decode())
    return tokens_of(text)


def _until(tokens: list[str], stops: tuple[str, ...]) -> tuple[list[str], str | None]:
    text = "".join(tokens)
    found = min(((text.find(stop), stop) for stop in stops if stop and stop in text), default=None)
    return (tokens, None) if found is None else (tokens_of(text[: found[0]]), found[1])


def _calls(ask: Ask, rng: random.Random) -> list[Call]:
    return [
        Call(f"{rng.getrandbits(96):024x}", tool.name, msgspec.json.encode(sample(tool.schema)).decode())
        for tool in _called(ask)
    ]


def _called(ask: Ask) -> tuple[Tool, ...]:
    prompt = ask.prompt.lower()
    if not ask.tools or not ask.may_call:
        return ()
    if ask.forced not in (None, "*"):
        return tuple(tool for tool in ask.tools if tool.name == ask.forced)
    if CALL_EVERY_TOOL in prompt:
        return ask.tools if ask.parallel else ask.tools[:1]
    return ask.tools[:1] if ask.forced or CALL_TOOL in prompt else ()
