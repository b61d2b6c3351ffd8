"""Every file and module that a page or a docstring names exists."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "weir_router": ROOT / "router" / "weir_router",
    "weir_operator": ROOT / "operator" / "weir_operator",
    "weir_cli": ROOT / "cli" / "weir_cli",
}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = sorted(
    it for folder in ("router", "operator", "cli", "bench", "tests") for it in (ROOT / folder).rglob("*.py")
)
FOLDERS = ("router", "operator", "cli", "bench", "hack", "tests", "docs", "examples", "helm", "crds")
MADE = ("bench/results/", "build/", "crds/weir.dev_")
"""Beginnings of paths of files that a run makes, or whose names are patterns."""

PATH = re.compile(r"[\w./-]*\w\.(?:py|md)\b|\b(?:" + "|".join(FOLDERS) + r")/[\w./-]*\w")
DOTTED = re.compile(r"\bweir_(?:router|operator|cli)(?:\.\w+)+")
TEST = re.compile(r"\b(tests/[\w/]+\.py)::(\w+)")
SHORT = re.compile(r"`(\w+)\.(\w+)(?:\.\w+)*`")


@cache
def files() -> frozenset[str]:
    """Every way to write the path of an existing file or folder: from the root, or from any folder on."""
    found = set()
    for folder in (ROOT, *(ROOT / name for name in FOLDERS)):
        for path in folder.glob("*") if folder == ROOT else folder.rglob("*"):
            parts = path.relative_to(ROOT).parts
            if "__pycache__" not in parts:
                found |= {"/".join(parts[at:]) for at in range(len(parts))}
    return frozenset(found)


def missing_paths(text: str) -> Iterator[str]:
    for name in PATH.findall(re.sub(r"\w+://\S+", "", text)):
        plain = re.sub(r"^(\.\.?/)+", "", name).rstrip("/")
        if plain not in files() and not plain.startswith(MADE):
            yield name


def missing_tests(text: str) -> Iterator[str]:
    """The tests that `text` names as `FILE::FUNCTION`, and that are not there."""
    for file, name in TEST.findall(text):
        if not name.startswith("test_") or not defines(ROOT / file, name):
            yield f"{file}::{name}"


def there(dotted: str) -> bool:
    """Whether `dotted` names a module, or an attribute of one."""
    package, *names = dotted.split(".")
    here = PACKAGES[package]
    for at, name in enumerate(names):
        if (here / name).is_dir():
            here /= name
        elif (here / f"{name}.py").is_file():
            return at + 1 == len(names) or defines(here / f"{name}.py", names[at + 1])
        else:
            return defines(here / "__init__.py", name)
    return True


@cache
def defined(module: Path) -> frozenset[str]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
    return frozenset(names)


def defines(module: Path, name: str) -> bool:
    return module.is_file() and name in defined(module)


def docstrings(path: Path) -> str:
    """All docstrings of a file and of its constants."""
    nodes = ast.walk(ast.parse(path.read_text()))
    texts = (node.value for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    return "\n".join(text.value for text in texts if isinstance(text.value, str))


def rooms(path: Path) -> dict[str, Path]:
    """The folders of a source's package, by name; docstrings name modules relative to these."""
    package = next((it for it in PACKAGES.values() if path.is_relative_to(it)), None)
    return {it.name: it for it in package.iterdir() if it.is_dir() and it.name != "__pycache__"} if package else {}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_names_no_file_or_module_that_is_not_there(path: Path):
    text = path.read_text()
    assert not list(missing_paths(text))
    assert not [name for name in DOTTED.findall(text) if not there(name)]
    assert not list(missing_tests(text))


def test_each_promise_about_security_names_a_test():
    promises = (ROOT / "docs" / "security.md").read_text().partition("\n## Promises\n")[2].partition("\n## ")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ") and line != "| promise | proof |"]
    assert len(rows) > 20
    assert not [row for row in rows if not TEST.search(row)]


def test_docstrings_name_no_file_or_module_that_is_not_there():
    wrong = []
    for path in SOURCES:
        text, here = docstrings(path), rooms(path)
        names = [name for name in DOTTED.findall(text) if not there(name)]
        for room, name in SHORT.findall(text):
            if room in here and not (
                (here[room] / name).exists()
                or (here[room] / f"{name}.py").exists()
                or defines(here[room] / "__init__.py", name)
                or any(defines(module, name) for module in here[room].glob(f"{room}.py"))
            ):
                names.append(f"{room}.{name}")
        if path.is_relative_to(ROOT / "tests"):
            names = [name for name in names if name.startswith("weir_")]
        else:
            names += missing_paths(text)
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in names]
    assert not wrong, "\n".join(wrong)


def test_a_name_that_is_not_there_is_noticed():
    assert list(missing_paths("see `config/shards.py` and docs/nowhere.md")) == ["config/shards.py", "docs/nowhere.md"]
    assert not list(missing_paths("see `config/store.py` and [status](docs/status.md)"))
    here = "tests/docs/test_names_exist.py"
    assert list(missing_tests(f"`{here}::test_that_is_gone`, `{here}::{defines.__name__}`"))
    assert not list(missing_tests(f"`{here}::test_a_name_that_is_not_there_is_noticed`"))
    assert not there("weir_router.config.shards")
    assert there("weir_router.config.store.ConfigStore")
    assert importlib.util.find_spec("weir_router.config.store")
