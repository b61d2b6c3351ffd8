"""Situations that users of LLM gateways have reported: the form of the files in `situations/`, and how one is played.

A file has no code: CONTRIBUTING.md says how to write one, and each field is described here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import aiohttp
import msgspec
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from support.scripted import Asked, head, policy, tier, whole

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}


class Reply(msgspec.Struct, forbid_unknown_fields=True):
    """An answer of an upstream: `json` as a whole, `events` or `text` as a stream. `has` and `lacks` say when."""

    status: int = 200
    headers: dict[str, str] | None = None  # beside, or for a stream instead of, the usual ones
    json: Any = None
    events: list[Any] | None = None  # each is an event's data; text such as [DONE] goes out as it is
    text: str | None = None  # bytes of the body, line feeds included
    after: float = 0.0  # seconds before it
    has: list[str] = []  # only for requests with these fields; `a.b` is a field of a field
    lacks: list[str] = []  # only for requests without these fields
    once: bool = False  # only for the first request that it fits


class Upstream(msgspec.Struct, forbid_unknown_fields=True):
    """A backend and its answers: each request gets the first one that fits it."""

    answers: list[Reply]
    provider: str = "OpenAI"
    model: str = "m"
    spec: dict[str, Any] = {}  # further fields of the backend


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """Facts that must hold after a step. Objects may have further fields; `{matches: REGEX}` stands for a text."""

    status: int = 200
    answer: Any = None  # the whole answer, or the one that the SDK makes of a stream
    headers: dict[str, Any] = {}
    sent: list[Any] | None = None  # bodies that the upstreams got in this step, in order
    unsent: list[str] = []  # fields that no upstream got in this step
    tried: list[int] | None = None  # upstreams that got a request in this step, by place


class Step(msgspec.Struct, forbid_unknown_fields=True):
    """A request, and its outcome. `$answer` in `messages` is the last answer, `$call0` the id of its first call."""

    body: dict[str, Any]
    wanted: Wanted
    path: str | None = None
    headers: dict[str, str] = {}


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """A situation: who reported it, what callers saw, the upstreams in the order of their tiers, and the steps."""

    source: str
    saw: str
    caller: str  # openai, anthropic
    upstreams: list[Upstream]
    steps: list[Step]
    ways: tuple[str, ...] = ("plain", "stream")
    policy: dict[str, Any] = {}


class Play:
    """A report that is being played: answers its upstreams' requests, and notes them."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._used: set[tuple[int, int]] = set()
        self.got: list[tuple[int, Asked]] = []
        self.answer: Any = None

    def upstream(self, place: int) -> Any:
        """The answers of one upstream."""

        def answer(asked: Asked) -> Iterable[bytes | float]:
            self.got.append((place, asked))
            for number, reply in enumerate(self._report.upstreams[place].answers):
                if (place, number) not in self._used and _fits(reply, asked.body):
                    if reply.once:
                        self._used.add((place, number))
                    return _pieces(reply, asked.path)
            return [whole({"error": {"message": "the report has no answer for this request"}}, status=500)]

        return answer

    def manifests(self, urls: list[str]) -> list[dict[str, Any]]:
        """A tier per upstream, and a policy over all."""
        tiers = []
        for place, (one, url) in enumerate(zip(self._report.upstreams, urls, strict=True)):
            base = f"{url}/v1" if one.provider == "OpenAI" else url
            backend = {"name": f"b{place}", "provider": one.provider, "baseURL": base, "model": one.model}
            tiers.append(tier(f"t{place}", {**backend, "price": {"input": "1", "output": "1"}, **one.spec}))
        return [*tiers, policy("p", ["auto"], [it["metadata"]["name"] for it in tiers], **self._report.policy)]

    async def step(self, step: Step, url: str, way: str) -> list[str]:
        """Sends the request; returns what is not as it is wanted."""
        self.got.clear()
        body = {"model": "auto", **self._filled(step.body)}
        if self._report.caller == "anthropic":
            body = {"max_tokens": 1000, **body}
        send = streamed if way == "stream" and step.wanted.status == 200 else plain
        path = step.path or PATHS[self._report.caller]
        status, headers, self.answer = await send(self._report.caller, url, path, body, step.headers)
        wanted = step.wanted
        wrong = [f"status {status} instead of {wanted.status}: {self.answer}"] if status != wanted.status else []
        if wanted.answer is not None:
            wrong += unlike("answer", wanted.answer, self.answer)
        wrong += unlike("headers", wanted.headers, headers)
        if wanted.sent is not None:
            wrong += unlike("sent", wanted.sent, [asked.body for _, asked in self.got])
        wrong += [
            f"sent: {name} is there" for name in wanted.unsent if any(_has(asked.body, name) for _, asked in self.got)
        ]
        if wanted.tried is not None:
            wrong += unlike("tried", wanted.tried, [place for place, _ in self.got])
        return wrong

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._filled(it) for key, it in value.items()}
        if isinstance(value, list):
            return [self._filled(it) for it in value]
        if value == "$answer":
            return _message(self.answer)
        if isinstance(value, str) and value.startswith("$call"):
            return _calls(self.answer)[int(value[5:])]
        return value


def _message(answer: Any) -> Any:
    if "choices" in answer:
        return answer["choices"][0]["message"]
    return {"role": "assistant", "content": answer["content"]}


def _calls(answer: Any) -> list[str]:
    if "choices" in answer:
        return [it["id"] for it in answer["choices"][0]["message"]["tool_calls"]]
    return [it["id"] for it in answer["content"] if it["type"] == "tool_use"]


def _fits(reply: Reply, body: Any) -> bool:
    return all(_has(body, it) for it in reply.has) and not any(_has(body, it) for it in reply.lacks)


def _has(body: Any, path: str) -> bool:
    """Whether a body has a field. A number is a place in a list: `messages.-1.content`."""
    for name in path.split("."):
        try:
            body = body[int(name) if isinstance(body, list) else name]
        except (KeyError, IndexError, TypeError, ValueError):
            return False
    return body is not None


def _pieces(reply: Reply, path: str) -> Iterator[bytes | float]:
    if reply.after:
        yield reply.after
    if reply.json is not None:
        yield whole(reply.json, reply.status, reply.headers)
        return
    yield head(reply.status, reply.headers)
    if reply.text is not None:
        yield reply.text.encode()
    for event in reply.events or ():
        named = f"event: {event['type']}\n" if path.endswith("/messages") else ""
        yield f"{named}data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()


def unlike(where: str, wanted: Any, seen: Any) -> list[str]:
    """Differences of `seen` from `wanted`: further fields of objects are none."""
    if isinstance(wanted, dict) and wanted.keys() == {"matches"}:
        return (
            [] if re.search(wanted["matches"], str(seen)) else [f"{where}: {seen!r} does not match {wanted['matches']}"]
        )
    if isinstance(wanted, dict) and isinstance(seen, dict):
        return [it for key, inner in wanted.items() for it in unlike(f"{where}.{key}", inner, seen.get(key))]
    if isinstance(wanted, list) and isinstance(seen, list) and len(wanted) == len(seen):
        return [it for n, pair in enumerate(zip(wanted, seen, strict=True)) for it in unlike(f"{where}.{n}", *pair)]
    return [] if wanted == seen else [f"{where}: {seen!r} instead of {wanted!r}"]


Outcome = tuple[int, dict[str, str], Any]
"""Status, headers and answer."""


async def plain(caller: str, url: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> Outcome:
    """A request that wants no stream."""
    own = {"anthropic-version": "2023-06-01"} if caller == "anthropic" else {}
    async with aiohttp.ClientSession() as session, session.post(url + path, json=body, headers=own | headers) as answer:
        return answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.json()


async def streamed(caller: str, url: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> Outcome:
    """The same as a stream, put together by the SDK of the format."""
    common: Any = {"api_key": "unused", "max_retries": 0}
    if caller == "anthropic":
        async with AsyncAnthropic(base_url=url, **common) as client:
            given = {name: body[name] for name in ("model", "max_tokens", "messages")}
            async with client.messages.stream(**given, extra_body=body, extra_headers=headers) as messages:
                message = await messages.get_final_message()
            return 200, dict(messages.response.headers), message.model_dump(mode="json", warnings=False)
    async with AsyncOpenAI(base_url=f"{url}/v1", **common) as client:
        given = {name: body[name] for name in ("model", "messages")}
        more: Any = {"stream_options": {"include_usage": True}}
        async with client.chat.completions.stream(**given, extra_body=body, extra_headers=headers, **more) as chunks:
            completion = await chunks.get_final_completion()
            found = dict(chunks._response.headers)
        return 200, found, completion.model_dump(mode="json", exclude_none=True, warnings=False)
