"""Makes a request of this format fit the model that gets it, as the catalogue describes the model. Used by `upstream`.

A caller writes its request for one model, and another one of the same format may serve it: newer Claude models refuse a
budget of thought and a turn to continue, older ones adaptive thinking. `wire.fit` fits what all formats share.
"""

from __future__ import annotations

from typing import Any

from weir_router.contract import Thinking, Traits
from weir_router.dialects.anthropic.thinking import ADAPTIVE
from weir_router.dialects.anthropic.turns import CONTINUE
from weir_router.dialects.neutral.efforts import EFFORT_BUDGETS, WIDELY_KNOWN_EFFORTS, effort_of, nearest
from weir_router.dialects.wire.fit import MIN_THINKING_BUDGET


def fit_model(fields: dict[str, Any], body: dict[str, Any], traits: Traits) -> list[str]:
    """Changes the fields in place; `body` has their decoded values. Gives the names of those that are left out."""
    dropped: list[str] = []
    if traits.no_prefill and _ends_in_text(body["messages"]):
        fields["messages"] = [*body["messages"], {"role": "user", "content": CONTINUE}]
        dropped.append("prefill")
    if traits.one_sampling and body.get("temperature") is not None and body.get("top_p") is not None:
        del fields["top_p"]
        dropped.append("top_p")
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and "thinking" in fields:
        if traits.thinking is Thinking.ADAPTIVE:
            dropped += _adaptive(fields, body, thinking, traits)
        elif traits.thinking is Thinking.BUDGET and thinking.get("type") == "adaptive":
            dropped += _budget(fields, body)
    return dropped


def _ends_in_text(messages: list[Any]) -> bool:
    """Whether the last turn is an assistant's, and no tool call."""
    last = messages[-1]
    if last["role"] != "assistant":
        return False
    content = last.get("content")
    blocks = content if isinstance(content, list) else []
    return not any(isinstance(block, dict) and block.get("type") == "tool_use" for block in blocks)


def _adaptive(fields: dict[str, Any], body: dict[str, Any], thinking: dict[str, Any], traits: Traits) -> list[str]:
    if thinking.get("type") == "disabled":
        del fields["thinking"]  # refused by some; without the field there is no thought either
        return []
    if thinking.get("type") != "enabled":
        return []
    budget, config = thinking.get("budget_tokens"), body.get("output_config")
    effort = effort_of(budget if isinstance(budget, int) else 0)
    known = traits.efforts or WIDELY_KNOWN_EFFORTS
    stated = config if isinstance(config, dict) else {}
    fields["thinking"] = dict(ADAPTIVE)
    fields["output_config"] = {"effort": nearest(effort, known), **stated}
    return ["budget_tokens"]


def _budget(fields: dict[str, Any], body: dict[str, Any]) -> list[str]:
    config = body.get("output_config")
    stated = dict(config) if isinstance(config, dict) else {}
    effort = stated.pop("effort", None)
    if stated:
        fields["output_config"] = stated
    else:
        fields.pop("output_config", None)
    budget = EFFORT_BUDGETS.get(effort if isinstance(effort, str) else "high", EFFORT_BUDGETS["high"])
    if "max_tokens" in body:  # a request to count has none
        budget = min(budget, body["max_tokens"] // 2)  # at least half of the caller's limit remains for the answer
    if budget >= MIN_THINKING_BUDGET:
        fields["thinking"] = {"type": "enabled", "budget_tokens": budget}
        return ["effort"] if effort else []
    del fields["thinking"]
    return ["thinking"]
