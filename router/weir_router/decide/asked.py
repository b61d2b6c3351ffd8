"""A caller's request, measured for the decision: `asked` is the step between reading a request and deciding. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from weir_router.contract import Backend
from weir_router.decide.types import Asked, Unable
from weir_router.dialects.ask import Ask
from weir_router.dialects.registry import untranslatable
from weir_router.estimate.features import measure

FEATURE_HEADER = "x-weir-feature"
"""Request header with the client's free claim about what it is doing, such as `summaries`."""

MAX_FEATURE_LENGTH = 64
"""Characters kept of the client's claim, which becomes a label of metrics."""


def asked(ask: Ask, headers: Mapping[str, str]) -> Asked:
    """Measures the prompt, once. `headers` are the request's, with names in lower case."""
    prompt = ask.prompt
    features, feature, unable = measure(prompt), _feature(headers), _unable(ask)
    return Asked(ask.model, features, prompt.max_output, prompt.needs, headers, feature, unable)


def _feature(headers: Mapping[str, str]) -> str | None:
    """The client's claim, as text that can be written: bytes that are not UTF-8 would break the log and `/metrics`."""
    claim = headers.get(FEATURE_HEADER)
    return claim[:MAX_FEATURE_LENGTH].encode("utf-8", "replace").decode() or None if claim else None


def _unable(ask: Ask) -> Unable:
    """Says of a backend why this request cannot be put into its format; asks once for each provider."""
    reasons: dict[str, str | None] = {}

    def reason(backend: Backend) -> str | None:
        if backend.provider not in reasons:
            reasons[backend.provider] = untranslatable(ask, backend.provider)
        return reasons[backend.provider]

    return reason
