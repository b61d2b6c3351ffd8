"""SDK clients for these tests, and functions that send a request in every way that an SDK offers.

`everyway` and its twin return plain data, so that answers through Weir and answers of the simulator can be compared
with `==`. Nothing is left out of the comparison but the header `x-request-id`: the simulator gives equal requests
equal ids and times.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anthropic
import msgspec
import openai

from support.stand import KEY, Stand, stand
from weir_cli.sim import SimModel, Simulator
from weir_router.contract import Route, TierRef, Transport

HI: Any = [{"role": "user", "content": "hi"}]
CALL: Any = [{"role": "user", "content": "please call the tool"}]
CALL_ALL: Any = [{"role": "user", "content": "please call every tool"}]

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
"""A PNG of one pixel, in base64."""


def _openai_tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "Tells.", "parameters": SCHEMA}}


def _anthropic_tool(name: str) -> dict[str, Any]:
    return {"name": name, "description": "Tells.", "input_schema": SCHEMA}


OPENAI_TOOLS: Any = [_openai_tool("weather"), _openai_tool("tides")]
ANTHROPIC_TOOLS: Any = [_anthropic_tool("weather"), _anthropic_tool("tides")]


_TLS = ssl.create_default_context()
"""TLS context of all clients. To load all root certificates for each would take longer than most of the tests."""


def openai_client(stand: Stand, **options: Any) -> openai.AsyncOpenAI:
    """A client of Weir, as any application makes it."""
    http = openai.DefaultAsyncHttpxClient(verify=_TLS)
    return openai.AsyncOpenAI(**{"base_url": f"{stand.url}/v1", "api_key": KEY, "http_client": http, **options})


def openai_sync(stand: Stand) -> openai.OpenAI:
    """Like `openai_client`, but blocking."""
    return openai.OpenAI(base_url=f"{stand.url}/v1", api_key=KEY, http_client=openai.DefaultHttpxClient(verify=_TLS))


def anthropic_client(stand: Stand, **options: Any) -> anthropic.AsyncAnthropic:
    """A client of Weir, as any application makes it."""
    http = anthropic.DefaultAsyncHttpxClient(verify=_TLS)
    return anthropic.AsyncAnthropic(**{"base_url": stand.url, "api_key": KEY, "http_client": http, **options})


def anthropic_sync(stand: Stand) -> anthropic.Anthropic:
    """Like `anthropic_client`, but blocking."""
    return anthropic.Anthropic(base_url=stand.url, api_key=KEY, http_client=anthropic.DefaultHttpxClient(verify=_TLS))


def openai_direct(sim: Simulator) -> openai.AsyncOpenAI:
    """A client of the simulator itself."""
    http = openai.DefaultAsyncHttpxClient(verify=_TLS)
    return openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="sk-direct", http_client=http)


def anthropic_direct(sim: Simulator) -> anthropic.AsyncAnthropic:
    """A client of the simulator itself."""
    http = anthropic.DefaultAsyncHttpxClient(verify=_TLS)
    return anthropic.AsyncAnthropic(base_url=sim.url, api_key="sk-direct", http_client=http)


def told(answer: Any) -> Any:
    """The received data of an SDK's object."""
    return answer.model_dump(mode="json", exclude_unset=True, warnings=False)


async def openai_everyway(client: openai.AsyncOpenAI, **body: Any) -> dict[str, Any]:
    """The answers of a plain call, of a stream, and of the stream helper."""
    create = client.chat.completions.create
    plain = await create(**body)
    chunks = [told(chunk) async for chunk in await create(**body, stream=True)]
    counted = [told(chunk) async for chunk in await create(**body, stream=True, stream_options={"include_usage": True})]
    async with client.chat.completions.stream(**body) as helper:
        helped = [told(event) async for event in helper if event.type != "chunk"]
    return {"plain": told(plain), "stream": chunks, "with usage": counted, "helper": helped}


async def anthropic_everyway(client: anthropic.AsyncAnthropic, **body: Any) -> dict[str, Any]:
    """The answers of a plain call, of a stream, and of the stream helper."""
    body = {"max_tokens": 2000, **body}
    plain = await client.messages.create(**body)
    events = [told(event) async for event in await client.messages.create(**body, stream=True)]
    async with client.messages.stream(**body) as helper:
        helped = await helper.get_final_message()
    return {"plain": told(plain), "stream": events, "helper": told(helped)}


def openai_everyway_sync(client: openai.OpenAI, **body: Any) -> dict[str, Any]:
    """Like `openai_everyway`, but blocking."""
    create = client.chat.completions.create
    plain = create(**body)
    chunks = [told(chunk) for chunk in create(**body, stream=True)]
    counted = [told(chunk) for chunk in create(**body, stream=True, stream_options={"include_usage": True})]
    with client.chat.completions.stream(**body) as helper:
        helped = [told(event) for event in helper if event.type != "chunk"]
    return {"plain": told(plain), "stream": chunks, "with usage": counted, "helper": helped}


def anthropic_everyway_sync(client: anthropic.Anthropic, **body: Any) -> dict[str, Any]:
    """Like `anthropic_everyway`, but blocking."""
    body = {"max_tokens": 2000, **body}
    plain = client.messages.create(**body)
    events = [told(event) for event in client.messages.create(**body, stream=True)]
    with client.messages.stream(**body) as helper:
        helped = helper.get_final_message()
    return {"plain": told(plain), "stream": events, "helper": told(helped)}


@contextlib.asynccontextmanager
async def each_alone(models: Sequence[SimModel], transport: Transport) -> AsyncIterator[Stand]:
    """A stand in which every model is asked for by its own name, and served by nothing else."""
    async with stand(*[[m] for m in models], changes={m.name: {"transport": transport} for m in models}) as s:
        policies = [
            msgspec.structs.replace(
                s.config.policies[0],
                name=f"p{number}",
                models=(model.name,),
                routes=(Route(name="all", tiers=(TierRef(tier=f"llm/t{number}"),)),),
            )
            for number, model in enumerate(models)
        ]
        s.apply(msgspec.structs.replace(s.config, policies=tuple(policies)))
        yield s
