"""The openai SDK's helpers work on a model of each format: answers parsed into a Pydantic model, whole and streamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from clients.script import Turn
from clients.stage import ADAPTIVE, ANTHROPIC, KEY, OPENAI, RESPONSES, stage

ASK: Any = [{"role": "user", "content": "Where, and how warm?"}]


class Weather(BaseModel):
    """A model as applications write it: nested, with a list and a field that may be null."""

    class Day(BaseModel):
        """A day."""

        name: str
        degrees: float | None

    city: str
    days: list[Day]


WEATHER = Weather(city="Göteborg", days=[Weather.Day(name="Monday", degrees=3.5), Weather.Day(name="x", degrees=None)])


def schema_of(body: dict[str, Any]) -> Any:
    """The schema in a request of any format."""
    if "response_format" in body:
        return body["response_format"]["json_schema"]["schema"]
    return (body["output_config"] if "output_config" in body else body["text"])["format"]["schema"]


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, ADAPTIVE, RESPONSES])
async def test_answers_are_parsed(model: str, tmp_path: Path) -> None:
    found = []
    script = lambda _: Turn("", WEATHER.model_dump_json(), ())
    async with (
        stage(tmp_path, script, history=False) as s,
        openai.AsyncOpenAI(base_url=f"{s.url}/v1", api_key=KEY, max_retries=0) as sdk,
    ):
        found.append((await sdk.responses.parse(model=model, input=ASK, text_format=Weather)).output_parsed)
        async with sdk.responses.stream(model=model, input=ASK, text_format=Weather) as stream:
            found.append((await stream.get_final_response()).output_parsed)
        answer = await sdk.chat.completions.parse(model=model, messages=ASK, response_format=Weather)
        found.append(answer.choices[0].message.parsed)
        async with sdk.chat.completions.stream(model=model, messages=ASK, response_format=Weather) as chunks:
            found.append((await chunks.get_final_completion()).choices[0].message.parsed)
    assert s.faults == []
    assert found == [WEATHER] * 4
    assert s.tap.streams == 1
    for asked in s.requests:
        schema = schema_of(asked.body)
        assert (set(schema["properties"]), schema["additionalProperties"]) == ({"city", "days"}, False), json.dumps(
            schema
        )
