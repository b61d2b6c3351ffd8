"""No request, however it ends, leaves garbage for Python's collector, which routers run rarely."""

import asyncio
import collections
import contextlib
import gc

import pytest

from support.callers import SHAPES, one, settled, shapes_at_once
from support.stand import stand
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_router.contract import Dialect, Timeouts

QUICK = {name: {"timeouts": Timeouts(connect=0.5, ttft=0.25, idle=0.25)} for name in "ab"}
FIELDS = {
    FaultKind.SLOW_FIRST_TOKEN: {"seconds": 5.0},
    FaultKind.PINGS: {"seconds": 0.02},
    FaultKind.STATUS: {"status": 418},
}
LEFT = [None, FaultKind.SILENCE, FaultKind.STALL, FaultKind.PINGS, FaultKind.BYTE_DRIP]


@contextlib.contextmanager
def garbage():
    """Counts the router's objects that the collector finds, by type. The simulator and callers leave some, too."""
    found = collections.Counter()
    gc.disable()
    gc.freeze()  # what was there before is not looked at
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        names = [f"{type(it).__module__}.{type(it).__qualname__}" for it in gc.garbage]
        found.update(name for name in names if name.startswith("weir_router."))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()


async def fail(s):
    answers = await shapes_at_once(s)
    await settled(s)
    assert any("attempts" in line for line in s.log.lines)
    return len(answers)


@pytest.mark.parametrize("dialect", Dialect)
async def test_failures_leave_none(dialect):
    models = [SimModel("a", dialect=dialect)], [SimModel("b", dialect=dialect)]
    async with contextlib.AsyncExitStack() as stack:
        stands = [await stack.enter_async_context(stand(*models, changes=QUICK)) for _ in FaultKind]
        for s, kind in zip(stands, FaultKind, strict=True):
            s.sim.fault("a", Fault(kind, **FIELDS.get(kind, {})))
        with garbage() as found:
            assert set(await asyncio.gather(*map(fail, stands))) == {len(SHAPES)}
        assert not found


@pytest.mark.parametrize("more", [{"model": "unknown"}, {"messages": "none"}, {"n": 2}, {"prompt": "x" * 900_000}])
async def test_refusals_leave_none(more):
    async with stand([SimModel("a", dialect=Dialect.ANTHROPIC)]) as s:
        with garbage() as found:
            assert (await one(s, **more)).status in (400, 404)
            await settled(s)
        assert not found


@pytest.mark.parametrize("kind", LEFT)
async def test_callers_who_leave_leave_none(kind):
    model = SimModel("a", tokens_per_second=20, answer_tokens=200)
    async with stand([model]) as s:
        with garbage() as found:
            if kind is not None:
                s.sim.fault("a", Fault(kind))
            callers = [asyncio.create_task(one(s, dialect, stream=stream)) for dialect, stream in SHAPES]
            await s.sim.until(lambda: s.sim.stats["a"].in_flight == 4)
            await asyncio.sleep(0.1)  # some wait for content, some for more of it
            for caller in callers:
                caller.cancel()
            await s.sim.until(lambda: s.sim.stats["a"].cancelled == 4, timeout=5.0)
            await settled(s)
            assert len(s.log.lines) == 4
        assert not found
