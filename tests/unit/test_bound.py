"""`hack/compile` binds members of enums once, without moving a line, and compiles what compiled modules need."""

import ast
import importlib.machinery
import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOADER = importlib.machinery.SourceFileLoader("hack_compile", str(ROOT / "hack" / "compile"))
ROUTER = ROOT / "router" / "weir_router"

SOURCE = """from __future__ import annotations
from enum import Enum
from weir_router.contract import (
    Mode,
    Transport as Way,
)

class Own(Enum):
    A = 1

FIRST = Own.A

def members():
    match Mode.OBSERVE:
        case Mode.OBSERVE:
            return Mode.OBSERVE, Way.STREAMED, Own.A, FIRST
"""


def script():
    spec = importlib.util.spec_from_loader("hack_compile", LOADER)
    module = importlib.util.module_from_spec(spec)
    LOADER.exec_module(module)
    return module


def test_members_are_constants_and_lines_keep_their_numbers():
    made = script().bound(SOURCE, {"Mode", "Transport", "Own"})

    assert "return _Mode_OBSERVE, _Way_STREAMED, _Own_A, FIRST" in made.splitlines()[15]
    before, after = {}, {}
    exec(SOURCE, before)
    exec(made, after)
    assert list(map(str, after["members"]())) == list(map(str, before["members"]()))
    assert len(made.splitlines()) == len(SOURCE.splitlines())


def test_no_plain_class_has_a_compiled_base():
    """Python refuses such a class, at its first use and in the compiled router only."""
    hot = set(script().HOT)
    for path in sorted(ROUTER.rglob("*.py")):
        name = path.relative_to(ROUTER).with_suffix("").as_posix()
        if name in hot:
            continue
        tree = ast.parse(path.read_text())
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
        compiled = {
            alias.asname or alias.name
            for node in imports
            if node.module.removeprefix("weir_router.").replace(".", "/") in hot
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                assert not bases & compiled, f"add {name} to HOT of hack/compile, for its class {node.name}"
