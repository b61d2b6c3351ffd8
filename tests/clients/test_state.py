"""The Agents SDK goes on from a response by its id, on a model whose provider keeps responses."""

from __future__ import annotations

import asyncio
import json

import msgspec

from clients import installed
from support.stand import KEY, stand
from weir_cli.sim import SimModel

TURNS = """
import asyncio, json, sys
from agents import Agent, OpenAIResponsesModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI

url, key = sys.argv[1:]
set_tracing_disabled(True)

async def main():
    model = OpenAIResponsesModel("auto", AsyncOpenAI(base_url=url + "/v1", api_key=key, max_retries=0))
    agent, previous, ids = Agent(name="a", model=model), None, []
    for turn in range(3):
        done = await Runner.run(agent, f"turn {turn}", previous_response_id=previous)
        previous = done.last_response_id
        ids.append(previous)
    history = done.to_input_list()
    await Runner.run(agent, [*history, {"role": "user", "content": "the whole history"}])
    print(json.dumps(ids))

asyncio.run(main())
"""


async def test_the_agents_sdk_goes_on_by_ids_and_by_its_whole_history() -> None:
    command = installed.python()[0]
    home = {"m": {"formats": ("Responses", "Chat"), "account": "AAAAAAAAAAAAAAAA"}}
    async with stand([SimModel("m")], changes=home) as s:
        process = await asyncio.create_subprocess_exec(
            command, "-c", TURNS, s.url, KEY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, said = await process.communicate()
        assert process.returncode == 0, said.decode()[-3000:]
        ids = json.loads(out)
        assert len(set(ids)) == 3
        sent = [msgspec.json.decode(it.body) for it in s.sim.requests("m")]
        own = [it.get("previous_response_id") for it in sent]
        assert own == [None, *(id[39:] for id in ids[:2]), None]
        assert "_w1" not in json.dumps(sent)
        assert [line["status"] for line in s.log.lines] == [200] * 4
