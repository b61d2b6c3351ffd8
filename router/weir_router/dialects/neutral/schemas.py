"""The rules of each format for JSON schemas of structured output. Used by the formats' `write`."""

from __future__ import annotations

from typing import Any

LITERAL_KEYS = frozenset({"enum", "const", "default", "examples"})
"""Keys with values below them, not schemas."""


def closed(schema: Any) -> Any:
    """The schema with `additionalProperties: false` wherever an object leaves it open.

    Anthropic's structured output demands this field. A value of the closed schema is valid for the open one, too.
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
