"""Tool loops: a request that brings the results of tools belongs to the question that began the loop. Pure.

Its class and route are those of that question, so the model does not change because results make the prompt longer.
Nothing is stored: the question is in the request.
"""

from __future__ import annotations

from msgspec.structs import replace

from weir_router.estimate.features import measure
from weir_router.estimate.prompt import Features, Prompt

TOOL, USER = "tool", "user"


def began_with(prompt: Prompt) -> Features | None:
    """The features of the prompt with which the tool loop began; None: the request is in none."""
    turns = prompt.turns
    if not prompt.tool_results or not turns or turns[-1].role != TOOL:
        return None
    for at in range(len(turns) - 2, -1, -1):
        # A user's text directly before a result stands beside it in the same message, and begins nothing.
        if turns[at].role == USER and turns[at + 1].role != TOOL:
            asked = turns[: at + 1]
            results = sum([turn.role == TOOL for turn in asked])
            return measure(replace(prompt, turns=asked, tool_results=results))
    return None
