"""Tokens of callers: remembered until they expire, forgotten when the trust changes, and reviewed if configured."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from support.tokens import NOW, RSA, STRANGER, Signer, trust
from weir_router.clock import ManualClock
from weir_router.contract import CallerKey, CallerKind, CompiledConfig, Secrets, TokenTrust
from weir_router.contract.caller import Caller
from weir_router.errors import IdentityUnavailable, Unauthenticated
from weir_router.identify import identifier as module
from weir_router.identify.identifier import Identifier
from weir_router.identify.keys import fingerprint
from weir_router.identify.reviews import GOOD_SECONDS, NoAnswer
from weir_router.identify.tokens import LEEWAY, TokenVerifier

TOKEN = RSA.token()
WEB = Caller("team-a", "web", CallerKind.SERVICE_ACCOUNT, pod="web-0")
KEY = "weir_0123456789abcdef"
SECRETS = Secrets(caller_keys={fingerprint(KEY): CallerKey(namespace="team-k", name="ci")})


@dataclass
class ApiServer:
    """A reviewer that answers when a test allows it, and counts its calls."""

    refusal: str | None = None
    trouble: str | None = None
    asked: list[str] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    async def review(self, token: str) -> str | None:
        self.asked.append(token)
        await self.may_answer.wait()
        if self.trouble is not None:
            raise NoAnswer(self.trouble)
        return self.refusal


class Router:
    """An identifier with its clock."""

    def __init__(self, tokens: TokenTrust | None, **options: object) -> None:
        self.clock = ManualClock(wall=NOW)
        self.identifier = Identifier(self.clock, **options)  # type: ignore[arg-type]
        self.trust(tokens)

    def trust(self, tokens: TokenTrust | None, **config: str) -> None:
        self.identifier.configure(CompiledConfig(tokens=tokens, **config), SECRETS)

    async def caller(self, token: str = TOKEN) -> Caller:
        return await self.identifier.identify({"authorization": f"Bearer {token}"})


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signature was verified."""
    seen: list[str] = []
    verify = TokenVerifier.verify
    monkeypatch.setattr(TokenVerifier, "verify", lambda it, token, now: seen.append(token) or verify(it, token, now))
    return seen


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer {TOKEN} "},
        {"x-api-key": TOKEN},
        {"x-api-key": "sk-ant-of-the-environment", "authorization": f"Bearer {TOKEN}"},
        {"x-api-key": TOKEN, "authorization": "Bearer sk-of-the-environment"},
    ],
)
async def test_a_token_in_either_sdk_s_header_names_its_caller(headers: dict[str, str]):
    assert await Router(trust(RSA)).identifier.identify(headers) == WEB


async def test_an_api_key_goes_before_a_token():
    router = Router(trust(RSA))
    caller = await router.identifier.identify({"authorization": f"Bearer {TOKEN}", "x-api-key": KEY})
    assert (caller.namespace, caller.kind) == ("team-k", CallerKind.API_KEY)


async def test_a_token_is_verified_once_and_looked_up_after_that(verified: list[str]):
    router = Router(trust(RSA))
    assert [await router.caller() for _ in range(3)] == [WEB] * 3
    assert verified == [TOKEN]


async def test_what_is_remembered_ends_with_the_token(verified: list[str]):
    router = Router(trust(RSA))
    await router.caller()
    router.clock.advance(3600 + LEEWAY - 1)
    await router.caller()
    assert len(verified) == 1
    router.clock.advance(1)
    with pytest.raises(Unauthenticated, match="it expired"):
        await router.caller()


async def test_what_is_remembered_survives_a_config_with_the_same_keys_and_no_other(verified: list[str]):
    router = Router(trust(RSA))
    await router.caller()
    router.trust(trust(RSA), anonymous_namespace="team-b")
    await router.caller()
    assert len(verified) == 1
    router.trust(trust(Signer("new")))
    with pytest.raises(Unauthenticated, match="does not publish"):
        await router.caller()


async def test_a_bad_token_is_never_remembered(verified: list[str]):
    router = Router(trust(RSA))
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="signature"):
            await router.caller(STRANGER.token())
    assert len(verified) == 2


async def test_so_many_are_remembered_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch, verified: list[str]):
    monkeypatch.setattr(module, "KNOWN_MAX", 2)
    router = Router(trust(RSA))
    tokens = [RSA.token(account=name) for name in ("a", "b", "c")]
    for token in (*tokens, tokens[2], tokens[1], tokens[0]):
        await router.caller(token)
    assert verified == [*tokens, tokens[0]]


@pytest.mark.parametrize("config", [{}, {"anonymous_namespace": "team-b"}])
async def test_a_bad_token_is_never_taken_for_anonymous(config: dict[str, str]):
    router = Router(None)
    router.trust(trust(RSA), **config)
    with pytest.raises(Unauthenticated, match="signature"):
        await router.caller(STRANGER.token())


async def test_a_sidecar_s_pod_is_the_caller_of_what_shows_nothing():
    router = Router(trust(RSA), local=WEB)
    assert await router.identifier.identify({}) == WEB
    assert await router.caller("sk-placeholder") == WEB
    with pytest.raises(Unauthenticated):
        await router.caller(STRANGER.token())


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ({}, True),
        ({"authorization": "Bearer sk-of-a-provider"}, True),
        ({"x-api-key": "sk-ant-of-a-provider"}, True),
        ({"authorization": "Bearer weir_unknown"}, False),
        ({"authorization": f"Bearer {STRANGER.token()}"}, False),
        ({"x-api-key": "sk-ant-of-a-provider", "authorization": "Bearer weir_unknown"}, False),
    ],
)
async def test_what_is_remembered_without_a_look_at_a_key_is_what_is_identified(headers: dict[str, str], known: bool):
    router = Router(trust(RSA), local=WEB)
    assert router.identifier.remembered(headers) == (WEB if known else None)
    if known:
        assert await router.identifier.identify(headers) == WEB
    else:
        with pytest.raises(Unauthenticated):
            await router.identifier.identify(headers)


async def test_a_reviewed_token_counts_for_some_seconds():
    api = ApiServer()
    router = Router(trust(RSA, review=True), reviewer=api)
    assert [await router.caller() for _ in range(3)] == [WEB] * 3
    router.clock.advance(GOOD_SECONDS)
    await router.caller()
    assert api.asked == [TOKEN] * 2


async def test_a_token_of_a_deleted_pod_is_refused_with_the_api_server_s_words():
    api = ApiServer(refusal="the pod is gone")
    router = Router(trust(RSA, review=True), reviewer=api)
    with pytest.raises(Unauthenticated, match="not accepted: the pod is gone"):
        await router.caller()
    api.refusal = None
    assert await router.caller() == WEB


async def test_nobody_is_asked_about_a_forged_token():
    api = ApiServer()
    router = Router(trust(RSA, review=True), reviewer=api)
    with pytest.raises(Unauthenticated, match="signature"):
        await router.caller(STRANGER.token())
    assert api.asked == []


async def test_many_requests_at_once_are_one_question():
    api = ApiServer()
    api.may_answer.clear()
    router = Router(trust(RSA, review=True), reviewer=api)
    callers = [asyncio.create_task(router.caller()) for _ in range(5)]
    await asyncio.sleep(0)
    callers[0].cancel()
    api.may_answer.set()
    assert await asyncio.gather(*callers[1:]) == [WEB] * 4
    assert len(api.asked) == 1


async def test_without_an_answer_a_token_is_neither_good_nor_bad():
    router = Router(trust(RSA, review=True), reviewer=ApiServer(trouble="no answer in time"))
    with pytest.raises(IdentityUnavailable, match="no answer in time") as caught:
        await router.caller()
    assert caught.value.retry_after == 1.0
    with pytest.raises(IdentityUnavailable, match="no config server to ask"):
        await Router(trust(RSA, review=True)).caller()
