"""The order of a request on the architecture page, against one real request that is served."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from docs.test_architecture_page import PAGE
from support.stand import KEY, stand
from weir_cli.sim import SimModel
from weir_router.admit.ledger_local import LocalHold
from weir_router.call.attempt import Attempt
from weir_router.call.tap import Tap
from weir_router.check.checks import PASS, After, Before
from weir_router.decide import asked
from weir_router.dialects.wire import body
from weir_router.health.board import Board
from weir_router.identify.identifier import Identifier
from weir_router.record.recorder import Recorder
from weir_router.serve import door, story
from weir_router.serve.browsers import Gate
from weir_router.serve.door import Door
from weir_router.serve.extensions import Extensions
from weir_router.serve.http.incoming import Incoming

MARKS: dict[str, tuple[Any, str]] = {
    "head": (Incoming, "on_headers_complete"),
    "page": (Gate, "is_plain"),
    "caller": (Identifier, "remembered"),
    "policy": (door, "find_policy"),
    "door": (Door, "reserve"),
    "decode": (body, "parse"),
    "hooks": (story.Gateway, "_check"),
    "measure": (asked, "measure"),
    "reuse": (story.Gateway, "_reused"),
    "decide": (story, "decide"),
    "reserve": (Board, "begin"),
    "call": (Attempt, "start"),
    "checks": (Tap, "passes"),
    "settle": (LocalHold, "settle"),
    "Finished": (Recorder, "ended"),
}
"""The call that begins each step, by the step's name on the page."""


async def nothing(*_: object) -> None:
    """A source that has no answer."""


EVERY = Extensions(
    before=(Before("passes", lambda *_: PASS),),
    sources=(nothing,),
    after=(After("passes", lambda _: PASS),),
)
"""Something at every step that has nothing of its own."""


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_request_takes_the_steps_of_the_page_in_their_order(
    monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    taken: list[str] = []

    def marked(step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def recording(*args: Any, **kwargs: Any) -> Any:
            if step not in taken:
                taken.append(step)
            return call(*args, **kwargs)

        return recording

    async with stand([SimModel("m")], extensions=EVERY) as it:
        request = {"model": "auto", "stream": streamed, "messages": [{"role": "user", "content": "Hi"}]}
        async with aiohttp.ClientSession(it.url, headers={"authorization": f"Bearer {KEY}"}) as session:
            for step, (owner, name) in MARKS.items():
                monkeypatch.setattr(owner, name, marked(step, getattr(owner, name)))
            async with session.post("/v1/chat/completions", json=request) as response:
                assert response.status == 200
                await response.read()
        assert it.last["outcome"] == "ok"
    assert taken == [step for step, _, state in order() if not state.startswith("planned")]


def order() -> list[list[str]]:
    """The rows of the page: step, meaning, state."""
    table = PAGE.partition("\n### The order of a request\n\n")[2].partition("\n\n")[0]
    return [re.split(r" ?\| ?", line.strip("| ")) for line in table.splitlines()[2:]]
