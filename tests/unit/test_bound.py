"""`hack/compile` binds members of enums once, without moving a line."""

import importlib.machinery
import importlib.util
from pathlib import Path

LOADER = importlib.machinery.SourceFileLoader("hack_compile", str(Path(__file__).parents[2] / "hack" / "compile"))

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


def test_members_are_constants_and_lines_keep_their_numbers():
    spec = importlib.util.spec_from_loader("hack_compile", LOADER)
    compile_ = importlib.util.module_from_spec(spec)
    LOADER.exec_module(compile_)

    made = compile_.bound(SOURCE, {"Mode", "Transport", "Own"})

    assert "return _Mode_OBSERVE, _Way_STREAMED, _Own_A, FIRST" in made.splitlines()[15]
    before, after = {}, {}
    exec(SOURCE, before)
    exec(made, after)
    assert list(map(str, after["members"]())) == list(map(str, before["members"]()))
    assert len(made.splitlines()) == len(SOURCE.splitlines())
