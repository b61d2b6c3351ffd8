"""Efforts of reasoning, by name and as a budget of tokens. Used by the formats' writers."""

from __future__ import annotations

from collections.abc import Sequence

from weir_router.dialects.neutral.conversation import EFFORTS

EFFORT_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 20480, "max": 23808}
"""Tokens of thought for each effort. The largest plus `anthropic.thinking.DEFAULT_MAX_TOKENS` is 32,000, the output
limit of Claude Opus 4, the smallest among the models that think.
"""

WIDELY_KNOWN_EFFORTS = ("low", "medium", "high")
"""Efforts that every reasoning model knows: a budget becomes the highest of them that it covers."""


def nearest(name: str, known: Sequence[str]) -> str:
    """The effort itself if the model knows it, else the next higher one, else the highest. Unknown names are `high`."""
    wanted = EFFORTS.index(name if name in EFFORTS else "high")
    ranked = sorted((each for each in known if each in EFFORTS and each != "none"), key=EFFORTS.index)
    higher = [each for each in ranked if EFFORTS.index(each) >= wanted]
    return higher[0] if higher else ranked[-1] if ranked else name


def effort_of(budget: int) -> str:
    """The highest widely known effort that the budget covers."""
    paid_for = [effort for effort in WIDELY_KNOWN_EFFORTS if EFFORT_BUDGETS[effort] <= budget]
    return paid_for[-1] if paid_for else WIDELY_KNOWN_EFFORTS[0]
