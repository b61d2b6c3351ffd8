"""The webhook over HTTP: strangers may send it anything."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_operator.distribute import connections
from weir_operator.sidecar import admission
from weir_operator.sidecar.admission import INJECT_PATH, Admission
from weir_operator.sidecar.inject import Settings

SETTINGS = Settings(image="weir:1", gateway="http://weir.w", config_server="https://o.w.svc:8443", installation="weir")
POD = {"metadata": {}, "spec": {"containers": [{"name": "app"}]}}


def review(pod: Any = POD, **request: Any) -> bytes:
    return json.dumps(
        {"request": {"uid": "1", "operation": "CREATE", "namespace": "a", "object": pod, **request}}
    ).encode()


class Webhook:
    """A served webhook with a clock, and a client."""

    def __init__(self) -> None:
        self.now = 100.0
        self.admission = Admission(SETTINGS, lambda: "PEM", monotonic=lambda: self.now)
        self.session: aiohttp.ClientSession
        self.port = 0

    async def ask(self, body: bytes) -> tuple[int, Any]:
        async with self.session.post(f"http://127.0.0.1:{self.port}{INJECT_PATH}", data=io.BytesIO(body)) as answer:
            return answer.status, json.loads(await answer.read())


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    it, app = Webhook(), web.Application()
    it.admission.serve(app)
    runner = await connections.listen(app, "127.0.0.1", 0, None)
    it.port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as it.session:
        yield it
    await runner.cleanup()


async def test_a_pod_gets_its_sidecar(webhook: Webhook):
    status, answer = await webhook.ask(review())
    assert (status, answer["response"]["allowed"], answer["response"]["uid"]) == (200, True, "1")
    assert "weir-sidecar" in base64.b64decode(answer["response"]["patch"]).decode()


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"", 400, "not an AdmissionReview"),
        (b"{}", 400, "not an AdmissionReview"),
        (b"[" * 90_000, 400, "not an AdmissionReview"),
        (b'{"request": {"uid": "1", "object": {"a": ' + b"[" * 90_000 + b"]" * 90_000 + b"}}}", 400, "AdmissionReview"),
        (b'{"a": [' + b"{}," * 50_001 + b"1]}", 400, "more than 100,000 values"),
        (review(uid="x" * 254), 400, "not an AdmissionReview"),
        (review(namespace="x" * 254), 400, "not an AdmissionReview"),
        (b" " * (admission.MAX_REVIEW_BYTES + 1), 413, "more than 4194304 bytes"),
    ],
)
async def test_a_review_that_is_none_is_refused(webhook: Webhook, body: bytes, status: int, why: str):
    found, answer = await webhook.ask(body)
    assert (found, why in answer["error"]["message"]) == (status, True)


async def test_the_largest_pod_that_an_api_server_takes_is_no_trouble(webhook: Webhook):
    pod = {**POD, "metadata": {"annotations": {"a": "x" * (3 * 1024 * 1024)}}}
    assert (await webhook.ask(review(pod)))[0] == 200


async def test_a_body_that_does_not_come_holds_no_place_for_long(webhook: Webhook, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(admission, "REVIEW_SECONDS", 0.05)
    strangers = [await asyncio.open_connection("127.0.0.1", webhook.port) for _ in range(admission.REVIEWS_AT_ONCE)]
    for _, writer in strangers:
        writer.write(f"POST {INJECT_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode())
    async with asyncio.timeout(20):
        assert (await webhook.ask(review()))[0] == 200
        for reader, writer in strangers:
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
            writer.close()


async def test_of_one_address_only_so_many_reviews_wait(webhook: Webhook, monkeypatch: pytest.MonkeyPatch):
    webhook.admission._turns = admission.Turns(1, 1)
    held = asyncio.Event()

    async def hold() -> None:
        async with webhook.admission._turns.turn("another"):
            await held.wait()

    holding = asyncio.create_task(hold())
    await asyncio.sleep(0)
    waits = asyncio.create_task(webhook.admission._turns._wait("127.0.0.1"))
    await asyncio.sleep(0)
    status, answer = await webhook.ask(review())
    assert (status, answer["error"]["message"]) == (503, "too many reviews wait here")
    held.set()
    await asyncio.gather(holding, waits)


async def test_strangers_fill_no_log_and_begin_no_line(webhook: Webhook, caplog: pytest.LogCaptureFixture):
    pod = {"spec": {"hostNetwork": True}}
    for _ in range(admission.LINES_A_MINUTE + 20):
        await webhook.ask(review(pod, namespace="a\nERROR all is lost\x1b[2J"))
    assert len(caplog.records) == admission.LINES_A_MINUTE
    assert "\n" not in caplog.records[0].getMessage()
    assert "\x1b" not in caplog.records[0].getMessage()
    webhook.now += 60
    await webhook.ask(review(pod))
    assert len(caplog.records) == admission.LINES_A_MINUTE + 1


KEYS = st.sampled_from(
    [
        *("metadata", "spec", "labels", "annotations", "containers", "initContainers", "env", "envFrom", "name"),
        *("volumes", "ports", "containerPort", "args", "prefix", "weir.dev/inject", "weir.dev/sidecar-port"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda it: st.lists(it, max_size=3) | st.dictionaries(KEYS, it, max_size=3),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_whatever_is_called_a_pod_is_answered(pod: dict[str, Any]):
    logging.getLogger("weir.inject").disabled = True
    try:
        answer = Admission(SETTINGS, lambda: "PEM")._answered(admission._decoded(review(pod)))
    finally:
        logging.getLogger("weir.inject").disabled = False
    assert json.loads(answer.body)["response"]["allowed"] is True  # type: ignore[arg-type]
