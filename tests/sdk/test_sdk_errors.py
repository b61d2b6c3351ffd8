"""Errors arrive as the right exceptions of the SDKs, name the failed part, and are retried only if that can help."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import httpx2
import msgspec
import openai
import pytest

from sdk import clients
from sdk.clients import HI
from support.stand import KEY, Stand, stand
from weir_cli.sim import Fault, FaultKind, SimModel
from weir_router.call.attempt import Attempt
from weir_router.contract import Dialect, Failover, Limit, TierRef, Timeouts

OPENAI, ANTHROPIC = Dialect.OPENAI, Dialect.ANTHROPIC
DIALECTS = pytest.mark.parametrize("dialect", Dialect)
ANTHROPICS = {
    "Unavailable": "ServiceUnavailableError",
    "Timeout": "GatewayTimeoutError",
    "TooLarge": "RequestTooLargeError",
}
OPENAIS = {"Unavailable": "InternalServerError", "Timeout": "InternalServerError", "TooLarge": "APIStatusError"}


def named(name: str, dialect: Dialect) -> Any:
    """The exception class of the dialect's SDK."""
    if dialect is OPENAI:
        return getattr(openai, OPENAIS.get(name, name))
    return getattr(anthropic, ANTHROPICS.get(name, name))


async def ask(s: Stand, dialect: Dialect, *, stream: bool = False, **options: Any) -> Any:
    """Sends one request with a new client of the dialect; reads a stream to its end. `body` overrides fields."""
    body = {"model": "auto", "messages": HI, "stream": stream, **options.pop("body", {})}
    if dialect is OPENAI:
        async with clients.openai_client(s, **options) as client:
            answer = await client.chat.completions.create(**body)
            return [item async for item in answer] if stream else answer
    async with clients.anthropic_client(s, **options) as other:
        answer = await other.messages.create(**{"max_tokens": 100, **body})
        return [item async for item in answer] if stream else answer


async def refused(name: str, s: Stand, dialect: Dialect, **options: Any) -> Any:
    """The exception that a request raises, of exactly this class; the request was made once."""
    before = len(s.log.lines)
    with pytest.raises(named(name, dialect)) as caught:
        await ask(s, dialect, **options)
    assert type(caught.value) is named(name, dialect)
    assert len(s.log.lines) == before + 1
    return caught.value


def code_of(error: Any) -> Any:
    """Weir's code in the error's body, in either dialect."""
    body = error.body
    return body["code"] if "code" in body else body["error"]["code"]


@DIALECTS
@pytest.mark.parametrize("key", ["weir_wrong", "sk-of-a-provider"])
async def test_a_wrong_key_is_an_authentication_error(dialect: Dialect, key: str) -> None:
    async with stand([SimModel("m")]) as s:
        error = await refused("AuthenticationError", s, dialect, api_key=key)
    assert code_of(error) == "unauthenticated"
    assert error.response.headers["x-weir-error-source"] == "caller"
    assert key not in str(error)


@DIALECTS
async def test_an_unknown_model_is_a_not_found_error_that_lists_what_may_be_asked_for(dialect: Dialect) -> None:
    async with stand([SimModel("m")]) as s:
        error = await refused("NotFoundError", s, dialect, body={"model": "gpt-9"})
    assert "gpt-9" in str(error)
    assert "auto" in str(error)


@DIALECTS
async def test_a_wrong_base_url_is_a_not_found_error_that_says_which_is_right(dialect: Dialect) -> None:
    async with stand([SimModel("m")]) as s:
        with pytest.raises(named("NotFoundError", dialect), match="base URL ends in /v1"):
            await ask(s, dialect, base_url=f"{s.url}/api")


@DIALECTS
async def test_a_base_url_with_or_without_v1_and_slash_is_served(dialect: Dialect) -> None:
    async with stand([SimModel("m")]) as s:
        for end in ("", "/", "/v1", "/v1/"):
            assert (await ask(s, dialect, base_url=s.url + end)).model == "m"


async def test_the_sdk_for_azure_is_served() -> None:
    async with stand([SimModel("m")]) as s:
        async with openai.AsyncAzureOpenAI(azure_endpoint=s.url, api_key=KEY, api_version="2024-10-21") as client:
            answer = await client.chat.completions.create(model="auto", messages=HI)
            assert answer.model == "m"
        async with openai.AsyncAzureOpenAI(azure_endpoint=s.url, api_key="weir_no", api_version="2024-10-21") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.chat.completions.create(model="auto", messages=HI)


@DIALECTS
@pytest.mark.parametrize(
    "body", [{"messages": []}, {"messages": [{"content": "x"}]}, {"max_tokens": -1}, {"model": "m" * 1000}]
)
async def test_a_malformed_request_is_a_bad_request_error(dialect: Dialect, body: dict[str, Any]) -> None:
    async with stand([SimModel("m")]) as s:
        error = await refused("BadRequestError", s, dialect, body=body)
        assert s.sim.stats["m"].requests == 0
        assert len(str(s.last)) < 2000
    assert code_of(error) == "invalid_request"


@DIALECTS
@pytest.mark.parametrize("upstream", Dialect)
@pytest.mark.parametrize("kind", [FaultKind.BAD_REQUEST, FaultKind.CONTENT_FILTER, FaultKind.CONTEXT_LENGTH])
async def test_what_the_upstream_blames_on_the_request_is_a_bad_request_error(
    dialect: Dialect, upstream: Dialect, kind: FaultKind
) -> None:
    async with stand([SimModel("m", upstream)]) as s:
        s.sim.fault("m", Fault(kind))
        error = await refused("BadRequestError", s, dialect)
        streamed = await refused("BadRequestError", s, dialect, stream=True)
        assert s.sim.stats["m"].requests == 2
    assert error.response.headers["x-weir-error-source"] == "upstream"
    assert str(streamed).split("seconds")[0] == str(error).split("seconds")[0]


@DIALECTS
async def test_a_policy_limit_is_a_rate_limit_error_with_retry_after(dialect: Dialect) -> None:
    async with stand([SimModel("m")], limits=Limit(key="p", requests_per_minute=1)) as s:
        await ask(s, dialect)
        error = await refused("RateLimitError", s, dialect, max_retries=0)
        assert s.last["outcome"] == "limited"
    assert 1 <= int(error.response.headers["retry-after"]) <= 60
    assert error.response.headers["x-should-retry"] == "true"
    assert error.response.headers["x-weir-error-source"] == "policy"


async def test_a_grants_limit_moves_on_to_the_next_tier() -> None:
    async with stand([SimModel("first")], [SimModel("second")]) as s:
        route = s.config.policies[0].routes[0]
        limited = TierRef(tier="llm/t0", limits=(Limit(key="grant", requests_per_minute=1),))
        _reroute(s, msgspec.structs.replace(route, tiers=(limited, route.tiers[1])))
        backends = [(await ask(s, OPENAI)).model for _ in range(3)]
    assert backends == ["first", "second", "second"]


async def test_a_grants_limit_without_another_tier_is_a_rate_limit_error() -> None:
    async with stand([SimModel("first")]) as s:
        route = s.config.policies[0].routes[0]
        limited = TierRef(tier="llm/t0", limits=(Limit(key="grant", requests_per_minute=1),))
        _reroute(s, msgspec.structs.replace(route, tiers=(limited,)))
        await ask(s, OPENAI)
        error = await refused("RateLimitError", s, OPENAI, max_retries=0)
    assert "grant" in str(error)


def _reroute(s: Stand, *routes: Any) -> None:
    policy = msgspec.structs.replace(s.config.policies[0], routes=routes)
    s.apply(msgspec.structs.replace(s.config, policies=(policy,)))


@DIALECTS
async def test_a_limit_on_what_is_in_flight_frees_up_when_an_answer_ends(dialect: Dialect) -> None:
    async with stand([SimModel("m", ttft=0.2)], limits=Limit(key="p", in_flight=1)) as s:
        first = asyncio.create_task(ask(s, dialect))
        await s.sim.until(lambda: s.sim.stats["m"].in_flight == 1)
        await refused("RateLimitError", s, dialect, max_retries=0)
        await first
        await ask(s, dialect)


@DIALECTS
@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_left_is_an_internal_server_error_with_what_was_tried(dialect: Dialect, stream: bool) -> None:
    async with stand([SimModel("m")], [SimModel("a", ANTHROPIC)]) as s:
        s.sim.fault("*", Fault(FaultKind.SERVER_ERROR))
        error = await refused("Unavailable", s, dialect, max_retries=0, stream=stream)
    assert error.status_code == 503
    assert code_of(error) == "all_backends_unavailable"
    assert "llm/t0/m" in str(error)
    assert "llm/t1/a" in str(error)
    assert int(error.response.headers["retry-after"]) >= 1
    assert error.response.headers["x-should-retry"] == "true"  # such a failure may pass


@DIALECTS
async def test_no_credential_that_works_is_a_502_and_never_a_401(dialect: Dialect) -> None:
    async with stand([SimModel("m", key="another")], [SimModel("a", ANTHROPIC, key="another")]) as s:
        error = await refused("InternalServerError", s, dialect)
        again = await refused("InternalServerError", s, dialect)
    assert (error.status_code, code_of(error)) == (502, "upstream_credentials")
    assert (again.status_code, code_of(again)) == (502, "upstream_credentials")


@DIALECTS
async def test_no_content_within_the_deadline_is_a_504(dialect: Dialect) -> None:
    async with stand([SimModel("m")], failover=Failover(attempts=1, deadline=0.1)) as s:
        s.sim.fault("m", Fault(FaultKind.SILENCE))
        error = await refused("Timeout", s, dialect)
    assert (error.status_code, code_of(error)) == (504, "deadline_exceeded")


@DIALECTS
async def test_a_policy_that_is_not_ready_says_why(dialect: Dialect) -> None:
    async with stand([SimModel("m")], not_ready="route all has no tier") as s:
        error = await refused("Unavailable", s, dialect)
    assert (error.status_code, code_of(error)) == (503, "policy_not_ready")
    assert "route all has no tier" in str(error)


@DIALECTS
async def test_a_request_above_the_policys_size_is_a_413(dialect: Dialect) -> None:
    async with stand([SimModel("m")], max_request_bytes=1000) as s:
        await ask(s, dialect)
        error = await refused("TooLarge", s, dialect, body={"messages": [{"role": "user", "content": "x" * 1000}]})
    assert (error.status_code, code_of(error)) == (413, "request_too_large")


@DIALECTS
async def test_a_request_above_the_routers_own_size_is_a_413_too(dialect: Dialect) -> None:
    async with stand([SimModel("m")]) as s:
        huge = [{"role": "user", "content": "x" * (33 * 1024 * 1024)}]
        error = await refused("TooLarge", s, dialect, body={"messages": huge})
        assert s.sim.stats["m"].requests == 0
    assert (error.status_code, code_of(error)) == (413, "request_too_large")


async def read(stream: Any, into: list[Any]) -> None:
    """Reads to the end, and keeps what came before an exception."""
    async for item in stream:
        into.append(item)  # noqa: PERF401


BREAKS = [
    Fault(FaultKind.RESET, after=3),
    Fault(FaultKind.CUT, after=3),
    Fault(FaultKind.ENDS_EARLY, after=3),
    Fault(FaultKind.MALFORMED, after=3),
    Fault(FaultKind.ERROR_EVENT, after=3),
    Fault(FaultKind.NO_FINISH),
    Fault(FaultKind.STALL, after=3),
]
QUICK = {name: {"timeouts": Timeouts(idle=0.15)} for name in ("o", "a", "m")}


@DIALECTS
@pytest.mark.parametrize("upstream", Dialect)
@pytest.mark.parametrize("fault", BREAKS, ids=lambda fault: fault.kind.value)
async def test_a_stream_that_breaks_after_content_raises_an_api_error(
    dialect: Dialect, upstream: Dialect, fault: Fault
) -> None:
    got: list[Any] = []
    async with stand([SimModel("m", upstream, tokens_per_second=2000)], [SimModel("spare")], changes=QUICK) as s:
        s.sim.fault("m", fault)
        async with clients.openai_client(s) as o, clients.anthropic_client(s) as a:
            if dialect is OPENAI:
                stream: Any = await o.chat.completions.create(model="auto", messages=HI, stream=True)
            else:
                stream = await a.messages.create(model="auto", messages=HI, stream=True, max_tokens=100)
            with pytest.raises(named("APIError", dialect), match="stream broke after about"):
                await read(stream, got)
        assert (s.last["outcome"], s.last["error"]) == ("broken", "stream_broken")
        assert s.sim.stats["spare"].requests == 0
        assert s.last["usage"]["output"] >= 3
    assert len(got) > 3


@DIALECTS
async def test_the_stream_helpers_raise_it_too(dialect: Dialect) -> None:
    async with stand([SimModel("m", tokens_per_second=2000)]) as s:
        s.sim.fault("m", Fault(FaultKind.RESET, after=3))
        async with clients.openai_client(s) as o, clients.anthropic_client(s) as a:
            helper: Any = (
                o.chat.completions.stream(model="auto", messages=HI)
                if dialect is OPENAI
                else a.messages.stream(model="auto", messages=HI, max_tokens=100)
            )
            async with helper as stream:
                with pytest.raises(named("APIError", dialect), match="stream broke"):
                    await read(stream, [])


@DIALECTS
async def test_the_blocking_sdks_raise_it_too(dialect: Dialect) -> None:
    async with stand([SimModel("m", tokens_per_second=2000)]) as s:
        s.sim.fault("m", Fault(FaultKind.CUT, after=3))

        def work() -> None:
            with clients.openai_sync(s) as o, clients.anthropic_sync(s) as a:
                if dialect is OPENAI:
                    list(o.chat.completions.create(model="auto", messages=HI, stream=True))
                else:
                    list(a.messages.create(model="auto", messages=HI, stream=True, max_tokens=100))

        with pytest.raises(named("APIError", dialect), match="stream broke"):
            await asyncio.to_thread(work)


@DIALECTS
async def test_a_retry_that_can_help_is_made_by_the_sdk_and_succeeds(dialect: Dialect) -> None:
    async with stand([SimModel("m")], failover=Failover(attempts=1)) as s:
        s.sim.fault("m", Fault(FaultKind.RATE_LIMIT, retry_after=1, count=1))
        answer = await ask(s, dialect)
    assert answer.model == "m"
    assert [line["status"] for line in s.log.lines] == [429, 200]


@DIALECTS
async def test_bodies_that_are_no_json_are_refused_with_a_message(dialect: Dialect) -> None:
    path = "/v1/chat/completions" if dialect is OPENAI else "/v1/messages"
    headers = {"x-api-key": "weir_test-key-of-the-caller"}
    async with stand([SimModel("m")]) as s, httpx2.AsyncClient(verify=False, base_url=s.url, headers=headers) as http:
        for body in (b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"model": "\\ud800"}', b"[" * 100_000):
            answer = await http.post(path, content=body)
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == "invalid_request"
            assert answer.headers["x-should-retry"] == "false"


@DIALECTS
@pytest.mark.parametrize("upstream", Dialect)
async def test_answers_and_exceptions_have_an_id_to_quote(dialect: Dialect, upstream: Dialect) -> None:
    async with stand([SimModel("m", upstream)]) as s:
        answer = await ask(s, dialect)
        assert answer._request_id.startswith("req_" if upstream is dialect else "weir-")
        s.sim.fault("m", Fault(FaultKind.BAD_REQUEST))
        error = await refused("BadRequestError", s, dialect)
    assert error.request_id == s.last["id"]


@DIALECTS
async def test_a_bug_behind_the_first_content_ends_the_stream_in_an_error_too(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def buggy(_: Attempt, sink: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Attempt, "relay", buggy)
    async with stand([SimModel("m", tokens_per_second=2000)]) as s:
        with pytest.raises(named("APIError", dialect), match="ZeroDivisionError"):
            await ask(s, dialect, stream=True)
        assert (s.last["outcome"], s.last["error"]) == ("broken", "internal_error")
        await s.sim.until(lambda: s.sim.stats["m"].in_flight == 0)
    assert s.last["id"] in caplog.text


async def test_a_bug_before_it_is_a_500_that_is_not_retried(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def buggy(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Attempt, "start", buggy)
    async with stand([SimModel("m")]) as s:
        error = await refused("InternalServerError", s, OPENAI)
    assert (error.status_code, code_of(error)) == (500, "internal_error")
    assert error.request_id in caplog.text
