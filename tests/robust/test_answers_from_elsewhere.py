"""Answers that come from another source than an attempt: served, streamed, logged and counted like others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import msgspec
import pytest

from support.stand import KEY, Stand, stand
from weir_cli.sim import SimModel
from weir_router.call.answering import Answering, Sink
from weir_router.contract import Limit, Policy
from weir_router.decide.types import Asked
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Place
from weir_router.dialects.usage import Usage
from weir_router.errors import AttemptFailed, FailureKind
from weir_router.serve.extensions import Extensions

WHOLE, FIRST, REST = b'{"whole":true}', b"data: first\n\n", b"data: [DONE]\n\n"

FACTS = b': weir {"backend":"memory","usage":%b}\n\n' % msgspec.json.encode(Usage(input=7, output=3))


class Known:
    """An answer from memory."""

    def __init__(self, streamed: bool, ends: Callable[[Sink], Awaitable[None]]) -> None:
        self.tier: str | None = None
        self.name = "memory"
        self.headers = {"x-from": "memory"}
        self.body = FIRST if streamed else WHOLE
        self.done = not streamed
        self.usage: Usage | None = Usage(input=7, output=3)
        self.content_at: float | None = None
        self.cancelled = 0
        self._ends = ends

    async def relay(self, sink: Sink) -> None:
        await self._ends(sink)

    def place(self) -> Place | None:
        return None

    def cancel(self) -> None:
        self.cancelled += 1

    def counted(self) -> int:
        return 0


class Remembering:
    """A source that knows one prompt."""

    def __init__(self) -> None:
        self.given: list[Known] = []

    async def __call__(self, ask: Ask, asked: Asked, policy: Policy) -> Answering | None:
        if ask.prompt.turns[-1].text != "known":
            return None
        assert asked.features.tokens > 0
        assert policy.name == "assistants"
        self.given.append(Known(ask.stream, self.ends))
        return self.given[-1]

    async def ends(self, sink: Sink) -> None:
        sink.write(b"data: more\n\n")
        sink.end(REST)


async def nothing(ask: Ask, asked: Asked, policy: Policy) -> Answering | None:
    """A source that has no answer."""
    return None


@pytest.fixture
def source() -> Remembering:
    return Remembering()


@pytest.fixture
async def it(source: Remembering) -> AsyncIterator[Stand]:
    limits = Limit(key="team", in_flight=1)  # so what is not given back is missed by the next request
    async with stand([SimModel("m")], extensions=Extensions(sources=(nothing, source)), limits=limits) as it:
        yield it
        assert it.router.room.taken == 0


async def ask(it: Stand, prompt: str, stream: bool) -> tuple[dict[str, str], bytes]:
    request = {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": prompt}]}
    async with (
        aiohttp.ClientSession(it.url, headers={"authorization": f"Bearer {KEY}"}) as session,
        session.post("/v1/chat/completions", json=request) as response,
    ):
        assert response.status == 200
        return dict(response.headers), await response.read()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_known_answer_is_served_without_an_attempt(it: Stand, source: Remembering, stream: bool) -> None:
    for _ in range(2):
        headers, body = await ask(it, "known", stream)
        assert body == (FIRST + b"data: more\n\n" + FACTS + REST if stream else WHOLE)
        assert (headers["x-weir-backend"], headers["x-from"]) == ("memory", "memory")
        assert headers["x-weir-policy"] == "team-a/assistants"
    assert it.sim.stats["m"].requests == 0
    line = it.last
    assert (line["outcome"], line["status"], line["backend"], line["policy"]) == (
        "ok", 200, "memory", "team-a/assistants",
    )  # fmt: skip
    assert (line["usage"]["output"], line["dollars"], line.get("attempts")) == (3, 0.0, None)
    assert not {"tier", "route", "error"} & line.keys()
    async with aiohttp.ClientSession() as session, session.get(it.router.admin_url + "/metrics") as response:
        text = await response.text()
    counted = [row for row in text.splitlines() if row.startswith("weir_requests_total") and '"memory"' in row]
    assert [row.rpartition(" ")[2] for row in counted if 'outcome="ok"' in row] == ["2.0"]
    assert "\nweir_requests_in_flight 0.0" in text
    assert [answer.cancelled for answer in source.given] == [int(stream)] * 2


async def test_other_requests_go_to_the_backends(it: Stand) -> None:
    headers, _ = await ask(it, "new", stream=False)
    assert headers["x-weir-backend"] == "m"
    assert it.sim.stats["m"].requests == 1


async def test_a_source_that_breaks_off_ends_the_stream_in_an_error_event(it: Stand, source: Remembering) -> None:
    async def breaks(sink: Sink) -> None:
        raise AttemptFailed(FailureKind.RESET, "the memory is gone")

    source.ends = breaks  # type: ignore[method-assign]
    _, body = await ask(it, "known", stream=True)
    assert body.startswith(FIRST)
    assert b"stream_broken" in body
    assert b"the memory is gone" in body
    assert (it.last["outcome"], it.last["error"], it.last["backend"]) == ("broken", "stream_broken", "memory")
