"""Work: an upstream that sends much or odd things occupies the event loop for no other caller."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from attacks.town import ENEMY, HONEST, Town, answer, completion, policy, tier, town, upstream

LONGEST = 1.0
"""Seconds of CPU that one turn may take here. It takes a few hundredths; the attacks once took eight and more."""

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
CALLS = [{"id": f"c{it}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for it in range(30_000)]
DELTAS = [{"index": number, **call} for number, call in enumerate(CALLS)]


WHAT = (
    "many calls",
    "many calls in an event",
    "comments",
    "blank lines",
    "names without end",
    "interim answers",
    "headers",
)


def event(**delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    content = {"object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def flood(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        for _ in range(300):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_RDWR)  # the server's own files of the socket keep it open


def evil(body: dict[str, Any], connection: socket.socket) -> None:
    match body["messages"][0]["content"]:
        case "many calls":
            connection.sendall(answer(completion(tool_calls=CALLS)))
        case "many calls in an event":
            connection.sendall(STREAM + event(tool_calls=DELTAS))
            connection.shutdown(socket.SHUT_RDWR)
        case "comments":
            flood(connection, STREAM + b":\n\n" * 20_000)
        case "blank lines":
            flood(connection, STREAM + b"\n" * 60_000)
        case "names without end":
            name = event(tool_calls=[{"index": 0, "function": {"name": "n" * 100}}])
            flood(connection, STREAM + name * 10)
        case "interim answers":
            flood(connection, b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 1_000)
        case "headers":
            flood(connection, b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with upstream() as good, upstream(evil) as bad:
        own = tier(bad.url, ENEMY, "evil")
        # No breaker, so that every attack reaches the upstream.
        own["spec"]["breaker"] = {"consecutiveFailures": 100, "failurePercent": 100}
        theirs = policy(ENEMY, to=f"{ENEMY}/evil", failover={"attempts": 1})
        with town(tmp_path_factory.mktemp("town"), tier(good.url), own, policy(HONEST), theirs) as it:
            assert it.ask(HONEST).status == 200
            yield it


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", WHAT)
def test_an_upstream_occupies_the_router_for_no_other_caller(gateway: Town, what: str, stream: bool) -> None:
    with gateway.honest_callers():
        found = gateway.ask(ENEMY, messages=[{"role": "user", "content": what}], stream=stream)
        assert (b"error" in found.body) is (found.status != 200 or stream)
        assert found.status in (200, 503)
    assert gateway.longest_turn < LONGEST
