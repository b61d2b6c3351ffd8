"""Listings of models as providers send them, over real HTTP; what is said of a key that is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from support.servers import free_port
from weir_cli.shared.manifests import SecretSource
from weir_cli.up.probe import Listed, Listing, ask, ask_all
from weir_cli.up.sources import Role, Source
from weir_router.contract import Dialect

KEY = "sk-proj-abcdefghijklmnop-7890"


class Provider:
    """A server with scripted answers by path; keeps what it was asked."""

    def __init__(self, url: str, asked: list[tuple[str, dict[str, str]]]) -> None:
        self.url = url
        self.asked = asked

    def source(self, dialect: Dialect = Dialect.OPENAI, *, path: str = "/v1", **fields: Any) -> Source:
        """This server as a source with the key."""
        secret = SecretSource("p", "api-key", "P_API_KEY")
        fields.setdefault("variable", "P_API_KEY")
        return Source("P", dialect, self.url + path, "P_API_KEY", secret, key=fields.pop("key", KEY), **fields)


@contextmanager
def provider(answers: dict[str, tuple[int, Any]], location: str = "") -> Iterator[Provider]:
    """Serves `answers`, each a status and a body; any other path is a 404."""
    asked: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the base class names it
            asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            status, body = answers.get(self.path.partition("?")[0], (404, {"error": {"message": "no such path"}}))
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            if location:
                self.send_header("location", location)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Keeps stderr clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Provider(f"http://127.0.0.1:{server.server_address[1]}", asked)
        finally:
            server.shutdown()
            thread.join()


def listed(*entries: Any) -> dict[str, tuple[int, Any]]:
    """Answers of a server with these entries."""
    return {"/v1/models": (200, {"object": "list", "data": list(entries)})}


def test_the_models_of_a_key_without_those_for_other_work() -> None:
    names = ["gpt-6-luna", "gpt-4o", "text-embedding-3-small", "whisper-1", "gpt-realtime", "tts-1", "davinci-002"]
    with provider(listed(*({"id": name} for name in names))) as server:
        found = ask(server.source())
    assert found == Listing((Listed("gpt-4o"), Listed("gpt-6-luna")))
    assert server.asked[0][1]["authorization"] == f"Bearer {KEY}"


def test_anthropics_listing_is_asked_for_as_its_sdk_does() -> None:
    with provider(listed({"type": "model", "id": "claude-opus-5-5"})) as server:
        found = ask(server.source(Dialect.ANTHROPIC, path=""))
    ((path, headers),) = server.asked
    assert found.models == (Listed("claude-opus-5-5"),)
    assert (path, headers["x-api-key"], "anthropic-version" in headers) == ("/v1/models?limit=1000", KEY, True)
    assert "authorization" not in headers


def test_geminis_names_are_those_that_it_answers_to() -> None:
    with provider(listed({"id": "models/gemini-3.8-flash"})) as server:
        assert ask(server.source()).models == (Listed("gemini-3.8-flash"),)


def test_openrouters_listing_has_prices() -> None:
    entries = [
        {"id": "a/paid", "pricing": {"prompt": "0.0000015", "completion": "0.000006"}},
        {"id": "a/free", "pricing": {"prompt": "0", "completion": "0"}},
        {"id": "a/varies", "pricing": {"prompt": "-1", "completion": "-1"}},
        {"id": "a/odd", "pricing": {"prompt": "NaN", "completion": []}},
    ]
    with provider(listed(*entries)) as server:
        prices = {it.name: it.price for it in ask(server.source()).models}
    assert prices == {
        "a/paid": (Decimal("1.5"), Decimal(6)),
        "a/free": (Decimal(0), Decimal(0)),
        "a/varies": None,
        "a/odd": None,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"<html>welcome</html>",
        {"data": "none"},
        {"data": [None, 7, {"id": None}, {"id": "a b"}, {"id": "x*"}, {"id": "text-embedding-3"}]},
        [],
        "text",
    ],
)
def test_an_answer_without_models_is_a_problem_and_no_traceback(body: Any) -> None:
    with provider({"/v1/models": (200, body)}) as server:
        found = ask(server.source())
    assert found.models == ()
    assert found.problem is not None


@pytest.mark.parametrize(
    "message",
    [
        f"Incorrect API key provided: {KEY}.",
        "Incorrect API key provided: sk-proj-********7890. You can find it at https://example.com.",
        "invalid x-api-key",
    ],
)
def test_a_refusal_has_the_providers_words_but_nothing_of_the_key(message: str) -> None:
    with provider({"/v1/models": (401, {"error": {"message": message}})}) as server:
        problem = ask(server.source()).problem
    assert problem is not None
    assert "P_API_KEY (401)" in problem
    assert message.split()[0] in problem
    assert not any(part in problem for part in (KEY, "sk-proj", "7890"))


def test_without_a_key_the_refusal_names_the_variable() -> None:
    with provider({"/v1/models": (401, {"error": "who?"})}) as server:
        assert ask(server.source(key=None)).problem == "asks for a key (401): who?: set P_API_KEY."


def test_a_redirect_does_not_get_the_key() -> None:
    with (
        provider(listed({"id": "m"})) as other,
        provider({"/v1/models": (302, b"")}, f"{other.url}/v1/models") as first,
    ):
        problem = ask(first.source()).problem
    assert problem is not None
    assert "redirects (302)" in problem
    assert other.asked == []


def test_a_provider_that_lists_nothing_is_taken_to_have_its_preferred_models() -> None:
    with provider({}) as server:
        found = ask(server.source(tiers={Role.CHEAP: ("small",), Role.BEST: ("large",)}))
    assert found.models == (Listed("large"), Listed("small"))
    assert "answers 404" in (found.problem or "")


def test_a_server_of_ones_own_is_found_without_the_version_in_its_address() -> None:
    with provider(listed({"id": "m"})) as server:
        found = ask(server.source(path="", stated=True))
    assert (found.models, found.base_url) == ((Listed("m"),), f"{server.url}/v1")


def test_sources_are_asked_at_once_and_one_that_is_away_spoils_nothing() -> None:
    with provider(listed({"id": "m"})) as server:
        away = Source("Q", Dialect.OPENAI, f"http://127.0.0.1:{free_port()}/v1", "Q", None)
        gone, there = ask_all([away, server.source()])
    assert there.models == (Listed("m"),)
    assert "cannot be reached: Connection refused" in (gone.problem or "")


def test_a_key_that_no_header_can_carry_is_a_problem_without_it() -> None:
    with provider({}) as server:
        problem = ask(server.source(key="sk-\nsecret")).problem
    assert problem is not None
    assert "secret" not in problem
