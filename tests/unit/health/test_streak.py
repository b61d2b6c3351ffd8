"""The report of one backend: whether the router has tried it lately, and how it fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from unit.health.test_board import A, B, MakeBackend, MakeBoard, MakeConfig, answer, begin
from weir_router.clock import ManualClock
from weir_router.contract import MAX_FAILING, TRIED_SECONDS, Backend
from weir_router.errors import FailureKind
from weir_router.health.board import Board
from weir_router.health.kinds import BLAMELESS_KINDS, NEUTRAL_KINDS

Told = tuple[bool, int, str]


def told(board: Board, key: str = A) -> Told:
    view = board.view()[key]
    return view.tried, view.failing, view.words


def fail(board: Board, kind: FailureKind, words: str = "", key: str = A, namespace: str = "") -> None:
    begin(board, key, namespace=namespace).failed(kind, words=words)


@pytest.fixture
def board(configured: MakeBoard, backend: MakeBackend) -> Board:
    return configured(backend())


@pytest.fixture
def news(board: Board) -> list[Told]:
    found: list[Told] = []
    board.on_failing = lambda: found.append(told(board))
    return found


def test_a_backend_that_was_never_tried_says_so(board: Board) -> None:
    assert told(board) == (False, 0, "")


@pytest.mark.parametrize("kind", sorted(set(FailureKind)))
def test_each_failure_that_speaks_against_a_backend_counts(board: Board, kind: FailureKind) -> None:
    counts = kind not in BLAMELESS_KINDS | NEUTRAL_KINDS or kind is FailureKind.BLOCKED
    fail(board, kind, f"{kind}: because")
    assert told(board)[1:] == ((1, f"{kind}: because") if counts else (0, ""))
    assert told(board)[0] is (kind not in BLAMELESS_KINDS)  # else nothing was learned of it


def test_the_third_failure_in_a_row_is_news_and_so_is_the_answer_after_it(
    board: Board, news: list[Told], clock: ManualClock
) -> None:
    for _ in range(3):
        fail(board, FailureKind.CREDENTIAL, "credential: no such key")
    assert news == [(True, 3, "credential: no such key")]
    fail(board, FailureKind.MODEL, "model: no such model")
    assert (told(board), len(news)) == ((True, 4, "model: no such model"), 1)
    answer(board, clock)
    assert news[1:] == [(True, 0, "")]


def test_an_answer_between_failures_begins_the_count_anew(board: Board, news: list[Told], clock: ManualClock) -> None:
    for _ in range(4):
        fail(board, FailureKind.CREDENTIAL)
        fail(board, FailureKind.CREDENTIAL)
        answer(board, clock)
    assert (told(board), news) == ((True, 0, ""), [])


def test_a_stream_that_breaks_after_its_first_content_has_not_answered(board: Board) -> None:
    for _ in range(3):
        guard = begin(board)
        guard.first_content()
        guard.failed(FailureKind.STALLED)
    assert told(board) == (True, 3, "stalled")


def test_an_attempt_counts_for_ten_minutes(board: Board, clock: ManualClock) -> None:
    answer(board, clock)
    clock.advance(TRIED_SECONDS)
    assert told(board)[0]
    clock.advance(1)
    assert not told(board)[0]


def test_a_caller_that_leaves_has_not_tried_the_backend(board: Board) -> None:
    begin(board).cancelled()
    assert told(board) == (False, 0, "")


def test_the_count_is_bounded(board: Board) -> None:
    for _ in range(MAX_FAILING + 9):
        fail(board, FailureKind.BLOCKED)  # puts no backend out
    assert told(board)[1] == MAX_FAILING


@pytest.mark.parametrize("change", [{"weight": 7}, {"model": "other"}, {"credential": "llm/new"}])
def test_a_new_config_of_a_backend_begins_anew(
    board: Board, news: list[Told], backend: MakeBackend, config_of: MakeConfig, change: dict[str, object]
) -> None:
    for _ in range(3):
        fail(board, FailureKind.MODEL)
    board.configure(config_of(backend(**change)))
    assert told(board) == (False, 0, "")


def test_a_reload_that_leaves_it_as_it_is_does_not(
    board: Board, backend: MakeBackend, config_of: Callable[..., object]
) -> None:
    fail(board, FailureKind.MODEL, "model: gone")
    board.configure(config_of(backend(), backend("b")))  # type: ignore[arg-type]
    assert (told(board), told(board, B)) == ((True, 1, "model: gone"), (False, 0, ""))


def test_one_tenants_poisonous_requests_count_only_as_far_as_the_breaker_counts_them(
    board: Board, news: list[Told], clock: ManualClock
) -> None:
    guard = begin(board, namespace="honest")
    guard.first_content()
    for _ in range(9):
        fail(board, FailureKind.SERVER, namespace="evil")
    assert (told(board)[1], news) == (2, [])


def test_a_failure_for_which_the_request_is_at_fault_is_taken_back(board: Board) -> None:
    guards = [begin(board) for _ in range(2)]
    for guard in guards:
        guard.failed(FailureKind.SERVER, words="server: boom")
    guards[0].take_back()
    assert told(board) == (True, 1, "server: boom")
    guards[1].take_back()
    assert told(board) == (True, 0, "")


def test_a_failure_is_not_taken_back_after_an_answer_nor_from_an_open_breaker(board: Board, clock: ManualClock) -> None:
    guard = begin(board)
    guard.failed(FailureKind.SERVER)
    answer(board, clock)
    guard.take_back()
    assert told(board)[1] == 0
    guards = [begin(board) for _ in range(5)]
    for guard in guards:
        guard.failed(FailureKind.SERVER)
    guards[0].take_back()
    assert (board.view()[A].state, told(board)[1]) == ("open", 5)


def test_the_routers_own_request_that_is_answered_ends_the_row(board: Board, backend: MakeBackend) -> None:
    place: Backend = board._entries[A].backend
    fail(board, FailureKind.CREDIT, "credit: too little for this request")
    board.settle(A, FailureKind.RATE_LIMIT, place)
    assert told(board)[1] == 1
    board.settle(A, None, place)
    assert told(board) == (True, 0, "")
