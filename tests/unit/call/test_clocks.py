"""The clocks of one attempt, with small real times: they interrupt a real wait."""

import asyncio
import socket
import time

import pytest

from weir_router.call import clocks
from weir_router.call.clocks import Clocks, Timers, Watchdog
from weir_router.clock import SystemClock
from weir_router.errors import AttemptFailed, FailureKind

LONG = 60.0


class Watched:
    def __init__(self, slow, flows, alone):
        self.slow, self.flows, self.alone = slow, flows, alone


def watchdog(
    slow=lambda: None,
    flows=lambda: None,
    alone=lambda: False,
    *,
    ttft=LONG,
    slow_after=None,
    idle=LONG,
    total=LONG,
    last=LONG,
    timers=None,
):
    clocks = Clocks(LONG, ttft, slow_after, idle, total, last=last)
    return Watchdog(SystemClock(), clocks, Watched(slow, flows, alone), timers or Timers())


async def forever():
    await asyncio.Event().wait()


async def test_silence_ends_the_attempt_at_the_ttft_deadline():
    with pytest.raises(AttemptFailed) as caught:
        await watchdog(ttft=0.02).waits_for(forever())
    assert caught.value.kind is FailureKind.SILENT
    assert caught.value.message.startswith("no content within 0.")


async def test_a_stall_after_content_ends_it_at_the_idle_timeout():
    dog = watchdog(ttft=0.02, idle=0.05)
    dog.content()
    with pytest.raises(AttemptFailed) as caught:
        await dog.waits_for(forever())
    assert caught.value.kind is FailureKind.STALLED


@pytest.mark.parametrize(("content", "kind"), [(False, FailureKind.SILENT), (True, FailureKind.STALLED)])
async def test_while_there_is_no_other_the_rest_of_the_deadline_is_used(content, kind):
    start = time.monotonic()
    dog = watchdog(alone=lambda: True, ttft=0.02, idle=0.02, last=0.3)
    if content:
        dog.content()
    with pytest.raises(AttemptFailed) as caught:
        await dog.waits_for(forever())
    assert caught.value.kind is kind
    assert 0.3 <= time.monotonic() - start < LONG


async def test_once_another_is_there_the_slow_one_is_left(monkeypatch):
    monkeypatch.setattr(clocks, "ALONE_CHECK", 0.05)
    looks = iter([True, True, False])
    with pytest.raises(AttemptFailed):
        await watchdog(alone=lambda: next(looks), ttft=0.02).waits_for(forever())
    assert next(looks, None) is None


@pytest.mark.parametrize(("sign", "waits"), [("works", True), ("content", False)])
async def test_a_stream_that_shows_work_is_waited_for_longer(monkeypatch, sign, waits):
    monkeypatch.setattr(clocks, "WORKING", 0.6)
    dog = watchdog(idle=0.1)
    dog.content()
    getattr(dog, sign)()
    start = time.monotonic()
    with pytest.raises(AttemptFailed) as caught:
        await dog.waits_for(forever())
    assert caught.value.kind is FailureKind.STALLED
    assert (time.monotonic() - start >= 0.6) is waits


async def test_the_whole_is_bounded_even_while_content_comes():
    dog = watchdog(total=0.1, idle=1.0)

    async def contents():
        while True:
            await dog.waits_for(asyncio.sleep(0.01))
            dog.content()

    with pytest.raises(AttemptFailed) as caught:
        await contents()
    assert caught.value.kind is FailureKind.TOO_LONG


class Caller:
    """A caller that takes `takes` bytes of what waits for it, each time that one looks."""

    def __init__(self, takes, left=1_000_000):
        self.takes, self.left = takes, left

    def waiting(self):
        before, self.left = self.left, self.left - self.takes
        return before


async def held_up(caller, seconds=5.0, **bounds):
    dog = watchdog(**bounds)
    dog.content()
    dog.caller = caller
    asyncio.get_running_loop().call_soon(dog.hold, True)
    try:
        await dog.waits_for(asyncio.sleep(seconds))
    finally:
        dog.stop()


@pytest.mark.parametrize("takes", [0, 1023])
async def test_a_stream_that_is_not_read_is_given_up(monkeypatch, takes):
    monkeypatch.setattr(clocks, "UNREAD_SECONDS", 0.05)
    with pytest.raises(AttemptFailed) as caught:
        await held_up(Caller(takes))
    assert caught.value.kind is FailureKind.UNREAD


async def test_a_stream_that_is_read_slowly_goes_on(monkeypatch):
    monkeypatch.setattr(clocks, "UNREAD_SECONDS", 0.01)
    await held_up(Caller(1024), 0.3, idle=0.1)


async def test_a_total_goes_on_while_the_caller_does_not_read_and_is_then_its_fault():
    with pytest.raises(AttemptFailed) as caught:
        await held_up(Caller(1024), total=0.1)
    assert caught.value.kind is FailureKind.UNREAD


async def test_a_stream_without_a_total_is_bounded_by_its_pauses_alone():
    dog = watchdog(total=float("inf"), idle=0.05)
    dog.content()
    with pytest.raises(AttemptFailed) as caught:
        await dog.waits_for(forever())
    assert caught.value.kind is FailureKind.STALLED


async def test_a_slow_reader_downstream_is_not_the_upstreams_stall():
    """Time between waits, in which the router writes to the caller, does not count."""
    dog = watchdog(idle=0.1)
    dog.content()
    await dog.waits_for(asyncio.sleep(0))
    await asyncio.sleep(0.25)
    assert await dog.waits_for(asyncio.sleep(0.02, "content")) == "content"
    dog.stop()


async def test_slowness_is_told_once_while_the_attempt_goes_on():
    told = []
    dog = watchdog(lambda: told.append(1), slow_after=0.02, ttft=0.3)
    assert await dog.waits_for(asyncio.sleep(0.2, "content")) == "content"
    assert told == [1]
    dog.stop()


async def test_content_in_time_is_not_slow():
    told = []
    dog = watchdog(lambda: told.append(1), slow_after=0.03)
    dog.content()
    await dog.waits_for(asyncio.sleep(0.1))
    assert told == []
    dog.stop()


async def test_cancellation_from_outside_wins_over_an_expired_clock():
    """A caller that goes away in the same moment must not look like the upstream's fault."""
    dog = watchdog(ttft=0.02)
    task = asyncio.create_task(dog.waits_for(forever()))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.02, task.cancel)
    await asyncio.wait([task])
    assert task.cancelled() or isinstance(task.exception(), AttemptFailed)


async def test_a_stall_is_seen_although_the_ttft_deadline_lies_later():
    dog = watchdog(ttft=LONG, idle=0.05)
    dog.content()
    with pytest.raises(AttemptFailed) as caught:
        await dog.waits_for(forever())
    assert caught.value.kind is FailureKind.STALLED


async def test_after_stop_nothing_is_interrupted():
    dog = watchdog(ttft=0.02)
    dog.stop()
    assert await dog.waits_for(asyncio.sleep(0.06, "late")) == "late"


async def test_the_flow_is_looked_at_again_and_again_once_content_has_come(monkeypatch):
    monkeypatch.setattr(clocks, "CRAWL_SECONDS", 0.01)
    looks = asyncio.Queue()
    dog = watchdog(flows=lambda: looks.put_nowait(1))
    await dog.waits_for(asyncio.sleep(0.03))
    assert looks.empty()
    dog.content()
    async with asyncio.timeout(10):
        for _ in range(2):
            await dog.waits_for(looks.get())
    dog.stop()


async def test_one_timer_serves_all_who_are_due_within_a_step_and_one_who_fails_takes_no_others_clock():
    timers, told = Timers(), []

    def fails():
        told.append("failed")
        raise RuntimeError("a bug")

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    dogs = [watchdog(fails, slow_after=0.02, timers=timers) for _ in range(2)]
    dogs.append(watchdog(ttft=0.02, timers=timers))
    with pytest.raises(AttemptFailed):
        await dogs[-1].waits_for(forever())
    await asyncio.sleep(clocks.FINE)
    assert told == ["failed", "failed"]


async def test_who_leaves_is_not_looked_at_and_groups_go_when_their_time_has_come():
    timers, told = Timers(), []
    dogs = [watchdog(lambda: told.append(1), slow_after=0.01, timers=timers) for _ in range(3)]
    for dog in dogs[:2]:
        dog.stop()
    await asyncio.sleep(0.01 + 2 * clocks.FINE)
    assert told == [1]
    dogs[2].stop()
    assert sum(map(len, timers._due.values())) == 0


async def test_time_in_which_the_router_did_not_run_is_not_the_upstreams_silence():
    """Bytes that came meanwhile are read first."""
    loop, (here, there) = asyncio.get_running_loop(), socket.socketpair()
    with here, there:
        here.setblocking(False)
        dog = watchdog(ttft=0.1)
        loop.call_soon(there.send, b"content")
        loop.call_soon(time.sleep, 0.4)  # as a process that is stopped, or gets no CPU
        assert await dog.waits_for(loop.sock_recv(here, 7)) == b"content"
        dog.stop()


async def test_silence_that_lasts_while_the_router_runs_again_ends_the_attempt():
    asyncio.get_running_loop().call_soon(time.sleep, 0.3)
    with pytest.raises(AttemptFailed) as caught:
        await watchdog(ttft=0.1).waits_for(forever())
    assert caught.value.kind is FailureKind.SILENT
