"""Agents on real clients in Python, run as `python driver.py CLIENT JOB` with an environment that has these clients.

A job is JSON: `url`, `key`, `model`, `streamed`, `thinking`, `turns`, and the `tools` as `name`, `description` and
`parameters`. An agent works until the model calls no tool, and prints one line of JSON: the `calls` that it has carried
out, and the `text` of the last answer. Clients are used as their own documentation says, with defaults.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

PROMPT = "Work until all is done."
SYSTEM = "You are a careful agent."
BUDGET = 2000
"""Tokens of thought that Anthropic's clients ask for."""

ENCRYPTED: Any = {"store": False, "include": ["reasoning.encrypted_content"]}
"""Options of the Responses API by which reasoning goes with the conversation."""

calls: list[list[Any]] = []


def carried_out(name: str, arguments: dict[str, Any]) -> str:
    """The result of a tool, as tests/clients/script.py says it."""
    calls.append([name, arguments])
    return f"result of {name} {json.dumps(arguments, sort_keys=True)}"


def openai_tools(job: Any) -> Any:
    """Tools in OpenAI's form."""
    return [{"type": "function", "function": tool} for tool in job["tools"]]


def openai_sdk(job: Any) -> str:
    """The SDK's own loop: messages go back as its objects."""
    import openai

    client = openai.OpenAI(base_url=job["url"] + "/v1", api_key=job["key"])
    messages: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
    asked: Any = {"model": job["model"], "messages": messages, "tools": openai_tools(job)}
    if job["thinking"]:
        asked["reasoning_effort"] = "high"
    while True:
        if job["streamed"]:
            with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
                answer = stream.get_final_completion()
        else:
            answer = client.chat.completions.create(**asked)
        assert answer.usage is not None
        assert answer.usage.completion_tokens > 0
        message = answer.choices[0].message
        # The stream helper's objects have `parsed`, which nobody sends back.
        messages.append(message.model_dump(exclude_none=True, exclude={"parsed": True, "tool_calls": {"__all__": {
            "index": True, "function": {"parsed_arguments": True}}}}))  # fmt: skip
        if not message.tool_calls:
            assert answer.choices[0].finish_reason == "stop"
            return message.content or ""
        for call in message.tool_calls:
            result = carried_out(call.function.name, json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def openai_responses(job: Any) -> str:
    """The SDK's own loop over the Responses API: items go back as its objects."""
    import openai

    client = openai.OpenAI(base_url=job["url"] + "/v1", api_key=job["key"])
    items: list[Any] = [{"role": "user", "content": PROMPT}]
    asked: Any = {"model": job["model"], "instructions": SYSTEM, "input": items}
    asked["tools"] = [{"type": "function", "strict": False, **tool} for tool in job["tools"]]
    if job["thinking"]:
        asked["reasoning"] = {"effort": "high", "summary": "auto"}
        asked |= ENCRYPTED
    while True:
        if job["streamed"]:
            with client.responses.stream(**asked) as stream:
                for _ in stream:
                    pass
                answer: Any = stream.get_final_response()
        else:
            answer = client.responses.create(**asked)
        output = [it.to_dict() for it in answer.output]
        assert answer.usage is not None
        assert answer.usage.output_tokens > 0
        items += [unparsed(it) for it in output]
        calls = [it for it in output if it["type"] == "function_call"]
        if not calls:
            assert answer.status == "completed"
            return "".join(part["text"] for it in output if it["type"] == "message" for part in it["content"])
        for call in calls:
            result = carried_out(call["name"], json.loads(call["arguments"]))
            items.append({"type": "function_call_output", "call_id": call["call_id"], "output": result})


def openai_stored(job: Any) -> str:
    """The SDK's own loop with the provider's state: each request has only what is new."""
    import openai

    client = openai.OpenAI(base_url=job["url"] + "/v1", api_key=job["key"])
    tools = [{"type": "function", "strict": False, **tool} for tool in job["tools"]]
    asked: Any = {"model": job["model"], "instructions": SYSTEM, "input": PROMPT, "tools": tools}
    if job["thinking"]:
        asked["reasoning"] = {"effort": "high", "summary": "auto"}
    while True:
        if job["streamed"]:
            with client.responses.stream(**asked) as stream:
                answer: Any = stream.get_final_response()
        else:
            answer = client.responses.create(**asked)
        calls = [it for it in answer.output if it.type == "function_call"]
        if not calls:
            return str(answer.output_text)
        asked["previous_response_id"] = answer.id
        asked["input"] = [
            {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": carried_out(call.name, json.loads(call.arguments)),
            }
            for call in calls
        ]


def unparsed(value: Any) -> Any:
    """An answer of the stream helper without the fields that it adds."""
    if isinstance(value, dict):
        return {name: unparsed(it) for name, it in value.items() if name not in ("parsed", "parsed_arguments")}
    return [unparsed(it) for it in value] if isinstance(value, list) else value


def anthropic_sdk(job: Any) -> str:
    """The SDK's own loop: blocks go back as its objects; the prompt and the tools are cached."""
    import anthropic

    client = anthropic.Anthropic(base_url=job["url"], api_key=job["key"])
    cached = {"cache_control": {"type": "ephemeral"}}
    messages: list[Any] = [{"role": "user", "content": PROMPT}]
    tools: list[Any] = [
        {"name": it["name"], "description": it["description"], "input_schema": it["parameters"]} for it in job["tools"]
    ]
    asked: Any = {"model": job["model"], "max_tokens": 4000, "messages": messages, "tools": tools}
    asked["system"] = [{"type": "text", "text": SYSTEM, **cached}]
    tools[-1] |= cached
    if job["thinking"]:
        asked["thinking"] = {"type": "enabled", "budget_tokens": BUDGET}
    while True:
        if job["streamed"]:
            with client.messages.stream(**asked) as stream:
                answer: Any = stream.get_final_message()
        else:
            answer = client.messages.create(**asked)
        assert answer.usage.output_tokens > 0
        messages.append({"role": "assistant", "content": answer.content})
        uses = [block for block in answer.content if block.type == "tool_use"]
        if not uses:
            assert answer.stop_reason == "end_turn"
            return "".join(block.text for block in answer.content if block.type == "text")
        results = [
            {"type": "tool_result", "tool_use_id": it.id, "content": carried_out(it.name, it.input)} for it in uses
        ]
        messages.append({"role": "user", "content": results})


def langchain_openai(job: Any) -> str:
    """`ChatOpenAI` with bound tools."""
    from langchain_openai import ChatOpenAI

    more: Any = {"reasoning_effort": "high"} if job["thinking"] else {}
    more |= {"use_responses_api": False, "stream_usage": True}
    return _langchain(ChatOpenAI(model=job["model"], base_url=job["url"] + "/v1", api_key=job["key"], **more), job)


def langchain_responses(job: Any) -> str:
    """`ChatOpenAI` over the Responses API."""
    from langchain_openai import ChatOpenAI

    more: Any = {"reasoning": {"effort": "high", "summary": "auto"}, **ENCRYPTED} if job["thinking"] else {}
    more |= {"use_responses_api": True}
    return _langchain(ChatOpenAI(model=job["model"], base_url=job["url"] + "/v1", api_key=job["key"], **more), job)


def langchain_stored(job: Any) -> str:
    """`ChatOpenAI` over the Responses API, with the provider's state."""
    from langchain_openai import ChatOpenAI

    more: Any = {"reasoning": {"effort": "high"}} if job["thinking"] else {}
    more |= {"use_previous_response_id": True}
    return _langchain(ChatOpenAI(model=job["model"], base_url=job["url"] + "/v1", api_key=job["key"], **more), job)


def langchain_anthropic(job: Any) -> str:
    """`ChatAnthropic` with bound tools."""
    from langchain_anthropic import ChatAnthropic

    more: Any = {"thinking": {"type": "enabled", "budget_tokens": BUDGET}} if job["thinking"] else {}
    more |= {"max_tokens": 4000}
    return _langchain(ChatAnthropic(model=job["model"], base_url=job["url"], api_key=job["key"], **more), job)


def _langchain(model: Any, job: Any) -> str:
    from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage

    bound = model.bind_tools(openai_tools(job))
    messages: list[Any] = [SystemMessage(SYSTEM), HumanMessage(PROMPT)]
    while True:
        if job["streamed"]:
            answer = None
            for chunk in bound.stream(messages):
                answer = chunk if answer is None else answer + chunk
        else:
            answer = bound.invoke(messages)
        assert answer is not None
        assert not answer.invalid_tool_calls, answer.invalid_tool_calls
        assert answer.usage_metadata["output_tokens"] > 0
        messages.append(answer)
        if not answer.tool_calls:
            return str(answer.text)
        messages += [
            ToolMessage(carried_out(it["name"], it["args"]), tool_call_id=it["id"]) for it in answer.tool_calls
        ]


def pydantic_ai_openai(job: Any) -> str:
    """An `Agent` on `OpenAIChatModel`."""
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel(job["model"], provider=OpenAIProvider(base_url=job["url"] + "/v1", api_key=job["key"]))
    return _pydantic_ai(model, job, {"openai_reasoning_effort": "high"} if job["thinking"] else {})


def pydantic_ai_responses(job: Any) -> str:
    """An `Agent` on `OpenAIResponsesModel`."""
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIResponsesModel(job["model"], provider=OpenAIProvider(base_url=job["url"] + "/v1", api_key=job["key"]))
    return _pydantic_ai(
        model, job, {"openai_reasoning_effort": "high", "openai_store": False} if job["thinking"] else {}
    )


def pydantic_ai_stored(job: Any) -> str:
    """An `Agent` on `OpenAIResponsesModel`, with the provider's state."""
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIResponsesModel(job["model"], provider=OpenAIProvider(base_url=job["url"] + "/v1", api_key=job["key"]))
    settings = {"openai_previous_response_id": "auto"}
    return _pydantic_ai(model, job, settings | ({"openai_reasoning_effort": "high"} if job["thinking"] else {}))


def pydantic_ai_anthropic(job: Any) -> str:
    """An `Agent` on `AnthropicModel`."""
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    provider = AnthropicProvider(anthropic_client=AsyncAnthropic(base_url=job["url"], api_key=job["key"]))
    thinking = {"anthropic_thinking": {"type": "enabled", "budget_tokens": BUDGET}} if job["thinking"] else {}
    return _pydantic_ai(AnthropicModel(job["model"], provider=provider), job, {"max_tokens": 4000, **thinking})


def _pydantic_ai(model: Any, job: Any, settings: Any) -> str:
    from pydantic_ai import Agent, Tool

    def tool(it: Any) -> Any:
        def run(**arguments: Any) -> str:
            return carried_out(it["name"], arguments)

        return Tool.from_schema(run, it["name"], it["description"], it["parameters"], sequential=True)

    async def watched(_: Any, events: Any) -> None:
        async for _event in events:
            pass

    agent = Agent(model, system_prompt=SYSTEM, tools=[tool(it) for it in job["tools"]], model_settings=settings)
    streamed: Any = {"event_stream_handler": watched} if job["streamed"] else {}

    async def work() -> str:
        return str((await agent.run(PROMPT, **streamed)).output)

    return asyncio.run(work())


def agents_sdk(job: Any) -> str:
    """An `Agent` of OpenAI's Agents SDK over the Responses API."""
    from agents import OpenAIResponsesModel

    return _agents_sdk(OpenAIResponsesModel, job)


def agents_sdk_chat(job: Any) -> str:
    """An `Agent` of OpenAI's Agents SDK over chat completions."""
    from agents import OpenAIChatCompletionsModel

    return _agents_sdk(OpenAIChatCompletionsModel, job)


def agents_sdk_stored(job: Any) -> str:
    """An `Agent` of OpenAI's Agents SDK over the Responses API, with the provider's state."""
    from agents import OpenAIResponsesModel

    return _agents_sdk(OpenAIResponsesModel, job, auto_previous_response_id=True)


def _agents_sdk(kind: Any, job: Any, **options: Any) -> str:
    import openai
    from agents import Agent, FunctionTool, ModelSettings, Runner, set_tracing_disabled
    from openai.types.shared import Reasoning

    set_tracing_disabled(True)  # traces would go to OpenAI
    client = openai.AsyncOpenAI(base_url=job["url"] + "/v1", api_key=job["key"])
    settings = ModelSettings(include_usage=True)
    if job["thinking"]:
        settings.reasoning = Reasoning(effort="high")
    if job["thinking"] and not options:
        settings.store, settings.response_include = False, ["reasoning.encrypted_content"]

    def tool(it: Any) -> Any:
        async def run(_: Any, arguments: str) -> str:
            return carried_out(it["name"], json.loads(arguments or "{}"))

        return FunctionTool(it["name"], it["description"], it["parameters"], run, strict_json_schema=False)

    model, tools = kind(job["model"], client), [tool(it) for it in job["tools"]]
    agent = Agent("Careful", instructions=SYSTEM, model=model, tools=tools, model_settings=settings)

    async def work() -> str:
        if job["streamed"]:
            result: Any = Runner.run_streamed(agent, PROMPT, max_turns=job["turns"] + 5, **options)
            async for _ in result.stream_events():
                pass
        else:
            result = await Runner.run(agent, PROMPT, max_turns=job["turns"] + 5, **options)
        assert result.context_wrapper.usage.output_tokens > 0
        return str(result.final_output)

    return asyncio.run(work())


CLIENTS: dict[str, Callable[[Any], str]] = {
    "openai": openai_sdk,
    "openai-responses": openai_responses,
    "openai-stored": openai_stored,
    "langchain-stored": langchain_stored,
    "pydantic-ai-stored": pydantic_ai_stored,
    "agents-sdk-stored": agents_sdk_stored,
    "agents-sdk": agents_sdk,
    "agents-sdk-chat": agents_sdk_chat,
    "anthropic": anthropic_sdk,
    "langchain-openai": langchain_openai,
    "langchain-responses": langchain_responses,
    "langchain-anthropic": langchain_anthropic,
    "pydantic-ai-openai": pydantic_ai_openai,
    "pydantic-ai-responses": pydantic_ai_responses,
    "pydantic-ai-anthropic": pydantic_ai_anthropic,
}


def main() -> None:
    """Runs each job, and prints a line for each."""
    run = CLIENTS[sys.argv[1]]
    for text in sys.argv[2:]:
        calls.clear()
        try:
            outcome = {"text": run(json.loads(text)), "error": None}
        except Exception as error:
            outcome = {"text": None, "error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps({"calls": calls, **outcome}), flush=True)


if __name__ == "__main__":
    main()
