"""Refusals of a credential: believed when a second namespace or the router's own request meets the same."""

from weir_router.errors import FailureKind
from weir_router.health.doubts import DOUBT_SECONDS, TRUST_SECONDS, Doubts

CREDENTIAL, MODEL = FailureKind.CREDENTIAL, FailureKind.MODEL


def test_one_namespace_alone_is_not_believed() -> None:
    doubts = Doubts()
    assert not any(doubts.confirmed("a", CREDENTIAL, float(second)) for second in range(9))


def test_another_namespace_confirms_the_same_refusal_only() -> None:
    doubts = Doubts()
    assert not doubts.confirmed("a", CREDENTIAL, 0.0)
    assert not doubts.confirmed("b", MODEL, 1.0)
    assert doubts.confirmed("b", CREDENTIAL, 2.0)


def test_a_refusal_is_forgotten_after_a_minute() -> None:
    doubts = Doubts()
    doubts.confirmed("a", CREDENTIAL, 0.0)
    assert not doubts.confirmed("b", CREDENTIAL, DOUBT_SECONDS)


def test_after_an_answer_to_the_router_itself_refusals_do_not_wait_for_a_second_one() -> None:
    doubts = Doubts()
    doubts.confirmed("a", CREDENTIAL, 0.0)
    doubts.trust(1.0)
    assert not doubts.confirmed("a", CREDENTIAL, 1.5)
    assert not doubts.confirmed("b", CREDENTIAL, 2.0)
    assert doubts.waiting == {}
    assert not doubts.confirmed("a", CREDENTIAL, 1.0 + TRUST_SECONDS)
    assert doubts.confirmed("b", CREDENTIAL, 1.0 + TRUST_SECONDS)
