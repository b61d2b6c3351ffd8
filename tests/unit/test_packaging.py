"""The layout of the sources: three import roots, none of which may hide a module of Python's own."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType

import pytest

import weir_cli
import weir_operator
import weir_router
from weir_operator import kinds

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


def test_no_page_and_no_message_names_the_other_distribution() -> None:
    """The distribution "weir" on PyPI is not ours: an instruction to install it would run foreign code."""
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "helm").rglob("*.*"),
    ]
    sources = [path for root in ("router", "operator", "cli") for path in (ROOT / root).rglob("*.py")]
    foreign = re.compile(r"(pip|pipx|uv|uvx)[a-z ]* (install|add|run)? ?['\"]?weir(\[|['\"\s]|==|$)")
    assert [path.name for path in (*pages, *sources) if foreign.search(path.read_text(errors="replace"))] == []
    assert foreign.search("pip install 'weir[operator]'")
    assert foreign.search("pipx install weir")
    assert not foreign.search("pipx install weir-router")


PACKAGES = (weir_router, weir_operator, weir_cli)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda it: it.__name__)
def test_every_folder_with_modules_is_a_package(package: ModuleType) -> None:
    """A folder without `__init__.py` can be imported, but import-linter sees nothing of it."""
    (root,) = map(Path, package.__path__)
    folders = {path.parent for path in root.rglob("*.py")}
    assert [str(it.relative_to(root)) for it in folders if not (it / "__init__.py").exists()] == []


def contract(name: str, field: str) -> set[str]:
    """A list of modules of `.importlinter`."""
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter")
    return set(contracts[f"importlinter:contract:{name}"][field].split())


def rooms(package: ModuleType) -> set[str]:
    """The folders of a package, as modules."""
    return {f"{package.__name__}.{it.name}" for it in pkgutil.iter_modules(package.__path__) if it.ispkg}


def test_every_room_of_the_command_line_is_a_command_or_shared() -> None:
    shared = contract("commands-share-downwards", "source_modules")
    assert rooms(weir_cli) - shared == contract("commands-share-downwards", "forbidden_modules") - MODULES


MODULES = {"weir_cli.app", "weir_cli.main"}
"""Modules beside the rooms."""


def test_every_command_is_mounted() -> None:
    source = (ROOT / "cli" / "weir_cli" / "app.py").read_text()
    commands = rooms(weir_cli) - contract("commands-share-downwards", "source_modules")
    assert [it for it in commands if f"from {it} import" not in source and f"from {it}." not in source] == []


def test_every_folder_of_kinds_is_a_row_and_pure() -> None:
    modules = {importlib.import_module(it) for it in rooms(kinds)}
    assert {id(row) for it in modules for row in vars(it).values() if isinstance(row, kinds.Row)} == set(
        map(id, kinds.KINDS)
    )
    assert rooms(kinds) <= contract("pure", "source_modules")
