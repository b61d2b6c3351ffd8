"""Routing of the real SDKs' requests: conditions, labels, capabilities, modes, and requests made to fit the model."""

from __future__ import annotations

import time
from typing import Any

import httpx2
import msgspec
import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletion

from sdk import clients
from sdk.clients import HI, OPENAI_TOOLS, PIXEL, SCHEMA
from support.stand import Stand, stand
from weir_cli.sim import Fault, FaultKind, SimModel
from weir_router.contract import (
    BackendLimits,
    BackendState,
    CallerRule,
    Capability,
    Complexity,
    Dialect,
    HeaderMatch,
    Mode,
    Objectives,
    Override,
    Parameters,
    Policy,
    Price,
    Route,
    TierRef,
    When,
)
from weir_router.health.objectives import SAMPLES

CHEAP, DEAR = TierRef(tier="llm/t0"), TierRef(tier="llm/t1")
TWO = [SimModel("cheap")], [SimModel("dear", Dialect.ANTHROPIC)]
HARD = "Prove, step by step, that every even number is the sum of two primes, and justify why each step must hold."


def rerouted(s: Stand, *routes: Route, **policy: Any) -> None:
    """Replaces routes and fields of the stand's one policy."""
    changed: Policy = msgspec.structs.replace(
        s.config.policies[0], routes=routes or s.config.policies[0].routes, **policy
    )
    s.apply(msgspec.structs.replace(s.config, policies=(changed,)))


async def lands(s: Stand, prompt: Any = "hi", headers: dict[str, str] | None = None, **body: Any) -> str:
    """The model that answers an OpenAI SDK's request."""
    async with clients.openai_client(s, max_retries=0) as weir:
        answer: ChatCompletion = await weir.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": prompt}], extra_headers=headers, **body
        )
    return answer.model


CONDITIONS: dict[str, tuple[When, dict[str, Any], dict[str, Any]]] = {
    "a header's value": (
        When(headers=(HeaderMatch(name="x-team", exact="blue"),)),
        {"headers": {"X-Team": "blue"}},
        {"headers": {"X-Team": "bluer"}},
    ),
    "a header's prefix": (
        When(headers=(HeaderMatch(name="user-agent", prefix="batch/"),)),
        {"headers": {"User-Agent": "batch/1"}},
        {},
    ),
    "a feature": (
        When(features=frozenset({"search"})),
        {"headers": {"X-Weir-Feature": "search"}},
        {"headers": {"X-Weir-Feature": "chat"}},
    ),
    "complexity": (When(complexity=frozenset({Complexity.COMPLEX})), {"prompt": HARD}, {}),
    "a long prompt": (When(min_prompt_tokens=1000), {"prompt": "word " * 2000}, {}),
    "tools": (When(capabilities=frozenset({Capability.TOOLS})), {"tools": OPENAI_TOOLS}, {}),
    "an image": (
        When(capabilities=frozenset({Capability.VISION})),
        {"prompt": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]},
        {"prompt": [{"type": "text", "text": "hi"}]},
    ),
}


@pytest.mark.parametrize("case", CONDITIONS)
async def test_a_condition_chooses_the_route(case: str) -> None:
    when, matching, other = CONDITIONS[case]
    async with stand(*TWO) as s:
        rerouted(s, Route(name="special", tiers=(DEAR,), when=when), Route(name="rest", tiers=(CHEAP,)))
        assert await lands(s, **matching) == "dear"
        assert s.last["route"] == "special"
        assert await lands(s, **other) == "cheap"
        assert s.last["route"] == "rest"


@pytest.mark.parametrize(("tier", "model"), [("paid", "dear"), ("free", "cheap")])
async def test_the_user_tier_is_the_keys_and_not_the_clients_claim(tier: str, model: str) -> None:
    async with stand(*TWO) as s:
        paid = Route(name="paid", tiers=(DEAR,), when=When(user_tiers=frozenset({tier})))
        rerouted(s, paid, Route(name="rest", tiers=(CHEAP,)))
        assert await lands(s, headers={"x-weir-user-tier": "free", "x-user-tier": "free"}) == model


async def test_a_caller_condition_matches_the_key_by_name() -> None:
    mine = CallerRule(api_keys=frozenset({"tester"}))
    async with stand(*TWO) as s:
        rerouted(s, Route(name="mine", tiers=(DEAR,), when=When(callers=(mine,))), Route(name="rest", tiers=(CHEAP,)))
        assert await lands(s) == "dear"


async def test_the_answers_headers_say_the_way_it_took() -> None:
    async with stand(*TWO) as s, clients.openai_client(s) as weir:
        s.sim.fault("cheap", Fault(FaultKind.SERVER_ERROR))
        raw = await weir.chat.completions.with_raw_response.create(model="auto", messages=HI)
        headers = raw.headers
        assert (headers["x-weir-tier"], headers["x-weir-backend"]) == ("llm/t1", "dear")
        assert (headers["x-weir-attempts"], headers["x-weir-complexity"]) == ("2", "Simple")
        assert headers["x-weir-request-id"] == s.last["id"]


EU = {"region": "eu"}


@pytest.mark.parametrize(
    "kind", [FaultKind.SERVER_ERROR, FaultKind.UNAUTHORIZED, FaultKind.RESET, FaultKind.RATE_LIMIT]
)
async def test_residency_holds_for_fallbacks_though_all_others_are_down(kind: FaultKind) -> None:
    tiers = [SimModel("eu"), SimModel("us")], [SimModel("other-eu"), SimModel("other-us")]
    changes = {"eu": {"labels": EU}, "other-eu": {"labels": EU}, "other-us": {"labels": {"region": "us"}}}
    async with stand(*tiers, changes=changes) as s, clients.openai_client(s, max_retries=0) as weir:
        rerouted(s, Route(name="eu", tiers=(CHEAP, DEAR), require=EU))
        s.sim.fault("eu", Fault(kind))
        assert (await weir.chat.completions.create(model="auto", messages=HI)).model == "other-eu"
        s.sim.fault("other-eu", Fault(kind))
        for _ in range(12):  # past the point at which breakers open
            with pytest.raises((openai.InternalServerError, openai.RateLimitError)):
                await weir.chat.completions.create(model="auto", messages=HI)
        assert s.sim.stats["us"].requests == s.sim.stats["other-us"].requests == 0


async def test_residency_holds_under_an_override_and_in_observe_mode() -> None:
    changes: dict[str, dict[str, Any]] = {"cheap": {"labels": EU}}
    async with stand(*TWO, changes=changes) as s, clients.openai_client(s) as weir:
        route = Route(name="eu", tiers=(CHEAP,), require=EU)
        for policy in (
            {"override": Override(tier=DEAR, until=time.time() + 60)},
            {"override": None, "mode": Mode.OBSERVE, "baseline": DEAR},
        ):
            rerouted(s, route, **policy)
            with pytest.raises(openai.BadRequestError, match="region=eu"):
                await weir.chat.completions.create(model="auto", messages=HI)
        assert s.sim.stats["dear"].requests == 0


async def test_observe_sends_to_the_baseline_and_records_where_it_would_have_gone() -> None:
    async with stand(*TWO, mode=Mode.OBSERVE, baseline=DEAR) as s:
        assert await lands(s) == "dear"
        assert (s.last["tier"], s.last["observed_tier"], s.last["route"]) == ("llm/t1", "llm/t0", "all")
        assert s.last["diverted"] == "observe: route all matches, sent to the baseline llm/t1"


async def test_an_override_takes_everything_until_its_moment() -> None:
    async with stand(*TWO) as s:
        rerouted(s, override=Override(tier=DEAR, until=time.time() + 60))
        assert await lands(s) == "dear"
        assert s.last["diverted"].startswith("override: everything goes to llm/t1 until")
        rerouted(s, override=Override(tier=DEAR, until=time.time() - 1))
        assert await lands(s) == "cheap"
        assert "diverted" not in s.last


async def test_an_override_is_told_in_the_answers_headers() -> None:
    until = time.time() + 60
    async with stand(*TWO, override=Override(tier=DEAR, until=until)) as s, clients.openai_client(s) as weir:
        raw = await weir.chat.completions.with_raw_response.create(model="auto", messages=HI)
    assert raw.headers["x-weir-reason"].startswith("override: everything goes to llm/t1 until")


async def test_a_tier_that_misses_its_objectives_is_passed_over_once_that_is_known() -> None:
    tiers = [SimModel("cheap", ttft=0.1)], [SimModel("dear")]
    changes = {name: {"objectives": Objectives(ttft=0.06)} for name in ("cheap", "dear")}
    async with stand(*tiers, changes=changes) as s:
        seen = [await lands(s) for _ in range(SAMPLES + 2)]
        keeps = {key: view.keeps_objectives for key, view in s.router.board.view().items()}
    assert seen == ["cheap"] * SAMPLES + ["dear"] * 2
    assert keeps == {"llm/t0/cheap": False, "llm/t1/dear": True}


@pytest.mark.parametrize("state", [BackendState.DRAINING, BackendState.DISABLED])
async def test_a_backend_that_is_not_active_takes_nothing_new(state: BackendState) -> None:
    async with stand(*TWO, changes={"cheap": {"state": state}}) as s:
        assert await lands(s) == "dear"
        assert s.sim.stats["cheap"].requests == 0


async def test_only_draining_backends_is_unavailable_and_not_the_callers_fault() -> None:
    async with stand([SimModel("m")], changes={"m": {"state": BackendState.DRAINING}}) as s:
        with pytest.raises(openai.InternalServerError, match="Draining"):
            await lands(s)


async def test_what_runs_on_a_draining_backend_ends() -> None:
    async with stand([SimModel("m", tokens_per_second=400)]) as s, clients.openai_client(s) as weir:
        stream = await weir.chat.completions.create(model="auto", messages=HI, stream=True)
        chunks = [await anext(stream)]
        drained = msgspec.structs.replace(s.config.tiers["llm/t0"].backends[0], state=BackendState.DRAINING)
        tier = msgspec.structs.replace(s.config.tiers["llm/t0"], backends=(drained,))
        s.apply(msgspec.structs.replace(s.config, revision=2, tiers={"llm/t0": tier}))
        chunks += [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason == "stop"


NEEDS: dict[Capability, dict[str, Any]] = {
    Capability.TOOLS: {"tools": OPENAI_TOOLS},
    Capability.JSON_SCHEMA: {
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}
    },
    Capability.VISION: {"prompt": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]},
    Capability.AUDIO: {"prompt": [{"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}]},
    Capability.DOCUMENTS: {"prompt": [{"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ=="}}]},
    Capability.REASONING: {"reasoning_effort": "high"},
}


@pytest.mark.parametrize("capability", NEEDS)
async def test_a_request_goes_only_to_backends_that_offer_what_it_needs(capability: Capability) -> None:
    lacking = frozenset(Capability) - {capability}
    changes = {"lacks": {"capabilities": lacking}, "has": {"capabilities": frozenset(Capability)}}
    async with stand([SimModel("lacks")], [SimModel("has")], changes=changes) as s:
        assert await lands(s) == "lacks"
        assert await lands(s, **NEEDS[capability]) == "has"
    async with stand([SimModel("lacks")], changes=changes) as s:
        if capability is Capability.REASONING:  # the one that a request can do without
            assert await lands(s, **NEEDS[capability]) == "lacks"
            assert "reasoning_effort" not in s.sim.requests("lacks")[-1].json()
            return
        with pytest.raises(openai.BadRequestError, match=capability.value):
            await lands(s, **NEEDS[capability])


async def test_a_long_prompt_goes_to_a_context_that_holds_it() -> None:
    changes = {"small": {"limits": BackendLimits(context_tokens=500)}}
    async with stand([SimModel("small")], [SimModel("large")], changes=changes) as s:
        assert await lands(s) == "small"
        assert await lands(s, "word " * 1000) == "large"
        assert s.sim.stats["small"].requests == 1


async def test_a_context_error_moves_on_to_a_larger_context_only() -> None:
    limits = {
        name: {"limits": BackendLimits(context_tokens=size)} for name, size in (("a", 5000), ("b", 4000), ("c", 9000))
    }
    async with stand([SimModel("a")], [SimModel("b")], [SimModel("c")], changes=limits) as s:
        s.sim.fault("a", Fault(FaultKind.CONTEXT_LENGTH))
        assert await lands(s) == "c"
        assert s.sim.stats["b"].requests == 0


@pytest.mark.parametrize("dialect", Dialect)
async def test_an_upstream_that_refuses_streams_answers_plain_callers_and_is_remembered(dialect: Dialect) -> None:
    async with stand([SimModel("m", dialect)], [SimModel("spare")]) as s:
        s.sim.fault("m", Fault(FaultKind.STREAM_REFUSED))
        assert await lands(s) == "m"
        assert s.sim.stats["m"].requests == 2
        assert [a["outcome"] for a in s.last["attempts"]] == ["added", "ok"]
        assert await lands(s) == "m"
        assert s.sim.stats["m"].requests == 3
        s.apply(msgspec.structs.replace(s.config, revision=2))
        assert await lands(s) == "m"
        assert s.sim.stats["m"].requests == 4  # the backend's own config is the same


async def test_an_upstream_that_refuses_streams_refuses_a_caller_who_asks_for_one() -> None:
    async with stand([SimModel("m")]) as s, clients.openai_client(s) as weir:
        s.sim.fault("m", Fault(FaultKind.STREAM_REFUSED))
        with pytest.raises(openai.BadRequestError, match="verified to stream"):
            await weir.chat.completions.create(model="auto", messages=HI, stream=True)
        assert s.sim.stats["m"].requests == 1


@pytest.mark.parametrize("dialect", Dialect)
async def test_an_upstream_that_does_not_know_stream_options_streams_without(dialect: Dialect) -> None:
    async with stand([SimModel("m", refuses=("stream_options",))]) as s:
        async with clients.openai_client(s) as o, clients.anthropic_client(s) as a:
            if dialect is Dialect.OPENAI:
                stream: Any = await o.chat.completions.create(model="auto", messages=HI, stream=True)
            else:
                stream = await a.messages.create(model="auto", messages=HI, stream=True, max_tokens=99)
            assert [item async for item in stream]
        assert (s.last["outcome"], s.last["usage"]["output"], s.last["usage"]["estimated"]) == ("ok", 40, True)


async def test_parameters_are_made_to_fit_whichever_model_takes_over() -> None:
    changes = {
        "fit": {
            "parameters": Parameters(
                drop=("temperature", "logit_bias"), rename={"max_tokens": "max_completion_tokens"}
            ),
            "limits": BackendLimits(output_tokens=50),
        }
    }
    fussy = SimModel("fit", refuses=("temperature", "max_tokens", "logit_bias"), output_tokens=50)
    async with stand([SimModel("first")], [fussy], changes=changes) as s:
        s.sim.fault("first", Fault(FaultKind.SERVER_ERROR))
        assert await lands(s, temperature=0.5, logit_bias={"1": 2}, max_tokens=900, top_p=0.5) == "fit"
        first, sent = s.sim.requests("first")[-1].json(), s.sim.requests("fit")[-1].json()
    assert (first["temperature"], first["max_tokens"]) == (0.5, 900)
    assert (sent["max_completion_tokens"], sent["top_p"]) == (50, 0.5)


async def test_a_smaller_context_takes_over_with_as_much_output_as_it_has_room_for() -> None:
    changes = {"small": {"limits": BackendLimits(context_tokens=4_000)}}
    async with stand([SimModel("first")], [SimModel("small", context_tokens=4_000)], changes=changes) as s:
        s.sim.fault("first", Fault(FaultKind.SERVER_ERROR))
        assert await lands(s, max_tokens=64_000) == "small"
        assert 3_900 < s.sim.requests("small")[-1].json()["max_tokens"] < 4_000


async def test_parameters_fit_across_dialects_too() -> None:
    limited = {"a": {"limits": BackendLimits(output_tokens=50), "parameters": Parameters(drop=("temperature",))}}
    model = SimModel("a", Dialect.ANTHROPIC, output_tokens=50, refuses=("temperature",))
    async with stand([SimModel("first")], [model], changes=limited) as s:
        s.sim.fault("first", Fault(FaultKind.UNAVAILABLE))
        assert await lands(s, temperature=0.5, max_completion_tokens=900) == "a"
        assert s.sim.requests("a")[-1].json()["max_tokens"] == 50
        assert await lands(s) == "a"
        assert s.sim.requests("a")[-1].json()["max_tokens"] == 50


class Trip(pydantic.BaseModel):
    """The class of the structured answers."""

    city: str
    days: int


@pytest.mark.parametrize("upstream", Dialect)
async def test_the_parse_helpers_give_typed_answers(upstream: Dialect) -> None:
    async with stand([SimModel("m", upstream)]) as s, clients.openai_client(s) as o, clients.anthropic_client(s) as a:
        parsed = await o.chat.completions.parse(model="auto", messages=HI, response_format=Trip)
        async with o.chat.completions.stream(model="auto", messages=HI, response_format=Trip) as stream:
            streamed = await stream.get_final_completion()
        message = await a.messages.parse(model="auto", messages=HI, max_tokens=99, output_format=Trip)
    expected = Trip(city="sim", days=1)
    assert parsed.choices[0].message.parsed == streamed.choices[0].message.parsed == message.parsed_output == expected


async def test_dollars_count_every_attempt_that_was_paid_for_and_what_was_saved() -> None:
    changes = {"cheap": {"price": Price(input=0.0, output=1.0)}, "dear": {"price": Price(input=0.0, output=10.0)}}
    async with stand(*TWO, changes=changes, baseline=DEAR) as s:
        await lands(s)
        assert s.last["dollars"] == pytest.approx(40e-6)
        assert s.last["baseline_dollars"] == pytest.approx(400e-6)
        async with httpx2.AsyncClient(verify=False) as http:
            page = (await http.get(f"{s.router.admin_url}/metrics")).text
    saved = next(line for line in page.splitlines() if line.startswith("weir_saved_dollars{"))
    assert float(saved.rsplit(" ", 1)[1]) == pytest.approx(360e-6)


async def test_a_client_that_leaves_stops_the_upstream_and_is_counted() -> None:
    async with stand([SimModel("m", tokens_per_second=50)]) as s, clients.anthropic_client(s) as weir:
        stream = await weir.messages.create(model="auto", messages=HI, max_tokens=99, stream=True)
        async for event in stream:
            if event.type == "content_block_delta":
                break
        await stream.close()
        await s.sim.until(lambda: s.sim.stats["m"].cancelled == 1)
        await s.sim.until(lambda: s.sim.stats["m"].in_flight == 0)
    assert s.last["outcome"] == "cancelled"
