"""The last error of a request names its cause: a rate limit, a missing model, a prompt that is too long."""

import msgspec
import pytest

from weir_router.contract import Dialect
from weir_router.decide.types import Seen, Skipped
from weir_router.dialects.registry import caller_named
from weir_router.errors import (
    ContextExceeded,
    CredentialsExhausted,
    ModelMissing,
    NoCapableModel,
    Unavailable,
    UpstreamLimited,
    UpstreamRefused,
)

from .conftest import ScriptedResponse, refused

GONE = {"code": "model_not_found"}
JSON = {"content-type": "application/json"}


def limited(seconds="2"):
    return ScriptedResponse([b'{"error": {"message": "slow down"}}'], 429, JSON | {"retry-after": seconds})


def redirect():
    return ScriptedResponse([], 307, {"location": "http://elsewhere"})


def message(error, dialect):
    return msgspec.json.decode(caller_named(dialect).error_body(error, "weir-1"))["error"]["message"]


async def failure(world, **more):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each test asks for the very type
        await world.journey(**more).commit()
    return caught.value


async def test_rate_limits_that_are_the_only_reason_stay_a_429_with_the_soonest_return(world):
    world.answers.update(a=[limited("7")], b=[limited("3")])
    error = await failure(world)
    assert (type(error), error.status, error.retry_after) == (UpstreamLimited, 429, 3.0)
    paused = tuple(Skipped("t/t", name, "paused", f"t/t/{name}", seen=Seen()) for name in "ab")
    error = await failure(world, out="ab", skipped=paused)  # nothing is tried, since both are left alone
    assert (type(error), error.retry_after) == (UpstreamLimited, 3.0)


@pytest.mark.parametrize("status", [503, 401])
async def test_rate_limits_among_other_reasons_are_an_outage(world, slept, status):
    world.answers.update(a=[limited()], b=[refused(status), refused(status)])
    assert type(await failure(world)) is Unavailable


@pytest.mark.parametrize(("answer", "told"), [(lambda: refused(404, **GONE), "no"), (redirect, "redirects")])
async def test_a_missing_model_blames_no_credential(world, answer, told):
    world.answers.update(a=[answer()], b=[answer()])
    error = await failure(world)
    assert (type(error), error.status) == (ModelMissing, 502)
    assert told in error.message
    assert "credential" not in error.message


async def test_a_missing_model_beside_a_refused_credential_is_the_accounts_fault(world):
    world.answers.update(a=[refused(404, **GONE)], b=[refused(401)])
    assert type(await failure(world)) is CredentialsExhausted


@pytest.mark.parametrize(("contexts", "kind"), [((8, 32), ContextExceeded), ((None, None), NoCapableModel)])
async def test_a_prompt_that_weir_finds_too_long_is_told_as_such(world, contexts, kind):
    skipped = tuple(Skipped("t/t", str(n), "too small", unfit=True, context=n) for n in contexts)
    error = await failure(world, skipped=skipped, unable="no backend can serve it")
    assert type(error) is kind
    if kind is ContextExceeded:
        assert error.code == "context_length_exceeded"
        assert "maximum context length is 32 tokens" in message(error, Dialect.OPENAI)
        assert message(error, Dialect.ANTHROPIC).startswith("prompt is too long: ")


@pytest.mark.parametrize("said", ["This model's maximum context length is 8 tokens", "prompt is too long: 9 > 8"])
async def test_an_upstreams_own_words_about_the_length_are_known_in_each_format(world, said):
    world.answers.update(a=[refused(400, code="context_length_exceeded", message=said)])
    error = await failure(world)
    assert (type(error), error.code) == (UpstreamRefused, "context_length_exceeded")
    assert message(error, Dialect.ANTHROPIC).lower().count("prompt is too long") == 1
