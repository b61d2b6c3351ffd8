"""Makes a request of this format fit the model that gets it. Used by `upstream`; pure.

As `wire.fit` does for the other formats: the effort and the limit of the answer stand elsewhere here, and the rule that
some models take tools only without reasoning is one of chat completions.
"""

from __future__ import annotations

from typing import Any

from weir_router.contract import Backend, Capability
from weir_router.dialects.neutral.conversation import EFFORTS
from weir_router.dialects.neutral.efforts import nearest
from weir_router.dialects.openai_responses.failures import SUMMARY
from weir_router.dialects.wire.fit import adjust, decoded, output_limit
from weir_router.estimate.prompt import Prompt

LIMIT = "max_output_tokens"


def fit(fields: dict[str, Any], backend: Backend, prompt: Prompt, *, translated: bool) -> tuple[str, ...]:
    """Changes the top level of an upstream request in place. Gives the names of fields that are left out."""
    dropped = adjust(fields, backend.parameters)
    if "reasoning" in fields:
        capabilities = backend.capabilities
        if capabilities is not None and Capability.REASONING not in capabilities:
            del fields["reasoning"]
            dropped += ("reasoning_effort",)
        elif backend.traits.efforts:
            _know_effort(fields, backend.traits.efforts)
    if LIMIT in fields:
        limit, asked = output_limit(backend, prompt, translated), decoded(fields[LIMIT])
        if limit is not None and type(asked) is int and asked > limit:
            fields[LIMIT] = limit
    return dropped


def _know_effort(fields: dict[str, Any], efforts: tuple[str, ...]) -> None:
    """Replaces an effort that the model does not know by the next one."""
    reasoning = decoded(fields["reasoning"])
    asked = reasoning.get("effort") if isinstance(reasoning, dict) else None
    if isinstance(asked, str) and asked in EFFORTS and asked not in efforts and asked != "none":
        fields["reasoning"] = {**reasoning, "effort": nearest(asked, efforts)}


def without_summary(fields: dict[str, Any]) -> tuple[str, ...]:
    """Leaves out the summary in `reasoning`. Gives its name, if it was there."""
    reasoning = decoded(fields.get("reasoning"))
    if not isinstance(reasoning, dict) or SUMMARY not in reasoning:
        return ()
    fields["reasoning"] = {name: value for name, value in reasoning.items() if name != SUMMARY}
    return (SUMMARY,)
