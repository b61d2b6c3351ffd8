"""Headers, query and default parameters that a deployment adds to its requests. Used by `backend`; pure.

A value that comes from the environment, or that a manifest may not hold, is a finding that names the setting and never
the value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from weir_cli.import_litellm.endpoints import PARAMETERS, Endpoint
from weir_cli.import_litellm.findings import ENVIRONMENT, TOKEN, Given, mapping, text
from weir_operator.kinds.modeltier.request import MAX_EXTRAS, OWN_PARAMETERS, DefaultValue, HeaderSpec
from weir_operator.schemas.common import MAX_LABELS

AZURE = "azure"
AZURE_KEY = "api-key"
"""Azure's header for a key; `Authorization` takes tokens of Entra there."""

UNVERSIONED = ("v1", "preview", "latest")
"""Values of `api_version` that mean the endpoint `/openai/v1`, which needs none."""

HEADERS = ("extra_headers", "headers", "default_headers")
BODIES = ("extra_body",)
ORGANIZATION = "organization"
READ = (*HEADERS, *BODIES, *{name for names in PARAMETERS.values() for name in names}, ORGANIZATION)
"""Settings that this module reads, or says that they are lost."""

_KEEP = "set it in the client"


def version(given: Given, target: Endpoint) -> str | None:
    """The `api-version` of an Azure deployment; None: its endpoint needs none."""
    stated = given.params.get("api_version")
    named = None if stated is None else str(stated)
    return named if target.name == AZURE and named not in (None, "", *UNVERSIONED) else None


def headers(given: Given, target: Endpoint) -> list[dict[str, str]]:
    """Headers of every request."""
    found: dict[str, dict[str, str]] = {}
    organization = text(given.params.get(ORGANIZATION))
    stated = [("openai-organization", organization, ORGANIZATION)] if organization else []
    stated += [(name, value, setting) for setting in HEADERS for name, value in _pairs(given, setting)]
    for name, value, setting in stated:
        if isinstance(value, str) and value.startswith(ENVIRONMENT):
            why = "a header of a manifest is not read from the environment"
            given.note(f"litellm_params.{setting}", f"header {name}", why, "write its value, unless it is secret")
        elif (header := _header(name, value)) is None or len(found) == MAX_EXTRAS:
            why = "a manifest has no such header: the router sets it itself, or it holds a key"
            given.note(f"litellm_params.{setting}", f"header {name}", why, "use credentials for a key")
        else:
            found.setdefault(name.lower(), header)
    return list(found.values())


def _pairs(given: Given, setting: str) -> Iterator[tuple[str, Any]]:
    yield from mapping(given.params.get(setting)).items()


def _header(name: str, value: Any) -> dict[str, str] | None:
    header = {"name": name, "value": value if isinstance(value, str) else str(value)}
    try:
        HeaderSpec.model_validate(header)
    except ValidationError:
        return None
    return header


_VALUE: TypeAdapter[str] = TypeAdapter(DefaultValue)


def defaults(given: Given, target: Endpoint) -> dict[str, str]:
    """Parameters that requests get where they lack them, as JSON."""
    stated = {name: given.params[name] for name in READ if name in given.params and name not in (*HEADERS, *BODIES)}
    stated.pop(ORGANIZATION, None)
    known = {name: value for name, value in stated.items() if name in PARAMETERS[target.dialect]}
    for name in stated.keys() - known.keys():
        why = f"a backend with {target.dialect.value}'s format has no such parameter, or Weir sets it itself"
        given.note(f"litellm_params.{name}", name, why, _KEEP)
    for body in BODIES:
        known |= mapping(given.params.get(body))
    found: dict[str, str] = {}
    for name, value in known.items():
        written = _written(name, value)
        if written is None or len(found) == MAX_LABELS:
            given.note(f"litellm_params.{name}", name, "it cannot be a default of a backend", _KEEP)
        else:
            found[name] = written
    return found


def _written(name: str, value: Any) -> str | None:
    """The value as a manifest has it: a plain word as it is, all else as JSON."""
    if value is None or not TOKEN.fullmatch(name) or name in OWN_PARAMETERS:
        return None
    if isinstance(value, str) and value.startswith(ENVIRONMENT):
        return None
    try:
        return _VALUE.validate_python(_plain(value))
    except (ValidationError, TypeError, ValueError, RecursionError):
        return None


def _plain(value: Any) -> str:
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
