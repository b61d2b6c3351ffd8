"""The benchmark of one primary and one backup: its verdicts, and a scenario of it."""

from __future__ import annotations

import asyncio

import pytest
from bench.failover import AGAIN, ANSWER, ONCE, SCENARIOS, Outcome, Scenario, Sequence, verdict, wall

from weir_cli.sim.faults import Fault, FaultKind

FAULT = Fault(FaultKind.CUT)


def whole(attempts: int) -> Outcome:
    """An answer after so many attempts at the primary."""
    return Outcome(text=ANSWER, ended=True, primary=[0.0] * attempts)


@pytest.mark.parametrize(
    ("outcome", "checks", "wants_error", "expected"),
    [
        (whole(2), (AGAIN,), False, "pass"),
        (whole(1), (AGAIN,), False, "partial"),
        (whole(2), (ONCE,), False, "FAIL"),
        (Outcome(text="word0", ended=True), (), False, "FAIL"),
        (Outcome(hung=True), (), False, "FAIL"),
        (Outcome(text="word0", error="event: cut"), (), False, "safe"),
        (Outcome(error="400"), (), True, "pass"),
        (whole(1), (), True, "partial"),
    ],
)
def test_verdicts_are_those_of_the_benchmark(outcome: Outcome, checks: tuple, wants_error: bool, expected: str) -> None:
    assert verdict(Scenario("S", "", FAULT, 1.0, checks, wants_error), outcome)[0] == expected


async def test_short_scenarios_run_as_they_should() -> None:
    quick = [it for it in SCENARIOS if it.id in ("S03", "S08", "S12", "S13", "S16")]
    async with wall() as made:
        outcomes = await asyncio.gather(*(made.play(it) for it in quick))
        flapping = await made.sequence(Sequence(down=0.2, requests=4, every=0.2))
    assert [verdict(*it)[0] for it in zip(quick, outcomes, strict=True)] == ["pass", "safe", "pass", "pass", "pass"]
    assert [len(it.primary) for it in outcomes[:4]] == [2, 1, 1, 1]
    assert [line for line in flapping if line.startswith("no answer")] == []
