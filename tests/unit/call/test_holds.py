"""Reservations of an attempt, with a ledger that another process answers."""

import asyncio

import pytest

from unit.call.conftest import Pages, fails, stream
from weir_router.contract import BackendLimits
from weir_router.errors import AttemptFailed, FailureKind, RateLimited, WeirError

REFUSED = RateLimited("Limit budget: used up.", retry_after=7.0)


class Reserved:
    def __init__(self):
        self.pending = asyncio.get_running_loop().create_future()
        self.ends = []

    def settle(self, usage, /):
        self.ends.append(usage)

    def release(self):
        self.ends.append("released")


class Elsewhere:
    """Gives the answers one by one; without one left the other process is silent."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.holds = []
        self.asked = asyncio.Event()

    def reserve(self, limits):
        hold = Reserved()
        self.holds.append(hold)
        self.asked.set()
        if self.answers:
            answer = self.answers.pop(0)
            hold.pending.set_exception(answer) if answer else hold.pending.set_result(None)
        return hold


def pending(world):
    return [view.pending for view in world.board.view().values()]


async def test_an_attempt_settles_its_hold_once_with_what_it_used(world):
    world.answers.update(a=[stream()])
    ledger = Elsewhere(None)
    attempt = await world.journey(streamed=True, ledger=ledger).commit()
    assert ledger.holds[0].ends == []
    await attempt.relay(Pages())
    attempt.cancel()
    assert ledger.holds[0].ends == [attempt.usage]
    assert attempt.usage.output > 0


async def test_a_failed_attempt_settles_and_the_next_one_reserves_anew(world):
    world.answers.update(a=[fails(FailureKind.CONNECT)], b=[stream()])
    ledger = Elsewhere(None, None)
    attempt = await world.journey(ledger=ledger).commit()
    assert [hold.ends for hold in ledger.holds] == [[None], [attempt.usage]]


async def test_a_refused_candidate_is_passed_over_and_its_slot_is_free(world):
    world.answers.update(a=[], b=[stream()])
    ledger = Elsewhere(REFUSED, None)
    attempt = await world.journey(ledger=ledger, a={"limits": BackendLimits(concurrency=1)}).commit()
    assert attempt.backend.name == "b"
    assert (ledger.holds[0].ends, pending(world)) == (["released"], [0, 0, 0])


async def test_where_all_are_refused_the_caller_learns_which_limit_it_was(world):
    world.answers.update(a=[], b=[])
    ledger = Elsewhere(REFUSED, REFUSED)
    with pytest.raises(RateLimited) as caught:
        await world.journey(ledger=ledger).commit()
    assert caught.value is REFUSED
    assert [hold.ends for hold in ledger.holds] == [["released"], ["released"]]


async def test_a_refusal_of_the_ledger_costs_no_retry(world):
    world.answers.update(a=[fails(FailureKind.RESET)], b=[])
    journey = world.journey(ledger=Elsewhere(None, *[REFUSED] * 9), c={})
    world.board.begin("t/t/b", 10).failed(FailureKind.SERVER)
    before = world.budget.tokens
    with pytest.raises(WeirError):
        await journey.commit()
    assert world.budget.tokens >= before


@pytest.mark.parametrize("error", [None, AttemptFailed(FailureKind.RESET, "store lost")])
async def test_all_is_given_back_where_the_answer_does_not_come(world, error):
    world.answers.update(a=[])
    ledger = Elsewhere(*[error] * (error is not None))
    request = asyncio.create_task(world.journey(ledger=ledger).commit())
    await ledger.asked.wait()
    if error is None:
        request.cancel()
    with pytest.raises(asyncio.CancelledError if error is None else AttemptFailed):
        await request
    assert (ledger.holds[0].ends, pending(world)) == (["released"], [0, 0, 0])
