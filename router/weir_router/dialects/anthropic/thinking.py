"""Writes a neutral effort as this format's thinking. Used by `write` only.

Claude up to 4.5 thinks for a budget of tokens; newer ones think as they see fit, and take the effort by name.
"""

from __future__ import annotations

from typing import Any

from weir_router.contract import Thinking
from weir_router.dialects.neutral.conversation import Conversation, Effort
from weir_router.dialects.neutral.efforts import EFFORT_BUDGETS, WIDELY_KNOWN_EFFORTS, effort_of, nearest
from weir_router.dialects.neutral.target import Target
from weir_router.dialects.wire.fit import MIN_THINKING_BUDGET

ADAPTIVE = {"type": "adaptive", "display": "summarized"}
"""Thinking as the model sees fit. Its text is asked for, since newer models leave it out: without it a stream is silent
until the answer begins.
"""

DEFAULT_MAX_TOKENS = 8192
"""Tokens of an answer for a caller without a limit, which this format demands, if the model's own limit is unknown.
8192 is the smallest output limit among Claude models from 3.5 on, and fits small models of other makers.
"""


def ask(asked: Conversation, to: Target, out: dict[str, Any], dropped: list[str]) -> None:
    """Asks for the effort, if Anthropic allows the model to think."""
    effort = asked.effort
    assert effort is not None
    if to.traits.thinking is Thinking.ADAPTIVE:
        _adaptive(effort, to, out, dropped)
    elif effort.name == "none":
        out["thinking"] = {"type": "disabled"}
    elif not _forced(out) and _may_begin(out):
        _budget(asked, effort, to, out)
    else:
        dropped.append("reasoning_effort")
    if out.get("thinking", {}).get("type") in ("enabled", "adaptive"):
        # Anthropic refuses both together with thinking.
        dropped += [name for name in ("temperature", "top_p") if out.pop(name, None) is not None]


def _adaptive(effort: Effort, to: Target, out: dict[str, Any], dropped: list[str]) -> None:
    """Asks for thought as the effort says."""
    if effort.name == "none":
        return  # these models refuse `disabled`, and think little without an effort
    name = effort.name or effort_of(effort.budget or 0)
    config = out.setdefault("output_config", {})
    config["effort"] = nearest(name, to.traits.efforts or WIDELY_KNOWN_EFFORTS)
    if _forced(out):
        dropped.append("thinking")
    else:
        out["thinking"] = dict(ADAPTIVE)


def _budget(asked: Conversation, effort: Effort, to: Target, out: dict[str, Any]) -> None:
    budget = effort.budget or EFFORT_BUDGETS.get(effort.name or "", EFFORT_BUDGETS["high"])
    if asked.max_output is not None:
        # The caller's limit counts for thought and answer together: at least half of it remains for the answer.
        budget = min(budget, out["max_tokens"] // 2)
    elif to.output_tokens is None:
        out["max_tokens"] = DEFAULT_MAX_TOKENS + budget
    else:
        budget = min(budget, to.output_tokens // 2)
    if budget >= MIN_THINKING_BUDGET:
        out["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _forced(out: dict[str, Any]) -> bool:
    """Whether a tool must be called, which excludes thinking."""
    return out.get("tool_choice", {}).get("type") in ("any", "tool")


def _may_begin(out: dict[str, Any]) -> bool:
    """Whether a model may think for a budget: not in a prefill, and amid tool calls only if its earlier thought is
    there, with its signature.
    """
    last = out["messages"][-1]
    if last["role"] != "user":
        return False
    amid_tools = isinstance(last["content"], list) and any(block["type"] == "tool_result" for block in last["content"])
    if not amid_tools or len(out["messages"]) < 2:
        return not amid_tools
    before = out["messages"][-2]["content"]
    return isinstance(before, list) and before[0]["type"] in ("thinking", "redacted_thinking")
