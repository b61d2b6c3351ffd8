"""docs/internals/architecture.md: its layers are those that import-linter enforces."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "internals" / "architecture.md").read_text()


@pytest.mark.parametrize("package", ["router", "operator"])
def test_the_layers_are_those_that_are_enforced(package: str):
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts[f"importlinter:contract:{package}-layers"]["layers"].strip().splitlines()
    there = [sorted(it for it in line.split(" | ") if not it.startswith("(")) for line in layers]  # (): not there yet
    line = re.search(rf"^    {package} +(.+)$", PAGE, re.MULTILINE)
    assert line
    assert [sorted(it.split(" | ")) for it in line[1].split(" > ")] == there
