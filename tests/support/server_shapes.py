"""Streams of servers as public reports show them, and the plain answer that the same server gives. Plain data.

A report becomes a row: the deltas of its stream, and the message of its plain answer.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Shape(NamedTuple):
    """One server of OpenAI's format."""

    deltas: list[dict[str, Any]]
    message: dict[str, Any]  # of the plain answer, without the role
    finish: str | None = "tool_calls"  # in the stream; the plain answer has one in any case
    usage: bool = True  # in both
    again: bool = False  # its stream cannot be put together, so that it is asked once more
    media_type: str = "text/event-stream"


def part(id: str | None = None, name: str | None = None, arguments: Any = None, index: int | None = None) -> Any:
    """A part of a tool call, with the fields that are given."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    given = {"index": index, "id": id, "type": "function" if name else None}
    return {key: value for key, value in given.items() if value is not None} | {"function": function}


def calls(*parts: Any) -> dict[str, Any]:
    """A delta with parts of tool calls."""
    return {"tool_calls": list(parts)}


def whole(id: str | None, name: str, arguments: Any) -> dict[str, Any]:
    """A tool call of a plain answer."""
    return ({} if id is None else {"id": id}) | {
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def thought(text: str) -> dict[str, Any]:
    """A thinking part, as Mistral writes it."""
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


WEATHER, TIME = '{"city":"Paris"}', '{"tz":"JST"}'
TWO = {"content": None, "tool_calls": [whole("a", "get_weather", WEATHER), whole("b", "get_time", TIME)]}
ONE = {"content": None, "tool_calls": [whole("a", "get_weather", WEATHER)]}

SHAPES: dict[str, Shape] = {
    "as OpenAI does": Shape(
        [
            calls(part("a", "get_weather", "", index=0)),
            calls(part(arguments='{"city":', index=0)),
            calls(part(arguments='"Paris"}', index=0)),
            calls(part("b", "get_time", "", index=1)),
            calls(part(arguments=TIME, index=1)),
        ],
        TWO,
    ),
    "all numbered 0": Shape(
        [calls(part("a", "get_weather", WEATHER, index=0)), calls(part("b", "get_time", TIME, index=0))], TWO
    ),
    "all numbered 0, arguments later": Shape(
        [
            calls(part("a", "get_weather", "", index=0)),
            calls(part(arguments=WEATHER, index=0)),
            calls(part("b", "get_time", "", index=0)),
            calls(part(arguments=TIME[:4], index=0)),
            calls(part(arguments=TIME[4:], index=0)),
        ],
        TWO,
    ),
    "no index, id in each part": Shape(
        [
            calls(part("a", "get_weather", WEATHER[:5])),
            calls(part("a", None, WEATHER[5:])),
            calls(part("b", "get_time", TIME)),
        ],
        TWO,
    ),
    "no index, id once": Shape(
        [
            calls(part("a", "get_weather", "")),
            calls(part(None, None, WEATHER)),
            calls(part("b", "get_time", TIME[:3])),
            calls(part(None, None, TIME[3:])),
        ],
        TWO,
    ),
    "no index, interleaved by id": Shape(
        [
            calls(part("a", "get_weather", ""), part("b", "get_time", "")),
            calls(part("b", None, TIME[:3]), part("a", None, WEATHER[:3])),
            calls(part("a", None, WEATHER[3:])),
            calls(part("b", None, TIME[3:])),
        ],
        TWO,
    ),
    "interleaved by index": Shape(
        [
            calls(part("a", "get_weather", "", index=0)),
            calls(part("b", "get_time", "", index=1)),
            calls(part(arguments=WEATHER[:3], index=0)),
            calls(part(arguments=TIME[:3], index=1)),
            calls(part(arguments=WEATHER[3:], index=0), part(arguments=TIME[3:], index=1)),
        ],
        TWO,
    ),
    "a new id for each part": Shape(
        [
            calls(part("a", "get_weather", "", index=0)),
            calls(part("x1", None, WEATHER[:3], index=0)),
            calls(part("x2", None, WEATHER[3:], index=0)),
            calls(part("b", "get_time", TIME[:3], index=1)),
            calls(part("x3", None, TIME[3:], index=1)),
        ],
        TWO,
    ),
    "the same id for all calls": Shape(
        [calls(part("a", "get_weather", WEATHER, index=0)), calls(part("a", "get_time", TIME, index=1))],
        {"content": None, "tool_calls": [whole("a", "get_weather", WEATHER), whole("a", "get_time", TIME)]},
    ),
    "an index that comes late": Shape(
        [calls(part("a", "get_weather", "")), calls(part(None, None, WEATHER, index=0))], ONE
    ),
    "an id that comes late": Shape(
        [calls(part(None, "get_weather", "", index=0)), calls(part("a", None, WEATHER, index=0))], ONE
    ),
    "arguments before id and name": Shape(
        [calls(part(None, None, WEATHER[:3], index=0)), calls(part("a", "get_weather", WEATHER[3:], index=0))], ONE
    ),
    "the name in each part": Shape(
        [calls(part("a", "get_weather", WEATHER[:3], index=0)), calls(part(None, "get_weather", WEATHER[3:], index=0))],
        ONE,
    ),
    "empty names and ids": Shape(
        [calls(part("a", "get_weather", "", index=0)), calls(part("", "", WEATHER, index=0))], ONE
    ),
    "later calls first": Shape(
        [calls(part("b", "get_time", TIME, index=1)), calls(part("a", "get_weather", WEATHER, index=0))], TWO
    ),
    "one function twice, without ids": Shape(
        [calls(part(None, "get_time", TIME)), calls(part(None, "get_time", '{"tz":"CET"}'))],
        {"content": None, "tool_calls": [whole(None, "get_time", TIME), whole(None, "get_time", '{"tz":"CET"}')]},
    ),
    "two functions, without ids": Shape(
        [calls(part(None, "get_weather", WEATHER, index=0)), calls(part(None, "get_time", TIME, index=0))],
        {"content": None, "tool_calls": [whole(None, "get_weather", WEATHER), whole(None, "get_time", TIME)]},
    ),
    "text amid calls": Shape(
        [
            {"content": "Let me "},
            calls(part("a", "get_weather", WEATHER[:3], index=0)),
            {"content": "see."},
            calls(part(None, None, WEATHER[3:], index=0)),
            calls(part("b", "get_time", TIME, index=1)),
        ],
        {**TWO, "content": "Let me see."},
    ),
    "arguments as an object": Shape(
        [calls(part("a", "f", {"path": "a", "list": [{"index": 0, "x": "y"}, {"index": 0, "x": "z"}]}, index=0))],
        {
            "content": None,
            "tool_calls": [whole("a", "f", {"path": "a", "list": [{"index": 0, "x": "y"}, {"index": 0, "x": "z"}]})],
        },
    ),
    "arguments as an object, then empty ones": Shape(
        [calls(part("a", "f", {"path": "a"}, index=0)), calls(part(None, "", "", index=0))],
        {"content": None, "tool_calls": [whole("a", "f", {"path": "a"})]},
    ),
    "thinking parts among texts": Shape(
        [
            {"content": ""},
            {"content": [thought("Okay")]},
            {"content": [thought(", so")]},
            {"content": "Four"},
            {"content": "."},
            {"content": ""},
        ],
        {"content": [thought("Okay, so"), {"type": "text", "text": "Four."}]},
        finish="stop",
    ),
    "text, then parts": Shape(
        [
            {"content": "See "},
            {"content": [{"type": "reference", "reference_ids": [1]}]},
            {"content": [{"type": "text", "text": "there"}]},
            {"content": "."},
        ],
        {
            "content": [
                {"type": "text", "text": "See "},
                {"type": "reference", "reference_ids": [1]},
                {"type": "text", "text": "there."},
            ]
        },
        finish="stop",
    ),
    "no usage": Shape([{"content": "Hi"}], {"content": "Hi"}, finish="stop", usage=False),
    "an oddly cased content type": Shape(
        [{"content": "Hi"}], {"content": "Hi"}, finish="stop", media_type="Text/Event-Stream; Charset=UTF-8"
    ),
    "a mislabelled stream": Shape([{"content": "Hi"}], {"content": "Hi"}, finish="stop", media_type="text/plain"),
    "no finish reason": Shape([{"content": "Hi"}], {"content": "Hi"}, finish=None, again=True),
    "a call without a name": Shape([calls(part("a", None, WEATHER, index=0))], ONE, again=True),
    "calls that nothing tells apart": Shape(
        [
            calls(part(None, "get_time", TIME[:3], index=0)),
            calls(part(None, "get_time", TIME[3:], index=0)),
            calls(part(None, "get_time", '{"tz":', index=0)),
            calls(part(None, "get_time", '"CET"}', index=0)),
        ],
        {"content": None, "tool_calls": [whole(None, "get_time", TIME), whole(None, "get_time", '{"tz":"CET"}')]},
        again=True,
    ),
}
