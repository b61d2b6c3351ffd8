"""Moderations: a text with the word `violence` in it is flagged."""

from __future__ import annotations

import zlib
from typing import Any

from weir_cli.sim.answer import text_of
from weir_cli.sim.endpoints.reply import Reply, invalid, required
from weir_cli.sim.frames import as_json
from weir_cli.sim.models import SimModel

FLAGGED = "violence"
"""Word and category that are flagged."""

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
"""OpenAI's categories."""


def moderate(fields: dict[str, Any], model: SimModel) -> Reply:
    """A verdict on each input. Raises `Refused`."""
    given = required(fields, "input")
    texts = given if isinstance(given, list) and all(isinstance(it, str) for it in given) else [text_of(given)]
    if not texts or not isinstance(given, str | list):
        raise invalid("input", "a text, a list of texts, or a list of parts")
    identity = f"modr-{zlib.crc32(as_json(given)):08x}"
    return Reply(as_json({"id": identity, "model": model.name, "results": [_result(it) for it in texts]}))


def _result(text: str) -> dict[str, Any]:
    flagged = FLAGGED in text.lower()
    return {
        "flagged": flagged,
        "categories": {name: flagged and name == FLAGGED for name in CATEGORIES},
        "category_scores": {name: 0.97 if flagged and name == FLAGGED else 0.0001 for name in CATEGORIES},
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }
