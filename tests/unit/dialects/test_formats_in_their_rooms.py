"""Everything that depends on a format stands in the format's own room: elsewhere no code names one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir_cli.sim.wires import WIRES
from weir_operator.kinds.modeltier.schema import DEFAULT_BASE_URL, DEFAULT_PATH
from weir_operator.sidecar.inject import SDKS
from weir_router.contract import CONVERSATIONS as TALKS
from weir_router.contract import Dialect, Endpoint, Operation
from weir_router.dialects.axes import Format
from weir_router.dialects.base import FormatRecord
from weir_router.dialects.passed.record import PASSED
from weir_router.dialects.registry import CONVERSATIONS, RECORDS, caller_named
from weir_router.identify.keys import presented_key

ROOT = Path(__file__).parents[3]

ROOMS = {
    "router/weir_router/contract/tier.py": "the values as they are on the wire",
    "router/weir_router/dialects/axes.py": "the list of formats",
    "router/weir_router/dialects/registry.py": "one row for each format and host",
    "operator/weir_operator/kinds/modeltier/schema.py": "a row of addresses for each provider",
    "operator/weir_operator/kinds/modeltier/dialects.py": "a row of wire formats for each provider",
    "cli/weir_cli/import_litellm/endpoints.py": "a table of LiteLLM's providers",
    "cli/weir_cli/sim/openai_wire.py": "a wire of its provider",
    "cli/weir_cli/sim/anthropic_wire.py": "a wire of its provider",
    "cli/weir_cli/sim/fleet.py": "a table of models",
    "cli/weir_cli/sim/models.py": "a model's default",
    "cli/weir_cli/cluster/objects.py": "a manifest",
}
"""Places where a format may be named, and why."""

FORMATS = [
    f"{record.parent.relative_to(ROOT)}/" for record in (ROOT / "router/weir_router/dialects").glob("*/record.py")
]
"""Rooms of the formats: folders with a record."""

NAMES = {*Dialect, *Format}
MEMBERS = {*Dialect.__members__, *Format.__members__}


def sources() -> Iterator[Path]:
    """All modules of the three packages."""
    for package in ("router/weir_router", "operator/weir_operator", "cli/weir_cli"):
        yield from sorted((ROOT / package).rglob("*.py"))


def named(source: str) -> list[int]:
    """Lines in which a format is named: as a member of an enum, or by its value."""
    found = []
    for node in ast.walk(ast.parse(source)):
        member = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if member and node.value.id in ("Dialect", "Format") and node.attr in MEMBERS:
            found.append(node.lineno)
        if isinstance(node, ast.Constant) and node.value in NAMES:
            found.append(node.lineno)
    return found


def test_no_code_names_a_format_outside_its_room() -> None:
    outside = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources()
        if not str(path.relative_to(ROOT)).startswith((*ROOMS, *FORMATS))
        for line in named(path.read_text())
    }
    assert not outside, "decide by a field of the format's record instead: dialects.base.FormatRecord"


def test_every_room_is_there_and_names_a_format() -> None:
    assert len(FORMATS) == len(Format) - len(PASSED) + 1, "passed endpoints share a room"
    for room in (*ROOMS, *FORMATS):
        paths = [ROOT / room] if room.endswith(".py") else sorted((ROOT / room).rglob("*.py"))
        assert any(named(path.read_text()) for path in paths), room


@pytest.mark.parametrize(
    "line", ["x is Dialect.OPENAI", "x == 'Anthropic'", "x is Format.OPENAI_CHAT", "x == 'OpenAI'"]
)
def test_a_name_is_found(line: str) -> None:
    assert named(line) == [1]


def test_every_format_has_a_record_and_a_path_of_its_own() -> None:
    assert [record.format for record in RECORDS] == list(Format)
    assert len({record.path for record in RECORDS}) == len(RECORDS)


def test_every_provider_has_a_host_a_simulator_and_an_address() -> None:
    assert all(caller_named(provider) in CONVERSATIONS for provider in Dialect)
    assert {wire.PROVIDER for wire in WIRES.values()} == set(DEFAULT_BASE_URL) == set(DEFAULT_PATH) == set(Dialect)
    assert all(WIRES[caller_named(provider).name].PROVIDER is provider for provider in Dialect)


def test_every_format_has_a_simulator() -> None:
    assert all(record.path == WIRES[record.name].PATH for record in CONVERSATIONS)


def test_a_caller_without_a_mark_has_the_first_format() -> None:
    assert CONVERSATIONS[0].mark is None
    marks = [record.mark for record in CONVERSATIONS if record.mark is not None]
    assert len(marks) == len(set(marks))


def test_every_format_of_conversations_has_a_name_for_backends() -> None:
    assert len({record.name for record in CONVERSATIONS}) == len(CONVERSATIONS)


def test_a_backend_lists_each_operation_that_is_no_conversation() -> None:
    assert {*Endpoint} == {*Operation} - TALKS
    assert all((record.operation in TALKS) is (record in CONVERSATIONS) for record in RECORDS)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.format)
def test_a_caller_is_known_by_the_key_that_its_sdk_sends(record: FormatRecord) -> None:
    sent = "Bearer weir_1" if record.key == "authorization" else "weir_1"
    assert presented_key({record.key: sent}) == "weir_1"


BASE_URLS = {Format.OPENAI_CHAT: "OPENAI_BASE_URL", Format.ANTHROPIC_MESSAGES: "ANTHROPIC_BASE_URL"}
BASE_URLS[Format.OPENAI_RESPONSES] = "OPENAI_BASE_URL"
"""Variables from which the SDK of each format takes the address of its server."""


def test_the_sdk_of_every_format_is_led_to_the_sidecar() -> None:
    assert set(BASE_URLS) == {record.format for record in CONVERSATIONS}
    assert set(BASE_URLS.values()) == {variable for variable, *_ in SDKS}


def test_known_fields_are_frozen():
    """Compiled code takes the declared type at its word."""
    assert all(type(record.fields) is frozenset for record in CONVERSATIONS)
