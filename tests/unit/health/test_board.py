"""The board: shared state, reloads, and refusals of `begin`."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from weir_router.clock import ManualClock
from weir_router.contract import Backend, BackendLimits, BackendState, BreakerKnobs, CompiledConfig, Objectives, Tier
from weir_router.errors import FailureKind
from weir_router.health.board import Board, Guard

A, B = "llm/t/a", "llm/t/b"
MakeBackend = Callable[..., Backend]
MakeBoard = Callable[..., Board]
MakeConfig = Callable[..., CompiledConfig]


def begin(board: Board, key: str = A, tokens: int = 10, namespace: str = "") -> Guard:
    guard = board.begin(key, tokens, namespace)
    assert guard is not None
    return guard


def fail(board: Board, times: int = 5, kind: FailureKind = FailureKind.SERVER) -> None:
    for _ in range(times):
        begin(board).failed(kind)


def refuse(board: Board, *namespaces: str) -> None:
    for namespace in namespaces:
        begin(board, namespace=namespace).failed(FailureKind.CREDENTIAL)


def answer(board: Board, clock: ManualClock, ttft: float = 0.1, key: str = A) -> None:
    guard = begin(board, key)
    clock.advance(ttft)
    guard.first_content()
    guard.succeeded(5)


def test_a_key_names_tier_and_backend(backend: MakeBackend) -> None:
    assert backend("a").key("llm/t") == A


def test_a_fresh_backend_is_well_and_unknown(configured: MakeBoard, backend: MakeBackend) -> None:
    view = configured(backend()).view()[A]
    assert (view.state, view.reason, view.available_at, view.pending, view.score) == ("closed", None, 0, 0, 1)
    assert (view.ttft, view.ttft_p50, view.ttft_p95, view.tokens_per_second) == (None, None, None, None)
    assert view.keeps_objectives
    assert (view.saturated, view.credential_out, view.last_resort) == (False, False, False)


def test_an_unknown_backend_cannot_begin(configured: MakeBoard) -> None:
    assert configured().begin("llm/t/nobody", 10) is None


@pytest.mark.parametrize("state", [BackendState.DRAINING, BackendState.DISABLED])
def test_a_backend_that_is_not_active_takes_nothing_new(
    configured: MakeBoard, backend: MakeBackend, state: BackendState
) -> None:
    assert configured(backend(state=state)).begin(A, 10) is None


@pytest.mark.parametrize(("routers", "share"), [(1, 3), (2, 2), (3, 1), (50, 1), (0, 3)])
def test_concurrency_is_shared_out_among_routers(
    configured: MakeBoard, backend: MakeBackend, routers: int, share: int
) -> None:
    board = configured(backend(limits=BackendLimits(concurrency=3)), routers=routers)
    guards = [begin(board) for _ in range(share)]
    assert board.view()[A].saturated
    assert board.begin(A, 10) is None
    guards[0].cancelled()
    assert not board.view()[A].saturated


def test_an_open_breaker_cannot_begin_and_says_why(configured: MakeBoard, backend: MakeBackend) -> None:
    board = configured(backend())
    fail(board)
    view = board.view()[A]
    assert board.begin(A, 10) is None
    assert (view.state, view.reason, view.available_at) == ("open", "server", 1_005)


def test_changes_are_announced_for_every_tier_of_a_place(
    configured: MakeBoard, backend: MakeBackend, changes: list[tuple[str, ...]]
) -> None:
    board = configured(backend("a", base_url="http://same"), backend("b", base_url="http://same"))
    fail(board)
    assert changes == [(A, "closed", "open"), (B, "closed", "open")]


def test_places_with_another_credential_fail_apart(configured: MakeBoard, backend: MakeBackend) -> None:
    board = configured(
        backend("a", base_url="http://x", credential="1"), backend("b", base_url="http://x", credential="2")
    )
    refuse(board, "a", "b")
    assert (board.view()[A].state, board.view()[B].state) == ("ejected", "closed")


def test_the_routers_own_request_settles_a_doubt_of_this_place_only(
    configured: MakeBoard, backend: MakeBackend
) -> None:
    board, told = configured(backend()), []
    refuse(board, "a")
    assert board.in_doubt(A)
    assert not board.in_doubt("llm/t/gone")
    board.settle(A, FailureKind.CREDENTIAL, backend(credential="old"))
    board.settle("llm/t/gone", FailureKind.CREDENTIAL, backend())
    assert board.view()[A].state == "closed"
    board.on_free = told.append
    board.settle(A, FailureKind.CREDENTIAL, backend())
    assert board.view()[A].state == "ejected"
    assert told == [A], "requests that wait for its slot wait in vain"


def test_a_reload_keeps_what_is_known(configured: MakeBoard, backend: MakeBackend, config_of: MakeConfig) -> None:
    board = configured(backend())
    fail(board)
    board.configure(config_of(backend(weight=7), backend("b")))
    assert board.view()[A].state == "open"


@pytest.mark.parametrize("change", [{"model": "other"}, {"credential": "new"}, {"base_url": "http://new"}])
def test_a_relevant_change_forgets(
    configured: MakeBoard, backend: MakeBackend, config_of: MakeConfig, change: dict[str, str]
) -> None:
    board = configured(backend())
    refuse(board, "a", "b")
    board.configure(config_of(backend(**change)))
    assert board.view()[A].state == "closed"


def test_guards_of_a_forgotten_place_end_in_silence(
    configured: MakeBoard, backend: MakeBackend, config_of: MakeConfig, changes: list[tuple[str, ...]]
) -> None:
    board = configured(backend())
    guards = [begin(board) for _ in range(5)]
    board.configure(config_of(backend(model="other")))
    for guard in guards:
        guard.failed(FailureKind.RESET)
    assert changes == []
    assert board.view()[A].state == "closed"


def test_a_view_cannot_be_written(configured: MakeBoard, backend: MakeBackend) -> None:
    with pytest.raises(TypeError):
        configured(backend()).view()["x"] = None  # type: ignore[index]


def test_deadline_and_slowness_follow_the_tiers_samples(
    configured: MakeBoard, backend: MakeBackend, clock: ManualClock
) -> None:
    board = configured(backend("a"), backend("b"))
    assert (board.ttft_deadline(B, 10), board.slow_after(B, 10)) == (10, 5)
    for _ in range(20):
        answer(board, clock, ttft=1.0)
    assert board.ttft_deadline(B, 10) == pytest.approx(3)
    assert board.slow_after(B, 10) == pytest.approx(4)
    assert board.slow_after(B, 5_000) == 5


def test_the_score_grows_with_pending_and_failures(configured: MakeBoard, backend: MakeBackend) -> None:
    board = configured(backend())
    begin(board)
    assert board.view()[A].score == 2
    fail(board, 1)
    assert board.view()[A].score == 10


def test_a_backend_that_is_out_or_paused_is_not_healthy(configured: MakeBoard, backend: MakeBackend) -> None:
    board = configured(backend(), backend("b"))
    fail(board)
    begin(board, B).failed(FailureKind.RATE_LIMIT, 5)
    assert [board.view()[key].healthy for key in (A, B)] == [False, False]


def test_a_backend_that_returns_takes_its_share_of_requests_little_by_little(
    configured: MakeBoard, backend: MakeBackend, clock: ManualClock
) -> None:
    board = configured(backend())
    fail(board)
    clock.advance(1_000)
    for _ in range(3):
        begin(board).succeeded(5)
    shares = []
    for _ in range(4):
        shares.append(board.view()[A].share)
        clock.advance(5)
    assert shares == pytest.approx([0.2, 0.6, 1.0, 1.0])


def test_a_freed_slot_is_told_after_the_breaker_has_heard_why(configured: MakeBoard, backend: MakeBackend) -> None:
    board = configured(backend(limits=BackendLimits(concurrency=5)), backend("b"))
    told: list[tuple[str, str]] = []
    board.on_free = lambda key: told.append((key, board.view()[key].state))
    fail(board, 5)
    begin(board, B).cancelled()
    assert told == [(A, "closed")] * 4 + [(A, "open")]


def test_only_a_backend_that_lacks_nothing_else_is_full(configured: MakeBoard, backend: MakeBackend) -> None:
    board = configured(backend(limits=BackendLimits(concurrency=1)), backend("b"))
    assert not board.full(A)
    held = begin(board)
    assert board.full(A)
    assert (board.view()[A].saturation, board.view()[B].saturation) == (1.0, None)
    assert not board.full(B)
    assert not board.full("llm/t/gone")
    board.settle(A, FailureKind.CREDENTIAL, backend())
    assert not board.full(A)
    held.cancelled()


def test_a_new_config_tells_that_slots_may_be_free(
    configured: MakeBoard, backend: MakeBackend, config_of: Callable[..., CompiledConfig]
) -> None:
    board, told = configured(backend()), []
    board.on_free = told.append
    board.configure(config_of(backend(limits=BackendLimits(concurrency=9))))
    assert told == [A]


def test_a_place_that_tiers_share_goes_by_the_first_one_s_knobs(backend: MakeBackend, clock: ManualClock) -> None:
    board = Board(clock, random.Random(1))
    tiers = {
        f"llm/{name}": Tier(
            namespace="llm", name=name, backends=(backend(breaker=BreakerKnobs(consecutive_failures=number)),)
        )
        for name, number in {"z": 2, "t": 3}.items()
    }
    board.configure(CompiledConfig(tiers=tiers))
    fail(board, 2)
    assert board.view()[A].state == "closed"
    fail(board, 1)
    assert board.view()["llm/z/a"].state == "open"


def test_a_backend_that_misses_its_objectives_is_tried_by_one_request_at_a_time(
    configured: MakeBoard, backend: MakeBackend, clock: ManualClock
) -> None:
    board = configured(backend(objectives=Objectives(ttft=0.5)))
    view = board.view()[A]
    for _ in range(5):
        assert view.keeps_objectives
        answer(board, clock, ttft=0.9)
    assert not view.keeps_objectives
    clock.advance(10)
    assert view.keeps_objectives
    begin(board)
    assert not view.keeps_objectives


def test_a_missed_objective_is_kept_again_when_the_trial_is_quick(
    configured: MakeBoard, backend: MakeBackend, clock: ManualClock
) -> None:
    board = configured(backend(objectives=Objectives(ttft=0.5)))
    for _ in range(5):
        answer(board, clock, ttft=0.9)
    clock.advance(60)
    answer(board, clock, ttft=0.2)
    begin(board)
    assert board.view()[A].keeps_objectives


@pytest.mark.parametrize(("ttft", "kept"), [(0.5, False), (5.0, True)])
def test_a_reload_keeps_the_verdict_only_with_the_same_objectives(
    configured: MakeBoard, backend: MakeBackend, config_of: MakeConfig, clock: ManualClock, ttft: float, kept: bool
) -> None:
    board = configured(backend(objectives=Objectives(ttft=0.5)))
    for _ in range(5):
        answer(board, clock, ttft=0.9)
    board.configure(config_of(backend(objectives=Objectives(ttft=ttft))))
    assert board.view()[A].keeps_objectives is kept


def test_tiers_keep_their_samples_apart(backend: MakeBackend, clock: ManualClock, configured: MakeBoard) -> None:
    board = configured()
    one = Tier(namespace="llm", name="t", backends=(backend("a"),))
    two = Tier(namespace="llm", name="u", backends=(backend("b"),))
    board.configure(CompiledConfig(tiers={"llm/t": one, "llm/u": two}))
    for _ in range(20):
        answer(board, clock, ttft=0.5)
    assert board.ttft_deadline("llm/u/b", 10) == 10


def test_panic_takes_a_last_resort(configured: MakeBoard, backend: MakeBackend) -> None:
    board = configured(backend())
    for guard in [begin(board) for _ in range(5)]:
        guard.slow()
    assert board.begin(A, 10) is None
    assert board.view()[A].last_resort
    assert board.begin(A, 10, panic=True) is not None


def test_a_backend_is_healthy_while_hardly_anything_is_bad(
    configured: MakeBoard, backend: MakeBackend, clock: ManualClock
) -> None:
    board = configured(backend("a"), backend("b"))
    assert board.view()[B].healthy
    for _ in range(9):
        answer(board, clock, ttft=0.1, key=B)
    begin(board, B).failed(FailureKind.SERVER)
    assert board.view()[B].healthy
    begin(board, B).failed(FailureKind.SERVER)
    assert not board.view()[B].healthy


def test_an_old_request_does_not_take_the_place_that_a_reload_has_put_there(
    configured: MakeBoard, backend: MakeBackend
) -> None:
    old = backend("a", credential="revoked")
    board = configured(backend("a", credential="fresh"))
    assert board.begin(A, 10, backend=old) is None
    assert board.begin(A, 10, backend=backend("a", credential="fresh", weight=7)) is not None


def test_endpoints_of_one_backend_have_a_breaker_each(configured: MakeBoard, backend: MakeBackend) -> None:
    pods = [backend("a", endpoint=f"10.0.0.{n}:80", base_url=f"http://10.0.0.{n}:80/v1") for n in (1, 2)]
    board = configured(*pods)
    ill, well = "llm/t/a@10.0.0.1:80", "llm/t/a@10.0.0.2:80"
    for _ in range(5):
        begin(board, ill).failed(FailureKind.SERVER)
    assert board.begin(ill, 10) is None
    assert begin(board, well)


def test_an_endpoint_that_goes_takes_along_only_what_is_known_of_it(
    configured: MakeBoard, backend: MakeBackend, config_of: MakeConfig
) -> None:
    pods = [backend("a", endpoint=f"10.0.0.{n}:80", base_url=f"http://10.0.0.{n}:80/v1") for n in (1, 2, 3)]
    board = configured(*pods[:2])
    stays = begin(board, "llm/t/a@10.0.0.2:80")
    board.configure(config_of(*pods[1:]))
    assert {key: it.pending for key, it in board.view().items()} == {
        "llm/t/a@10.0.0.2:80": 1,
        "llm/t/a@10.0.0.3:80": 0,
    }
    stays.first_content()
    stays.succeeded(5)
    assert board.view()["llm/t/a@10.0.0.2:80"].pending == 0
