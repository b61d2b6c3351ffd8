"""Loops through several installations: found, named with whose fault they are, and no evidence against others."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from robust.test_loops import upstream
from support.callers import ask
from support.stand import KEY, NAMESPACE, Stand, backend, config_for, stand
from weir_cli.sim import SimModel
from weir_router.serve.hops import MAX_HOPS, Hops

KEYS = {"authorization": f"Bearer {KEY}"}
BODY = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
OPENAI, ANTHROPIC = "/v1/chat/completions", "/v1/messages"


def leads_to(to: Stand, *more: Any) -> Any:
    """A config whose first tier is another installation; it takes callers without a key."""
    loop = backend(to.sim, SimModel("auto"), base_url=f"{to.url}/v1", credential=None)
    return msgspec.structs.replace(config_for([[loop], *([it] for it in more)]), anonymous_namespace=NAMESPACE)


@contextlib.asynccontextmanager
async def two() -> AsyncIterator[tuple[Stand, Stand]]:
    """Two routers, each of an installation of its own, that point to each other."""
    async with stand([SimModel("m")]) as a, stand([SimModel("m")]) as b:
        a.apply(leads_to(b))
        b.apply(leads_to(a))
        yield a, b


def lines(s: Stand) -> list[dict[str, Any]]:
    """The log, which all routers of this process share."""
    return s.log.lines


async def test_a_loop_through_two_installations_ends_at_the_second_pass_and_both_say_so():
    async with two() as (a, _), aiohttp.ClientSession() as session:
        answer = await ask(session, a)
        assert (answer.status, answer.headers["x-should-retry"]) == (508, "false")
        first = lines(a)[-1]
        assert (first["error"], first["error_source"]) == ("loop_detected", "policy")
        assert [it["outcome"] for it in first["attempts"]] == ["loop"]
        assert len(lines(a)) <= 3 + 3  # the request, its second pass, its third; and as many of the router's own
        assert any("a ModelTier with a backend for 'auto' leads back to it" in it["error_message"] for it in lines(a))


async def test_a_loop_that_the_routers_own_request_meets_is_named_until_the_config_changes():
    async with two() as (a, b), aiohttp.ClientSession() as session:
        await ask(session, a)
        async with asyncio.timeout(5):
            while view(a)["state"] != "ejected":  # noqa: ASYNC110 - by the router's own request
                await asyncio.sleep(0)
        assert view(a)["reason"] == "loop"
        assert view(b)["state"] == "closed"  # the requests came to it by way of the other
        count = len(lines(a))
        assert (await ask(session, a)).status == 508
        assert len(lines(a)) == count + 1  # nothing was sent


def view(s: Stand) -> dict[str, Any]:
    (it,) = s.router.board.view().values()
    return {"state": it.state, "reason": it.reason}


async def test_another_tier_answers_in_place_of_one_that_leads_back():
    async with stand([SimModel("m")]) as a, stand([SimModel("m")]) as b, aiohttp.ClientSession() as session:
        a.apply(leads_to(b))
        b.apply(msgspec.structs.replace(leads_to(a, backend(b.sim, SimModel("m")))))
        answer = await ask(session, a)
        assert answer.status == 200
        assert [[it["outcome"] for it in line["attempts"]] for line in lines(a)[-2:]] == [["loop", "ok"], ["ok"]]
        assert view(a) == {"state": "closed", "reason": None}


async def test_a_caller_who_makes_up_the_header_puts_no_backend_out_for_others():
    async with stand([SimModel("m")]) as a, stand([SimModel("m")]) as b, aiohttp.ClientSession() as session:
        a.apply(leads_to(b))
        b.apply(msgspec.structs.replace(b.config, anonymous_namespace=NAMESPACE))
        for _ in range(3):
            made_up = {"via": b.router._hops.via}
            async with session.post(a.url + OPENAI, json=BODY, headers=made_up) as answer:
                assert answer.status == 508
        assert view(a) == {"state": "closed", "reason": None}
        assert (await ask(session, a)).status == 200


@pytest.mark.parametrize("path", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize("proxied", [False, True])
async def test_marks_of_other_installations_are_sent_on_and_names_of_proxies_are_not(path: str, proxied: bool):
    """A URL with a credential takes the other HTTP client."""
    async with upstream() as (url, heads), stand([SimModel("m")]) as s, aiohttp.ClientSession() as session:
        url = url.replace("//", "//user:secret@") if proxied else url
        s.apply(config_for([[backend(s.sim, SimModel("m"), base_url=url, credential=None)]]))
        others = [f"1.1 {Hops().mark}" for _ in range(2)]
        via = {"via": f"{others[0]}, 1.1 proxy.internal, {others[1]} (nginx)"}
        async with session.post(s.url + path, json=BODY | {"max_tokens": 9}, headers=KEYS | via) as answer:
            assert answer.status == 400
        sent = [line.partition(": ")[2] for line in heads[-1].lower().split("\r\n") if line.startswith("via:")]
        assert ", ".join(sent) == ", ".join([*others, s.router._hops.via])


async def test_marks_in_a_line_of_their_own_count():
    async with stand([SimModel("m")]) as s:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(s.url.rpartition(":")[2]))
        body = json.dumps(BODY).encode()
        head = f"POST {OPENAI} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n"
        head += f"via: 1.1 {Hops().mark}\r\nvia: {s.router._hops.via}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        assert b" 508 " in (await reader.read()).partition(b"\r\n")[0]
        writer.close()


@pytest.mark.parametrize(("hops", "status"), [(MAX_HOPS, 200), (MAX_HOPS + 1, 508)])
async def test_a_request_passes_a_bounded_number_of_installations(hops: int, status: int):
    async with stand([SimModel("m")]) as s, aiohttp.ClientSession() as session:
        via = {"via": ", ".join(f"1.1 {Hops().mark}" for _ in range(hops))}
        async with session.post(s.url + OPENAI, json=BODY, headers=KEYS | via) as answer:
            assert answer.status == status
            assert (f"{MAX_HOPS} are allowed" in await answer.text()) is (status == 508)
