"""Memory: bodies, packed bodies and answers cannot fill a router, and honest callers are served meanwhile."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Iterator

import pytest

from attacks.town import ENEMY, HONEST, MIB, PATH, Town, answer, completion, policy, tier, town, upstream, well

BUDGET = 64
"""MiB of bodies and answers that the router of this file may hold."""

LARGEST = 20 * MIB
"""Bytes of the largest request that a policy accepts here."""

LEEWAY = 64
"""MiB beside the budget: buffers of sockets, and what the allocator does not give back."""

PACKED = gzip.compress(completion("x" * 60 * MIB))


@pytest.fixture(scope="module")
def may_answer() -> threading.Event:
    return threading.Event()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, may_answer: threading.Event) -> Iterator[Town]:
    def script(body: dict, connection) -> None:  # type: ignore[no-untyped-def,type-arg]
        if body["model"] == "slow":
            may_answer.wait()
        if body["model"] == "bomb":
            connection.sendall(answer(PACKED, "content-encoding: gzip"))
        else:
            well(body, connection)

    with upstream(script) as up:
        own = [tier(up.url, ENEMY, it, model=it) for it in ("slow", "bomb")]
        policies = [policy(ENEMY, it, f"{ENEMY}/{it}", limits={"requestBytes": LARGEST}) for it in ("slow", "bomb")]
        small = policy(ENEMY, limits={"requestBytes": 65536})
        objects = (tier(up.url), *own, policy(HONEST), small, *policies)
        folder = tmp_path_factory.mktemp("town")
        with town(folder, *objects, arguments=("--require-keys", "--memory", f"{BUDGET}MiB")) as it:
            assert it.ask(HONEST).status == it.ask(ENEMY).status == 200
            yield it


def test_bodies_of_strangers_are_not_kept(gateway: Town) -> None:
    """Twenty connections send 31 MiB each, without a key."""
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {31 * MIB}\r\n\r\n".encode()

    def flood() -> None:
        with contextlib.suppress(OSError), gateway.connect() as connection:  # the router closes it
            connection.sendall(head)
            for _ in range(31):
                connection.sendall(b"a" * MIB)

    threads = [threading.Thread(target=flood) for _ in range(20)]
    with gateway.memory_within(LEEWAY), gateway.honest_callers():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_large_requests_under_way_are_bounded(gateway: Town, may_answer: threading.Event) -> None:
    """Eight requests of 16 MiB at an upstream that does not answer: one fits."""
    body = b'{"model":"slow","messages":[{"role":"user","content":"' + b"a" * 16 * MIB + b'"}]}'
    statuses: list[int] = []

    def ask() -> None:
        with contextlib.suppress(OSError):  # refused while it still sends
            statuses.append(gateway.ask(ENEMY, body).status)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    with gateway.memory_within(BUDGET + LEEWAY), gateway.honest_callers():
        for thread in threads:
            thread.start()
        for thread in threads[:-1]:
            thread.join(0.5)
        may_answer.set()
        for thread in threads:
            thread.join()
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) < 8


def test_a_packed_body_is_refused_before_it_is_unpacked(gateway: Town) -> None:
    """31 KB of gzip become 31 MiB of JSON, and a gigabyte of objects if they are decoded."""
    start = b'{"model":"auto","messages":[{"role":"user","content":"Hi"}],"x":['
    bomb = gzip.compress(start + b"{}," * (31 * MIB // 3) + b"1]}")
    with gateway.memory_within(LEEWAY), gateway.honest_callers():
        # 503: it would fit if the honest callers held nothing.
        assert gateway.ask(ENEMY, bomb, {"content-encoding": "gzip"}).status in (413, 503)


def test_a_packed_answer_is_given_up(gateway: Town) -> None:
    """60 KB of gzip become an answer of 60 MiB."""
    assert len(PACKED) < 100_000
    with gateway.memory_within(LEEWAY), gateway.honest_callers():
        found = gateway.ask(ENEMY, model="bomb")
        assert found.status >= 500
        assert b"compressed more than 100 times" in found.body


def test_afterwards_nothing_is_held(gateway: Town, may_answer: threading.Event) -> None:
    may_answer.set()
    body = b'{"model":"slow","messages":[{"role":"user","content":"' + b"a" * 16 * MIB + b'"}]}'
    assert gateway.ask(ENEMY, body).status == 200
