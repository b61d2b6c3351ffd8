"""Models files, the fleet, schema samples, and the command."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import typer
import uvloop
from typer.testing import CliRunner

from support.servers import is_cut
from weir_cli.sim import FLEET, FaultKind, SimModel, Simulator, SimulatorThread, read_models
from weir_cli.sim.answer import count_tokens, tokens_of
from weir_cli.sim.command import sim as sim_command
from weir_cli.sim.fleet import TIERS, of_tier
from weir_cli.sim.models import ModelsFileError
from weir_cli.sim.prompt_cache import PromptCache
from weir_cli.sim.sample import sample

PATHS = [path for path in sys.path if path]
ENTRY = f"import sys, typer; sys.path[:0] = {PATHS!r}; from weir_cli.sim.command import sim; typer.run(sim)"
"""Program that runs the command in a process of its own, with or without the project installed."""


def app() -> typer.Typer:
    app = typer.Typer()
    app.command("sim")(sim_command)
    return app


def test_a_models_file_is_read_with_durations(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        "models:\n- {name: a, dialect: Anthropic, ttft: 135ms, tokens_per_second: 75}\n- {name: b, ttft: 0.2s}\n"
    )
    assert [(m.name, m.dialect, m.ttft) for m in read_models(file)] == [("a", "Anthropic", 0.135), ("b", "OpenAI", 0.2)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models: [{name: a, speed: 3}]", r"models\[0\].*speed"),
        ("models: [{name: a, ttft: soon}]", "'soon' is not a duration"),
        ("models: []", "empty"),
        ("- a", "list under `models`"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_models_file_is_explained(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "models.yaml").write_text(text)
    with pytest.raises(ModelsFileError, match=told):
        read_models(tmp_path / "models.yaml")


def test_a_models_key_is_not_in_its_repr() -> None:
    assert "sk-secret" not in repr([SimModel("m", key="sk-secret")])


def test_the_fleet_covers_four_tiers_with_rising_prices_and_both_dialects() -> None:
    cheapest = [min(m.price_output or 0 for m in of_tier(tier)) for tier in TIERS]
    assert cheapest[0] == 0.01
    assert max(m.price_output or 0 for m in FLEET) == 3.00
    assert len({m.name for m in FLEET}) == len(FLEET) == sum(len(of_tier(tier)) for tier in TIERS)
    assert {m.dialect.value for m in FLEET} == {"OpenAI", "Anthropic"}


@pytest.mark.parametrize("text", ["", "one two", "  lead and trail \n", "x" * 100, "水" * 40 + " 🐟"])
def test_tokens_lose_nothing(text: str) -> None:
    assert "".join(tokens_of(text)) == text


def test_the_schema_of_a_tool_may_have_types_of_every_form() -> None:
    """Codex's tools have a parameter `type`."""
    properties = {"type": {"type": "string"}, "limit": {"type": ["integer", "null"]}}
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": properties}}
    assert count_tokens([tool]) > 0
    cache = PromptCache()
    assert [cache.read("m", {"tools": [tool] * 199}, 0.0) > 0 for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "minLength": 5}, "simmm"),
        ({"type": "string", "maxLength": 1}, "s"),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "integer", "minimum": 7}, 7),
        ({"type": "number", "exclusiveMinimum": 0}, 1),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2}, ["a", "a"]),
        ({"type": ["string", "null"]}, "sim"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        (
            {"allOf": [{"type": "object", "properties": {"a": {"const": 1}}}, {"properties": {"b": {}}}]},
            {"a": 1, "b": None},
        ),
        ({"$ref": "#/$defs/T", "$defs": {"T": {"type": "boolean"}}}, True),
        ({}, None),
    ],
)
def test_samples_satisfy_their_schema(schema: dict[str, Any], value: Any) -> None:
    assert sample(schema) == value


def test_a_recursive_schema_has_an_end() -> None:
    assert "next" in sample({"properties": {"next": {"$ref": "#"}}})


def test_the_help_lists_every_fault() -> None:
    text = CliRunner(env={"COLUMNS": "160"}).invoke(app(), ["--help"]).output
    assert [kind for kind in FaultKind if kind not in text] == []


def test_a_wrong_address_ends_with_2_and_says_what_to_write() -> None:
    result = CliRunner().invoke(app(), ["--listen", "nowhere"])
    assert (result.exit_code, "write HOST:PORT" in result.output) == (2, True)


def test_a_taken_port_ends_with_2() -> None:
    with SimulatorThread([SimModel("m")]) as other:
        result = CliRunner().invoke(app(), ["--listen", other.url.removeprefix("http://")])
    assert (result.exit_code, "choose another port" in result.output) == (2, True)


def test_the_command_serves_the_fleet_until_sigterm() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENTRY, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split(" on ")[1].split(": ")[0]
        with urllib.request.urlopen(f"{url}/v1/models") as answer:
            assert b"sim-minnow" in answer.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert line.startswith(f"{len(FLEET)} simulated models")


def test_a_thread_hands_on_what_the_simulator_has() -> None:
    with SimulatorThread([SimModel("m")]) as sim:
        urllib.request.urlopen(f"{sim.url}/v1/models").close()
        sim.until(lambda inner: inner.stats["m"].requests == 0)
        sim.refuse_connections()
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(sim.url)
        sim.accept_connections()
        sim.reset()
        assert (sim.stats["m"].requests, sim.requests("m"), [m.name for m in sim.models]) == (0, [], ["m"])


@pytest.mark.parametrize("turns", range(5))
def test_a_connection_that_comes_as_the_port_closes_is_closed_too(turns: int) -> None:
    async def come_and_close() -> bool:
        sim = Simulator([SimModel("m")])
        await sim.accept_connections()
        with socket.create_connection(("127.0.0.1", int(sim.url.rpartition(":")[2]))) as caller:
            for _ in range(turns):
                await asyncio.sleep(0)
            await sim.refuse_connections()
            return await is_cut(caller)

    assert uvloop.run(come_and_close())


@pytest.mark.parametrize("properties", ["x", [{}], False, 3])
def test_the_sample_of_what_is_no_schema_is_nothing(properties: Any) -> None:
    assert sample({"type": "object", "properties": properties}) is None


def test_a_schema_cannot_ask_for_a_sample_of_any_length() -> None:
    assert len(sample({"type": "string", "minLength": 10**12})) < 100_000
    assert len(sample({"type": "array", "minItems": 10**12})) < 100_000
