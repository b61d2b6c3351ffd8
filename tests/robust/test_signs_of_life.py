"""`failover.keepAlive`: a caller whose stream has not begun gets comments. And the facts at the end of every stream."""

import asyncio
import itertools
import json

import aiohttp
import anthropic
import openai
import pytest

from support.callers import SHAPES, ask, becomes, line_of, one, request_for, settled, trail_of
from support.stand import KEY, stand
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_router.contract import Dialect, Failover, Timeouts
from weir_router.serve.facts import Facts, before_last
from weir_router.serve.visit import SIGN

SOON = Failover(keep_alive=0.1)
STREAMS = [(caller, upstream) for (caller, stream), upstream in itertools.product(SHAPES, Dialect) if stream]
LAST = {Dialect.OPENAI: b"data: [DONE]\n\n", Dialect.ANTHROPIC: b"event: message_stop\n"}


def slow(seconds=0.5, **more):
    return Fault(FaultKind.SLOW_FIRST_TOKEN, seconds=seconds, **more)


def facts_of(answer):
    """The facts in a stream, which stand just before its last event."""
    before, found, after = answer.body.rpartition(b": weir {")
    assert found
    facts, _, last = after.partition(b"\n\n")
    assert last.count(b"\n\n") == 1
    assert before.endswith(b"\n\n")
    return json.loads(b"{" + facts), last


@pytest.mark.parametrize(("caller", "upstream"), STREAMS)
async def test_a_caller_hears_comments_until_the_first_content(caller, upstream):
    async with stand([SimModel("a", dialect=upstream, answer="at last")], failover=SOON) as s:
        s.sim.fault("a", slow())
        answer = await one(s, caller, stream=True)
        assert answer.ended
        assert answer.text == "at last"
        assert answer.body.startswith(SIGN * 2)
        assert answer.headers["x-weir-route"] == "all"
        assert "x-weir-backend" not in answer.headers  # it was not known
        facts, last = facts_of(answer)
        assert (facts["tier"], facts["backend"], facts["attempts"]) == ("llm/t0", "a", 1)
        assert last.startswith(LAST[caller])
        assert (await line_of(s, answer))["outcome"] == "ok"
        await settled(s)


@pytest.mark.parametrize("caller", list(Dialect))
async def test_failover_goes_on_meanwhile(caller):
    quick = {"a": {"timeouts": Timeouts(ttft=0.3)}}
    async with stand([SimModel("a")], [SimModel("b", answer="from b")], changes=quick, failover=SOON) as s:
        s.sim.fault("a", Fault(FaultKind.SILENCE))
        answer = await one(s, caller, stream=True)
        assert answer.text == "from b"
        assert answer.body.startswith(SIGN)
        assert await trail_of(s, answer) == [("a", "silent"), ("b", "ok")]
        facts, _ = facts_of(answer)
        assert (facts["backend"], facts["attempts"]) == ("b", 2)


@pytest.mark.parametrize("caller", list(Dialect))
async def test_a_final_failure_is_an_error_event(caller):
    failover = Failover(keep_alive=0.1, deadline=0.4)
    async with stand([SimModel("a")], failover=failover) as s:
        s.sim.fault("a", Fault(FaultKind.SILENCE))
        answer = await one(s, caller, stream=True)
        assert answer.status == 200
        assert answer.error["code"] == "deadline_exceeded"
        assert not answer.ended
        assert not any(end in answer.body for end in LAST.values())
        facts, _ = facts_of(answer)
        assert facts == {"attempts": 1}
        line = await line_of(s, answer)
        assert (line["outcome"], line["error"]) == ("broken", "deadline_exceeded")
        await settled(s)


async def test_zero_means_never():
    async with stand([SimModel("a")], failover=Failover(keep_alive=0.0, deadline=0.4)) as s:
        s.sim.fault("a", Fault(FaultKind.SILENCE))
        assert (await one(s, stream=True)).status == 504


async def test_a_plain_caller_hears_nothing_before_its_answer():
    async with stand([SimModel("a")], failover=SOON) as s:
        s.sim.fault("a", slow())
        answer = await one(s)
        assert answer.ended
        assert b"weir waits" not in answer.body


async def test_a_caller_who_leaves_while_it_waits_ends_the_attempt():
    async with stand([SimModel("a")], failover=SOON) as s:
        s.sim.fault("a", Fault(FaultKind.SILENCE))
        path, body, headers = request_for(Dialect.OPENAI, stream=True)
        async with (
            aiohttp.ClientSession() as session,
            session.post(s.url + path, json=body, headers=headers) as response,
        ):
            assert await response.content.readline() == SIGN[:-1]
        await becomes(lambda: s.log.lines)
        assert s.last["outcome"] == "cancelled"
        await settled(s)


async def test_the_sdks_skip_the_comments():
    async with stand([SimModel("a", answer="at last")], failover=SOON) as s:
        s.sim.fault("a", slow())
        async with openai.AsyncOpenAI(base_url=f"{s.url}/v1", api_key=KEY, max_retries=0) as client:
            chunks = await client.chat.completions.create(
                model="auto", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            assert "".join([it.choices[0].delta.content or "" async for it in chunks if it.choices]) == "at last"
        async with (
            anthropic.AsyncAnthropic(base_url=s.url, api_key=KEY, max_retries=0) as client,
            client.messages.stream(
                model="auto", max_tokens=100, messages=[{"role": "user", "content": "hi"}]
            ) as stream,
        ):
            assert await stream.get_final_text() == "at last"


async def test_the_sdks_raise_an_error_that_comes_after_the_comments():
    async with stand([SimModel("a")], failover=Failover(keep_alive=0.1, deadline=0.4)) as s:
        s.sim.fault("a", Fault(FaultKind.SILENCE))
        async with openai.AsyncOpenAI(base_url=f"{s.url}/v1", api_key=KEY) as client:
            chunks = await client.chat.completions.create(
                model="auto", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            with pytest.raises(openai.APIError, match="No content within"):
                [it async for it in chunks]
        async with anthropic.AsyncAnthropic(base_url=s.url, api_key=KEY) as client:
            with pytest.raises(anthropic.APIError, match="No content within"):
                async with client.messages.stream(
                    model="auto", max_tokens=100, messages=[{"role": "user", "content": "hi"}]
                ) as stream:
                    await stream.get_final_text()
        assert s.sim.stats["a"].requests == 2  # no SDK has tried again


@pytest.mark.parametrize("rate", [0, 200])
@pytest.mark.parametrize(("caller", "upstream"), STREAMS)
async def test_every_stream_tells_its_facts_before_its_last_event(caller, upstream, rate):
    model = SimModel("a", dialect=upstream, answer="one two three four five", tokens_per_second=rate)
    async with stand([model], [SimModel("b")]) as s, aiohttp.ClientSession() as session:
        s.sim.fault("a", Fault(FaultKind.UNAVAILABLE, count=1))
        for tries in (2, 1):
            answer = await ask(session, s, caller, stream=True)
            assert answer.ended
            facts, last = facts_of(answer)
            assert last.startswith(LAST[caller])
            line = await line_of(s, answer)
            assert facts["attempts"] == tries == len(line["attempts"])
            assert {name: facts[name] for name in ("tier", "backend", "usage", "dollars")} == {
                name: line[name] for name in ("tier", "backend", "usage", "dollars")
            }
            if tries == 2:
                await becomes(lambda: s.router.board.view()["llm/t0/a"].available_at == 0)


async def test_the_facts_name_what_was_dropped():
    async with stand([SimModel("a", dialect=Dialect.ANTHROPIC)]) as s:
        answer = await one(s, stream=True, seed=7)
        assert facts_of(answer)[0]["dropped"] == ["seed"] == answer.headers["x-weir-dropped"].split(", ")


async def test_a_stream_that_breaks_tells_its_facts_before_the_error():
    async with stand([SimModel("a", tokens_per_second=100)]) as s:
        s.sim.fault("a", Fault(FaultKind.CUT, after=3))
        answer = await one(s, stream=True)
        assert answer.error["code"] == "stream_broken"
        assert facts_of(answer)[0]["usage"]["estimated"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_comment_stands_between_two_events(end):
    first, last = (f"data: {text}{end}{end}".encode() for text in ("1", "[DONE]"))
    comment = b': weir {"attempts":1}\n\n'
    assert before_last(first + last, Facts(attempts=1)) == first + comment + last
    assert before_last(last, Facts(attempts=1)) == comment + last
    assert before_last(b"", Facts(attempts=1)) == comment


async def test_many_wait_at_once():
    async with stand([SimModel("a", answer="at last")], failover=SOON) as s:
        s.sim.fault("a", slow())
        async with aiohttp.ClientSession() as session:
            answers = await asyncio.gather(*(ask(session, s, stream=True) for _ in range(30)))
        assert all(answer.ended and answer.body.startswith(SIGN) for answer in answers)
        await settled(s)
