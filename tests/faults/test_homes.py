"""Conversations stay at one backend over real HTTP, and move without their thought when it is unavailable."""

import aiohttp
import pytest

from support.stand import KEY, Stand, stand
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_router.contract import Dialect

SYSTEM = "You are a careful agent. " * 200
TOOLS = [{"name": "read", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}]
THREE = [SimModel(name, dialect=Dialect.ANTHROPIC, reasoning_tokens=5) for name in "abc"]


async def says(s: Stand, messages, **headers):
    body = {
        "model": "auto", "max_tokens": 2_048, "system": SYSTEM, "messages": messages, "tools": TOOLS,
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
    }  # fmt: skip
    sent = {"authorization": f"Bearer {KEY}", "anthropic-version": "2023-06-01", **headers}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{s.url}/v1/messages", json=body, headers=sent) as answer,
    ):
        return answer.headers, await answer.json()


async def test_a_tool_loop_stays_where_it_began_and_moves_without_its_thought_when_that_is_out():
    async with stand(THREE) as s:
        messages = [{"role": "user", "content": "Please call the tool."}]
        headers, whole = await says(s, messages)
        home = headers["x-weir-backend"]
        assert [block["type"] for block in whole["content"]] == ["thinking", "tool_use"]
        for turn in range(6):
            call = whole["content"][-1]
            result = {"type": "tool_result", "tool_use_id": call["id"], "content": f"Call the tool again, {turn}."}
            messages += [{"role": "assistant", "content": whole["content"]}, {"role": "user", "content": [result]}]
            headers, _ = await says(s, messages)
            assert headers["x-weir-backend"] == home
            assert "x-weir-dropped" not in headers
        s.sim.fault(home, Fault(FaultKind.OVERLOADED))
        headers, _ = await says(s, messages)
        assert headers["x-weir-backend"] != home
        assert "reasoning" in headers["x-weir-dropped"].split(", ")


@pytest.mark.parametrize("name", ["x-weir-session", "x-claude-code-session-id"])
async def test_the_clients_id_keeps_conversations_together_that_begin_differently(name):
    async with stand(THREE) as s:
        found = {
            (await says(s, [{"role": "user", "content": f"Question {n}"}], **{name: "one"}))[0]["x-weir-backend"]
            for n in range(8)
        }
        assert len(found) == 1
        apart = {(await says(s, [{"role": "user", "content": f"Question {n}"}]))[0]["x-weir-backend"] for n in range(8)}
        assert len(apart) > 1
