"""The gateways that are put before the fleet, as processes. Used by `run`; `bench.processes` starts and ends them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from bench.faults.callers import APIS, Service
from bench.faults.peers import PEERS, STARTING
from bench.faults.rows import FIRST, SECOND, Row
from bench.processes import free_port, running

API = "weir.dev/v1alpha1"

_TAKEN: dict[str, dict[str, Any]] = {
    "chat": {},
    "responses": {"dialects": ["Responses"]},
    "embeddings": {"endpoints": ["Embeddings"], "baseModel": "embedder"},
}
"""Fields of a backend whose model takes an API."""


@contextlib.contextmanager
def gateway(name: str, row: Row, urls: Mapping[str, str], folder: Path) -> Iterator[Service]:
    """The gateway called `name` before these models, listening."""
    with weir(row, urls, folder) if name == "weir" else PEERS[name](urls, folder) as service:
        yield service


@contextlib.contextmanager
def weir(row: Row, urls: Mapping[str, str], folder: Path) -> Iterator[Service]:
    """`weir up` on manifests with every default, but for what the row says of the breaker."""
    manifests = folder / "manifests"
    manifests.mkdir()
    (manifests / "all.yaml").write_text(yaml.safe_dump_all(_manifests(row, urls)))
    port = free_port()
    module = ["-m", "weir_cli"]
    if row.front == "moves":
        module = ["-m", "bench.faults.resolving", str(folder / "hosts")]
    command = [sys.executable, *module, "up", str(manifests), "--no-log"]
    command += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{free_port()}"]
    authority = {"SSL_CERT_FILE": str(folder / "ca.pem")} if row.front == "tls" else {}
    with running(command, port, None, folder / "weir.log", {**os.environ, **authority}, STARTING):
        yield Service(f"http://127.0.0.1:{port}{APIS[row.api].path}", api=row.api)


def _manifests(row: Row, urls: Mapping[str, str]) -> list[dict[str, Any]]:
    def tier(name: str, models: tuple[str, ...], price: str) -> dict[str, Any]:
        backends = [
            {"name": model, "provider": "OpenAI", "baseURL": f"{urls[model]}/v1", "model": model}
            | {"price": {"input": price, "output": price}}
            | _TAKEN[row.api]
            for model in models
        ]
        spec: dict[str, Any] = {"backends": backends}
        if row.breaker and name == "first":
            spec["breaker"] = dict(row.breaker)
        return {"apiVersion": API, "kind": "ModelTier", "metadata": {"name": name}, "spec": spec}

    when = {"when": {"operations": ["Embeddings"]}} if row.api == "embeddings" else {}
    route = {"name": "all", **when, "tiers": [{"name": "first"}, {"name": "second"}]}
    policy = {"apiVersion": API, "kind": "RoutingPolicy", "metadata": {"name": "callers"}}
    policy["spec"] = {"models": [{"name": "auto"}], "routes": [route]}
    return [tier("first", FIRST, "1"), tier("second", SECOND, "2"), policy]
