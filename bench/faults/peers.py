"""Other gateways before the same fleet, each from its own package and of one version. Used by `proxies`.

They get what Weir gets: both tiers in their order, two retries, 30 s for an answer to begin; the rest are their
defaults. They are installed the first time, into the user's cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from bench.faults.callers import Service
from bench.faults.rows import FIRST, SECOND
from bench.processes import Process, free_port, running

HOME = Path(os.environ.get("WEIR_PEERS", Path.home() / ".cache" / "weir" / "peers"))
LITELLM = "litellm[proxy]==1.106.12"
PORTKEY = {
    "dependencies": {"@portkey-ai/gateway": "1.15.2", "hono": "4.9.7", "@hono/node-server": "1.3.3"},
    "overrides": {"hono": "4.9.7", "@hono/node-server": "1.3.3"},
}
"""Versions that belong together: with others its streams fail."""
RETRIES, TIMEOUT = 2, 30
STARTING = 120.0  # seconds: several start at once, and LiteLLM imports for a long time
KEY = "sk-" + "0" * 48
"""API key of the gateway's callers, and of its upstreams."""


def litellm_proxy(
    config: dict[str, Any], folder: Path, core: str | None, *options: str
) -> contextlib.AbstractContextManager[Process]:
    """LiteLLM's proxy with `config`, and `KEY` as its master key; installed the first time."""
    home = HOME / "litellm"
    if not (home / "bin" / "litellm").exists():
        _install([sys.executable, "-m", "venv", str(home)], [str(home / "bin" / "pip"), "install", "-q", LITELLM])
    (folder / "litellm.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [str(home / "bin" / "litellm"), "--config", str(folder / "litellm.yaml"), "--port", str(port)]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "CRITICAL"}
    environment["LITELLM_MASTER_KEY"] = KEY
    command += ["--host", "127.0.0.1", *options]
    return running(command, port, core, folder / "litellm.log", environment, STARTING)


@contextlib.contextmanager
def litellm(urls: Mapping[str, str], folder: Path) -> Iterator[Service]:
    """LiteLLM's proxy: a model group per tier, the second as the first one's fallback."""

    def deployments(group: str, models: tuple[str, ...]) -> list[dict[str, Any]]:
        parameters = [{"model": f"openai/{it}", "api_base": f"{urls[it]}/v1", "api_key": KEY} for it in models]
        return [{"model_name": group, "litellm_params": it} for it in parameters]

    router = {"num_retries": RETRIES, "timeout": TIMEOUT, "fallbacks": [{"auto": ["second"]}]}
    config = {"model_list": deployments("auto", FIRST) + deployments("second", SECOND), "router_settings": router}
    with litellm_proxy(config, folder, None) as it:
        yield Service(f"http://127.0.0.1:{it.port}/v1/chat/completions", {"authorization": f"Bearer {KEY}"})


@contextlib.contextmanager
def portkey(urls: Mapping[str, str], folder: Path) -> Iterator[Service]:
    """Portkey's open-source gateway: a load balancer per tier, the second as fallback."""
    home = HOME / "portkey"
    start = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not start.exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text(json.dumps(PORTKEY))
        _install(["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund"])

    def tier(models: tuple[str, ...]) -> dict[str, Any]:
        targets = [
            {"provider": "openai", "api_key": KEY, "custom_host": f"{urls[it]}/v1"}
            | {"override_params": {"model": it}, "retry": {"attempts": RETRIES}, "request_timeout": TIMEOUT * 1000}
            for it in models
        ]
        return {"strategy": {"mode": "loadbalance"}, "targets": targets}

    config = {"strategy": {"mode": "fallback"}, "targets": [tier(FIRST), tier(SECOND)]}
    port = free_port()
    with running(["node", str(start), f"--port={port}", "--headless"], port, None, folder / "portkey.log"):
        headers = {"authorization": f"Bearer {KEY}", "x-portkey-config": json.dumps(config)}
        yield Service(f"http://127.0.0.1:{port}/v1/chat/completions", headers)


def _install(*commands: list[str]) -> None:
    for command in commands:
        subprocess.run(command, check=True, stdout=sys.stderr)


PEERS: Mapping[str, Callable[[Mapping[str, str], Path], contextlib.AbstractContextManager[Service]]] = {
    "litellm": litellm,
    "portkey": portkey,
}
