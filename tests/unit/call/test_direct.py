"""One request to one named backend: its answer, its failures, and what health hears of them."""

import asyncio

import pytest

from unit.call.conftest import ScriptedResponse, fails, refused
from weir_router.call.direct import Errand, direct
from weir_router.contract import Backend, CompiledConfig, Dialect, Extra, Tier, Timeouts
from weir_router.decide.types import Candidate
from weir_router.dialects.openai_responses.failures import TABLE
from weir_router.errors import (
    CredentialsExhausted,
    FailureKind,
    HostForbidden,
    Overloaded,
    Unavailable,
    UpstreamLimited,
    UpstreamRefused,
)

KEY = "sk-a-long-secret"
READ = Errand("GET", "/responses/resp_1?stream=false")


class Holder:
    def __init__(self, namespace="shop"):
        self.namespace, self.held = namespace, 0


def plain(body, status=200, **headers):
    return ScriptedResponse([body], status, {"content-type": "application/json", **headers})


def place(world, **fields):
    """The only backend of a config, with these fields."""
    backend = Backend(name="a", provider=Dialect.OPENAI, base_url="http://a", model="m", **fields)
    world.board.configure(CompiledConfig(tiers={"llm/t": Tier(namespace="llm", name="t", backends=(backend,))}))
    return Candidate("llm/t", backend, "llm/t/a", ())


async def ask(world, *answers, errand=READ, namespace="shop", **fields):
    world.transport.answers["a"] = list(answers)
    return await direct(world.tools, place(world, **fields), errand, TABLE, KEY, Holder(namespace))


async def test_the_answer_comes_without_the_credential_that_was_sent(world):
    answer = plain(b'{"id": "resp_1", "echo": "sk-a-long-secret"}', **{"x-request-id": "r1", "set-cookie": "no"})
    reply = await ask(world, answer)
    assert reply.body == b'{"id": "resp_1", "echo": "[redacted]"}'
    assert (reply.status, reply.headers) == (200, {"x-request-id": "r1"})
    assert (reply.record.tier, reply.record.backend, reply.record.outcome) == ("llm/t", "a", "ok")
    assert answer.released
    [(name, method, path, headers, body)] = world.transport.sent
    assert (name, method, path, body) == ("a", "GET", "/responses/resp_1?stream=false", b"")
    assert headers["authorization"] == f"Bearer {KEY}"


async def test_a_backends_own_query_and_headers_go_with_it(world):
    extra = Extra(headers={"x-team": "a"}, query="api-version=1", key_header="api-key")
    await ask(world, plain(b"{}"), extra=extra)
    await ask(world, plain(b"{}"), extra=extra, errand=Errand("DELETE", "/responses/resp_1"))
    (_, _, first, headers, _), (_, _, second, _, _) = world.transport.sent
    assert first == "/responses/resp_1?stream=false&api-version=1"
    assert second == "/responses/resp_1?api-version=1"
    assert (headers["x-team"], headers["api-key"]) == ("a", KEY)
    assert "authorization" not in headers


@pytest.mark.parametrize("status", [404, 405, 410])
async def test_what_is_not_there_is_the_callers_and_no_fault_of_the_backend(world, status):
    for namespace in ("shop", "search", "mail"):
        with pytest.raises(UpstreamRefused) as error:
            await ask(world, refused(status, message=f"no such response ({KEY})"), namespace=namespace)
        assert error.value.status == status
        assert KEY not in error.value.message
        assert len(error.value.trail) == 1
    assert world.board.view()["llm/t/a"].state == "closed"


async def test_a_refused_request_keeps_its_status_and_code(world):
    with pytest.raises(UpstreamRefused) as error:
        await ask(world, refused(400, code="invalid_value", param="include"))
    assert (error.value.status, error.value.code, error.value.param) == (400, "invalid_value", "include")


@pytest.mark.parametrize(
    ("failure", "wanted"),
    [
        (fails(FailureKind.CONNECT), Unavailable),
        (fails(FailureKind.HOST), HostForbidden),
        (refused(429), UpstreamLimited),
        (refused(401, code="invalid_api_key"), CredentialsExhausted),
        (refused(500), Unavailable),
    ],
)
async def test_other_failures_blame_the_upstream(world, failure, wanted):
    with pytest.raises(wanted) as error:
        await ask(world, failure)
    assert "llm/t/a" in error.value.message


async def test_a_backend_that_fails_in_a_row_is_not_asked_again(world):
    while "llm/t/a" not in (view := world.board.view()) or view["llm/t/a"].state == "closed":
        with pytest.raises(Unavailable):
            await ask(world, fails(FailureKind.CONNECT))
    asked = len(world.transport.sent)
    with pytest.raises(Unavailable) as error:
        await ask(world)
    assert len(world.transport.sent) == asked
    assert error.value.retry_after >= 1.0
    assert "no other has what it asks for" in error.value.message
    assert "open because of connect" in error.value.message


async def test_its_clock_ends_it(world):
    with pytest.raises(Unavailable, match="no answer within"):
        await ask(world, ScriptedResponse([None], 200), timeouts=Timeouts(total=0.01))


async def test_a_cancelled_one_says_nothing(world):
    task = asyncio.ensure_future(ask(world, ScriptedResponse([None], 200)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.board.view()["llm/t/a"].words == ""


async def test_a_large_answer_counts_for_the_callers_namespace(world):
    world.tools.memory.limit = 1000

    class Large(ScriptedResponse):
        async def read_all(self, grow=None):
            grow(10_000)
            return b"{}"

    with pytest.raises(Overloaded, match="no room for this answer"):
        await ask(world, Large([], 200))
    assert world.tools.memory.held == 0
