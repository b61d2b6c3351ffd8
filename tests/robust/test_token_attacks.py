"""Attempts to impersonate a caller, over HTTP: each is refused for a reason of its own, and none costs a model call.

Tokens of a real API server: `tests/kube/test_identity.py`; what tenants do to each other's objects:
`tests/kube/test_attacks.py`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from multidict import CIMultiDict

from support.callers import request_for
from support.stand import KEY, NAMESPACE, Stand, stand
from support.tokens import NOW, RSA, STRANGER, Signer, claims_of, trust
from weir_cli.sim import SimModel
from weir_router.clock import ManualClock
from weir_router.contract import Dialect

GOOD = RSA.token(NAMESPACE, "web")
ELSEWHERE = RSA.token("team-b", "web")
NO_PROOF = "which proves nothing"


def bare(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token without a signature."""
    parts = (base64.urlsafe_b64encode(json.dumps(it).encode()).rstrip(b"=").decode() for it in (header, claims))
    return ".".join((*parts, ""))


@pytest.fixture
async def gateway() -> AsyncIterator[Stand]:
    async with stand([SimModel("m")], clock=ManualClock(wall=NOW)) as it:
        it.apply(msgspec.structs.replace(it.config, tokens=trust(RSA)))
        yield it


async def ask(gateway: Stand, headers: Any, query: str = "") -> tuple[int, str]:
    """Sends a request; returns the status and the error message."""
    path, body, _ = request_for(Dialect.OPENAI, stream=False)
    async with (
        aiohttp.ClientSession() as session,
        session.post(gateway.url + path + query, json=body, headers=headers) as answer,
    ):
        return answer.status, (await answer.json()).get("error", {}).get("message", "")


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_good_token_is_let_in(gateway: Stand):
    assert await ask(gateway, bearer(GOOD)) == (200, "")


ATTACKS = {
    "forged with a key of the same name": (
        bearer(STRANGER.token(NAMESPACE, "web")),
        "its signature does not fit",
    ),
    "another's claims under one's own signature": (
        bearer(".".join((ELSEWHERE.split(".")[0], GOOD.split(".")[1], ELSEWHERE.split(".")[2]))),
        "its signature does not fit",
    ),
    "signed by nobody": (bearer(bare({"alg": "none", "kid": "rsa"}, claims_of(NAMESPACE, "web"))), NO_PROOF),
    "signed with the public key": (bearer(bare({"alg": "HS256", "kid": "rsa"}, claims_of(NAMESPACE, "web"))), NO_PROOF),
    "expired": (bearer(RSA.token(NAMESPACE, "web", exp=NOW - 3600)), "it expired 3600 s ago"),
    "of the future": (bearer(RSA.token(NAMESPACE, "web", nbf=NOW + 3600)), "it is not valid for another 3600 s"),
    "for ever": (bearer(RSA.token(NAMESPACE, "web", exp=None)), "it never expires"),
    "another installation's": (bearer(RSA.token(NAMESPACE, "web", aud=["weir/other"])), "its audience is 'weir/other'"),
    "for the config server": (
        bearer(RSA.token(NAMESPACE, "web", aud=["weir-config/weir"])),
        "its audience is 'weir-config/weir'",
    ),
    "of another cluster": (
        bearer(Signer("far").token(NAMESPACE, "web", iss="https://far")),
        "it is of another cluster",
    ),
    "a person's": (bearer(RSA.token(NAMESPACE, "web", sub="admin")), "its subject is not the ServiceAccount"),
    "two subjects": (
        bearer(RSA.token("team-b", "web", sub=f"system:serviceaccount:{NAMESPACE}:web")),
        "its subject is not the ServiceAccount",
    ),
    "in the anthropic header": ({"x-api-key": STRANGER.token(NAMESPACE, "web")}, "its signature does not fit"),
    "a forged one before a provider's key": (
        {"x-api-key": "sk-x", **bearer(STRANGER.token())},
        "its signature does not fit",
    ),
    "an invented key beside a good token": ({"x-api-key": "weir_invented", **bearer(GOOD)}, "API key is not known"),
    "a basic login": ({"authorization": "Basic " + base64.b64encode(b"admin:admin").decode()}, "No key and no token"),
    "a token under another scheme": ({"authorization": f"Token {GOOD}"}, "No key and no token"),
    "a token in a cookie": ({"cookie": f"authorization=Bearer {GOOD}"}, "No key and no token"),
    "a forged one before a good one": (
        CIMultiDict([("authorization", f"Bearer {STRANGER.token()}"), ("authorization", f"Bearer {GOOD}")]),
        "its signature does not fit",
    ),
    "half a token": (bearer(GOOD[: len(GOOD) // 2] + "."), "it was changed, or cut off"),
    "a token as long as headers may be": (bearer("eyJ" + "a" * 30_000 + ".."), "it cannot be read"),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_is_refused_for_its_own_reason(gateway: Stand, attack: str):
    headers, reason = ATTACKS[attack]
    status, message = await ask(gateway, headers)
    assert (status, reason in message) == (401, True), message
    assert gateway.sim.requests("m") == []
    assert not any(part in message for part in str(headers).split("'") if len(part) > 40)


async def test_a_token_in_the_url_is_none(gateway: Stand):
    assert (await ask(gateway, {}, f"?access_token={GOOD}&api_key={KEY}"))[0] == 401


SMUGGLED = [
    "x-weir-caller", "x-weir-namespace", "x-weir-service-account", "x-weir-user-tier", "x-forwarded-user",
    "x-forwarded-client-cert", "x-remote-user", "x-remote-group", "impersonate-user", "x-auth-request-user",
]  # fmt: skip


@pytest.mark.parametrize("name", SMUGGLED)
async def test_no_other_header_makes_somebody_a_caller(gateway: Stand, name: str):
    status, message = await ask(gateway, {name: f"{NAMESPACE}/web"})
    assert (status, "No key and no token" in message) == (401, True)


@pytest.mark.parametrize("name", SMUGGLED)
async def test_no_other_header_makes_a_caller_somebody_else(gateway: Stand, name: str):
    status, message = await ask(gateway, {name: f"{NAMESPACE}/web", **bearer(ELSEWHERE)})
    assert (status, "No RoutingPolicy lets team-b/web ask" in message) == (404, True)


async def test_a_feature_is_a_label_and_no_right(gateway: Stand):
    assert (await ask(gateway, {"x-weir-feature": NAMESPACE, **bearer(ELSEWHERE)}))[0] == 404
