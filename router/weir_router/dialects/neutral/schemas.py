"""The rules of each format for JSON schemas. Used by the formats' `write`."""

from __future__ import annotations

from typing import Any

_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
"""Keywords whose value maps names to schemas: a property may be called `default` or `enum`."""

_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SCHEMAS = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})

_KEPT = frozenset({"type", "enum", "const", "description", "title", "$ref", "default"})
"""Keywords of Anthropic's structured output that hold no schema."""

_STRING_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)


def structured(schema: Any) -> Any:
    """The schema as Anthropic's structured output takes it: every object closed, and keywords that it refuses written
    into the description, which the model reads. Anthropic's SDKs do the same.
    """
    if not isinstance(schema, dict):
        return {} if schema is True else schema
    out: dict[str, Any] = {}
    hints: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _MAPS and isinstance(value, dict) and key in ("properties", "$defs", "definitions"):
            out[key] = {name: structured(each) for name, each in value.items()}
        elif key in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
            out["anyOf" if key == "oneOf" else key] = [structured(each) for each in value]
        elif key == "items" and isinstance(value, dict):
            out[key] = structured(value)
        elif (
            key in _KEPT
            or (key == "required" and isinstance(value, list))
            or (key == "format" and value in _STRING_FORMATS)
            or (key == "minItems" and value in (0, 1))
        ):
            out[key] = value
        elif key not in ("additionalProperties", "$schema", "$id"):
            hints[key] = value
    if _is_object(out):
        out["additionalProperties"] = False
    if hints:
        hint = "{" + ", ".join(f"{key}: {value}" for key, value in hints.items()) + "}"
        given = out.get("description")
        out["description"] = f"{given}\n\n{hint}" if isinstance(given, str) and given else hint
    return out


def tool_input(schema: dict[str, Any]) -> dict[str, Any]:
    """A tool's schema as Anthropic takes it: an object without alternatives at the top, whose properties become its own
    instead.
    """
    out = {"type": "object", **schema}
    alternatives = [(key, each) for key in ("anyOf", "oneOf", "allOf") for each in _variants(out.pop(key, None))]
    if not alternatives:
        return out
    properties = {name: value for _, each in alternatives for name, value in _dict(each.get("properties")).items()}
    required = [name for key, each in alternatives if key == "allOf" for name in _list(each.get("required"))]
    out["properties"] = {**properties, **_dict(out.get("properties"))}
    if required:
        out["required"] = list(dict.fromkeys([*_list(out.get("required")), *required]))
    return out


def _variants(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def parameters(schema: dict[str, Any]) -> dict[str, Any]:
    """A function's parameters as OpenAI takes them: an object at the top has properties, and an array its items."""
    found = _completed({"type": "object", **schema})
    return found if isinstance(found, dict) else schema


def _completed(schema: Any) -> Any:
    """The schema with what OpenAI demands; the same object, if nothing is missing."""
    if not isinstance(schema, dict):
        return schema
    out = {key: _below(key, value, _completed) for key, value in schema.items()}
    if _has_type(out, "object") and not isinstance(out.get("properties"), dict) and "anyOf" not in out:
        out["properties"] = {}
    if _has_type(out, "array") and "items" not in out and "prefixItems" not in out:
        out["items"] = {}
    return out


def _below(key: str, value: Any, change: Any) -> Any:
    """The value of a keyword, with `change` on each schema in it."""
    if key in _MAPS and isinstance(value, dict):
        return {name: change(each) for name, each in value.items()}
    if key in _LISTS and isinstance(value, list):
        return [change(each) for each in value]
    return change(value) if key in _SCHEMAS else value


def is_strict(schema: Any) -> bool:
    """Whether OpenAI takes the schema with `strict: true`: every object closed, and every property required."""
    if not isinstance(schema, dict):
        return True
    if _has_type(schema, "object"):
        properties, required = schema.get("properties") or {}, schema.get("required") or []
        if not isinstance(properties, dict) or not isinstance(required, list):
            return False
        if schema.get("additionalProperties") is not False or any(name not in required for name in properties):
            return False
    strict = True

    def look(inner: Any) -> Any:
        nonlocal strict
        strict = strict and is_strict(inner)
        return inner

    for key, value in schema.items():
        _below(key, value, look)
    return strict


def _is_object(schema: dict[str, Any]) -> bool:
    return _has_type(schema, "object") or ("properties" in schema and "type" not in schema)


def _has_type(schema: dict[str, Any], name: str) -> bool:
    kind = schema.get("type")
    return kind == name or (isinstance(kind, list) and name in kind)
