"""A caller's request, measured for the decision: `asked` is the step between reading a request and deciding. Pure."""

from __future__ import annotations

import re

from weir_router.contract import CONVERSATIONS, Backend
from weir_router.decide.loop import began_with
from weir_router.decide.session import HOME_TOKENS, session_of
from weir_router.decide.types import Asked, Unable
from weir_router.dialects.ask import Ask, Batch
from weir_router.dialects.registry import OPERATIONS, pairing_of
from weir_router.dialects.registry import unable as unable_at
from weir_router.dialects.wire.batch import too_large
from weir_router.errors import BadRequest
from weir_router.estimate.features import measure
from weir_router.estimate.prompt import Features

FEATURE_HEADER = "x-weir-feature"
"""Request header with the client's free claim about what it is doing, such as `summaries`."""

MAX_FEATURE_LENGTH = 64
"""Characters kept of the client's claim, which becomes a label of metrics."""


TTFT_HEADER = "x-weir-ttft"
"""Request header with the time to the first content that the caller accepts, such as `800ms`."""

MAX_LATENCY_BUDGET = 600.0
"""Seconds of the longest latency budget: as long as SDKs wait for an answer."""

ELSEWHERE = "does not hold the response or item that the request names"
"""The reason why a backend cannot serve a request that uses state at another one."""

_DURATION = re.compile(r"(?:[0-9]{1,5}(?:ms|h|m|s)){1,4}")
_PART = re.compile(r"([0-9]+)(ms|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def asked(ask: Ask, headers: dict[str, str]) -> Asked:
    """Measures the prompt, once. `headers` are the request's, with names in lower case. Raises `BadRequest`."""
    prompt, batch = ask.prompt, ask.batch
    if batch is not None:
        return _of_batch(ask, batch, headers)
    features, feature, operation = measure(prompt), _feature(headers), OPERATIONS[ask.format]
    unable = _unable(ask) if operation in CONVERSATIONS else None
    budget = _latency_budget(headers[TTFT_HEADER]) if TTFT_HEADER in headers else None
    session = session_of(ask, headers) if features.tokens >= HOME_TOKENS or prompt.tools else None
    began = began_with(prompt) if prompt.tool_results else None
    return Asked(
        ask.model,
        features,
        prompt.max_output,
        prompt.needs,
        headers,
        feature,
        unable,
        budget,
        session,
        began,
        operation,
        None,
        ask.home,
    )


def _of_batch(ask: Ask, batch: Batch, headers: dict[str, str]) -> Asked:
    """A request for embeddings: its size counts, not what it says, and its longest input must fit into the model."""
    return Asked(
        model=ask.model,
        features=Features(tokens=batch.tokens, words=0, turns=batch.inputs),
        headers=headers,
        feature=_feature(headers),
        unable=too_large(batch),
        latency_budget=_latency_budget(headers[TTFT_HEADER]) if TTFT_HEADER in headers else None,
        operation=OPERATIONS[ask.format],
        longest=batch.longest,
    )


def _feature(headers: dict[str, str]) -> str | None:
    """The client's claim, as text that can be written: bytes that are not UTF-8 would break the log and `/metrics`."""
    claim = headers.get(FEATURE_HEADER)
    return claim[:MAX_FEATURE_LENGTH].encode("utf-8", "replace").decode() or None if claim else None


def _latency_budget(text: str) -> float:
    """The seconds of a duration in the form of Gateway API, e.g. `800ms` or `1m30s`."""
    valid = _DURATION.fullmatch(text) is not None
    seconds = sum([float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(text)]) if valid else 0.0
    if not 0 < seconds <= MAX_LATENCY_BUDGET:
        raise BadRequest(
            f"The header {TTFT_HEADER} is {text[:MAX_FEATURE_LENGTH]!r}. It must be a duration such as 800ms or 2s, "
            f"above zero and at most {MAX_LATENCY_BUDGET / 60:g}m."
        )
    return seconds


def _unable(ask: Ask) -> Unable:
    """Says of a backend why this request cannot be put into any format that it takes."""
    home, below = ask.home, ask.below

    def reason(backend: Backend) -> str | None:
        if home and backend.account != home:
            return ELSEWHERE
        if pairing_of(ask, backend).same:
            return None
        return f"takes no format that has {below}" if below else unable_at(ask, backend)

    return reason
