"""`GET /v1/models` as the SDK of this format reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weir_router.dialects.listed import Body, Listed, sized

CODEX = "client_version"
"""Parameter with which Codex asks. It decodes a list `models` of its own beside `data`, and keeps its built-in one if
that is empty.
"""


def model(listed: Listed) -> Body:
    """One entry of the list. The sizes have the names that OpenRouter's and vLLM's clients know."""
    entry = {"id": listed.name, "object": "model", "created": 0, "owned_by": "weir"}
    return sized(entry, {"context_length": listed.context, "max_output_tokens": listed.output})


def listing(names: Sequence[Listed], query: Mapping[str, str]) -> Body:
    """The whole list: OpenAI's has no pages."""
    body: Body = {"object": "list", "data": [model(it) for it in names]}
    return body | {"models": []} if CODEX in query else body
