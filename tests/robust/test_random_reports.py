"""Random reports of routers and random AdmissionReviews: the operator answers each, and serves the next good one."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from robust.fuzz import seeds
from robust.mutations import broken, broken_text, odd
from support.config_server import GATEWAY, OPERATOR, TENANT, serving
from support.published import compiled, policy
from weir_operator.distribute import connections
from weir_operator.distribute.reports import RELAY_PATH, Relay, Relayed
from weir_operator.sidecar.admission import INJECT_PATH, Admission
from weir_operator.sidecar.inject import Settings
from weir_router.contract import POLL_PATH, REVIEW_PATH, BackendReport, PolicyReport, RouteReport, RouterReport

FULL = RouterReport(
    router="r",
    revision=1,
    rejected="no",
    backends={"llm/t/b": BackendReport(state="open", tried=False, failing=3, words="connect: refused")},
    policies={"team-a/p": PolicyReport(routes={"all": RouteReport(requests=9, cheaper=1, dearer=1, unserved=1)})},
)
RELAYED = Relayed(namespace="team-a", account="app", router="r", seen=None, report=FULL, age=1.0)
VALID: dict[str, Any] = {
    POLL_PATH: msgspec.to_builtins(FULL),
    REVIEW_PATH: {"token": "x", "audience": "y"},
    RELAY_PATH: msgspec.to_builtins(Relay(replica="x", whole=True, reports=(RELAYED,))),
}
ALSO = {REVIEW_PATH: (503,), RELAY_PATH: (409,)}  # reviews are off; a relay of changes comes before one of everything
TOKENS = {GATEWAY: "gateway", TENANT: "tenant", OPERATOR: "operator", None: "stranger-of-all"}
POD = {
    "metadata": {"name": "a", "labels": {"a": "b"}, "annotations": {"weir.dev/sidecar-port": "1234"}},
    "spec": {
        "containers": [{"name": "app", "env": [{"name": "A", "value": "b"}], "ports": [{"containerPort": 80}]}],
        "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "x"}}]}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "serviceAccountName": "app",
    },
}
REVIEW = {"request": {"uid": "1", "operation": "CREATE", "namespace": "a", "object": POD}}


def body_of(valid: Any, rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.7:
        return json.dumps(broken(valid, rng)).encode()
    if kind < 0.9:
        return broken_text(json.dumps(valid), rng)
    return json.dumps(odd(rng)).encode()


async def test_random_reports_are_taken_or_refused_and_routers_get_their_config(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as it:
        it.publish(compiled(policy()))

        async def one(seed: int) -> None:
            rng = random.Random(seed)
            path, token = rng.choice(list(VALID)), rng.choice(list(TOKENS.values()))
            headers = {"Authorization": f"Bearer {token}", "Prefer": rng.choice(("wait=0", "wait=-1", "wait=x"))}
            headers["If-None-Match"] = rng.choice(("", "*", '"1"', "W/", "\xe9", "x" * 300))
            body = io.BytesIO(body_of(VALID[path], rng))
            async with it.session.post(it.url + path, data=body, headers=headers) as answer:
                text = await answer.read()
            told = f"seed {seed}: {path} of {token}: {answer.status} {text[:500]!r}"
            assert answer.status in (200, 204, 226, 304, 400, 401, 403, 413, *ALSO.get(path, ())), told
            assert b"Traceback" not in text, told

        for batch in seeds(10):
            await asyncio.gather(*map(one, batch))
            assert (await it.poll()).status == 200
        assert it.server.reports is not None
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_random_admission_reviews_are_answered_and_no_pod_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(image="w:1", gateway="http://w.w", config_server="https://o.w.svc:8443", installation="weir")
    now, app = 0.0, web.Application()
    Admission(settings, lambda: "PEM", monotonic=lambda: now).serve(app)
    runner = await connections.listen(app, "127.0.0.1", 0, None)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}{INJECT_PATH}"

    async def ask(session: aiohttp.ClientSession, seed: int | None) -> None:
        body = json.dumps(REVIEW).encode() if seed is None else body_of(REVIEW, random.Random(seed))
        async with session.post(url, data=io.BytesIO(body)) as answer:
            text = await answer.read()
        told = f"seed {seed}: {answer.status} {text[:500]!r} for {body[:1000]!r}"
        assert answer.status in ((200,) if seed is None else (200, 400)), told
        assert answer.status != 200 or json.loads(text)["response"]["allowed"] is True, told

    async with aiohttp.ClientSession() as session:
        for batch in seeds(10):
            for seed in batch:
                await ask(session, seed)
            await ask(session, None)
    await runner.cleanup()
    # An API server reads a pod into its type before it asks. Of what it cannot read a line of the log says so.
    assert not [it for it in caplog.records if it.levelno >= logging.ERROR and it.name != "weir.inject"]
