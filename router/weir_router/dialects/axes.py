"""The axes of a request on the wire: the operation (`contract.Operation`), the format, and the host (`base.Host`).

An upstream is one host that takes one format for one operation: Azure and OpenAI are two hosts of one format.
"""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """Shape of a request and of its answer. Each has a folder here; passed endpoints share one."""

    OPENAI_CHAT = "openai-chat"
    ANTHROPIC_MESSAGES = "anthropic-messages"
    OPENAI_RESPONSES = "openai-responses"
    OPENAI_EMBEDDINGS = "openai-embeddings"
    COMPLETIONS = "openai-completions"
    MODERATIONS = "openai-moderations"
    IMAGE_GENERATIONS = "openai-image-generations"
    IMAGE_EDITS = "openai-image-edits"
    IMAGE_VARIATIONS = "openai-image-variations"
    SPEECH = "openai-speech"
    TRANSCRIPTIONS = "openai-transcriptions"
    TRANSLATIONS = "openai-translations"
    RERANK = "cohere-rerank"
