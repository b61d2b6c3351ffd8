"""Makes a request's parameters fit the model that gets it. Used by the formats' `upstream`; pure.

Three steps, on the upstream's own field names: rename, drop, clamp. So a request written for one model can be served
by another, instead of failing with its 400.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from weir_router.contract import Backend
from weir_router.estimate import tokens
from weir_router.estimate.prompt import Prompt

OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens")
"""Fields that bound the answer; the first belongs to both formats."""

PROMPT_MARGIN = 4 / 3
"""Factor on the estimate of the prompt's tokens, which may be a quarter too low. A high count only shortens the longest
answers; a low one causes a refusal."""

MIN_THINKING_BUDGET = 1_024
"""Anthropic's smallest `thinking.budget_tokens`; it must also stay below `max_tokens`."""


def fit(fields: dict[str, Any], backend: Backend, prompt: Prompt) -> None:
    """Changes the top level of an upstream request in place; values may be decoded or `msgspec.Raw`."""
    parameters = backend.parameters
    for name, demanded in parameters.rename.items():
        if name in fields:
            value = fields.pop(name)
            fields.setdefault(demanded, value)
    for name in parameters.drop:
        fields.pop(name, None)
    if "max_tokens" not in fields and "max_completion_tokens" not in fields:
        return
    limit = _output_limit(backend, prompt)
    if limit is not None:
        _clamp(fields, limit)


def leave_out(
    fields: dict[str, Any], without: Collection[str], tuning: Collection[str], renames: Mapping[str, str]
) -> tuple[str, ...]:
    """Takes fields that the model refuses out of the request: renamed if it may know another name, else those that only
    tune. Returns the names of those that are gone.
    """
    dropped = []
    for name in sorted(without):
        if name not in fields:
            continue
        other = renames.get(name)
        if other is not None and other not in without:
            value = fields.pop(name)
            fields.setdefault(other, value)
        elif name in tuning:
            del fields[name]
            dropped.append(name)
    return tuple(dropped)


def _output_limit(backend: Backend, prompt: Prompt) -> int | None:
    """Tokens that the answer may have; None: no limit is known."""
    limits = [backend.limits.output_tokens] if backend.limits.output_tokens else []
    # Count the prompt only if the caller's own limit could collide with the context.
    if backend.limits.context_tokens and prompt.max_output:
        left = backend.limits.context_tokens - math.ceil(tokens.estimate(prompt) * PROMPT_MARGIN)
        if left > 0:  # otherwise the prompt itself is too long, which the upstream explains best
            limits.append(left)
    return min(limits, default=None)


def _clamp(fields: dict[str, Any], limit: int) -> None:
    for name in OUTPUT_LIMITS:
        asked = _decoded(fields.get(name))
        if type(asked) is int and asked > limit:
            fields[name] = limit
            _shrink_thinking(fields, limit)


def _shrink_thinking(fields: dict[str, Any], limit: int) -> None:
    thinking = _decoded(fields.get("thinking"))
    if not isinstance(thinking, dict):
        return
    budget = thinking.get("budget_tokens")
    if type(budget) is int and budget >= limit > MIN_THINKING_BUDGET:
        fields["thinking"] = {**thinking, "budget_tokens": max(limit // 2, MIN_THINKING_BUDGET)}


def _decoded(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
