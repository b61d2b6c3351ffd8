"""Text that is held back while checks look at an answer, and the cost of a stream afterwards."""

import pytest

from unit.call.conftest import CONTENT, DONE, STOP, Pages, stream
from weir_router.call.tap import HOLD_BYTES, Subscriber
from weir_router.check.checks import PASS, After, Verdict
from weir_router.errors import AttemptFailed, FailureKind, Unavailable


def after(check):
    return (After("it", check),)


async def test_nothing_goes_out_before_the_check_has_seen_enough(world):
    samples = []

    def two_words(sample):
        samples.append(sample)
        return PASS if len(sample.text) >= 10 else None

    world.answers.update(a=[stream(CONTENT, CONTENT, CONTENT, STOP + DONE)])
    attempt = await world.journey(streamed=True, after=after(two_words)).commit()
    assert attempt.body == CONTENT * 2
    assert [(sample.text, sample.last) for sample in samples] == [("hello", False), ("hellohello", False)]
    pages = Pages()
    await attempt.relay(pages)
    assert b"".join(pages.written) == CONTENT + STOP + DONE
    assert len(samples) == 2


async def test_a_check_must_decide_at_the_end_of_the_answer(world):
    world.answers.update(a=[stream()], b=[stream()])
    seen = []

    def stern(sample):
        seen.append(sample)
        return Verdict(False, "no") if sample.last else None

    with pytest.raises(Unavailable) as caught:
        await world.journey(streamed=True, after=after(stern)).commit()
    assert "the check it rejects the answer: no" in caught.value.message
    assert [sample.last for sample in seen] == [False, True]


async def test_no_more_than_a_bound_is_held_back(world):
    count = HOLD_BYTES // len(CONTENT) + 10
    samples = []
    world.answers.update(a=[stream(*[CONTENT] * count, STOP + DONE)])
    attempt = await world.journey(streamed=True, after=after(samples.append)).commit()
    assert HOLD_BYTES < len(attempt.body) < HOLD_BYTES + 2 * len(CONTENT)
    assert [sample.last for sample in samples[-2:]] == [False, True]


async def test_a_stream_that_breaks_while_it_is_held_back_is_made_elsewhere(world):
    heard = []
    broken = stream(CONTENT, CONTENT, AttemptFailed(FailureKind.RESET, "gone"))
    world.answers.update(a=[broken], b=[stream()])
    journey = world.journey(
        streamed=True,
        after=after(lambda sample: PASS if sample.last else None),
        subscribers=(Subscriber("s", lambda _: heard.append),),
    )
    attempt = await journey.commit()
    await attempt.relay(Pages())
    assert (attempt.backend.name, heard) == ("b", ["hello"])


async def test_once_the_check_has_passed_a_chunk_is_not_decoded_any_more(world):
    world.answers.update(a=[stream(CONTENT, *[CONTENT] * 50, STOP + DONE)])
    attempt = await world.journey(streamed=True, after=after(lambda _: PASS)).commit()
    await attempt.relay(Pages())
    assert attempt._unread == 50
