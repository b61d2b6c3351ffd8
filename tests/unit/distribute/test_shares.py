"""Shares of owners, and turns of namespaces: the loud one waits behind itself."""

from __future__ import annotations

import asyncio

import pytest

from weir_operator.distribute.shares import Shares
from weir_operator.distribute.turns import TooMany, Turns


def test_the_owner_with_most_loses_its_oldest():
    shares = Shares[int, str]()
    shares.put("quiet", 0, "first")
    for number in range(1, 6):
        shares.put("loud", number, "x")
    shares.put("loud", 1, "again")  # as the newest
    shares.crowd_out()
    assert (shares.get(0), shares.get(1), shares.get(2)) == ("first", "again", None)
    assert [key for key, _ in shares.most()] == [3, 4, 5, 1]
    assert len(shares) == 5


def test_what_is_taken_out_leaves_no_owner_behind():
    shares = Shares[int, str]()
    shares.put("a", 1, "x")
    assert (shares.pop(1), shares.pop(1), len(shares), list(shares.most())) == ("x", None, 0, [])
    shares.crowd_out()
    assert shares._owned == {}


async def test_namespaces_take_turns():
    turns, order, go = Turns(1, 10), [], asyncio.Event()

    async def one(namespace: str) -> None:
        async with turns.turn(namespace):
            order.append(namespace)
            await go.wait()

    tasks = [asyncio.create_task(one(it)) for it in "aaaabc"]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*tasks)
    assert order == list("aabcaa")
    assert turns._free == 1
    assert turns._queues == {}


async def test_one_namespace_may_not_wait_without_end():
    turns = Turns(1, 2)
    async with turns.turn("a"):
        waiting = [asyncio.create_task(turns._wait("a")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(TooMany):
            await turns._wait("a")
        other = asyncio.create_task(turns._wait("b"))
        await asyncio.sleep(0)
        assert not other.done()
    for task in (*waiting, other):
        task.cancel()
    await asyncio.gather(*waiting, other, return_exceptions=True)
    assert turns._queues == {}
    assert turns._free == 1


async def test_a_turn_that_comes_to_one_who_goes_away_is_given_on():
    turns = Turns(1, 2)
    async with turns.turn("a"):
        gone, next_one = (asyncio.create_task(turns._wait("a")) for _ in range(2))
        await asyncio.sleep(0)
    gone.cancel()  # in the moment of its turn
    async with asyncio.timeout(5):
        await next_one
