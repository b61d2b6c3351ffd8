"""A fast, rough estimate of a prompt's tokens, for `promptTokens`, context limits and prices before the answer.

Called once per request by `estimate.features`, and where only a size is needed. It does not tokenise: each
model has its own tokeniser, and none counts a megabyte within a millisecond. Expect ±25 % on prose and code, more on
rare scripts and random strings.
"""

from __future__ import annotations

from weir_router.estimate.prompt import Prompt

BYTES_PER_TOKEN = 4
"""Bytes per token of English. In UTF-8 the same figure gives 0.75 tokens per Chinese character and 0.5 per Cyrillic
one, which is near enough to current tokenisers."""

TURN_TOKENS = 4
"""Tokens of the chat template's marks and role around each message."""

TOOL_TOKENS = 120
"""Tokens of a tool with a name, a sentence and three parameters; used without a measured `Prompt.extra_chars`."""

IMAGE_TOKENS = 800
"""Tokens of a 1024 x 1024 image in full detail: 765 at OpenAI, about 1,400 at Anthropic; 85 for low detail."""

DOCUMENT_TOKENS = 5_000
"""Tokens of two or three pages of PDF, each as text and as image. Only the upstream learns the number of pages."""

_CHUNK = 65_536  # encoding in pieces avoids a megabyte-sized allocation, which costs more than the encoding


def of_text(text: str) -> int:
    """Tokens of `text`, rounded up. Never falls when text is added."""
    return -(-bytes_of(text) // BYTES_PER_TOKEN)


def overhead(prompt: Prompt) -> int:
    """Tokens of everything but the turns' text: templates, tools, images, documents."""
    tools = -(-prompt.extra_chars // BYTES_PER_TOKEN) if prompt.extra_chars else prompt.tools * TOOL_TOKENS
    media = prompt.images * IMAGE_TOKENS + prompt.documents * DOCUMENT_TOKENS
    return len(prompt.turns) * TURN_TOKENS + tools + media


def estimate(prompt: Prompt) -> int:
    """Prompt tokens over all turns, tools, images and documents."""
    return sum([of_text(turn.text) for turn in prompt.turns]) + overhead(prompt)


def bytes_of(text: str) -> int:
    """Bytes of `text` in UTF-8."""
    if text.isascii():
        return len(text)
    # surrogatepass: JSON may hold lone surrogates, and an estimate must not fail.
    return sum(len(text[i : i + _CHUNK].encode("utf-8", "surrogatepass")) for i in range(0, len(text), _CHUNK))
