"""Streams of the Responses API from hostile upstreams: an order of events is checked in bounded memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from weir_router.dialects.openai_responses.order import MAX_ID, MAX_ITEMS, Order
from weir_router.errors import AttemptFailed

CREATED = {"type": "response.created", "response": {"id": "resp_1"}}


def begun() -> Order:
    order = Order()
    order.check(CREATED)
    return order


def added(index: Any, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": {"type": "message", **item}}


def done(index: Any, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": {"type": "message", **item}}


def test_the_contents_of_items_are_not_kept() -> None:
    order = begun()
    tracemalloc.start()
    try:
        for index in range(200):
            text = "x" * 100_000 + str(index)
            order.check(added(index, id=f"m{index}", content=[{"text": text}]))
            order.check(done(index, id=f"m{index}", content=[{"text": text}]))
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("event", [added, done])
def test_endless_items_are_refused(event: Any) -> None:
    order = begun()
    for index in range(MAX_ITEMS):
        order.check(event(index, id=f"m{index}"))
    with pytest.raises(AttemptFailed, match=f"more than {MAX_ITEMS} items"):
        order.check(event(MAX_ITEMS, id="m"))


@pytest.mark.parametrize("id", [[], {}, ["a"], 7, True, "x" * (MAX_ID + 1)])
@pytest.mark.parametrize("name", ["id", "call_id", "type"])
@pytest.mark.parametrize("event", [added, done])
def test_an_odd_id_is_malformed(event: Any, name: str, id: Any) -> None:
    order = begun()
    with pytest.raises(AttemptFailed, match="no texts"):
        order.check(event(0, **{name: id}))


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.completed"},
        {"type": "response.completed", "response": []},
        {"type": "response.completed", "response": {"id": "resp_1", "output": 7}},
        {"type": "response.completed", "response": {"id": "resp_1", "output": [{"id": []}]}},
        {"type": "response.output_item.added", "output_index": 1, "item": "x"},
        {"type": "response.output_item.done", "output_index": 1},
    ],
)
def test_other_shapes_are_malformed(event: dict[str, Any]) -> None:
    order = begun()
    order.check(added(0, id="m", content=7))
    with pytest.raises(AttemptFailed):
        order.check(event)
