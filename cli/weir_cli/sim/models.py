"""Simulated models, and the file that lists them.

Read by every other module of the simulator and written by tests, the demo's fleet and `weir sim FILE`. Nothing here
answers a request.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import yaml

from weir_router.contract import Dialect

DEFAULT_ANSWER_TOKENS = 40
"""Long enough that a stream has a middle to break, short enough for a test."""

DEFAULT_CONTEXT_TOKENS = 128_000
"""Tokens of context that most hosted models offer at the time of writing."""

DEFAULT_DIMENSIONS = 1_536
"""Numbers in a vector of OpenAI's small embedding model."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")


class ModelsFileError(ValueError):
    """The models file cannot be used; the message says where and why."""


class Service(StrEnum):
    """A kind of request that a model may take; the names are those of a ModelTier's `dialects` and `endpoints`."""

    CHAT = "Chat"
    RESPONSES = "Responses"
    MESSAGES = "Messages"
    EMBEDDINGS = "Embeddings"
    COMPLETIONS = "Completions"
    MODERATIONS = "Moderations"
    IMAGES = "Images"
    AUDIO = "Audio"
    RERANK = "Rerank"


_OFFERED = {
    Dialect.OPENAI: frozenset(Service) - {Service.MESSAGES},
    Dialect.ANTHROPIC: frozenset({Service.MESSAGES}),
}
"""Requests that a model takes by default, by its provider."""


class SimModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One simulated model. Every figure that shapes its answers is here, so the same model always answers alike."""

    name: str
    dialect: Dialect = Dialect.OPENAI  # decides what it offers
    ttft: float = 0.0  # seconds to the first content; 0: at once
    ttft_sigma: float = 0.0  # above 0 the time to the first content is lognormal, with `ttft` as its median
    tokens_per_second: float | None = None  # None or 0: as fast as possible
    jitter: float = 0.0  # each delay is multiplied by 1 ± up to this, drawn from the simulator's seed
    answer: str | None = (
        None  # {prompt} and {request} stand for the last prompt and the whole body; None: made from the prompt
    )
    answer_tokens: int = DEFAULT_ANSWER_TOKENS
    context_tokens: int = DEFAULT_CONTEXT_TOKENS
    output_tokens: int | None = None  # the largest max_tokens that is accepted; None: any
    dimensions: int = DEFAULT_DIMENSIONS  # of its vectors, and the most that a request may ask for
    reasoning_tokens: int = 0  # above 0 it is a reasoning model: `reasoning_content` in the OpenAI dialect
    cached_tokens: int = 0  # reported as read from the prompt cache, up to the prompt's length
    prompt_cache: bool = False  # whether it has a prompt cache of its own, see `weir_cli.sim.prompt_cache`
    cache_write_tokens: int = 0  # reported as written to it (Anthropic)
    offers: tuple[Service, ...] = ()  # requests that the model takes; empty: those of its `dialect`
    key: str | None = None  # the API key that it insists on; None: any or none
    refuses: tuple[str, ...] = ()  # top-level fields answered with 400 unsupported_parameter
    extra: dict[str, Any] = {}  # fields that no SDK knows, added to every answer and chunk
    price_input: float | None = None  # US dollars per million tokens; informational
    price_output: float | None = None
    tier: str | None = None  # informational

    @property
    def offered(self) -> Collection[Service]:
        """The requests that it takes."""
        return self.offers or _OFFERED[self.dialect]

    @property
    def instant(self) -> bool:
        """Whether answers need no clock at all."""
        return not self.ttft and not self.tokens_per_second

    def __repr__(self) -> str:
        """The name only: `key` must not reach a log."""
        return f"SimModel({self.name!r})"


def read_models(path: Path) -> list[SimModel]:
    """The models of a YAML or JSON file `{models: [...]}`; durations may be written `135ms` or `0.2s`.

    Raises `ModelsFileError`.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelsFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelsFileError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("models"), list):
        raise ModelsFileError(f"{path}: expected a mapping with a list under `models`")
    models = [_model(path, index, raw) for index, raw in enumerate(content["models"])]
    if not models:
        raise ModelsFileError(f"{path}: `models` is empty; name at least one model")
    return models


def _model(path: Path, index: int, raw: Any) -> SimModel:
    try:
        if isinstance(raw, dict) and isinstance(raw.get("ttft"), str):
            raw = {**raw, "ttft": seconds(raw["ttft"])}
        return msgspec.convert(raw, SimModel)
    except (msgspec.ValidationError, ValueError) as error:
        raise ModelsFileError(f"{path}: models[{index}]: {error}") from error


def seconds(text: str) -> float:
    """`135ms` or `0.2s` in seconds. Raises `ValueError`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write 135ms or 0.2s")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)
