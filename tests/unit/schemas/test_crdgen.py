"""The generated CRDs and their reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from weir_operator.kinds import KINDS, crdgen
from weir_operator.kinds.crdgen import NotStructuralError, crd, crd_text, files, main, structural
from weir_operator.kinds.modeltier.schema import ModelTierSpec
from weir_operator.schemas.common import DURATION, MONEY, TIMESTAMP
from weir_operator.schemas.rules import Model

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
SCHEMAS = {kind.kind: crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind in KINDS}


def nodes(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a schema, with its place."""
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            yield from nodes(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from nodes(inner, f"{path}[{number}]")


def fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
        yield from fields(field.get("items", {}), f"{path}.{name}[]")


def documents() -> Iterator[Any]:
    for path in EXAMPLES:
        for number, document in enumerate(yaml.load_all(path.read_text(), Loader=yaml.BaseLoader)):
            if document["kind"] in SCHEMAS:
                yield pytest.param(path, number, id=f"{path.parent.name}/{path.name}#{number}")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_schema_is_structural(kind):
    for path, node in nodes(SCHEMAS[kind.kind]):
        if not path.endswith((".properties", ".default")):
            assert not node.keys() & {"$ref", "anyOf", "oneOf", "allOf", "title", "propertyNames", "nullable"}, path
            assert node.get("additionalProperties") is not False, path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_everything_is_bounded(kind):
    """The API server estimates the cost of rules from these bounds."""
    bounds = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}
    for path, field in fields(SCHEMAS[kind.kind]["properties"]["spec"], "spec"):
        for place, node in [(path, field), (f"{path}[]", field.get("items", {}))]:
            if "enum" not in node and node.get("type") in bounds:
                assert bounds[node["type"]] in node, place
            assert "additionalProperties" not in node or "maxProperties" in node, place


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_has_a_description(kind):
    for part in ("spec", "status"):
        for path, field in fields(SCHEMAS[kind.kind]["properties"][part], part):
            assert len(field.get("description", "")) > 8, path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_durations_money_and_times_say_their_form(kind):
    forms = {
        DURATION: "A duration such as `800ms`",
        MONEY: "US dollars per million tokens",
        TIMESTAMP: "A time such as `2026-",
    }
    found = [
        (path, forms[field["pattern"]], field["description"])
        for path, field in fields(SCHEMAS[kind.kind]["properties"]["spec"], "spec")
        if field.get("pattern") in forms
    ]
    assert found
    assert [path for path, form, description in found if form not in description] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_crd_stays_small(kind):
    assert len(crd_text(kind).encode()) < 60_000


@pytest.mark.parametrize(("path", "number"), list(documents()))
def test_examples_are_valid_in_the_generated_schema(path, number):
    document = list(yaml.safe_load_all(path.read_text()))[number]
    jsonschema.Draft202012Validator(SCHEMAS[document["kind"]]).validate(document)


def spoken(value: Any, path: str) -> Iterator[str]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from spoken(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from spoken(inner, f"{path}[]")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_full_example_shows_every_field(kind):
    shown = {
        path
        for file in (ROOT / "examples" / "full").glob("*.yaml")
        for document in yaml.safe_load_all(file.read_text())
        if document["kind"] == kind.kind
        for path in spoken(document["spec"], "spec")
    }
    wanted = {path for path, _ in fields(SCHEMAS[kind.kind]["properties"]["spec"], "spec")}
    # Selectors are the same wherever namespaces are chosen; the tier shows them whole.
    assert {path for path in wanted - shown if ".namespaces" not in path} == set()


def test_the_committed_files_are_up_to_date(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["crds", "--check"]) == 0


def test_check_writes_nothing_and_names_what_is_stale(tmp_path, capsys):
    arguments = [str(tmp_path / "crds"), "--reference", str(tmp_path / "reference")]
    assert main([*arguments, "--check"]) == 1
    assert "is not up to date; run: make crds" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    assert len(files(tmp_path, tmp_path)) == 2 * len(KINDS)


def test_defaults_are_in_the_schema_without_nulls():
    spec = structural(ModelTierSpec)["properties"]
    assert spec["grants"]["default"] == [{"namespaces": {"from": "Same"}}]
    assert spec["className"]["default"] == "weir"


DEFAULTS = {
    "ModelTier": {
        *("className", "selection", "grants", "grants[].namespaces", "grants[].namespaces.from"),
        *("backends[].backendRef.kind", "backends[].credentials.type", "backends[].state", "backends[].transport"),
    },
    "RoutingPolicy": {
        *("className", "mode", "promptLogging", "queue.priority", "classifier", "classifier.minConfidence"),
        *("callers", "callers[].namespaces", "callers[].namespaces.from"),
        *("failover", "failover.attempts", "failover.deadline"),
        *("routes[].when.callers[].namespaces", "routes[].when.callers[].namespaces.from"),
        *("routes[].when.times[].from", "routes[].when.times[].to"),
    },
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_no_new_field_has_a_default_in_the_crd(kind):
    """An API server fills a default into stored objects. During an upgrade the operator of the version before reads
    them, and refuses an object with a field that it does not know. So the compile step has the defaults of new fields.
    """
    spec = SCHEMAS[kind.kind]["properties"]["spec"]
    assert {path.removeprefix("spec.") for path, field in fields(spec, "spec") if "default" in field} == DEFAULTS[
        kind.kind
    ]


def test_a_union_is_refused():
    class Either(Model):
        """Not structural."""

        value: int | str = 0
        """Either."""

    with pytest.raises(NotStructuralError, match=r"Either\.value"):
        structural(Either)


def test_the_reference_lists_every_field():
    for kind in KINDS:
        text = crdgen.reference_text(kind)
        paths = [path for path, _ in fields(SCHEMAS[kind.kind]["properties"]["spec"], "spec")]
        assert all(f"`{path}`" in text for path in paths)
