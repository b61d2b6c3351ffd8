"""Rerank: documents in the order of the share of the query's words that they have."""

from __future__ import annotations

import math
import re
import zlib
from typing import Any

from weir_cli.sim.answer import count_tokens
from weir_cli.sim.endpoints.reply import Reply, invalid, required, text, whole_number
from weir_cli.sim.frames import as_json
from weir_cli.sim.models import SimModel

MOST_DOCUMENTS = 1_000
"""Documents of one request (Cohere)."""

DOCUMENTS_PER_UNIT = 100
"""Documents that count as one search unit (Cohere)."""


def rerank(fields: dict[str, Any], model: SimModel) -> Reply:
    """The documents that fit a query best, first. Raises `Refused`."""
    query, documents = text(fields, "query"), required(fields, "documents")
    if not isinstance(documents, list) or not documents or len(documents) > MOST_DOCUMENTS:
        raise invalid("documents", f"a list of 1 to {MOST_DOCUMENTS} documents")
    texts = [str(it["text"]) if isinstance(it, dict) and "text" in it else it for it in documents]
    if not all(isinstance(it, str) for it in texts):
        raise invalid("documents", "texts, or objects with a `text`")
    most = whole_number(fields, "top_n", len(texts), MOST_DOCUMENTS)
    scored = sorted(((_score(query, it), index) for index, it in enumerate(texts)), key=lambda it: (-it[0], it[1]))
    shown = bool(fields.get("return_documents"))
    results = [
        {"index": index, "relevance_score": score, **({"document": {"text": texts[index]}} if shown else {})}
        for score, index in scored[:most]
    ]
    tokens = count_tokens(query) * len(texts) + count_tokens(texts)
    units = math.ceil(len(texts) / DOCUMENTS_PER_UNIT)
    return Reply(
        as_json(
            {
                "id": f"rerank-{zlib.crc32(as_json([query, texts])):08x}",
                "model": model.name,
                "results": results,
                "meta": {"api_version": {"version": "1"}, "billed_units": {"search_units": units}},
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
                **model.extra,
            }
        )
    )


def _score(query: str, document: str) -> float:
    asked, found = _words(query), _words(document)
    return round(len(asked & found) / max(1, len(asked)), 4)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
