"""Request lines reach a slow reader late, a stalled one not at all, and delay no request."""

import asyncio
import os
import re

from weir_router.record import lines
from weir_router.record.lines import Lines


async def read(descriptor, size):
    return await asyncio.to_thread(os.read, descriptor, size)


def told_lost(seen):
    return sum(int(number) for number in re.findall(rb'^{"dropped_lines":(\d+)}$', seen, re.MULTILINE))


async def test_lines_of_a_moment_are_written_together():
    reading, writing = os.pipe()
    output = Lines(writing)
    output(b"one")
    output(b"two")
    assert await read(reading, 100) == b"one\ntwo\n"
    output(b"three")
    assert await read(reading, 100) == b"three\n"
    output(b"last")
    output.close()
    assert os.read(reading, 100) == b"last\n"


async def test_a_reader_that_stalls_costs_lines_and_is_told_how_many(monkeypatch):
    monkeypatch.setattr(lines, "MAX_WAITING", 10_000)
    monkeypatch.setattr(lines, "FLUSH_EVERY", 0)
    reading, writing = os.pipe()
    output = Lines(writing)
    given = 0
    while not output.dropped:  # the pipe takes 64 KiB, then the thread waits
        output(b"x" * 999)
        given += 1
        await asyncio.sleep(0)
    seen = b""
    while told_lost(seen) + seen.count(b"x\n") < given:
        seen += await read(reading, 1 << 16)
    assert told_lost(seen) > 0
    assert told_lost(seen) + seen.count(b"x\n") == given
    output.close()


async def test_a_reader_that_is_gone_harms_nobody():
    reading, writing = os.pipe()
    os.close(reading)
    output = Lines(writing)
    output(b"to nobody")
    output.close()
