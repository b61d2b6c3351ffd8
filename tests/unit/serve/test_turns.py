"""Costly steps of large bodies, and the turns of the event loop that they take."""

import asyncio
import gzip
import zlib

import pytest

from weir_router.admit.memory import PER_BYTE, Memory
from weir_router.errors import BadRequest, Overloaded, RequestTooLarge
from weir_router.serve.bodies import unpacked
from weir_router.serve.inflated import PART, inflated
from weir_router.serve.turns import Turns


class Ticks:
    """Counts the turns of the running loop."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self._tick()

    def _tick(self) -> None:
        self.count += 1
        self._handle = self._loop.call_soon(self._tick)

    def stop(self) -> None:
        self._handle.cancel()


class Holds:
    """A request's memory."""

    held = 0
    namespace = "a"


async def test_no_two_costly_steps_run_in_one_turn_of_the_loop():
    turns, ticks, at = Turns(), Ticks(), []

    async def steps():
        for _ in range(3):
            await turns.next()
            at.append(ticks.count)

    await asyncio.gather(*(steps() for _ in range(5)))
    ticks.stop()
    assert len(at) == len(set(at)) == 15


async def test_a_cancelled_wait_leaves_the_turn_to_the_next():
    turns = Turns()
    first, second = asyncio.create_task(turns.next()), asyncio.create_task(turns.next())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait_for(second, 5)


@pytest.mark.parametrize("body", [b" " * (8 * PART), b"x", b"a,b" * PART])
def test_a_packed_body_comes_in_parts(body):
    parts = list(inflated(gzip.compress(body), "gzip"))
    assert b"".join(parts) == body
    assert max(map(len, parts)) <= PART


@pytest.mark.parametrize("packed", [b"", gzip.compress(b"x" * 100, mtime=0)[:-9], b"x", zlib.compress(b"x")[:-1]])
def test_a_packed_body_that_ends_early_or_is_none_is_refused(packed):
    with pytest.raises(BadRequest, match="not encoded as its Content-Encoding says"):
        list(inflated(packed, "gzip"))


async def test_each_part_is_counted_as_it_is_unpacked_and_takes_a_turn():
    memory, request, ticks = Memory(100 * PART), Holds(), Ticks()
    packed = gzip.compress(b" " * (6 * PART))
    assert len(await unpacked(request, packed, "gzip", 6 * PART, memory, Turns())) == 6 * PART
    ticks.stop()
    assert request.held == memory.held == 6 * PART * PER_BYTE
    assert ticks.count > 6


@pytest.mark.parametrize(
    ("limit", "memory", "error"), [(2, 100, RequestTooLarge), (20, 100, None), (20, 40, RequestTooLarge)]
)
async def test_a_bomb_is_given_up_at_its_limit(limit, memory, error):
    memory, request = Memory(memory * PART), Holds()
    packed = gzip.compress(b" " * (15 * PART))
    if error is None:
        await unpacked(request, packed, "gzip", limit * PART, memory, Turns())
        return
    with pytest.raises(error):
        await unpacked(request, packed, "gzip", limit * PART, memory, Turns())
    assert memory.held == request.held <= limit * PART * PER_BYTE


async def test_a_body_that_would_fit_later_is_refused_for_now():
    memory, request = Memory(100 * PART), Holds()
    memory.take(80 * PART, "b")
    with pytest.raises(Overloaded, match="unpacked body"):
        await unpacked(request, gzip.compress(b" " * (15 * PART)), "gzip", 20 * PART, memory, Turns())
