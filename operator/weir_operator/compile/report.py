"""Collects problems of one object while it is compiled, and turns what pydantic says into words for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from weir_operator.observe.observed import Manifest
from weir_operator.problems.finding import Finding
from weir_operator.problems.problem import ConditionType, Problem, Reason, Severity
from weir_operator.schemas.common import FORMS
from weir_operator.schemas.rules import Model

M = TypeVar("M", bound=Model)

MAX_ERRORS = 20
"""Errors shown of one spec: the first few say what is wrong, the hundredth only hides them."""

MAX_FIELDS_SHOWN = 5
"""Fields of an object that advice names, so that it stays one line."""


class Specs:
    """A cache of parsed specs: an operator compiles a thousand objects again because one has changed.

    It changes no result, only how long it takes. For one compile at a time.
    """

    def __init__(self) -> None:
        self._before: dict[str, tuple[Any, Model | None, list[Problem]]] = {}
        self._now: dict[str, tuple[Any, Model | None, list[Problem]]] = {}

        self._sizes_before: dict[str, tuple[Any, int]] = {}
        self._sizes: dict[str, tuple[Any, int]] = {}

    def begin(self) -> None:
        """A compile begins: what the last one did not ask for is forgotten."""
        self._before, self._now = self._now, {}
        self._sizes_before, self._sizes = self._sizes, {}

    def size(self, manifest: Manifest) -> int:
        """The bytes of the object's spec as JSON."""
        known = self._sizes_before.get(manifest.id)
        if known is None or known[0] is not manifest.spec:
            known = manifest.spec, _size(manifest.spec)
        self._sizes[manifest.id] = known
        return known[1]

    def read(self, report: Report, model: type[M]) -> M | None:
        """The object's spec, and its problems into `report`."""
        manifest = report.manifest
        known = self._before.get(manifest.id)
        if known is None or known[0] != manifest.spec:
            read = Report(manifest)
            known = manifest.spec, read.parse(model), read.problems
        self._now[manifest.id] = known
        report.problems += known[2]
        return known[1] if isinstance(known[1], model) else None


def _size(spec: Any) -> int:
    try:
        return len(msgspec.json.encode(spec))
    except ValueError:  # a number of thousands of digits, which only a directory can hold: reading finds it too large
        return 0


class Report:
    """The problems of one object."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.problems: list[Problem] = []

    def add(self, path: str, found: Iterable[Finding]) -> None:
        """Notes findings about the field at `path`."""
        for finding in found:
            field = path + finding.field
            self.note(
                field, finding.condition, finding.reason, finding.message, finding.action, finding.verdict.severity
            )

    def note(self, field: str, condition: str, reason: str, message: str, action: str, severity: Severity) -> None:
        """Notes one problem."""
        where = self.manifest.where(field)
        self.problems.append(Problem(self.manifest.id, field, condition, reason, message, action, severity, where))

    def parse(self, model: type[M]) -> M | None:
        """The object's spec, or None with a problem for each thing that is wrong with it."""
        try:
            return model.model_validate(self.manifest.spec)
        except ValidationError as error:
            for detail in _telling(error.errors(include_url=False))[:MAX_ERRORS]:
                message, action = _in_words(detail, model)
                field = _path(detail["loc"])
                self.note(field, ConditionType.ACCEPTED, Reason.INVALID_SPEC, message, action, Severity.ERROR)
            return None


def _telling(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """`details` without "too short" of a list whose items are wrong: pydantic does not count those."""
    inner = {detail["loc"][: len(detail["loc"]) - cut] for detail in details for cut in range(1, len(detail["loc"]))}
    return [detail for detail in details if detail["type"] != "too_short" or detail["loc"] not in inner]


def _path(location: tuple[int | str, ...]) -> str:
    return "spec" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)


def _in_words(detail: ErrorDetails, model: type[Model]) -> tuple[str, str]:
    name = _name(detail["loc"])
    match detail["type"]:
        case "extra_forbidden":
            return f"there is no field '{name}' here", _instead(name, _place(detail["loc"][:-1]), model)
        case "missing":
            return f"'{name}' is required", f"Add '{name}'."
        case "string_type" if isinstance(detail["input"], int | float):
            return "must be a string", 'Write it in quotes, e.g. "0.15".'
        case "string_pattern_mismatch":
            pattern = detail["ctx"]["pattern"]
            form = {**FORMS, **model.FORMS}.get(pattern, f"of the form {pattern}")
            return f"is not {form}", f"Correct '{name}'."
        case "too_short" | "too_long":
            bound, count = ("at least", "min_length") if detail["type"] == "too_short" else ("at most", "max_length")
            return f"must have {bound} {detail['ctx'][count]} entries", f"Correct '{name}'."
        case "model_type" | "model_attributes_type":
            return "must be an object with fields", _with_fields(detail["loc"], model)
        case "enum" | "literal_error":
            return f"must be {detail['ctx']['expected']}", _near(detail["input"], detail["ctx"]["expected"], name)
        case "tuple_type" | "list_type" | "frozen_set_type" | "set_type":
            return "must be a list", "Write it as a list, in []."
        case _:
            message = detail["msg"]
            return message[0].lower() + message[1:], f"Correct '{name}'."


def _name(location: tuple[int | str, ...]) -> str:
    """The last name of a path, with the number of an entry, e.g. `endpoints[1]`."""
    if location and isinstance(location[-1], int):
        return f"{_name(location[:-1])}[{location[-1]}]"
    return str(location[-1]) if location else "spec"


def _near(stated: object, expected: str, name: str) -> str:
    """The advice for a value that is none of `expected`, e.g. "'Chat', 'Responses' or 'Messages'"."""
    values = {value.lower(): value for value in re.findall(r"'([^']*)'", expected)}
    near = get_close_matches(stated.lower(), values, n=1) if isinstance(stated, str) else []
    return f"Did you mean '{values[near[0]]}'?" if near else f"Correct '{name}'."


def _with_fields(location: tuple[int | str, ...], model: type[Model]) -> str:
    """The advice for a value that stands in place of an object, such as a bare name in a list of objects."""
    names = fields_of(model).get(_place(location), ()) if location else ()
    shown = ", ".join(names[:MAX_FIELDS_SHOWN]) + (", ..." if len(names) > MAX_FIELDS_SHOWN else ".")
    return f"Write it with its fields: {shown}" if names else f"Correct '{_name(location)}'."


def _place(location: tuple[int | str, ...]) -> str:
    """An object's path without numbers, e.g. `spec.routes[].when`."""
    return "spec" + "".join("[]" if isinstance(step, int) else f".{step}" for step in location)


def _instead(name: str, place: str, model: type[Model]) -> str:
    """The advice for a field that the object at `place` does not have."""
    objects = fields_of(model)
    if near := get_close_matches(name, objects.get(place, ()), n=1):
        return f"Did you mean '{near[0]}'?"
    elsewhere = [path for path, names in objects.items() if name in names]
    if elsewhere:
        return f"'{name}' belongs to {' or '.join(elsewhere)}: move it there, or remove it."
    return "Remove it."


@cache
def fields_of(model: type[Model]) -> Mapping[str, tuple[str, ...]]:
    """The field names of each object of a kind's spec in their order, by its path, e.g. `spec.routes[].when`."""
    schema: dict[str, Any] = model.model_json_schema(by_alias=True)
    return dict(_objects(schema, schema.get("$defs", {}), "spec"))


def _objects(schema: Any, definitions: Any, path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    schema = definitions[schema["$ref"].removeprefix("#/$defs/")] if "$ref" in schema else schema
    for option in schema.get("anyOf", ()):
        yield from _objects(option, definitions, path)
    if "properties" in schema:
        yield path, tuple(schema["properties"])
        for name, child in schema["properties"].items():
            yield from _objects(child, definitions, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from _objects(schema["items"], definitions, f"{path}[]")
