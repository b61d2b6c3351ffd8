"""JSON schemas of the kinds that an API server serves, in files, as kubeconform reads them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

LOCATION = "{{.Group}}_{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"
"""Template of a file's name, in kubeconform's syntax. For kinds without a group, its Group is the version."""

INT_OR_STRING = {"oneOf": [{"type": "string"}, {"type": "integer"}]}


def write_schemas(openapi: dict[str, Any], kinds: set[str], folder: Path) -> None:
    """Writes the files of these kinds from an `/openapi/v2` document. Their schemas refuse unknown fields."""
    definitions = openapi["definitions"]
    for name, definition in definitions.items():
        for it in definition.get("x-kubernetes-group-version-kind", ()):
            if it["kind"] in kinds:
                schema = {"$ref": f"#/definitions/{name}", "definitions": _reached(name, definitions)}
                file = f"{it['group'] or it['version']}_{it['kind'].lower()}_{it['version']}.json"
                (folder / file).write_text(json.dumps(schema))


def _reached(name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The definition and all that it refers to: a file has to stand by itself."""
    found: dict[str, Any] = {}
    wanted = [name]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _strict(definitions[name])
            wanted += re.findall(r'"#/definitions/([^"]+)"', json.dumps(definitions[name]))
    return found


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(it) for it in node]
    if not isinstance(node, dict):
        return node
    if node.get("format") == "int-or-string" or node.get("x-kubernetes-int-or-string"):
        return INT_OR_STRING
    strict = {name: _strict(it) for name, it in node.items()}
    if isinstance(strict.get("properties"), dict) and not node.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict
