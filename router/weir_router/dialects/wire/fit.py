"""Makes a request's parameters fit the model that gets it. Used by the formats' `upstream`; pure.

Four steps, on the upstream's own field names: default, rename, drop, clamp. So a request written for one model can be
served by another, instead of failing with its 400.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from weir_router.contract import Backend, Capability, Parameters
from weir_router.dialects.neutral.conversation import EFFORTS
from weir_router.dialects.neutral.efforts import nearest
from weir_router.estimate import tokens
from weir_router.estimate.prompt import Prompt

OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens")
"""Fields that bound the answer; the first belongs to both formats."""

PROMPT_MARGIN = 4 / 3
"""Factor on the estimate of the prompt's tokens, which may be a quarter too low. A high count only shortens the longest
answers; a low one causes a refusal."""

_NOTHING: tuple[str, ...] = ()

EFFORT = "effort"
"""Field of `output_config` that only tunes, as `reasoning_effort` does; models refuse it by this name."""

MIN_THINKING_BUDGET = 1_024
"""Anthropic's smallest `thinking.budget_tokens`; it must also stay below `max_tokens`."""


def fit(fields: dict[str, Any], backend: Backend, prompt: Prompt, *, translated: bool = False) -> tuple[str, ...]:
    """Changes the top level of an upstream request in place; values may be decoded or `msgspec.Raw`. Gives the names of
    fields that are left out. `translated`: Weir may have set a limit of the answer that the caller did not state.
    """
    dropped, parameters = _NOTHING, backend.parameters
    if parameters.defaults or parameters.rename or parameters.drop:
        dropped = adjust(fields, parameters)
    if "reasoning_effort" in fields or "thinking" in fields or "output_config" in fields:
        capabilities = backend.capabilities
        if capabilities is not None and Capability.REASONING not in capabilities:
            dropped += _without_thought(fields)
    traits = backend.traits
    if traits.tools_without_reasoning and prompt.tools:
        dropped += _without_reasoning(fields, traits.efforts)
    elif traits.efforts and "reasoning_effort" in fields:
        _know_effort(fields, traits.efforts)
    if "max_tokens" not in fields and "max_completion_tokens" not in fields:
        return dropped
    limit = output_limit(backend, prompt, translated)
    if limit is not None:
        _clamp(fields, limit)
    return dropped


def adjust(fields: dict[str, Any], parameters: Parameters) -> tuple[str, ...]:
    """The backend's own changes: defaults, other names, and fields to drop, whose names it gives."""
    dropped = _NOTHING
    if parameters.defaults:
        for name, default in parameters.defaults.items():
            fields.setdefault(name, msgspec.Raw(default.encode()))
    for name, demanded in parameters.rename.items():
        if name in fields:
            value = fields.pop(name)
            fields.setdefault(demanded, value)
    for name in parameters.drop:
        if name in fields:
            del fields[name]
            dropped += (name,)
    return dropped


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


def _know_effort(fields: dict[str, Any], efforts: tuple[str, ...]) -> None:
    """Replaces an effort that the model does not know by the next one."""
    asked = decoded(fields["reasoning_effort"])
    if isinstance(asked, str) and asked in EFFORTS and asked not in efforts and asked != "none":
        fields["reasoning_effort"] = nearest(asked, efforts)


def _without_thought(fields: dict[str, Any]) -> tuple[str, ...]:
    """Leaves out all fields that ask for thought, since the model has none. Gives their names."""
    dropped = tuple(name for name in ("reasoning_effort", "thinking") if fields.pop(name, None) is not None)
    return dropped + without_effort(fields)


def without_effort(fields: dict[str, Any]) -> tuple[str, ...]:
    """Leaves out the effort in `output_config`. Gives its name, if it was there."""
    config = decoded(fields.get("output_config"))
    if not isinstance(config, dict) or EFFORT not in config:
        return _NOTHING
    del fields["output_config"]
    if rest := {name: value for name, value in config.items() if name != EFFORT}:
        fields["output_config"] = rest
    return (EFFORT,)


def _without_reasoning(fields: dict[str, Any], efforts: tuple[str, ...]) -> tuple[str, ...]:
    """Asks for no reasoning, since the model refuses tools beside it. Gives the field's name if the caller asked."""
    if efforts and "none" not in efforts:
        return _NOTHING  # the model cannot do without: its refusal says so
    asked = decoded(fields.get("reasoning_effort"))
    fields["reasoning_effort"] = "none"
    return _NOTHING if asked in (None, "none") else ("reasoning_effort",)


def output_limit(backend: Backend, prompt: Prompt, translated: bool) -> int | None:
    """Tokens that the answer may have; None: no limit is known."""
    limits = [backend.limits.output_tokens] if backend.limits.output_tokens else []
    # Count the prompt only if the caller's own limit could collide with the context.
    if backend.limits.context_tokens and (prompt.max_output or translated):
        left = backend.limits.context_tokens - math.ceil(tokens.estimate(prompt) * PROMPT_MARGIN)
        if left > 0:  # otherwise the prompt itself is too long, which the upstream explains best
            limits.append(left)
    return min(limits, default=None)


def _clamp(fields: dict[str, Any], limit: int) -> None:
    for name in OUTPUT_LIMITS:
        asked = decoded(fields.get(name))
        if type(asked) is int and asked > limit:
            fields[name] = limit
            _shrink_thinking(fields, limit)


def _shrink_thinking(fields: dict[str, Any], limit: int) -> None:
    thinking = decoded(fields.get("thinking"))
    if not isinstance(thinking, dict):
        return
    budget = thinking.get("budget_tokens")
    if type(budget) is int and budget >= limit > MIN_THINKING_BUDGET:
        fields["thinking"] = {**thinking, "budget_tokens": max(limit // 2, MIN_THINKING_BUDGET)}


def decoded(value: Any) -> Any:
    """A field's value, decoded if it is not yet."""
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
