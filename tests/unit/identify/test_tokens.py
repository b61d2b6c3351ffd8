"""Offline verification: the caller of a good token, and the message for each bad one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from support.tokens import AUDIENCE, EC, ISSUER, NOW, RSA, STRANGER, Signer, claims_of, trust
from weir_router.contract import CallerKind, SigningKey
from weir_router.contract.caller import Caller
from weir_router.errors import Unauthenticated
from weir_router.identify.tokens import LEEWAY, TokenVerifier

VERIFIER = TokenVerifier(trust(RSA, EC))
TOKENS = RSA.token(), EC.token()
POD = {"namespace": "team-a", "serviceaccount": {"name": "web"}}


def refusal(token: str, verifier: TokenVerifier = VERIFIER, now: float = NOW) -> str:
    """The message with which `token` is refused, which never repeats it."""
    with pytest.raises(Unauthenticated) as caught:
        verifier.verify(token, now)
    for part in token.split("."):
        assert not part or part not in caught.value.message
    return caught.value.message


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(it).rstrip(b"=").decode() for it in parts)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"])
def test_a_good_token_is_that_of_its_service_account_and_pod(algorithm: str):
    signer = Signer("k", algorithm)
    verified = TokenVerifier(trust(signer)).verify(signer.token(), NOW)
    assert verified.caller == Caller("team-a", "web", CallerKind.SERVICE_ACCOUNT, pod="web-0")
    assert verified.expires == NOW + 3600 + LEEWAY


def test_a_token_of_no_pod_is_as_good():
    assert VERIFIER.verify(RSA.token(**{"kubernetes.io": POD}), NOW).caller.pod is None


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]])
def test_one_of_its_audiences_must_be_ours(audience: Any):
    assert VERIFIER.verify(EC.token(aud=audience), NOW).caller.name == "web"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": ["weir/other"]}, "its audience is 'weir/other', and this installation's 'weir/weir'"),
        ({"aud": ["weir-config/weir"]}, "its audience is 'weir-config/weir'"),
        ({"aud": ["https://kubernetes.default.svc"]}, "its audience is 'https://kubernetes.default.svc'"),
        ({"aud": [AUDIENCE + "x"]}, "its audience is 'weir/weirx'"),
        ({"aud": None}, "its audience is missing"),
        ({"aud": []}, "its audience is missing"),
        ({"iss": "kubernetes/serviceaccount"}, "its issuer is 'kubernetes/serviceaccount'"),
        ({"iss": None}, "its issuer is ''"),
        ({"exp": NOW - LEEWAY}, "it expired 60 s ago. The kubelet renews the file: read it for each request"),
        ({"exp": None}, "it never expires"),
        ({"nbf": NOW + LEEWAY + 1}, "it is not valid for another 61 s; is a clock wrong?"),
        ({"kubernetes.io": None}, "it has no kubernetes.io claims"),
        ({"sub": "system:serviceaccount:team-b:web"}, "its subject is not the ServiceAccount"),
        ({"sub": "system:serviceaccount:team-a:web:x"}, "its subject is not the ServiceAccount"),
        ({"sub": "system:node:web"}, "its subject is not the ServiceAccount"),
        ({"sub": None}, "its subject is not the ServiceAccount"),
        ({"kubernetes.io": {"namespace": "team-a"}}, "it cannot be read"),
        ({"aud": {"weir/weir": True}}, "it cannot be read"),
        ({"exp": "tomorrow"}, "it cannot be read"),
    ],
)
def test_a_signed_token_with_a_wrong_claim_is_refused_for_that_reason(changes: dict[str, Any], why: str):
    message = refusal(RSA.token(**changes))
    assert message.startswith(f"This ServiceAccount token is not accepted: {why}")
    assert message.endswith("--audience weir/weir`.")


def test_clocks_may_differ_by_the_leeway_and_no_more():
    almost = LEEWAY - 1
    VERIFIER.verify(RSA.token(exp=NOW - almost, nbf=NOW + almost), NOW)


NO_PROOF = ["none", "None", "NONE", "HS256", "HS512", "PS256", "EdDSA", "", None, 7, ["RS256"]]


@pytest.mark.parametrize("algorithm", NO_PROOF)
def test_an_algorithm_that_proves_nothing_is_refused(algorithm: Any):
    assert "which proves nothing" in refusal(unsigned({"alg": algorithm, "kid": "rsa"}, claims_of()))


def test_a_public_key_is_no_shared_secret():
    """The classic confusion: HS256 with the well-known public key as the secret."""
    head = unsigned({"alg": "HS256", "kid": "rsa"}, claims_of()).rpartition(".")[0]
    secret = RSA.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signature = hmac.new(secret, head.encode(), hashlib.sha256).digest()
    token = f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert "signed by 'HS256', which proves nothing" in refusal(token)


@pytest.mark.parametrize(("alg", "kid"), [("ES256", "rsa"), ("RS256", "ec"), ("RS512", "rsa")])
def test_a_token_cannot_choose_another_algorithm_than_its_key_s(alg: str, kid: str):
    assert "the cluster's key" in refusal(unsigned({"alg": alg, "kid": kid}, claims_of(), b"x" * 256))


def test_a_forged_token_is_refused_by_its_signature():
    assert "its signature does not fit its content" in refusal(STRANGER.token())


def test_a_token_with_exchanged_claims_is_refused_by_its_signature():
    head, _, signature = RSA.token("team-a").split(".")
    _, claims, _ = RSA.token("llm", "admin").split(".")
    assert "its signature does not fit its content" in refusal(f"{head}.{claims}.{signature}")


def test_a_token_without_its_signature_is_refused():
    head, claims, _ = RSA.token().split(".")
    assert "its signature does not fit its content" in refusal(f"{head}.{claims}.")


def test_a_key_in_the_token_s_own_header_is_not_used():
    jwk = {"kty": "RSA", "n": STRANGER.public.n, "e": STRANGER.public.e}
    for header in ({"jwk": jwk}, {"jku": "http://evil/jwks"}, {"x5u": "http://evil/x"}):
        assert "signature does not fit" in refusal(STRANGER.token(header=header))


def test_a_token_of_another_cluster_is_told_by_its_issuer():
    other = Signer("other")
    assert f"it is of another cluster: its issuer is 'https://other', and ours '{ISSUER}'" in refusal(
        other.token(iss="https://other")
    )


@pytest.mark.parametrize("header", [{"kid": "new"}, {"kid": "../rsa"}, {"kid": ""}, {}])
def test_an_unknown_key_says_that_a_rotation_takes_a_minute(header: dict[str, str]):
    token = unsigned({"alg": "RS256", **header}, claims_of(), b"x" * 256)
    assert "does not publish. If the cluster has just changed its keys" in refusal(token)


@pytest.mark.parametrize("kid", [None, 7, ["rsa"], {}])
def test_a_key_whose_name_is_no_text_cannot_be_read(kid: Any):
    assert "it cannot be read" in refusal(unsigned({"alg": "RS256", "kid": kid}, claims_of(), b"x" * 256))


def test_a_rotated_key_is_accepted_once_it_is_shipped_and_the_old_one_as_long_as_it_is():
    old, new = Signer("old"), Signer("new")
    before, during, after = TokenVerifier(trust(old)), TokenVerifier(trust(old, new)), TokenVerifier(trust(new))
    assert "'new' that this cluster does not publish" in refusal(new.token(), before)
    assert during.verify(old.token(), NOW).caller == during.verify(new.token(), NOW).caller
    assert "'old' that this cluster does not publish" in refusal(old.token(), after)


@pytest.mark.parametrize(
    "bad",
    [
        SigningKey(id="rsa", algorithm="HS256", n="AQAB", e="AQAB"),
        SigningKey(id="rsa", algorithm="none"),
        SigningKey(id="rsa", algorithm="RS256"),
        SigningKey(id="rsa", algorithm="RS256", n="!", e="AQAB"),
        SigningKey(id="rsa", algorithm="ES256", crv="P-256", x="AA", y="AA"),
    ],
)
def test_a_shipped_key_that_is_none_takes_no_other_with_it(bad: SigningKey):
    verifier = TokenVerifier(trust(EC, keys=(bad, EC.public)))
    assert verifier.verify(EC.token(), NOW).caller.name == "web"
    assert "does not publish" in refusal(RSA.token(), verifier)


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("change", ["{}=", "{}==", "{}\n", " {}", "{}.", "{} ", "{}\xa0", "\ufeff{}"])
def test_another_spelling_of_a_good_token_is_another_token(token: str, change: str):
    assert "it cannot be read" in refusal(change.format(token))


def test_unused_bits_at_the_end_of_a_signature_must_be_zero():
    token = RSA.token()
    assert len(token.rpartition(".")[2]) % 4 == 2  # so four bits of the last character are unused
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = letters[letters.index(token[-1]) + 1]
    assert "it cannot be read" in refusal(token[:-1] + other)


@given(st.text(), st.text(), st.text())
def test_what_is_no_token_is_refused_and_never_a_crash(head: str, claims: str, signature: str):
    with pytest.raises(Unauthenticated):
        VERIFIER.verify(f"eyJ{head}.{claims}.{signature}", NOW)


@given(st.data())
def test_no_changed_byte_is_overlooked(data: st.DataObject):
    token = data.draw(st.sampled_from(TOKENS))
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCXYZabcxyz019-_.="))
    changed = token[:at] + other + token[at + 1 :]
    if changed != token:
        with pytest.raises(Unauthenticated):
            VERIFIER.verify(changed, NOW)
