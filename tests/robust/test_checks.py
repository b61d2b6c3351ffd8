"""Checks before and after the call, and subscribers to answers, over real HTTP and in both formats."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import msgspec
import pytest

from support.stand import KEY, Stand, stand
from weir_cli.sim import SimModel
from weir_router.call.tap import Listener, Subscriber
from weir_router.check.checks import PASS, After, Before, Sample, Verdict
from weir_router.contract import Dialect, Policy, Transport
from weir_router.contract.caller import Caller
from weir_router.decide.types import Decision
from weir_router.dialects.ask import Ask
from weir_router.serve.extensions import Extensions

GOOD = "A good answer, with “quotes” and more than twenty characters."
SHORT = "No."

EACH = pytest.mark.parametrize(
    ("caller", "upstream"),
    [(caller, upstream) for caller in Dialect for upstream in Dialect],
    ids=lambda dialect: dialect.value,
)
STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
MODES = pytest.mark.parametrize("mode", list(Transport), ids=lambda mode: mode.value)


async def ask(it: Stand, caller: Dialect, streamed: bool, prompt: str = "Hi") -> tuple[int, dict[str, str], str]:
    """Status, headers, and the text of the answer or the error's message."""
    path = "/v1/chat/completions" if caller is Dialect.OPENAI else "/v1/messages"
    body = {"model": "auto", "max_tokens": 500, "stream": streamed, "messages": [{"role": "user", "content": prompt}]}
    async with (
        aiohttp.ClientSession(it.url, headers={"authorization": f"Bearer {KEY}"}) as session,
        session.post(path, json=body) as response,
    ):
        raw = await response.read()
        headers = dict(response.headers)
        if response.status != 200:
            return response.status, headers, msgspec.json.decode(raw)["error"]["message"]
        if not streamed:
            return 200, headers, text_of(msgspec.json.decode(raw))
        events = [msgspec.json.decode(data) for data in re.findall(rb"^data: (\{.*)$", raw, re.MULTILINE)]
        return 200, headers, "".join(map(delta_of, events))


def text_of(answer: dict[str, Any]) -> str:
    if "choices" in answer:
        return str(answer["choices"][0]["message"]["content"])
    return "".join(block["text"] for block in answer["content"] if block["type"] == "text")


def delta_of(event: dict[str, Any]) -> str:
    if event.get("choices"):
        return event["choices"][0]["delta"].get("content") or ""
    return event["delta"].get("text", "") if event.get("type") == "content_block_delta" else ""


def long_enough(sample: Sample) -> Verdict | None:
    if len(sample.text) > 20:
        return PASS
    return Verdict(False, "it is too short") if sample.last else None


def polite(ask: Ask, caller: Caller, policy: Policy) -> Verdict:
    assert (caller.namespace, policy.name) == ("team-a", "assistants")
    return Verdict(False, "it is not polite") if "now!" in ask.prompt.turns[-1].text else PASS


ALL_PASS = After("all", lambda _: PASS)
CHECKS = Extensions(after=(ALL_PASS, After("length", long_enough)))


@STREAMED
@pytest.mark.parametrize("caller", list(Dialect))
async def test_a_request_that_a_check_refuses_reaches_no_backend(caller: Dialect, streamed: bool) -> None:
    extensions = Extensions(before=(Before("any", lambda *_: PASS), Before("tone", polite)))
    async with stand([SimModel("m")], extensions=extensions) as it:
        status, headers, message = await ask(it, caller, streamed, "Answer me, now!")
        assert (status, message) == (403, "The check tone refuses the request: it is not polite.")
        assert headers["x-weir-error-source"] == "policy"
        assert it.sim.stats["m"].requests == 0
        assert (it.last["outcome"], it.last["error"]) == ("refused", "check_refused")
        assert (await ask(it, caller, streamed, "Please answer."))[0] == 200


@MODES
@STREAMED
@EACH
async def test_an_answer_that_a_check_rejects_is_made_by_the_next_tier(
    caller: Dialect, upstream: Dialect, streamed: bool, mode: Transport
) -> None:
    small = [SimModel("small", answer=SHORT, dialect=upstream), SimModel("twin", answer=SHORT, dialect=upstream)]
    large = [SimModel("large", answer=GOOD, dialect=upstream)]
    changes = {name: {"transport": mode} for name in ("small", "twin", "large")}
    async with stand(small, large, extensions=CHECKS, changes=changes) as it:
        status, headers, text = await ask(it, caller, streamed)
        assert (status, text, headers["x-weir-tier"]) == (200, GOOD, "llm/t1")
        first, second = it.last["attempts"]
        assert (first["tier"], first["outcome"], second["outcome"]) == ("llm/t0", "rejected", "ok")
        assert it.last["dollars"] > 0
        assert {view.state for view in it.router.board.view().values()} == {"closed"}
        assert {view.pending for view in it.router.board.view().values()} == {0}


@STREAMED
async def test_where_every_tier_is_rejected_the_error_names_the_check(streamed: bool) -> None:
    async with stand([SimModel("m", answer=SHORT)], extensions=CHECKS) as it:
        status, _, message = await ask(it, Dialect.OPENAI, streamed)
        assert status == 503
        assert "the check length rejects the answer: it is too short" in message
        assert it.sim.stats["m"].requests == 1


@MODES
@STREAMED
@EACH
async def test_a_subscriber_hears_what_the_caller_gets_and_nothing_else(
    caller: Dialect, upstream: Dialect, streamed: bool, mode: Transport
) -> None:
    heard: list[str] = []
    asked: list[Decision] = []

    def begin(decision: Decision) -> Listener:
        asked.append(decision)
        return heard.append

    small = SimModel("small", answer=SHORT, dialect=upstream)
    large = SimModel("large", answer=GOOD, dialect=upstream)
    extensions = CHECKS._replace(subscribers=(Subscriber("none", lambda _: None), Subscriber("all", begin)))
    changes = {name: {"transport": mode} for name in ("small", "large")}
    async with stand([small], [large], extensions=extensions, changes=changes) as it:
        assert (await ask(it, caller, streamed))[2] == GOOD
    assert "".join(heard) == GOOD
    assert len(heard) > 1 or (mode is Transport.AS_ASKED and not streamed)
    assert asked[-1].choice.route == "all"
