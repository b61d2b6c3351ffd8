"""The keys that count, and how long, while API servers come and go with lists of their own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from support.tokens import AUDIENCE, EC, ISSUER, RSA
from weir_operator.identity.trust import (
    KEPT_SECONDS,
    KEYS_MAX,
    Known,
    Listed,
    audience,
    learned,
    signing_keys,
    taken_over,
)
from weir_operator.identity.trust import config_audience as routers_audience
from weir_router.contract import CompiledConfig, SigningKey, TokenTrust

OLD, NEW = Listed(ISSUER, (RSA.public,)), Listed(ISSUER, (EC.public,))
BOTH = Listed(ISSUER, (RSA.public, EC.public))


def trusted(known: Known) -> set[str]:
    trust = known.trust(AUDIENCE, review=False)
    return {key.id for key in trust.keys} if trust else set()


def after(*answers: tuple[float, Listed]) -> set[str]:
    """The keys that count after API servers' answers at these moments."""
    known = Known()
    for now, listed in answers:
        known = learned(known, listed, now)
    return trusted(known)


def jwk(signer: Any, **changes: Any) -> dict[str, Any]:
    parts = {part: value for part, value in msgspec.structs.asdict(signer.public).items() if value is not None}
    name, algorithm = parts.pop("id"), parts.pop("algorithm")
    return {"kid": name, "alg": algorithm, "use": "sig", "kty": "RSA" if "n" in parts else "EC", **parts, **changes}


def test_a_new_key_counts_at_once_beside_the_old_one():
    assert after((0, OLD), (60, BOTH)) == {"rsa", "ec"}


def test_a_key_that_one_api_server_does_not_list_yet_stays():
    """Two API servers behind one address, one of which was restarted with the new key."""
    assert after((0, BOTH), (60, OLD), (120, BOTH), (180, OLD)) == {"rsa", "ec"}


def test_a_withdrawn_key_is_gone_after_a_while():
    assert after((0, BOTH), (KEPT_SECONDS - 1, NEW)) == {"rsa", "ec"}
    assert after((0, BOTH), (KEPT_SECONDS, NEW)) == {"ec"}


def test_another_issuer_starts_anew():
    known = learned(learned(Known(), OLD, 0), Listed("https://other", (EC.public,)), 1)
    assert known.trust(AUDIENCE, review=False) == TokenTrust(
        issuer="https://other", audience=AUDIENCE, keys=(EC.public,)
    )


def test_what_was_published_counts_until_an_api_server_answers():
    known = taken_over(TokenTrust(issuer=ISSUER, audience=AUDIENCE, keys=(RSA.public,)), now=0)
    assert trusted(known) == {"rsa"}
    assert trusted(learned(known, NEW, 60)) == {"rsa", "ec"}
    assert trusted(learned(known, NEW, KEPT_SECONDS)) == {"ec"}
    assert trusted(taken_over(None, now=0)) == set()


def test_equal_knowledge_is_an_equal_trust_whatever_the_order_and_the_time():
    one = learned(Known(), BOTH, 0).trust(AUDIENCE, review=True)
    other = learned(Known(), Listed(ISSUER, (EC.public, RSA.public)), 99).trust(AUDIENCE, review=True)
    assert one == other
    assert one is not None
    assert one.review


def test_there_are_never_more_keys_than_a_config_can_carry():
    keys = tuple(msgspec.structs.replace(RSA.public, id=f"k{number}") for number in range(KEYS_MAX + 5))
    assert len(after((0, Listed(ISSUER, keys)))) == KEYS_MAX


def test_callers_and_routers_have_different_audiences():
    assert audience("prod") == "weir/prod" != routers_audience("prod")


def test_a_key_set_is_read_with_public_parts_only():
    keys = signing_keys({"keys": [jwk(RSA, d="secret", p="secret", x5c=["..."]), jwk(EC)]})
    assert keys == (RSA.public, EC.public)
    assert b"secret" not in msgspec.json.encode(CompiledConfig(tokens=TokenTrust(issuer="i", audience="a", keys=keys)))


def test_an_algorithm_that_is_not_said_follows_from_the_key():
    assert signing_keys({"keys": [jwk(RSA, alg=None), jwk(EC, alg=None)]}) == (RSA.public, EC.public)


@pytest.mark.parametrize(
    "entry",
    [
        jwk(RSA, alg="HS256"),
        jwk(RSA, alg="none"),
        jwk(RSA, alg=["RS256"]),
        jwk(RSA, use="enc"),
        jwk(RSA, kid=None),
        jwk(RSA, n=7),
        jwk(RSA, alg="ES256"),
        jwk(EC, alg=None, crv="P-192"),
        {"kty": "oct", "kid": "s", "k": "secret"},
        "text",
        None,
    ],
)
def test_what_is_no_key_for_tokens_is_left_out(entry: Any):
    assert signing_keys({"keys": [entry, jwk(EC)]}) == (EC.public,)


@pytest.mark.parametrize("jwks", [None, [], {}, {"keys": None}, {"keys": {}}, "text"])
def test_what_is_no_key_set_has_no_keys(jwks: Any):
    assert signing_keys(jwks) == ()


def test_a_signing_key_has_no_field_for_a_private_part():
    assert set(SigningKey.__struct_fields__) == {"id", "algorithm", "n", "e", "crv", "x", "y"}
