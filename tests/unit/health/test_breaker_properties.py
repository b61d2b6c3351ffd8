"""A breaker comes back, and counts return to zero, after any events in any order."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.clock import ManualClock
from weir_router.contract import Backend, CompiledConfig, Dialect, Tier
from weir_router.errors import FailureKind
from weir_router.health.board import Board, Guard

KEY = "llm/t/a"
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "panic", "content", "slow", "succeeded", "failed", "cancelled"]),
        st.integers(0, 3),  # which of the attempts under way
        st.sampled_from(list(FailureKind)),
        st.sampled_from([None, 0.0, 3.0, 1e9]),  # Retry-After
        st.sampled_from([0.0, 0.0, 0.4, 6.0, 45.0]),  # seconds that pass
    ),
    max_size=60,
)


def board_of_one(clock: ManualClock, seed: int) -> Board:
    backend = Backend(name="a", provider=Dialect.OPENAI, base_url="http://a/v1", model="m")
    board = Board(clock, random.Random(seed))
    board.configure(CompiledConfig(tiers={"llm/t": Tier(namespace="llm", name="t", backends=(backend,))}))
    return board


def play(
    board: Board, clock: ManualClock, steps: list[tuple[str, int, FailureKind, float | None, float]]
) -> list[Guard]:
    under_way: list[Guard] = []
    for action, which, kind, retry_after, seconds in steps:
        clock.advance(seconds)
        if action in ("begin", "panic"):
            guard = board.begin(KEY, 100, panic=action == "panic")
            if guard is not None:
                under_way.append(guard)
                if which:  # else the answer comes whole
                    guard.awaits_content()
        elif which < len(under_way):
            act(under_way, which, action, kind, retry_after)
        assert board.view()[KEY].pending == len(under_way)
    return under_way


def act(under_way: list[Guard], which: int, action: str, kind: FailureKind, retry_after: float | None) -> None:
    guard = under_way[which]
    if action == "content":
        guard.first_content()
    elif action == "slow":
        guard.slow()
    else:
        ends = {"succeeded": lambda: guard.succeeded(50), "failed": lambda: guard.failed(kind, retry_after)}
        ends.get(action, guard.cancelled)()
        del under_way[which]


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 5))
def test_never_sticks_open_or_half_open(
    steps: list[tuple[str, int, FailureKind, float | None, float]], seed: int
) -> None:
    """Attempts under way may never return; still, five good minutes later three clean streams close the breaker."""
    clock = ManualClock()
    board = board_of_one(clock, seed)
    play(board, clock, steps)
    clock.advance(300)
    for _ in range(3):
        guard = board.begin(KEY, 100)
        assert guard is not None
        guard.first_content()
        guard.succeeded(50)
    assert board.view()[KEY].state == "closed"
    assert board.view()[KEY].available_at == 0


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(0, 5))
def test_pending_returns_to_zero(steps: list[tuple[str, int, FailureKind, float | None, float]], seed: int) -> None:
    clock = ManualClock()
    board = board_of_one(clock, seed)
    for guard in play(board, clock, steps):
        guard.cancelled()
        guard.cancelled()
    assert board.view()[KEY].pending == 0
    clock.advance(1e6)
    assert board.view()[KEY].score <= 1  # nobody waits, so nothing is silent


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(0, 5))
def test_what_the_view_promises_begin_keeps(
    steps: list[tuple[str, int, FailureKind, float | None, float]], seed: int
) -> None:
    clock = ManualClock()
    board = board_of_one(clock, seed)
    play(board, clock, steps)
    view = board.view()[KEY]
    wait = view.available_at - clock.monotonic()
    assert (board.begin(KEY, 100) is None) == (wait > 0)
    clock.advance(max(wait, 60.0))
    assert board.begin(KEY, 100) is not None
