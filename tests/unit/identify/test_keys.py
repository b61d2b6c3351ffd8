"""API keys in requests."""

import pytest

from support.tokens import NOW, RSA
from weir_router.clock import ManualClock
from weir_router.contract import CallerKey, CallerKind, CompiledConfig, Secrets
from weir_router.contract.caller import Caller
from weir_router.errors import Unauthenticated
from weir_router.identify.identifier import Identifier
from weir_router.identify.keys import fingerprint, missing, presented_key

KEY = "weir_0123456789abcdef"
SECRETS = Secrets(caller_keys={fingerprint(KEY): CallerKey(namespace="team-a", name="ci", user_tier="paid")})
TOKEN = RSA.token()


async def identify(headers: dict[str, str], anonymous: str | None = None) -> Caller:
    identifier = Identifier(ManualClock(wall=NOW))
    identifier.configure(CompiledConfig(anonymous_namespace=anonymous), SECRETS)
    return await identifier.identify(headers)


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
async def test_a_known_key_names_its_caller_in_either_sdks_header(headers):
    caller = await identify(headers)
    assert (caller.namespace, caller.name, caller.kind, caller.user_tier) == (
        "team-a",
        "ci",
        CallerKind.API_KEY,
        "paid",
    )


async def test_an_unknown_weir_key_is_refused_even_where_anonymous_callers_are_allowed():
    with pytest.raises(Unauthenticated, match="weir key create"):
        await identify({"authorization": "Bearer weir_unknown"}, "team-a")


async def test_a_providers_key_is_ignored_where_anonymous_callers_are_allowed():
    caller = await identify({"authorization": "Bearer sk-something"}, "team-b")
    assert (caller.namespace, caller.kind) == ("team-b", CallerKind.ANONYMOUS)


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Basic abc"}, {"authorization": "Bearer sk-x"}, {"x-api-key": "sk-x"}]
)
async def test_whoever_shows_no_weir_key_is_refused_where_keys_are_required(headers):
    with pytest.raises(Unauthenticated):
        await identify(headers)


@pytest.mark.parametrize("anonymous", [None, "team-a"])
async def test_a_service_account_token_is_refused_rather_than_taken_for_anonymous(anonymous):
    with pytest.raises(Unauthenticated, match="ServiceAccount"):
        await identify({"authorization": f"Bearer {TOKEN}"}, anonymous)


async def test_an_error_never_repeats_the_key():
    for key in ("weir_secret-value", "sk-secret-value", TOKEN):
        with pytest.raises(Unauthenticated) as caught:
            await identify({"authorization": f"Bearer {key}"})
        assert key not in caught.value.message


def test_an_empty_bearer_is_no_key():
    assert presented_key({"authorization": "Bearer "}) is None


@pytest.mark.parametrize(
    ("more", "key"),
    [({}, "weir_a"), ({"authorization": "Bearer weir_b"}, "weir_b"), ({"x-api-key": "weir_c"}, "weir_c")],
)
def test_azures_header_counts_where_there_is_no_other(more: dict[str, str], key: str):
    assert presented_key({"api-key": "weir_a", **more}) == key


def test_secrets_do_not_show_in_a_repr():
    assert "sk-" not in repr(Secrets(credentials={"h": "sk-value"}))


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, "`x-api-key` or `api-key`."),
        ({"authorization": ""}, "`x-api-key` or `api-key`."),
        ({"authorization": "Bearer "}, "a variable is not set."),
        ({"authorization": "bearer"}, "a variable is not set."),
        ({"authorization": KEY}, "does not begin with `Bearer`."),
        ({"authorization": f"Basic {KEY}"}, "does not begin with `Bearer`."),
    ],
)
def test_a_caller_without_a_key_learns_what_its_header_lacks(headers: dict[str, str], told: str):
    assert presented_key(headers) is None
    message = missing(headers)
    assert message.endswith(told)
    assert KEY not in message
