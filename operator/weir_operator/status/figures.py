"""Figures in a status. PURE; used by the kinds' status steps.

A status is written to etcd and shown to people, so a figure in it must be coarse and quiet:

1. it has two significant digits, e.g. "0.15" or "1200";
2. it stays as it is while the value differs from it by less than 10 %;
3. a status that differs in figures only is written at most once a minute (`status.changes.QUIET_SECONDS`).

Figures are strings, since floats do not survive every tool that reads YAML or JSON.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

DIGITS = 2
"""Number of significant digits of a figure."""

STEADY = 0.10
"""Part of a figure by which the value must differ from it before the figure changes."""

_FIGURE = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")


def figure(value: float, before: Any = None) -> str:
    """`value` as a figure: 0.1534 is "0.15". `before` is the figure in the present status, if there is one."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is no figure; leave the field out")
    # Anyone who may write statuses may have written `before`.
    if isinstance(before, str) and _FIGURE.fullmatch(before) and _is_near(float(before), value):
        return before
    return _rounded(value)


def _is_near(figure: float, value: float) -> bool:
    return value == figure or abs(value - figure) < STEADY * abs(figure)


def _rounded(value: float) -> str:
    return "0" if value == 0 else f"{Decimal(f'{value:.{DIGITS - 1}e}'):f}"
