"""Counted tokens: of a request that is not answered."""

from __future__ import annotations

from typing import Any

from weir_cli.sim import anthropic_wire, responses_wire
from weir_cli.sim.endpoints.reply import Reply
from weir_cli.sim.frames import as_json
from weir_cli.sim.models import SimModel

_ANY_LIMIT = 1_000_000
"""Stands for `max_tokens`, which a request to count has not and a message must have."""


def input_tokens(fields: dict[str, Any], model: SimModel) -> Reply:
    """The tokens of a request to the Responses API. Raises `Refused`."""
    tokens = responses_wire.parse(fields, model).prompt_tokens
    return Reply(as_json({"object": "response.input_tokens", "input_tokens": tokens}))


def count_tokens(fields: dict[str, Any], model: SimModel) -> Reply:
    """The tokens of a request to the Messages API. Raises `Refused`."""
    if "max_tokens" in fields or "stream" in fields:
        field = "max_tokens" if "max_tokens" in fields else "stream"
        raise anthropic_wire.extra_field(field)
    tokens = anthropic_wire.parse({**fields, "max_tokens": _ANY_LIMIT}, model).prompt_tokens
    return Reply(as_json({"input_tokens": tokens}))
