"""A namespace that fills the router's memory leaves some for others."""

import asyncio
import json

import aiohttp
import msgspec

from support.stand import KEY, NAMESPACE, Stand, stand
from weir_cli.sim import SimModel
from weir_router.contract import CallerKey, CallerRule
from weir_router.identify.keys import fingerprint

MB = 1024 * 1024
OTHER, OTHERS_KEY = "quiet", "weir_key-of-a-quiet-namespace"


def admit_others(s: Stand) -> None:
    """Lets a second namespace ask."""
    rule = CallerRule(namespaces=frozenset({NAMESPACE, OTHER}))
    policies = tuple(msgspec.structs.replace(it, callers=(rule,)) for it in s.config.policies)
    keys = {**s.router.store.secrets.caller_keys, fingerprint(OTHERS_KEY): CallerKey(namespace=OTHER, name="q")}
    secrets = msgspec.structs.replace(s.router.store.secrets, caller_keys=keys)
    config = msgspec.structs.replace(s.config, policies=policies, revision=s.config.revision + 1)
    s.router.store.apply(config, secrets)


async def ask(s: Stand, key: str, size: int) -> tuple[int, str]:
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "word " * (size // 5)}]}).encode()
    async with (
        aiohttp.ClientSession(s.url, headers={"authorization": f"Bearer {key}"}) as session,
        session.post("/v1/chat/completions", data=body, headers={"content-type": "application/json"}) as got,
    ):
        return got.status, await got.text()


async def test_a_namespace_that_fills_the_memory_is_refused_and_another_is_served():
    async with stand([SimModel("m")], memory=9 * MB) as s:
        admit_others(s)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n"
            f"content-length: {MB // 2}\r\n\r\n{{"
        )
        writers = []
        for _ in range(5):
            _, writer = await asyncio.open_connection(*s.url.removeprefix("http://").split(":"))
            writer.write(head.encode())
            writers.append(writer)
        async with asyncio.timeout(10):
            while s.router.memory.held != 5 * 3 * MB // 2:  # noqa: ASYNC110  # a number has no event
                await asyncio.sleep(0)
        status, text = await ask(s, KEY, MB // 2)
        assert status == 503
        assert f"Namespace {NAMESPACE} holds {15 * MB // 2} bytes, its share of the {9 * MB} bytes" in text
        for _ in range(3):
            status, text = await ask(s, OTHERS_KEY, MB // 8)
            assert status == 200, text
        for writer in writers:
            writer.transport.abort()
        async with asyncio.timeout(10):
            while s.router.memory.held:  # noqa: ASYNC110  # a number has no event
                await asyncio.sleep(0)
        assert (await ask(s, KEY, MB // 8))[0] == 200
