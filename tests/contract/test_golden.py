"""The contract between compiler and router, as JSON that both sides must agree on.

A golden file changes only with the contract or an example: `WEIR_WRITE_GOLDEN=1 pytest tests/contract` writes it
anew, and the diff is the review.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from weir_operator.compile import Compiled, compile_config
from weir_operator.compile.catalogue import Catalogue, parse
from weir_operator.kinds import KINDS
from weir_operator.observe.manifests import load
from weir_operator.problems.problem import Severity
from weir_router.contract import API_VERSION, CompiledConfig

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir())
FIXED = parse((HERE / "catalogue.yaml").read_text())
NOW = 1_800_000_000.0  # 2027-01-15


def compiled(name: str, catalogue: Catalogue = FIXED) -> Compiled:
    loaded = load(EXAMPLES / name, KINDS)
    assert not loaded.problems
    return compile_config(loaded.observed, KINDS, catalogue=catalogue, revision=7, now=NOW)


def encoded(config: CompiledConfig) -> str:
    """A config as indented JSON in a stable order, which sets do not have."""
    return msgspec.json.format(msgspec.json.encode(config, order="deterministic"), indent=2).decode() + "\n"


@pytest.mark.parametrize("name", NAMES)
def test_examples_compile_without_problems_and_serve(name):
    result = compiled(name, Catalogue.load())
    assert [it for it in result.problems if it.severity is Severity.ERROR] == []
    assert [policy.not_ready for policy in result.config.policies] == [None]
    assert all(backend.price for tier in result.config.tiers.values() for backend in tier.backends)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_compiled_is_what_the_golden_file_says(name):
    golden = HERE / f"{name}.v1.json"
    text = encoded(compiled(name).config)
    if os.environ.get("WEIR_WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_file_survives_the_round_trip(name):
    text = (HERE / f"{name}.v1.json").read_text()
    config = msgspec.json.decode(text, type=CompiledConfig)
    assert config.api_version == API_VERSION
    assert encoded(config) == text


def test_fields_that_a_newer_operator_adds_are_ignored():
    data = json.loads((HERE / "quickstart.v1.json").read_text())
    known = msgspec.convert(data, CompiledConfig)
    data["future"] = {"a": 1}
    data["policies"][0]["routes"][0]["future"] = [1]
    assert msgspec.convert(data, CompiledConfig) == known


def test_no_secret_stands_in_a_config():
    result = compiled("full")
    assert "replace-me" in result.secrets.credentials.values()
    assert "replace-me" not in encoded(result.config)
