"""The table of passed endpoints. A new one is a row here, and a value of `axes.Format`."""

from __future__ import annotations

from typing import NamedTuple

from weir_router.contract import Operation
from weir_router.dialects.axes import Format


class Endpoint(NamedTuple):
    """One endpoint. A backend takes it if it lists the operation in `endpoints`."""

    path: str  # below `/v1` of callers and the base URL of upstreams
    operation: Operation
    title: str  # for messages
    text: str | None  # field of JSON by which a request is measured; None: a form has none
    json: bool = True  # a body may be JSON
    form: bool = False  # a body may be a form
    streams: bool = False  # with `stream: true` content comes at once, so its clocks are those of a chat's stream

    question: bytes | None = None  # see `FormatRecord`

    @property
    def route(self) -> str:
        """The path of callers."""
        return f"/v1{self.path}"


ENDPOINTS: dict[Format, Endpoint] = {
    Format.COMPLETIONS: Endpoint(
        "/completions",
        Operation.COMPLETIONS,
        "completions",
        "prompt",
        streams=True,
        question=b'{"model": "-", "prompt": "Hi", "max_tokens": 1}',
    ),
    Format.MODERATIONS: Endpoint(
        "/moderations", Operation.MODERATIONS, "moderations", "input", question=b'{"model": "-", "input": "Hi"}'
    ),
    Format.IMAGE_GENERATIONS: Endpoint("/images/generations", Operation.IMAGES, "images", "prompt"),
    Format.IMAGE_EDITS: Endpoint("/images/edits", Operation.IMAGES, "edits of images", "prompt", form=True),
    Format.IMAGE_VARIATIONS: Endpoint(
        "/images/variations", Operation.IMAGES, "variations of images", None, json=False, form=True
    ),
    Format.SPEECH: Endpoint(
        "/audio/speech",
        Operation.AUDIO,
        "speech",
        "input",
        question=b'{"model": "-", "input": "Hi", "voice": "alloy"}',
    ),
    Format.TRANSCRIPTIONS: Endpoint(
        "/audio/transcriptions", Operation.AUDIO, "transcriptions", None, json=False, form=True
    ),
    Format.TRANSLATIONS: Endpoint(
        "/audio/translations", Operation.AUDIO, "translations of audio", None, json=False, form=True
    ),
    Format.RERANK: Endpoint(
        "/rerank",
        Operation.RERANK,
        "reranking",
        "query",
        question=b'{"model": "-", "query": "Hi", "documents": ["Hi"]}',
    ),
}

ALIASES = {"/v2/rerank": Format.RERANK}
"""Further paths of callers: Cohere's clients use the second version of its API."""
