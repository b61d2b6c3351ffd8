"""Memory of refused fields: confirmed by a second namespace or by success, and forgotten."""

from collections.abc import Callable

from weir_router.clock import ManualClock
from weir_router.contract import Backend, CompiledConfig
from weir_router.health.board import Board
from weir_router.health.refused import Refused

A = "llm/t/a"
HOUR = 3600.0


def test_one_namespace_alone_teaches_nothing() -> None:
    refused = Refused()
    for _ in range(9):
        refused.met("temperature", "a", 0.0)
    assert refused.at(0.0) == frozenset()


def test_two_namespaces_confirm_a_refusal_for_ten_minutes() -> None:
    refused = Refused()
    refused.met("temperature", "a", 0.0)
    refused.met("seed", "b", 0.0)
    refused.met("temperature", "b", 1.0)
    assert refused.at(600.9) == {"temperature"}
    assert refused.at(601.0) == frozenset()


def test_what_was_met_long_ago_confirms_nothing() -> None:
    refused = Refused()
    refused.met("temperature", "a", 0.0)
    refused.met("temperature", "b", 600.0)
    assert refused.at(600.0) == frozenset()


def test_each_confirmation_doubles_the_time_up_to_a_day() -> None:
    refused, now, periods = Refused(), 0.0, []
    for _ in range(10):
        refused.confirm("seed", now)
        refused.confirm("seed", now + 1)  # another request at the same time
        period = refused.learned["seed"].until - now
        periods.append(period)
        now += period
    assert periods[:3] == [600, 1200, 2400]
    assert periods[-1] == 24 * HOUR
    assert refused.learned["seed"].since == 0.0


def test_a_new_config_of_the_backend_forgets(
    configured: Callable[..., Board],
    backend: Callable[..., Backend],
    config_of: Callable[..., CompiledConfig],
    clock: ManualClock,
) -> None:
    board = configured(backend())
    guard = board.begin(A, 10)
    assert guard is not None
    guard.takes_without(["seed"])
    board.configure(config_of(backend(), backend("b")))
    after = board.begin(A, 10)
    assert after is not None
    assert after.refuses == {"seed"}
    board.configure(config_of(backend(weight=7)))
    again = board.begin(A, 10)
    assert again is not None
    assert again.refuses == frozenset()


def test_people_see_what_is_remembered_and_since_when(
    configured: Callable[..., Board], backend: Callable[..., Backend], clock: ManualClock
) -> None:
    board = configured(backend())
    assert (board.refuses(A), board.view()[A].refuses) == ({}, frozenset())
    guard = board.begin(A, 10)
    assert guard is not None
    guard.takes_without(["seed"])
    clock.advance(60)
    assert board.refuses(A) == {"seed": {"seconds": 60, "forgottenIn": 540}}
    assert board.view()[A].refuses == {"seed"}
    clock.advance(600)
    assert (board.refuses(A), board.view()[A].refuses) == ({}, frozenset())
