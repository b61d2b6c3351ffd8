"""One try over a scripted transport: the commit point, the end, and the reports to health."""

import asyncio

import pytest

from weir_router.call import clocks, held
from weir_router.dialects.wire.sse import SSE
from weir_router.errors import AttemptFailed, FailureKind
from weir_router.health.guard import Guard

from .conftest import CONTENT, DONE, STOP, Pages, stream

ROLE = b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n'
PING = b": ping\n\n"
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 7}}\n\n'


async def begun(world, *parts, streamed=True):
    world.answers.update(a=[stream(*parts)])
    response = world.answers["a"][0]
    return await world.journey(streamed=streamed).commit(), response


async def rest(attempt):
    sink = Pages()
    await attempt.relay(sink)
    return b"".join(sink.written)


async def test_a_streaming_caller_gets_everything_up_to_the_first_content_at_once(world):
    attempt, _ = await begun(world, PING, ROLE, CONTENT, STOP, DONE)
    assert attempt.body == PING + ROLE + CONTENT
    assert not attempt.done
    assert await rest(attempt) == STOP + DONE
    assert attempt.done


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("idle", [b": ping\n\n", b"\n", b":\r\n\r\n", b"id: 1\n\n", b"event: ping\n\n"])
async def test_comments_without_end_are_malformed(world, idle, streamed):
    parts = [idle * (40_000 // len(idle))] * 7
    world.answers.update(a=[stream(*parts, CONTENT, STOP, DONE)], b=[stream()])
    journey = world.journey(streamed=streamed)
    await journey.commit()
    assert [record.outcome for record in journey.trail] == ["malformed", "ok"]


@pytest.mark.parametrize("streamed", [True, False])
async def test_pings_that_are_events_may_come_for_an_hour(world, streamed):
    """Anthropic's models ping while they think, and OpenRouter sends comments between events."""
    ping = b'data: {"choices": []}\n\n: OPENROUTER PROCESSING\n\n'
    attempt, _ = await begun(world, *[ping * 1000] * 12, CONTENT, STOP, DONE, streamed=streamed)
    await rest(attempt)
    assert attempt.done


async def test_a_stream_that_only_begins_has_a_bound(world, monkeypatch):
    """Its bytes are held until the first content."""
    monkeypatch.setattr(held, "MAX_WHOLE_ANSWER", 20_000)
    world.answers.update(a=[stream(*[ROLE] * 400, CONTENT, STOP, DONE)], b=[stream()])
    journey = world.journey(streamed=True)
    await journey.commit()
    assert [record.outcome for record in journey.trail] == ["malformed", "ok"]
    world.answers.update(a=[stream(ROLE, *[CONTENT] * 600, STOP, DONE)])
    attempt = await world.journey(streamed=True).commit()
    await rest(attempt)
    assert attempt.done


async def test_pending_lasts_until_the_end_of_the_stream(world):
    attempt, _ = await begun(world, CONTENT, STOP, DONE)
    assert world.board.view()["t/t/a"].pending == 1
    await rest(attempt)
    assert world.board.view()["t/t/a"].pending == 0


async def test_a_failure_in_the_same_read_as_content_is_not_committed(world):
    world.answers.update(a=[stream(CONTENT + b"data: {broken\n\n", b"")], b=[stream()])
    journey = world.journey(streamed=True)
    await journey.commit()
    assert [record.outcome for record in journey.trail] == ["malformed", "ok"]


async def test_content_before_a_failure_goes_out_first(world):
    attempt, response = await begun(world, CONTENT, CONTENT + b"data: {broken\n\n")
    sink = Pages()
    with pytest.raises(AttemptFailed) as caught:
        await attempt.relay(sink)
    assert sink.written == [CONTENT]
    assert caught.value.kind is FailureKind.MALFORMED
    assert response.released


async def test_a_missing_done_is_added(world):
    attempt, _ = await begun(world, CONTENT, STOP)
    assert await rest(attempt) == STOP + DONE


async def test_a_break_after_the_stop_reason_loses_nothing(world):
    attempt, _ = await begun(world, CONTENT, STOP, AttemptFailed(FailureKind.RESET, "gone"))
    assert await rest(attempt) == STOP + DONE
    assert world.board.view()["t/t/a"].healthy


async def test_a_break_before_it_is_a_failure(world):
    attempt, _ = await begun(world, CONTENT, CONTENT, AttemptFailed(FailureKind.RESET, "gone"))
    with pytest.raises(AttemptFailed):
        await rest(attempt)
    assert not world.board.view()["t/t/a"].healthy


async def test_the_usage_that_weir_asked_for_is_counted_and_not_shown(world):
    attempt, _ = await begun(world, CONTENT, STOP, USAGE, DONE)
    assert await rest(attempt) == STOP + DONE
    assert (attempt.usage.input, attempt.usage.output, attempt.usage.estimated) == (3, 7, False)


async def test_cancelling_releases_the_connection_and_blames_nobody(world):
    attempt, response = await begun(world, CONTENT, None)
    waiting = asyncio.create_task(attempt.relay(Pages()))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert response.released
    view = world.board.view()["t/t/a"]
    assert (view.pending, view.healthy) == (0, True)


async def test_every_part_is_written_in_the_moment_in_which_it_comes(world):
    attempt, _ = await begun(world, CONTENT, CONTENT, CONTENT + STOP, DONE)
    sink = Pages()
    await attempt.relay(sink)
    assert sink.written == [CONTENT, CONTENT + STOP, DONE]


async def test_a_caller_that_reads_slowly_holds_back_the_upstream(world):
    attempt, _ = await begun(world, CONTENT, CONTENT, STOP, DONE)
    sink = Pages()
    sink.on_pressure = lambda told: told(True) or setattr(sink, "press", told)
    relaying = asyncio.create_task(attempt.relay(sink))
    await asyncio.sleep(0)
    assert sink.written == []
    sink.press(False)
    await relaying
    assert sink.written == [CONTENT, STOP, DONE]


async def test_cancelling_after_the_end_changes_nothing(world):
    attempt, _ = await begun(world, CONTENT, STOP, DONE)
    await rest(attempt)
    attempt.cancel()
    assert attempt.record().outcome == "ok"
    assert world.board.view()["t/t/a"].pending == 0


async def test_a_plain_caller_gets_the_whole_answer_put_together(world):
    attempt, _ = await begun(world, ROLE, CONTENT, CONTENT, STOP, USAGE, DONE, streamed=False)
    assert attempt.done
    assert b'"hellohello"' in attempt.body
    assert b'"completion_tokens":7' in attempt.body


@pytest.mark.skipif(clocks.__file__.endswith(".so"), reason="what is compiled cannot be patched")
async def test_health_hears_how_a_stream_flows_while_it_runs(world, monkeypatch):
    monkeypatch.setattr(clocks, "CRAWL_SECONDS", 0.01)
    attempt, _response = await begun(world, CONTENT, CONTENT, None)
    heard, told = [], asyncio.Event()

    def flowing(events, held_up):
        heard.append((events, held_up))
        told.set()

    monkeypatch.setattr(Guard, "flowing", lambda _, *figures: flowing(*figures))
    relaying = asyncio.create_task(attempt.relay(Pages()))
    await asyncio.wait_for(told.wait(), 2)
    assert heard[0] == (2, 0.0)
    relaying.cancel()
    await asyncio.gather(relaying, return_exceptions=True)


@pytest.mark.parametrize(
    ("kind", "is_stream"),
    [
        ("text/event-stream; charset=utf-8", True),
        ("Text/Event-Stream", True),
        ("text/plain; charset=utf-8", True),
        ("application/octet-stream", True),
        ("", True),
        ("application/json", False),
        ("text/html", False),
    ],
)
def test_a_stream_that_was_asked_for_is_known_under_the_types_that_relays_give_it(kind, is_stream):
    assert SSE.reads(kind, True) is is_stream
    assert SSE.reads(kind, False) is ("event-stream" in kind.lower())


async def test_a_failure_that_no_caller_waits_for_holds_no_frames(world):
    world.answers.update(a=[stream(CONTENT)])
    attempt = await world.journey(streamed=True).commit()
    attempt._take(b"")
    assert attempt._failure.kind is FailureKind.TRUNCATED
    assert attempt._failure.__traceback__ is None
