"""A rule that spans fields, once for the API server (CEL) and once for `weir validate` (Python), side by side.

Used by the kinds' schemas; `weir_operator.kinds.crdgen` reads its mark in the JSON schema. It holds no rule itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True)
class Rule:
    """A rule on a value; in `Model.RULES` of the object, or in an `Annotated` of that field.

    `cel` sees the value as `self` by its YAML names, `holds` as the parsed Python value. `holds` is None for a
    transition rule: a directory has no earlier version to compare with. `cel` is None where the schema already says
    it in a way of its own (`format`).
    """

    cel: str | None
    message: str
    holds: Callable[[Any], bool] | None

    def check(self, value: Any) -> Any:
        """Returns `value`, or raises what pydantic reports as an error at this field."""
        if self.holds is not None and not self.holds(value):
            raise PydanticCustomError("rule", "{message}", {"message": self.message})
        return value

    @property
    def validations(self) -> list[dict[str, str]]:
        """Items of `x-kubernetes-validations`."""
        return [{"rule": self.cel, "message": self.message}] if self.cel is not None else []

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        if self.cel is not None:
            earlier = json_schema.get("x-kubernetes-validations", [])
            json_schema["x-kubernetes-validations"] = [*earlier, *self.validations]
        return json_schema


@dataclass(frozen=True)
class ListType:
    """How the API server merges a list, and with it what may not stand in it twice.

    `Map` is keyed by `name`; `Set` holds scalars; order means something in neither.
    """

    kind: str  # "map" or "set"

    def check(self, value: Sequence[Any]) -> Sequence[Any]:
        """Returns `value`, or raises if an item stands in it twice."""
        keys: list[Hashable] = [item.name for item in value] if self.kind == "map" else list(value)
        if len(set(keys)) < len(keys):
            twice = next(key for position, key in enumerate(keys) if key in keys[:position])
            raise PydanticCustomError("duplicate", "'{key}' stands in this list twice", {"key": str(twice)})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        json_schema["x-kubernetes-list-type"] = self.kind
        if self.kind == "map":
            json_schema["x-kubernetes-list-map-keys"] = ["name"]
        return json_schema


MAP = ListType("map")
SET = ListType("set")


class Model(BaseModel):
    """Base of every object in a spec: camelCase in YAML, frozen, and an unknown field is an error."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, use_attribute_docstrings=True)
    RULES: ClassVar[tuple[Rule, ...]] = ()
    FORMS: ClassVar[Mapping[str, str]] = {}
    """Words for the patterns of a kind, e.g. `^[0-9]+$`: "a number". `schemas.common.FORMS` has the shared ones."""

    @model_validator(mode="before")
    @classmethod
    def _prune_nulls(cls, data: Any) -> Any:
        # As the API server does for fields that are not nullable: `objectives:` with nothing after it is absent. A
        # unknown field stays, to be refused.
        if not isinstance(data, dict) or None not in data.values():
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        # Most objects have no rules, and a call from the validator for each of them is a third of its time.
        return core_schema.no_info_after_validator_function(_keeping_rules, schema) if cls.RULES else schema

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        if cls.RULES:
            rules = [item for rule in cls.RULES for item in rule.validations]
            handler.resolve_ref_schema(json_schema)["x-kubernetes-validations"] = rules
        return json_schema


M = TypeVar("M", bound=Model)


def _keeping_rules(it: M) -> M:
    for rule in it.RULES:
        rule.check(it)
    return it


@cache
def unstated(model: type[M]) -> M:
    """The object that states nothing; one for all, since it is frozen and costs as much to make as a real one."""
    return model()
