"""No key crosses Weir: callers' keys reach no upstream, upstreams' keys no caller, and neither any record."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import msgspec
import openai
import pytest

from sdk import clients
from sdk.clients import HI
from support.stand import KEY, UPSTREAM_KEY, Stand, stand
from weir_cli.sim import Fault, FaultKind, SimModel
from weir_router.contract import Dialect, PromptLogging

VERSION = "2023-06-01"
BOTH = pytest.mark.parametrize("dialect", Dialect)
ECHO = f"Incorrect API key provided: {UPSTREAM_KEY}. Authorization: Bearer {UPSTREAM_KEY}; api_key={UPSTREAM_KEY}"
ERRORS = [
    Fault(FaultKind.STATUS, status=status, body={"error": {"message": ECHO, "type": ECHO, "code": ECHO, "param": ECHO}})
    for status in (400, 401, 403, 404, 429, 500, 503)
]


async def everything_said(s: Stand, dialect: Dialect, *, api_key: str = KEY) -> str:
    """All text that a caller, an operator and a scraper see of a plain and a streamed request."""
    path = "/v1/chat/completions" if dialect is Dialect.OPENAI else "/v1/messages"
    headers = {"authorization": f"Bearer {api_key}"} if dialect is Dialect.OPENAI else {"x-api-key": api_key}
    seen: list[Any] = []
    async with httpx2.AsyncClient(verify=False) as http:
        for stream in (False, True):
            body = {"model": "auto", "messages": HI, "max_tokens": 99, "stream": stream}
            answer = await http.post(s.url + path, json=body, headers=headers)
            seen += [answer.text, answer.headers]
        for page in ("/metrics", "/state", "/readyz"):
            seen.append((await http.get(s.router.admin_url + page)).text)
        seen.append((await http.get(f"{s.url}/v1/models", headers=headers)).text)
    return str([*seen, s.log.lines])


@BOTH
@pytest.mark.parametrize("upstream", Dialect)
async def test_the_callers_key_never_reaches_an_upstream_and_the_upstreams_does(
    dialect: Dialect, upstream: Dialect
) -> None:
    async with stand([SimModel("m", upstream, key=UPSTREAM_KEY)]) as s:
        said = await everything_said(s, dialect)
        sent = [str((seen.headers, seen.body)) for seen in s.sim.requests("m")]
    assert len(sent) == 2
    assert all(KEY not in request and UPSTREAM_KEY in request for request in sent)
    assert UPSTREAM_KEY not in said
    assert KEY not in said


@BOTH
@pytest.mark.parametrize("upstream", Dialect)
@pytest.mark.parametrize("fault", ERRORS, ids=lambda fault: str(fault.status))
async def test_an_upstream_that_quotes_its_key_is_not_repeated(
    dialect: Dialect, upstream: Dialect, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    async with stand([SimModel("m", upstream)], prompt_logging=PromptLogging.FULL) as s:
        s.sim.fault("m", fault)
        said = await everything_said(s, dialect)
    assert UPSTREAM_KEY not in said + caplog.text
    assert KEY not in said + caplog.text


@BOTH
@pytest.mark.parametrize("kind", [FaultKind.ERROR_EVENT, FaultKind.ERROR_BODY, FaultKind.RESET, FaultKind.MALFORMED])
async def test_no_failure_says_a_key(dialect: Dialect, kind: FaultKind, caplog: pytest.LogCaptureFixture) -> None:
    async with stand([SimModel("m")], [SimModel("a", Dialect.ANTHROPIC)]) as s:
        s.sim.fault("*", Fault(kind, after=0))
        said = await everything_said(s, dialect)
    assert UPSTREAM_KEY not in said + caplog.text
    assert KEY not in said + caplog.text


@BOTH
async def test_a_key_that_looks_like_a_word_is_not_repeated_either(dialect: Dialect) -> None:
    secret = "correcthorsebatterystaple"
    async with stand([SimModel("m", dialect)]) as s:
        s.secrets = msgspec.structs.replace(s.secrets, credentials={"upstream": secret})
        s.apply(s.config)
        s.sim.fault(
            "m", Fault(FaultKind.STATUS, status=400, body={"error": {"message": f"{secret}: no", "code": secret}})
        )
        said = await everything_said(s, dialect)
        assert secret in str(s.sim.requests("m")[-1].headers)
    assert secret not in said


@BOTH
async def test_a_wrong_key_is_not_repeated_either(dialect: Dialect, caplog: pytest.LogCaptureFixture) -> None:
    async with stand([SimModel("m")]) as s:
        for key in ("weir_not-a-key-of-ours", "sk-proj-of-somebody-else", "eyJhbGciOi.eyJzdWIi.c2ln"):
            assert key not in await everything_said(s, dialect, api_key=key) + caplog.text
        assert s.sim.stats["m"].requests == 0


async def test_headers_that_change_the_answer_reach_an_upstream_of_the_same_dialect_only() -> None:
    headers = {
        "anthropic-beta": "context-1m",
        "cookie": "session=1",
        "x-api-key": KEY,
        "api-key": KEY,
        "x-forwarded-for": "10.0.0.1",
    }
    options: Any = {"organization": "org-1", "project": "proj-1", "default_headers": headers}
    async with stand([SimModel("o")]) as s, clients.openai_client(s, **options) as weir:
        await weir.chat.completions.create(model="auto", messages=HI)
        seen = s.sim.requests("o")[-1].headers
        assert (seen["openai-organization"], seen["openai-project"]) == ("org-1", "proj-1")
        assert seen["authorization"] == f"Bearer {UPSTREAM_KEY}"
        assert not {"anthropic-beta", "cookie", "x-api-key", "api-key", "x-forwarded-for"} & seen.keys()


async def test_anthropics_headers_reach_an_anthropic_upstream() -> None:
    headers = {
        "anthropic-beta": "context-1m",
        "anthropic-version": VERSION,
        "openai-organization": "org-1",
        "authorization": f"Bearer {KEY}",
    }
    async with stand([SimModel("a", Dialect.ANTHROPIC)]) as s:
        async with clients.anthropic_client(s, default_headers=headers) as weir:
            await weir.messages.create(model="auto", messages=HI, max_tokens=9)
        seen = s.sim.requests("a")[-1].headers
    assert (seen["anthropic-beta"], seen["anthropic-version"]) == ("context-1m", VERSION)
    assert seen["x-api-key"] == UPSTREAM_KEY
    assert not {"openai-organization", "authorization"} & seen.keys()


async def test_a_backend_without_a_credential_gets_no_key_at_all() -> None:
    changes = {"o": {"credential": None}, "a": {"credential": None}}
    async with stand([SimModel("o")], [SimModel("a", Dialect.ANTHROPIC)], changes=changes) as s:
        s.sim.fault("o", Fault(FaultKind.SERVER_ERROR))
        async with clients.openai_client(s) as weir:
            await weir.chat.completions.create(model="auto", messages=HI)
        headers = [s.sim.requests(name)[-1].headers for name in ("o", "a")]
    assert not any({"authorization", "x-api-key"} & each.keys() for each in headers)


@pytest.mark.parametrize("header", [b"x-weir-feature: \xff", b"openai-beta: \xff", b"x-request-id: \xff"])
async def test_a_header_that_is_not_utf8_harms_neither_the_answer_nor_the_metrics(header: bytes) -> None:
    name, value = header.split(b": ")
    raw = {name: value, b"authorization": f"Bearer {KEY}".encode()}
    async with stand([SimModel("m")]) as s, httpx2.AsyncClient(verify=False) as http:
        body = {"model": "auto", "messages": HI}
        answer = await http.post(f"{s.url}/v1/chat/completions", json=body, headers=raw)
        assert answer.status_code == 200
        assert (await http.get(f"{s.router.admin_url}/metrics")).status_code == 200
        assert s.last["outcome"] == "ok"


async def test_a_key_that_is_not_utf8_is_an_unknown_key() -> None:
    async with stand([SimModel("m")]) as s, httpx2.AsyncClient(verify=False) as http:
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/messages")):
            answer = await http.request(method, s.url + path, headers={b"x-api-key": b"weir_\xff"})
            assert answer.status_code == 401


async def test_half_a_surrogate_pair_in_an_upstreams_error_does_not_hide_it() -> None:
    body = '{"error": {"message": "bad \\ud83d", "type": "t\\ud83d", "code": "c\\ud83d", "param": "p\\ud83d"}}'
    async with stand([SimModel("m")]) as s, clients.openai_client(s) as weir:
        s.sim.fault("m", Fault(FaultKind.STATUS, status=400, body=body))
        with pytest.raises(openai.BadRequestError, match="bad"):
            await weir.chat.completions.create(model="auto", messages=HI)
        assert s.last["outcome"] == "refused"


@BOTH
async def test_the_models_are_those_that_the_caller_may_ask_for(dialect: Dialect) -> None:
    async with stand([SimModel("m")], models=("auto", "team/fast")) as s:
        client: Any = clients.openai_client(s) if dialect is Dialect.OPENAI else clients.anthropic_client(s)
        async with client:
            assert [model.id async for model in client.models.list()] == ["auto", "team/fast"]
            assert (await client.models.retrieve("auto")).id == "auto"
            assert (await client.models.retrieve("team/fast")).id == "team/fast"
            with pytest.raises((openai.NotFoundError, anthropic.NotFoundError)):
                await client.models.retrieve("m")
