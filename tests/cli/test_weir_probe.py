"""`weir probe` on directories, against simulated servers of each kind and against odd ones."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from weir_cli.app import app
from weir_cli.sim import Fault, FaultKind, SimModel, SimulatorThread
from weir_cli.sim.models import Service

KEY = "sk-secret-0123456789"


def backend(url: str, name: str = "m", **more: Any) -> dict[str, Any]:
    credentials = {"type": "APIKey", "secretRef": {"name": "keys", "key": "k"}}
    return {
        "name": name,
        "provider": "OpenAI",
        "baseURL": f"{url}/v1",
        "model": name,
        "credentials": credentials,
        **more,
    }


def probed(folder: Path, *backends: dict[str, Any], options: Sequence[str] = ()) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON and the output for people, of a tier with these backends."""
    tier = {"apiVersion": "weir.dev/v1alpha1", "kind": "ModelTier", "metadata": {"name": "t"}}
    (folder / "tier.yaml").write_text(yaml.safe_dump({**tier, "spec": {"backends": list(backends)}}))
    env = {"COLUMNS": "250", "WEIR_SECRET_DEFAULT_KEYS_K": KEY}
    found = CliRunner(env=env).invoke(app, ["probe", str(folder), "-o", "json", *options])
    shown = CliRunner(env=env).invoke(app, ["probe", str(folder), *options])
    assert found.exit_code == shown.exit_code, shown.output
    assert KEY not in found.output + shown.output
    return found.exit_code, json.loads(found.stdout) if found.stdout else {}, shown.output


def spoken(told: dict[str, Any]) -> dict[str, bool | None]:
    return {it["name"]: it["spoken"] for it in told["backends"][0]["answers"]}


@pytest.mark.parametrize(
    ("offers", "listed", "code", "manifest"),
    [
        ("Chat", None, 0, {}),
        ("Chat", ["Chat", "Responses"], 1, {"dialects": ["Chat"]}),
        ("Chat Responses", ["Responses", "Chat"], 0, {}),
        ("Chat Responses Messages", ["Messages"], 0, {"dialects": ["Messages", "Chat", "Responses"]}),
        ("Responses", ["Responses"], 0, {}),
        ("Messages", ["Chat"], 1, {"dialects": ["Messages"]}),
        ("Embeddings", None, 1, {}),
    ],
)
def test_each_kind_of_server(
    tmp_path: Path, offers: str, listed: list[str] | None, code: int, manifest: dict[str, Any]
) -> None:
    services = tuple(Service(name) for name in offers.split())
    with SimulatorThread([SimModel("m", offers=services, key=KEY)]) as sim:
        found, told, _ = probed(tmp_path, backend(sim.url, **({"dialects": listed} if listed else {})))
    assert (found, told["asListed"]) == (code, code == 0)
    assert spoken(told) == {name: name in offers.split() for name in ("Chat", "Responses", "Messages")}
    assert told["backends"][0]["manifest"] == manifest


@pytest.mark.parametrize(
    ("offers", "more", "code"),
    [
        ("Embeddings", {}, 0),
        ("Images", {}, 0),
        ("Chat Embeddings", {}, 0),
        ("Rerank", {}, 1),
        ("Embeddings", {"dialects": ["Chat"]}, 1),
        ("Embeddings", {"capabilities": ["Tools"]}, 1),
    ],
)
def test_a_model_for_other_endpoints_need_not_converse(tmp_path: Path, offers: str, more: Any, code: int) -> None:
    services = tuple(Service(name) for name in offers.split())
    endpoints = [it for it in ("Embeddings", "Images") if it in offers] or ["Embeddings"]
    with SimulatorThread([SimModel("m", offers=services, key=KEY)]) as sim:
        found, told, _ = probed(tmp_path, backend(sim.url, endpoints=endpoints, **more))
    assert (found, told["asListed"]) == (code, code == 0)
    assert "dialects" not in told["backends"][0]["manifest"]


def test_anthropics_own(tmp_path: Path) -> None:
    with SimulatorThread([SimModel("m", offers=(Service.MESSAGES,), key=KEY)]) as sim:
        code, told, _ = probed(tmp_path, backend(sim.url, provider="Anthropic", baseURL=sim.url))
    assert (code, spoken(told)) == (0, {"Messages": True})


def test_endpoints_are_asked_where_they_are_listed_and_pictures_cost_nothing(tmp_path: Path) -> None:
    listed = ["Embeddings", "Completions", "Moderations", "Images", "Audio", "Rerank"]
    offers = tuple(it for it in Service if it not in (Service.RERANK, Service.MESSAGES))
    with SimulatorThread([SimModel("m", offers=offers)]) as sim:
        code, told, shown = probed(tmp_path, backend(sim.url, endpoints=listed, price={"input": "2", "output": "8"}))
        seen = [json.loads(it.body) for it in sim.requests("m") if it.path.startswith(("/v1/images", "/v1/audio"))]
    assert code == 1
    assert {name: it for name, it in spoken(told).items() if name in listed} == dict.fromkeys(listed[:-1], True) | {
        "Rerank": False
    }
    assert told["backends"][0]["manifest"]["endpoints"] == listed[:-1]
    assert seen
    assert all(set(body) == {"model"} for body in seen)
    assert "    endpoints: [Embeddings, Completions, Moderations, Images, Audio]" in shown
    spent = told["spent"]
    assert spent["dollars"] == pytest.approx((2 * spent["inputTokens"] + 8 * spent["outputTokens"]) / 1e6)
    assert 0 < spent["outputTokens"] <= 20
    assert "Asks 1 backend 9 questions: about 56 tokens of input and at most 19 of output, about $0.000264." in shown


def test_a_model_that_takes_another_limit_and_one_that_reasons(tmp_path: Path) -> None:
    reasons = {
        "error": {"message": "Could not finish the message because max_tokens or model output limit was reached."}
    }
    with SimulatorThread([SimModel("m", refuses=("max_tokens",))]) as sim:
        code, told, _ = probed(tmp_path, backend(sim.url))
    assert (code, spoken(told)["Chat"]) == (0, True)
    with SimulatorThread([SimModel("m")]) as sim:
        sim.fault("m", Fault(FaultKind.STATUS, status=400, body=reasons))
        code, told, _ = probed(tmp_path, backend(sim.url))
    assert (code, spoken(told)["Chat"]) == (0, True)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.RATE_LIMIT), Fault(FaultKind.SERVER_ERROR), Fault(FaultKind.SILENCE), Fault(FaultKind.REFUSE),
        Fault(FaultKind.INSUFFICIENT_QUOTA), Fault(FaultKind.BAD_REQUEST), Fault(FaultKind.CUT),
        Fault(FaultKind.STATUS, status=401, body={"error": {"message": f"Incorrect API key provided: {KEY}"}}),
        Fault(FaultKind.STATUS, status=403, body=f"<html>{KEY}</html>"),
    ],
    ids=lambda fault: fault.kind,
)  # fmt: skip
def test_what_cannot_be_found_out_is_unclear_and_changes_nothing(tmp_path: Path, fault: Fault) -> None:
    with SimulatorThread([SimModel("m")]) as sim:
        sim.fault("m", fault)
        code, told, _ = probed(tmp_path, backend(sim.url, dialects=["Responses"]), options=["--timeout", "0.5"])
    assert code == 2
    assert spoken(told)["Responses"] is None
    assert told["backends"][0]["manifest"] == {}


@pytest.mark.parametrize(
    ("status", "body", "heard"),
    [
        (404, '{"detail": "Not Found"}', False),
        (404, "404 page not found", False),
        (405, "", False),
        (501, "{}", False),
        (200, "{}", False),
        (200, "<html>Welcome</html>", False),
        (200, '{"error": "Unexpected endpoint or method. (POST /v1/responses)"}', False),
        (400, '{"error": {"message": "What?"}}', None),
    ],
)
def test_servers_that_say_it_in_their_own_way(tmp_path: Path, status: int, body: str, heard: bool | None) -> None:
    with odd_server(status, body) as (url, _):
        code, told, _ = probed(tmp_path, backend(url))
    assert (code, spoken(told)["Chat"]) == (2 if heard is None else 1, heard)


def test_no_redirect_is_followed(tmp_path: Path) -> None:
    with odd_server(200, "{}") as (target, asked), odd_server(307, "", target) as (url, _):
        code, told, shown = probed(tmp_path, backend(url))
    assert (code, spoken(told)["Chat"], asked) == (2, None, [])
    assert "redirects, which is not followed" in shown


def test_a_host_that_is_refused_is_not_asked(tmp_path: Path) -> None:
    with SimulatorThread([SimModel("m")]) as sim:
        metadata = backend("http://169.254.169.254", "bad")
        code, told, shown = probed(tmp_path, backend(sim.url), metadata)
    assert (code, [it["backend"] for it in told["backends"]]) == (2, ["m"])
    assert "not asked: ModelTier" in shown


def test_nothing_to_ask(tmp_path: Path) -> None:
    with SimulatorThread([SimModel("m")]) as sim:
        code, _, shown = probed(tmp_path, backend(sim.url), options=["--backend", "other"])
    assert (code, "has no backend that can be asked" in shown) == (2, True)


@contextlib.contextmanager
def odd_server(status: int, body: str, location: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server with one answer for everything, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(self.path)
            self.send_response(status)
            if location:
                self.send_header("location", location + self.path)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()
