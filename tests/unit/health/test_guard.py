"""Reports of one attempt, and their effect."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from weir_router.clock import ManualClock
from weir_router.contract import Backend, Objectives
from weir_router.errors import FailureKind
from weir_router.health.board import Board, Guard
from weir_router.health.breaker import ALIKE_IN_A_ROW
from weir_router.health.guard import RELIABLE
from weir_router.health.latency import size_class

A = "llm/t/a"


@pytest.fixture
def board(configured: Callable[..., Board], backend: Callable[..., Backend]) -> Board:
    return configured(backend(objectives=Objectives(ttft=1.0)), backend("b"))


def begin(board: Board, key: str = A) -> Guard:
    guard = board.begin(key, 10)
    assert guard is not None
    return guard


def stream(board: Board, clock: ManualClock, seconds: float, tokens: int, key: str = A) -> None:
    guard = begin(board, key)
    guard.first_content()
    clock.advance(seconds)
    guard.succeeded(tokens)


def test_ttft_is_taken_at_the_first_content_only(board: Board, clock: ManualClock) -> None:
    guard = begin(board)
    clock.advance(0.5)
    guard.first_content()
    clock.advance(9)
    guard.first_content()
    view = board.view()[A]
    assert (view.ttft, view.ttft_p50, view.ttft_p95) == (0.5, 0.5, 0.5)


def test_pending_lasts_until_the_stream_ends(board: Board) -> None:
    guard = begin(board)
    guard.first_content()
    assert board.view()[A].pending == 1
    guard.succeeded(10)
    assert board.view()[A].pending == 0


def test_only_the_first_end_counts(board: Board) -> None:
    guard = begin(board)
    guard.cancelled()
    for _ in range(5):
        guard.failed(FailureKind.RESET)
        guard.succeeded(10)
        guard.first_content()
        guard.slow()
    view = board.view()[A]
    assert (view.pending, view.state, view.ttft, view.score) == (0, "closed", None, 1)


def test_five_silent_attempts_open_before_any_deadline(board: Board, clock: ManualClock) -> None:
    guards = [begin(board) for _ in range(5)]
    clock.advance(2)
    for guard in guards:
        assert guard.slow_after == 2
        guard.slow()
    assert (board.view()[A].state, board.view()[A].reason) == ("open", "slow")


def test_slow_makes_the_score_worse_at_once(board: Board, clock: ManualClock) -> None:
    guard = begin(board)
    clock.advance(2)
    guard.slow()
    assert board.view()[A].score == 4


def test_a_backend_that_has_gone_quiet_costs_as_much_as_one_that_failed_until_it_speaks(
    board: Board, clock: ManualClock
) -> None:
    guard = begin(board)
    guard.awaits_content()
    clock.advance(0.9)
    before = board.view()[A].score
    clock.advance(0.2)
    quiet = board.view()[A].score
    guard.first_content()
    assert (before, quiet, board.view()[A].score) == (2, 10, pytest.approx(2.2))


def test_an_answer_that_comes_whole_is_not_silent(board: Board, clock: ManualClock) -> None:
    begin(board)
    clock.advance(600)
    assert board.view()[A].score == 2


@pytest.mark.parametrize(
    "end", [Guard.cancelled, lambda guard: guard.failed(FailureKind.CALLER), lambda guard: guard.succeeded(9)]
)
def test_silence_ends_with_the_attempt(board: Board, clock: ManualClock, end: Callable[[Guard], None]) -> None:
    guard = begin(board)
    guard.awaits_content()
    clock.advance(30)
    end(guard)
    end(guard)
    assert board.view()[A].score == 1


def test_slow_after_content_is_ignored(board: Board) -> None:
    for _ in range(10):
        guard = begin(board)
        guard.first_content()
        guard.slow()
    assert board.view()[A].state == "closed"


def test_late_content_counts_as_slow_without_a_timer(board: Board, clock: ManualClock) -> None:
    guards = [begin(board) for _ in range(10)]
    clock.advance(2.1)
    for guard in guards:
        guard.first_content()
    assert (board.view()[A].state, board.view()[A].reason) == ("open", "slow")


def test_tokens_per_second_are_those_after_the_first_content(board: Board, clock: ManualClock) -> None:
    guard = begin(board)
    clock.advance(0.9)
    guard.first_content()
    clock.advance(2)
    guard.succeeded(100)
    assert board.view()[A].tokens_per_second == pytest.approx(50)


@pytest.mark.parametrize(("seconds", "tokens"), [(0.1, 100), (2.0, 7)])
def test_a_short_stream_says_nothing_about_speed(board: Board, clock: ManualClock, seconds: float, tokens: int) -> None:
    stream(board, clock, seconds, tokens)
    assert board.view()[A].tokens_per_second is None


def test_a_whole_answer_says_nothing_about_speed(board: Board, clock: ManualClock) -> None:
    guard = begin(board)
    clock.advance(5)
    guard.succeeded(100)
    assert (board.view()[A].ttft, board.view()[A].tokens_per_second) == (None, None)


def test_streams_far_below_the_pools_speed_count_as_bad(board: Board, clock: ManualClock) -> None:
    for _ in range(20):
        stream(board, clock, 1, 50, "llm/t/b")
    for guard in [begin(board) for _ in range(10)]:
        guard.first_content()
        clock.advance(0.01)
    guards = [begin(board) for _ in range(10)]
    for guard in guards:
        guard.first_content()
    clock.advance(10)
    for guard in guards:
        guard.succeeded(40)
    assert (board.view()[A].state, board.view()[A].reason) == ("open", "slow")


def test_a_slow_stream_of_under_four_seconds_is_not_judged(board: Board, clock: ManualClock) -> None:
    for _ in range(20):
        stream(board, clock, 1, 500, "llm/t/b")
    for _ in range(10):
        stream(board, clock, 3.9, 8)
    assert board.view()[A].state == "closed"


@pytest.fixture
def known(board: Board, clock: ManualClock) -> Board:
    """A board with a normal speed of 50 tokens per second; both backends send five tokens with each event."""
    for key in ["llm/t/b"] * 20 + [A]:
        guard = begin(board, key)
        guard.first_content()
        clock.advance(1)
        guard.succeeded(50, events=10)
    return board


def crawl(board: Board, clock: ManualClock, events: int, held_up: float = 0.0) -> None:
    """Runs ten streams that begin well, checked every four seconds; in the last period each has `events`."""
    guards = [begin(board) for _ in range(10)]
    for guard in guards:
        guard.first_content()
    for seen, held in ((40, 0.0), (40 + events, held_up)):
        clock.advance(4)
        for guard in guards:
            guard.flowing(seen, held)


def test_streams_that_begin_to_crawl_count_as_bad_while_they_go_on(known: Board, clock: ManualClock) -> None:
    crawl(known, clock, events=3)  # 15 tokens in 4 s
    assert (known.view()[A].state, known.view()[A].reason) == ("open", "slow")


@pytest.mark.parametrize(("events", "held_up"), [(4, 0.0), (0, 1.0)])
def test_those_that_go_on_or_wait_for_their_callers_do_not(
    known: Board, clock: ManualClock, events: int, held_up: float
) -> None:
    crawl(known, clock, events, held_up)
    assert known.view()[A].state == "closed"


def test_a_look_too_early_after_the_end_or_without_knowledge_says_nothing(board: Board, clock: ManualClock) -> None:
    crawl(board, clock, events=0)
    guard = begin(board)
    guard.flowing(0, 0.0)
    guard.cancelled()
    clock.advance(9)
    guard.flowing(0, 0.0)
    assert board.view()[A].state == "closed"


def test_a_missed_speed_objective_ranks_behind(
    configured: Callable[..., Board], backend: Callable[..., Backend], clock: ManualClock
) -> None:
    board = configured(backend(objectives=Objectives(tokens_per_second=30)))
    for _ in range(5):
        stream(board, clock, 2, 20)
    assert not board.view()[A].keeps_objectives


def test_what_is_about_the_request_or_the_key_does_not_touch_the_score(board: Board) -> None:
    begin(board).failed(FailureKind.CALLER)
    begin(board).failed(FailureKind.CREDENTIAL)
    assert board.view()[A].score == 1


def test_a_429_weighs_its_retry_after(board: Board, clock: ManualClock) -> None:
    begin(board).failed(FailureKind.RATE_LIMIT, 60)
    view = board.view()[A]
    assert (view.score, view.available_at) == (60, clock.monotonic() + 60)


def test_a_stream_that_waited_for_its_caller_says_nothing_about_speed(board: Board, clock: ManualClock) -> None:
    guard = begin(board)
    guard.first_content()
    clock.advance(10.0)
    guard.succeeded(20, held_up=9.0)
    assert board.view()[A].tokens_per_second is None


def test_a_failure_that_is_taken_back_leaves_no_trace(board: Board, clock: ManualClock) -> None:
    before = board.view()[A]
    for _ in range(ALIKE_IN_A_ROW):
        guard = begin(board)
        guard.failed(FailureKind.SERVER)
        guard.take_back()
        guard.take_back()
    assert board.view()[A] == before


def test_a_success_cannot_be_taken_back(board: Board, clock: ManualClock) -> None:
    guard = begin(board)
    guard.first_content()
    guard.succeeded(10)
    seen = board.view()[A]
    guard.take_back()
    assert board.view()[A] == seen


def test_a_field_that_two_namespaces_meet_is_remembered(board: Board) -> None:
    for namespace in ("a", "b"):
        guard = board.begin(A, 10, namespace)
        assert guard is not None
        guard.met("seed")
        guard.succeeded(1)
    assert board.view()[A].refuses == {"seed"}


def test_a_silence_that_a_deadline_ended_is_a_sample_of_that_length(board: Board, clock: ManualClock) -> None:
    for _ in range(4):
        guard = begin(board, "llm/t/b")
        clock.advance(9)
        guard.failed(FailureKind.SILENT)
    own = board.view()["llm/t/b"].place.by_size[size_class(10)]
    assert own.quantile(clock.monotonic(), 0.5, 1) == 9


def test_a_backend_was_reliable_if_its_last_answers_were_all_good(board: Board) -> None:
    for good, expected in ((RELIABLE - 1, False), (RELIABLE, True)):
        begin(board).failed(FailureKind.RESET)
        for _ in range(good):
            begin(board).succeeded(1)
        failing = begin(board)
        failing.failed(FailureKind.SERVER)
        assert failing.was_reliable is expected
