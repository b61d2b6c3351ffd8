"""Who is asking."""

import pytest

from weir_router.contract import CallerKey, CallerKind, Secrets
from weir_router.errors import Unauthenticated
from weir_router.identify.keys import fingerprint, identify, presented_key

KEY = "weir_0123456789abcdef"
SECRETS = Secrets(caller_keys={fingerprint(KEY): CallerKey(namespace="team-a", name="ci", user_tier="paid")})
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY} "},
        {"x-api-key": KEY},
        {"x-api-key": "sk-ant-of-the-environment", "authorization": f"Bearer {KEY}"},
        {"x-api-key": KEY, "authorization": f"Bearer {TOKEN}"},
    ],
)
def test_a_known_key_names_its_caller_in_either_sdks_header(headers):
    caller = identify(headers, SECRETS, None)
    assert (caller.namespace, caller.name, caller.kind, caller.user_tier) == (
        "team-a",
        "ci",
        CallerKind.API_KEY,
        "paid",
    )


def test_an_unknown_weir_key_is_refused_even_where_anonymous_callers_are_allowed():
    with pytest.raises(Unauthenticated, match="weir key create"):
        identify({"authorization": "Bearer weir_unknown"}, SECRETS, "team-a")


def test_a_providers_key_is_ignored_where_anonymous_callers_are_allowed():
    caller = identify({"authorization": "Bearer sk-something"}, SECRETS, "team-b")
    assert (caller.namespace, caller.kind) == ("team-b", CallerKind.ANONYMOUS)


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Basic abc"}, {"authorization": "Bearer sk-x"}, {"x-api-key": "sk-x"}]
)
def test_whoever_shows_no_weir_key_is_refused_where_keys_are_required(headers):
    with pytest.raises(Unauthenticated):
        identify(headers, SECRETS, None)


@pytest.mark.parametrize("anonymous", [None, "team-a"])
def test_a_service_account_token_is_refused_rather_than_taken_for_anonymous(anonymous):
    with pytest.raises(Unauthenticated, match="ServiceAccount"):
        identify({"authorization": f"Bearer {TOKEN}"}, SECRETS, anonymous)


def test_an_error_never_repeats_the_key():
    for key in ("weir_secret-value", "sk-secret-value", TOKEN):
        with pytest.raises(Unauthenticated) as caught:
            identify({"authorization": f"Bearer {key}"}, SECRETS, None)
        assert key not in caught.value.message


def test_an_empty_bearer_is_no_key():
    assert presented_key({"authorization": "Bearer "}) is None


def test_secrets_do_not_show_in_a_repr():
    assert "sk-" not in repr(Secrets(credentials={"h": "sk-value"}))
