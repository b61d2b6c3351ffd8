"""The layout of the sources: three import roots, none of which may hide a module of Python's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("root", [".", "router", "operator", "cli"])
def test_operator_stays_the_standard_librarys(root: str) -> None:
    """A root may stand at the head of the path: an editable install, pytest or PYTHONPATH may put it there."""
    # The interpreter may have imported it while it started; it is forgotten, so that the path decides.
    program = """
import sys
sys.modules.pop("operator", None)
sys.path.insert(0, sys.argv[1])
import operator
print(operator.__file__)
"""
    command = [sys.executable, "-I", "-c", program, str(ROOT / root)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert Path(printed.strip()).parent == Path(subprocess.__file__).parent


@pytest.mark.parametrize("folder", [".", "router", "operator", "cli", "tests"])
def test_a_root_is_no_package_itself(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("package", ["router/weir_router", "operator/weir_operator", "cli/weir_cli"])
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
