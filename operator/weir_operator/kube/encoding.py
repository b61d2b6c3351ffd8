"""JSON whose bytes are equal for equal values, so that a hash of them tells whether content changed. Pure."""

from __future__ import annotations

from typing import Any

import msgspec


def encoded(value: Any) -> bytes:
    """`value` as JSON, the same bytes for equal values."""
    return msgspec.json.encode(value, order="deterministic")
