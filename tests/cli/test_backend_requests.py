"""The request that reaches a backend with headers, a query, a header for its key and default parameters."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.shell import policy, save, tier, up

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "prod",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Four."}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


class Azure(ThreadingHTTPServer):
    """A server that keeps each request's path, headers and body."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Azure

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        data = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keeps stderr clean."""


@pytest.fixture
def azure() -> Iterator[Azure]:
    with Azure() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_deployment_of_azure_is_asked_as_azure_wants_it(azure: Azure, tmp_path: Path) -> None:
    backend = {
        "baseURL": f"http://127.0.0.1:{azure.server_address[1]}/openai/deployments/prod",
        "credentials": {"type": "APIKey", "secretRef": {"name": "azure", "key": "api-key"}, "header": "api-key"},
        "headers": [{"name": "HTTP-Referer", "value": "https://a.example"}],
        "query": [{"name": "api-version", "value": "2024-10-21"}],
        "parameters": {"defaults": {"temperature": "0.2", "seed": "7"}},
        "transport": "AsAsked",
    }
    save(tmp_path / "all.yaml", tier("http://unused.example", backend="prod", **backend), policy())
    with up(tmp_path, env={"WEIR_SECRET_DEFAULT_AZURE_API_KEY": "azure-secret"}) as gateway:
        answer = gateway.ask(seed=1)
        assert (answer.status, answer.json()["choices"][0]["message"]["content"]) == (200, "Four.")
    ((path, headers, body),) = azure.asked
    assert path == "/openai/deployments/prod/chat/completions?api-version=2024-10-21"
    assert (headers["api-key"], headers["http-referer"]) == ("azure-secret", "https://a.example")
    assert "authorization" not in headers
    assert (body["model"], body["temperature"], body["seed"]) == ("prod", 0.2, 1)
