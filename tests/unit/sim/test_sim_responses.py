"""The simulator's Responses API, as the openai SDK and the grammar of its events see it."""

from __future__ import annotations

from typing import Any

import aiohttp
import openai
import pytest

from support.responses_grammar import events_of, violation
from weir_cli.sim import SimModel, Simulator

TOOL: Any = {"type": "function", "name": "weather", "strict": False, "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "text": {"input": "hi"},
    "items": {
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        "instructions": "Be brief",
    },
    "a tool": {"input": "please call the tool", "tools": [TOOL]},
    "a refusal": {"input": "refuse this request"},
    "cut off": {"input": "hi", "max_output_tokens": 16},
    "json": {"input": "hi", "text": {"format": {"type": "json_object"}}},
}


@pytest.mark.parametrize("reasoning", [0, 5])
@pytest.mark.parametrize("name", BODIES)
async def test_a_stream_keeps_the_grammar_and_ends_in_the_plain_answer(name: str, reasoning: int) -> None:
    model = SimModel("m", reasoning_tokens=reasoning, answer_tokens=40)
    async with Simulator([model]) as sim, aiohttp.ClientSession() as session:
        url, body = f"{sim.url}/v1/responses", {"model": "m", **BODIES[name]}
        plain = await (await session.post(url, json=body)).json()
        stream = await (await session.post(url, json={**body, "stream": True})).read()
    events = events_of(stream)
    assert violation(events) is None
    assert events[-1].data["response"] == plain
    assert openai.types.responses.Response.model_validate(plain).output
    assert plain["status"] == ("incomplete" if name == "cut off" else "completed")


async def test_the_sdk_reads_it() -> None:
    async with (
        Simulator([SimModel("m", answer="Hello there.")]) as sim,
        openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="x") as sdk,
    ):
        async with sdk.responses.stream(model="m", input="hi") as stream:
            made = await stream.get_final_response()
        assert made.output_text == "Hello there."
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.create(model="other", input="hi")
        with pytest.raises(openai.BadRequestError):
            await sdk.responses.create(model="m", input=[])
