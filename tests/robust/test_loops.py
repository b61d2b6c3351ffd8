"""Tiers that lead back to the router: a request passes once."""

import asyncio
import contextlib

import aiohttp
import msgspec
import pytest

from support.callers import ask
from support.sidecar import sidecar
from support.stand import KEY, NAMESPACE, backend, config_for, stand
from weir_cli.sim import SimModel
from weir_router.contract import TokenTrust
from weir_router.serve.hops import Hops

KEYS = {"authorization": f"Bearer {KEY}"}
BODY = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}


@contextlib.asynccontextmanager
async def upstream():
    """An upstream that refuses everything, and the heads that it got."""
    heads = []

    async def serve(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 400 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", heads


async def test_a_request_that_comes_back_is_refused_and_the_tier_named():
    async with stand([SimModel("m")]) as s, aiohttp.ClientSession() as session:
        loop = backend(s.sim, SimModel("auto"), base_url=f"{s.url}/v1", credential=None)
        s.apply(msgspec.structs.replace(config_for([[loop]]), anonymous_namespace=NAMESPACE))
        assert (await ask(session, s)).status >= 500
        ended = [line for line in s.log.lines if line["status"] == 508]
        assert ended
        assert all("ModelTier llm/t0 leads back to it" in line["error_message"] for line in ended)
        assert len(s.log.lines) <= 4  # the request, and its attempts


async def test_other_installations_may_be_in_front():
    async with stand([SimModel("m")]) as s, aiohttp.ClientSession() as session:
        via = {"via": f"1.1 {Hops().mark}, 1.1 nginx"}
        async with session.post(f"{s.url}/v1/chat/completions", json=BODY, headers=KEYS | via) as answer:
            assert answer.status == 200
        via = {"via": f"1.1 nginx, {s.router._hops.via}"}
        async with session.post(f"{s.url}/v1/chat/completions", json=BODY, headers=KEYS | via) as answer:
            assert answer.status == 508
            assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("proxied", [False, True])
async def test_every_request_to_an_upstream_has_the_mark(proxied):
    """A URL with a credential takes the other HTTP client."""
    async with upstream() as (url, heads), stand([SimModel("m")]) as s, aiohttp.ClientSession() as session:
        url = url.replace("//", "//user:secret@") if proxied else url
        config = config_for([[backend(s.sim, SimModel("m"), base_url=url, credential=None)]])
        for tokens in (None, TRUST):  # the mark follows the config
            s.apply(msgspec.structs.replace(config, tokens=tokens))
            assert (await ask(session, s)).status == 400, s.last
            assert f"via: {s.router._hops.via}\r\n" in heads[-1].lower()


TRUST = TokenTrust(issuer="https://kubernetes.default.svc", audience="weir/weir")


def test_all_routers_of_an_installation_have_one_mark():
    routers = [Hops() for _ in range(3)]
    assert len({it.mark for it in routers}) == 3  # without a cluster each is an installation
    for it in routers[:2]:
        it.configure(TRUST)
    routers[2].configure(msgspec.structs.replace(TRUST, audience="weir/other"))
    assert routers[0].mark == routers[1].mark != routers[2].mark
    assert "weir/weir" not in routers[0].via


async def test_a_sidecar_relays_without_a_mark_and_sends_its_own_requests_with_one(tmp_path):
    async with sidecar(tmp_path, SimModel("m")) as side, aiohttp.ClientSession(side.url) as session:
        side.knows(msgspec.structs.replace(side.local(SimModel("m"), "llm"), tokens=side.gateway.config.tokens))
        assert side.router._hops.mark == side.gateway.router._hops.mark
        async with session.post("/v1/chat/completions", json=BODY) as answer:
            assert answer.status == 200
        assert len(side.relayed) == 1
