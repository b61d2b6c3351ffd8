"""The shape of an error follows the path of its request, served or not, for every caller and every kind of error."""

import asyncio
import json

import aiohttp
import msgspec
import pytest

from support.stand import KEY, Stand, stand
from weir_cli.sim import Fault, FaultKind, SimModel
from weir_router.contract import Limit

KEYED = {"authorization": f"Bearer {KEY}"}
MARKED = {"anthropic-version": "2023-06-01"}

ANTHROPICS = (
    "/v1/messages",
    "/messages",
    "//v1/messages/",
    "/v1/messages/count_tokens",
    "/v1/messages/batches",
    "/v1/messages/batches/1/results",
    "/v1/messages/anything",
    "/openai/v1/messages",
    "/anthropic/v1/messages",
    "/anthropic/v1/models",
    "/anthropic/v1/models/nothing",
    "/anthropic/v1/complete",
    "/anthropic/anything",
    "/anthropic",
)
OPENAIS = (
    "/v1/chat/completions",
    "/chat/completions",
    "/v1/chat/completions/1",
    "/v1/responses",
    "/v1/responses/resp_1",
    "/v1/responses/resp_1/cancel",
    "/v1/responses/input_tokens",
    "/openai/deployments/auto/chat/completions",
    "/anthropic/v1/chat/completions",
    "/openai/v1/models/nothing",
    "/openai/v1/anything",
    "/v1/embeddings",
    "/v1/images/generations",
    "/v1/files",
    "/v1/realtime",
    "/v1/anything",
    "/v1/messages-of-yesterday",
    "/v2/messages",
    "/anything",
    "/health",
    "/",
)
SHARED = ("/v1/models", "/models", "/v1/models/nothing")
ROWS = [
    *[(path, marks, True) for path in ANTHROPICS for marks in ({}, MARKED)],
    *[(path, marks, False) for path in OPENAIS for marks in ({}, MARKED)],
    *[(path, marks, bool(marks)) for path in SHARED for marks in ({}, MARKED)],
]
GIVEN = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "input": "hi"}
TWO = {"/v1/messages": True, "/v1/chat/completions": False, "/v1/responses": False}


def fits(body: dict, anthropic: bool) -> bool:
    """Whether the error has the shape, and only that one."""
    error = body["error"]
    if anthropic:
        return body["type"] == "error" and isinstance(error["type"], str) and isinstance(error["message"], str)
    return "type" not in body and {"message", "type", "code", "param"} <= set(error)


async def asked(s: Stand, method: str, path: str, headers: dict[str, str], **more) -> tuple[int, dict]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, s.url + path, headers=headers, **more) as answer,
    ):
        return answer.status, json.loads(await answer.read())


async def raw(s: Stand, data: bytes) -> tuple[int, dict]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(s.url.rpartition(":")[2]))
    writer.write(data)
    said = await reader.read()
    writer.close()
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def test_every_path_has_its_shape_for_every_method_with_and_without_a_key() -> None:
    met: set[int] = set()
    async with stand([SimModel("m")]) as s:
        for path, marks, anthropic in ROWS:
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
                for keyed in (KEYED, {}, {"x-api-key": "sk-foreign"}):
                    status, body = await asked(s, method, path, keyed | marks)
                    if status >= 400:
                        met.add(status)
                        assert fits(body, anthropic), (method, path, marks, status, body)
    assert met >= {400, 401, 404, 405}


@pytest.mark.parametrize(("path", "anthropic"), TWO.items())
@pytest.mark.parametrize("start", ["", "/anthropic", "/openai"])
async def test_errors_of_limits_and_upstreams_have_it_too(path: str, anthropic: bool, start: str) -> None:
    met = set()
    async with stand([SimModel("m")], max_request_bytes=2_000) as s:
        for marks in ({}, MARKED):
            for given in (GIVEN | {"model": "x"}, GIVEN | {"padding": "x" * 3_000}, GIVEN | {"temperature": []}, []):
                status, body = await asked(s, "POST", start + path, KEYED | marks, json=given)
                met.add(status)
                assert status == 200 or fits(body, anthropic), (status, body)
            for kind in (FaultKind.BAD_REQUEST, FaultKind.RATE_LIMIT, FaultKind.SERVER_ERROR, FaultKind.UNAUTHORIZED):
                s.sim.fault("m", Fault(kind))
                status, body = await asked(s, "POST", start + path, KEYED | marks, json=GIVEN)
                met.add(status)
                assert fits(body, anthropic), (kind, status, body)
            s.sim.clear("m")
        limited = msgspec.structs.replace(s.config.policies[0], limits=Limit(key="p", requests_per_minute=1))
        s.apply(msgspec.structs.replace(s.config, policies=(limited,)))
        for _ in range(3):
            status, body = await asked(s, "POST", start + path, KEYED, json=GIVEN)
        assert (status, fits(body, anthropic)) == (429, True)
        unready = msgspec.structs.replace(limited, not_ready="because", limits=None)
        s.apply(msgspec.structs.replace(s.config, policies=(unready,)))
        status, body = await asked(s, "POST", start + path, KEYED, json=GIVEN)
        assert (status, fits(body, anthropic)) == (503, True)
        s.router.store.config = None
        status, body = await asked(s, "POST", start + path, KEYED, json=GIVEN)
        assert (status, fits(body, anthropic)) == (503, True)
        s.router.store.config = s.config
    assert {400, 404, 413} <= met
    assert max(met) >= 500


@pytest.mark.parametrize(
    ("path", "anthropic"), [*TWO.items(), ("/anthropic/x", True), ("/x", False), ("/v1/models", None)]
)
async def test_what_is_no_valid_http_has_it_as_soon_as_the_path_is_known(path: str, anthropic: bool | None) -> None:
    met = set()
    async with stand([SimModel("m")]) as s:
        for mark in ("", "anthropic-version: 2023-06-01\r\n"):
            wanted = bool(mark) if anthropic is None else anthropic
            for head in (
                f"POST {path} HTTP/1.1\r\n{mark}Host: a b\r\n\r\n",
                f"POST {path}?beta=true HTTP/1.1\r\n{mark}\r\n",
                f"POST {path} HTTP/1.1\r\n{mark}Host: h\r\nContent-Length: x\r\n\r\n",
                f"POST {path} HTTP/1.1\r\n{mark}Host: h\r\nTransfer-Encoding: gzip\r\n\r\n",
                f"POST http://h{path} HTTP/1.1\r\n{mark}Host: h\r\nbad header\r\n\r\n",
                f"POST {path} HTTP/1.1\r\n{mark}Host: h\r\nA: {'x' * 70_000}\r\n\r\n",
                f"POST {path} HTTP/1.1\r\n{mark}Host: h\r\nAPI-Key: {KEY}\r\nContent-Length: 99999999\r\n\r\n",
            ):
                status, body = await raw(s, head.encode())
                met.add(status)
                assert fits(body, wanted), (status, head[:90], body)
        status, body = await raw(s, b"complete nonsense\r\n\r\n")
        assert (status, fits(body, anthropic=False)) == (400, True)
    assert {400, 501} <= met
