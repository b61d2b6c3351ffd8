"""Requests that take no slot: their success is no news, and their failures count."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from weir_router.clock import ManualClock
from weir_router.contract import Backend, BackendLimits
from weir_router.errors import FailureKind
from weir_router.health.board import Board

A = "llm/t/a"
MakeBoard, MakeBackend = Callable[..., Board], Callable[..., Backend]


def test_failures_in_a_row_open_the_breaker(configured: MakeBoard, backend: MakeBackend) -> None:
    board = configured(backend())
    while board.view()[A].state == "closed":
        witness = board.witness(A, "shop", backend())
        assert witness is not None
        witness.failed(FailureKind.CONNECT, None, "connect: refused")
        witness.failed(FailureKind.CONNECT, None, "a second end")
        witness.ended()
    assert board.view()[A].words == "connect: refused"
    assert board.witness(A, "shop", backend()) is None


def test_a_success_closes_no_breaker(configured: MakeBoard, backend: MakeBackend, clock: ManualClock) -> None:
    board = configured(backend())
    for _ in range(10):
        if (witness := board.witness(A, "shop", backend())) is not None:
            witness.failed(FailureKind.CONNECT, None, "")
    clock.advance(3600)
    for _ in range(10):
        witness = board.witness(A, "shop", backend())
        assert witness is not None
        witness.ended()
        witness.ended()
    assert board.view()[A].state == "half-open"


@pytest.mark.parametrize("kind", sorted(set(FailureKind) - {FailureKind.CONNECT, FailureKind.HOST}))
def test_other_failures_take_the_backend_from_nobody(
    configured: MakeBoard, backend: MakeBackend, kind: FailureKind
) -> None:
    board = configured(backend())
    for number in range(50):
        witness = board.witness(A, f"team-{number % 5}", backend())
        assert witness is not None
        witness.failed(kind, 60.0, "rate_limit: of counts alone")
    seen = board.view()[A]
    assert (seen.state, seen.available_at, seen.words) == ("closed", 0.0, "")
    assert board.begin(A, 10) is not None


def test_it_is_no_probe_and_holds_up_none(configured: MakeBoard, backend: MakeBackend, clock: ManualClock) -> None:
    board = configured(backend())
    while (witness := board.witness(A, "shop", backend())) is not None:
        witness.failed(FailureKind.CONNECT, None, "")
    clock.advance(3600)
    held = [board.witness(A, "shop", backend()) for _ in range(10)]
    assert None not in held
    assert board.begin(A, 10) is not None, "the probe of an attempt"


def test_it_takes_no_slot(configured: MakeBoard, backend: MakeBackend) -> None:
    board = configured(backend(limits=BackendLimits(concurrency=1)))
    assert board.begin(A, 10) is not None
    assert board.witness(A, "shop", backend(limits=BackendLimits(concurrency=1))) is not None
    assert board.view()[A].pending == 1


def test_an_upstreams_refusal_of_the_request_is_none_of_its_failures(
    configured: MakeBoard, backend: MakeBackend
) -> None:
    board = configured(backend())
    for namespace in ("shop", "search"):
        witness = board.witness(A, namespace, backend())
        assert witness is not None
        witness.failed(FailureKind.CALLER, None, "caller: no such response")
    assert (board.view()[A].state, board.view()[A].words) == ("closed", "")


def test_a_backend_that_is_gone_or_another_is_not_asked(configured: MakeBoard, backend: MakeBackend) -> None:
    board = configured(backend())
    assert board.witness("llm/t/gone", "shop", backend()) is None
    assert board.witness(A, "shop", backend(credential="old")) is None
