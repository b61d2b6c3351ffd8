"""Thousands of broken forms over real HTTP: a 400 that says why, or an upstream that finds the same model in them.

The upstream reads what it gets with two other parsers, Python's own of mails and the simulator's, so that a form in
which servers would find different models is found here.
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import itertools
import json
import random
from email.policy import HTTP

import aiohttp

from robust.fuzz import seeds
from support.servers import one_request, talking
from support.stand import KEY, stand
from weir_cli.sim import SimModel
from weir_cli.sim.endpoints.forms import read_form
from weir_cli.sim.refused import Refused
from weir_router.contract import Operation, Route, TierRef, When

PER_BATCH = 40
BOUNDARY = b"2f8c6e1ab03d4b5f"
TYPE = f"multipart/form-data; boundary={BOUNDARY.decode()}"
DELIMITER = b"\r\n--" + BOUNDARY

PARTS = (
    b'Content-Disposition: form-data; name="model"\r\n\r\nauto',
    b'Content-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n'
    + bytes(range(256)),
    b'Content-Disposition: form-data; name="language"\r\nContent-Length: 2\r\n\r\nen',
    b'content-disposition:form-data;name="prompt"\r\n\r\na\r\n\r\nb',
)
PIECES = (
    b"\r\n", b"\n", b"\r", b"--", b";", b'"', b"\0", b"--" + BOUNDARY, DELIMITER, DELIMITER + b"--",
    DELIMITER + b"\r\n",
    b'; name="model"', b"; name*=utf-8''model", b"; filename=x", b'Content-Disposition: form-data; name="model"\r\n',
    b"Content-Transfer-Encoding: base64\r\n", DELIMITER + b"\r\n" + PARTS[0],
)  # fmt: skip


def mutated(rng: random.Random) -> bytes:
    """A form that is damaged in a few places."""
    parts = list(PARTS)
    rng.shuffle(parts)
    body = bytearray(b"".join(b"--" + BOUNDARY + b"\r\n" + it + b"\r\n" for it in parts) + b"--" + BOUNDARY + b"--\r\n")
    for _ in range(rng.randrange(5)):
        at = rng.randrange(len(body))
        match rng.randrange(4):
            case 0:
                body[at] = rng.randrange(256)
            case 1:
                del body[at : at + rng.randrange(1, 40)]
            case 2:
                body[at:at] = body[at : at + rng.randrange(1, 200)]
            case _:
                body[at:at] = rng.choice(PIECES)
    return bytes(body)


def models(body: bytes) -> list[str]:
    """The models in a form, as Python's own parser reads it."""
    message = email.message_from_bytes(f"Content-Type: {TYPE}\r\n\r\n".encode() + body, policy=HTTP)
    parts = [it for it in message.iter_parts() if it.get_param("name", header="content-disposition") == "model"]
    return [it.get_payload(decode=True).decode("utf-8", "replace") for it in parts]


async def test_a_form_is_refused_or_has_one_model_for_every_parser():
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heard.append((await one_request(reader))[1])
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
            await writer.drain()

    routes = (Route(name="audio", when=When(operations=frozenset({Operation.AUDIO})), tiers=(TierRef(tier="llm/t0"),)),)
    passed = 0
    async with talking(talk) as url:
        changes = {"upstream-model": {"base_url": url, "endpoints": ("Audio",)}}
        async with (
            stand([SimModel("upstream-model")], changes=changes, routes=routes) as s,
            aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}", "content-type": TYPE}) as http,
        ):
            for seed in itertools.chain.from_iterable(seeds(PER_BATCH)):
                body = mutated(random.Random(seed))
                async with http.post(f"{s.url}/v1/audio/transcriptions", data=body) as answer:
                    said = await answer.read()
                    assert answer.status in (200, 400, 404), (seed, said)  # 404: another model's name
                    assert answer.status == 200 or json.loads(said)["error"]["message"], seed
                if answer.status == 200:
                    passed += 1
                    assert models(heard[-1]) == ["upstream-model"], seed
                    with contextlib.suppress(Refused):  # it is stricter than the router in what it reads
                        assert read_form(TYPE, heard[-1])["model"] == "upstream-model", seed
            assert len(heard) == passed
    assert passed, "nothing got through"
