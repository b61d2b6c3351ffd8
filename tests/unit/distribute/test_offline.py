"""The operator's check of tokens before the API server is asked."""

from __future__ import annotations

import pytest

from support.tokens import EC, NOW, RSA, STRANGER, Signer, trust
from weir_operator.distribute.offline import OfflineCheck
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.token_reviews import TokenRefused

OURS = "weir-config/weir"


class Check:
    """A check, and how often it missed a key."""

    def __init__(self, *signers: Signer) -> None:
        self.signers = signers
        self.missed = 0
        self.up_to_date = True
        self.check = OfflineCheck(self._trust, on_unknown_key=self._miss, wall=lambda: NOW)

    def _trust(self) -> object:
        return trust(*self.signers, audience=OURS) if self.signers else None

    def _miss(self) -> bool:
        self.missed += 1
        return self.up_to_date

    def refusal(self, token: str) -> str:
        with pytest.raises(TokenRefused) as caught:
            self.check(token)
        assert not token or token not in str(caught.value)
        return str(caught.value)


@pytest.mark.parametrize("signer", [RSA, EC])
def test_a_good_token_proves_its_account(signer: Signer):
    assert Check(RSA, EC).check(signer.token(aud=[OURS])) == ServiceAccount("team-a", "web")


@pytest.mark.parametrize("issuer", ["https://earlier", None])
def test_the_issuer_is_left_to_the_api_server_which_may_accept_earlier_ones(issuer: str | None):
    assert Check(RSA).check(RSA.token(aud=[OURS], iss=issuer)) == ServiceAccount("team-a", "web")


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("garbage", "cannot be read"),
        ("eyJ.eyJ.x", "cannot be read"),
        ("", "cannot be read"),
        ("\udc80", "cannot be read"),
        (RSA.token(aud=[OURS]) + "==", "cannot be read"),
        (RSA.token(), "its audience is 'weir/weir'"),
        (RSA.token(aud=[OURS], exp=NOW - 61), "it expired"),
        (RSA.token(aud=[OURS], exp=None), "it never expires"),
        (RSA.token(aud=[OURS], sub="system:node:a"), "its subject is not"),
        (STRANGER.token(aud=[OURS]), "its signature does not fit"),
    ],
)
def test_what_proves_nothing_is_refused_with_its_reason(token: str, why: str):
    check = Check(RSA)
    assert why in check.refusal(token)
    assert check.missed == 0


def test_an_unknown_key_may_be_a_new_one():
    check = Check(RSA)
    new = Signer("new")
    assert "does not publish" in check.refusal(new.token(aud=[OURS]))
    assert check.missed == 1
    check.signers = (RSA, new)
    assert check.check(new.token(aud=[OURS])) == ServiceAccount("team-a", "web")


def test_while_the_keys_cannot_be_fetched_a_new_one_is_for_the_api_server_to_judge():
    check = Check(RSA)
    check.up_to_date = False
    assert check.check(Signer("new").token(aud=[OURS])) is None
    assert "signature" in check.refusal(STRANGER.token(aud=[OURS]))


def test_while_the_keys_are_unknown_the_form_counts():
    check = Check()
    assert check.check(RSA.token()) is None
    assert "cannot be read" in check.refusal("garbage")
