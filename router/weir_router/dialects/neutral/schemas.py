"""JSON schemas of structured output: what each dialect insists on. Used by `to_anthropic` and `to_openai`."""

from __future__ import annotations

from typing import Any

LITERAL_KEYS = frozenset({"enum", "const", "default", "examples"})
"""Below these stand values, not schemas."""


def closed(schema: Any) -> Any:
    """The schema with `additionalProperties: false` wherever an object leaves it open.

    Anthropic's structured output demands it said. What follows the closed schema follows the open one too.
    """
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: value if key in LITERAL_KEYS else closed(value) for key, value in schema.items()}
    if copy.get("type") == "object":
        copy.setdefault("additionalProperties", False)
    return copy


def is_strict(schema: Any) -> bool:
    """Whether OpenAI takes the schema with `strict: true`: every object closed, and every property required."""
    if isinstance(schema, list):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object":
        properties, required = schema.get("properties") or {}, schema.get("required") or []
        if not isinstance(properties, dict) or not isinstance(required, list):
            return False
        if schema.get("additionalProperties") is not False or any(name not in required for name in properties):
            return False
    return all(key in LITERAL_KEYS or is_strict(value) for key, value in schema.items())
