"""A model as `GET /v1/models` shows it, in no format yet. Made by `serve.models`, written by each format's `models`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Listed(NamedTuple):
    """One name that a caller may ask for, with the sizes in tokens that a request of it can get. None: unknown."""

    name: str
    context: int | None = None  # of prompt and answer together
    output: int | None = None  # of the answer


Body = dict[str, Any]
"""A body of an answer, before it is encoded."""


def sized(body: Body, sizes: Mapping[str, int | None]) -> Body:
    """`body` with those sizes that are known."""
    return body | {name: size for name, size in sizes.items() if size is not None}
