"""The smallest honest instance of a JSON schema: for tool arguments and structured answers.

Called by `weir_cli.sim.answer`. Covers what SDKs make of their users' types; it is no validator, and a keyword that it
does not know is ignored.
"""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 12
"""Past it a recursive schema's optional parts are left out, and everything else becomes null."""

MAX_LENGTH = 10_000
"""Characters or items that `minLength` and `minItems` can ask for."""

_NONSENSE = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)

_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "sim@example.com",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}


def sample(schema: Any) -> Any:
    """A value that satisfies `schema`; always the same one. None if it is no schema."""
    try:
        return _sample(schema, schema, 0)
    except _NONSENSE:
        return None


def _sample(schema: Any, root: Any, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "$ref" in schema:
        return _sample(_resolve(str(schema["$ref"]), root), root, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        if schema.get(keyword):
            return _sample(schema[keyword][0], root, depth + 1)
    if schema.get("allOf"):
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            value = _sample(part, root, depth + 1)
            merged |= value if isinstance(value, dict) else {}
        return merged
    return _typed(schema, root, depth)


def _typed(schema: dict[str, Any], root: Any, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        count = min(max(1, int(schema.get("minItems", 1))), MAX_LENGTH)
        return [_sample(schema.get("items", {}), root, depth + 1)] * count
    if kind in ("integer", "number"):
        return _number(schema)
    return {"string": _string(schema), "boolean": True}.get(str(kind))


def _object(schema: dict[str, Any], root: Any, depth: int) -> dict[str, Any]:
    required = schema.get("required", ())
    # Optional parts may lead back to the schema itself; half-way down only what must be there is made.
    wanted = {k: v for k, v in schema.get("properties", {}).items() if depth < MAX_DEPTH // 2 or k in required}
    return {name: _sample(part, root, depth + 1) for name, part in wanted.items()}


def _string(schema: dict[str, Any]) -> str:
    text = _FORMATS.get(str(schema.get("format")), "sim")
    text = text.ljust(min(int(schema.get("minLength", 0)), MAX_LENGTH), "m")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _number(schema: dict[str, Any]) -> Any:
    if "minimum" in schema:
        return schema["minimum"]
    if "exclusiveMinimum" in schema:
        return schema["exclusiveMinimum"] + 1
    return min(1, schema.get("maximum", 1))


def _resolve(reference: str, root: Any) -> Any:
    node = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
    return node
