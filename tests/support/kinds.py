"""Kinds of the test: the real ones, which note the objects that they compile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from weir_operator.compile.report import Report
from weir_operator.compile.step import Around
from weir_operator.kinds import KINDS, Row


def noting(names: list[str]) -> Sequence[Row]:
    """The kinds; the name of each object that one of them compiles goes to `names`."""

    def noted(kind: Row) -> Row:
        def one(spec: Any, report: Report, around: Around) -> Any:
            names.append(report.manifest.name)
            return kind.compile.one(spec, report, around)

        return replace(kind, compile=replace(kind.compile, one=one))

    return [noted(it) for it in KINDS]
