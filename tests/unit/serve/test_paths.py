import aiohttp
import pytest

from support.callers import request_for
from support.stand import KEY, Stand, stand
from weir_cli.sim import SimModel
from weir_router.contract import CompiledConfig, Dialect
from weir_router.serve.paths import NOT_SERVED, deployment, meant

KEYED = {"authorization": f"Bearer {KEY}"}
MARKED = {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("//v1/chat/completions", "/v1/chat/completions"),
        ("/v1//messages/", "/v1/messages"),
        ("/v1/v1/messages", "/v1/messages"),
        ("/messages", "/v1/messages"),
        ("/openai/v1/models", "/v1/models"),
        ("/openai/chat/completions", "/v1/chat/completions"),
        ("/anthropic//v1/messages", "/v1/messages"),
        ("/openai/deployments/gpt-4o/chat/completions", "/v1/chat/completions"),
        ("/v1/openai/deployments/gpt-4o/chat/completions", "/v1/chat/completions"),
        ("/v1/anthropic/v1/messages", "/v1/messages"),
        ("/openai/deployments", "/"),
        ("/deployments/a/chat/completions", "/v1/deployments/a/chat/completions"),
        ("/v1/models/anthropic/v1", "/v1/models/anthropic/v1"),
        ("/v1/models/a%2Fb", "/v1/models/a%2Fb"),
        ("/v1/", "/"),
        ("//", "/"),
        ("", "/"),
        ("*", "/v1/*"),
    ],
)
def test_a_path_of_a_wrong_base_url_means_another(path: str, wanted: str) -> None:
    assert meant(path) == wanted
    assert meant(wanted) == wanted


async def asked(s: Stand, method: str, path: str, headers: dict[str, str] = KEYED, **more) -> tuple[int, dict, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, s.url + path, headers=headers, **more) as answer,
    ):
        body = await answer.json() if method != "HEAD" else {}
        return answer.status, body, answer.headers.get("allow", "")


@pytest.mark.parametrize("dialect", [Dialect.OPENAI, Dialect.ANTHROPIC])
@pytest.mark.parametrize("start", ["//v1/", "/v1//", "/", "//", "/openai/v1/", "/anthropic/v1/", "/v1/v1/", "/openai/"])
async def test_requests_with_a_wrong_base_url_are_served(dialect: Dialect, start: str) -> None:
    async with stand([SimModel("m")]) as s:
        path, body, headers = request_for(dialect, stream=False)
        for end in ("", "/"):
            status, _, _ = await asked(s, "POST", start + path.removeprefix("/v1/") + end, headers, json=body)
            assert status == 200
        status, listed, _ = await asked(s, "GET", start + "models")
        assert (status, [it["id"] for it in listed["data"]]) == (200, ["auto"])
        status, one, _ = await asked(s, "GET", start + "models/auto")
        assert (status, one["id"]) == (200, "auto")
        assert s.log.lines[0]["path"] == path


async def test_a_wrong_base_url_needs_a_key_and_a_method_as_the_right_one_does() -> None:
    async with stand([SimModel("m")]) as s:
        assert (await asked(s, "POST", "//v1/messages", {}, json={}))[0] == 401
        assert (await asked(s, "GET", "//v1/models", {}))[0] == 401
        status, _, allowed = await asked(s, "GET", "/chat/completions")
        assert (status, allowed) == (405, "POST")
        assert (await asked(s, "GET", "/v2/models"))[0] == 404


@pytest.mark.parametrize("path", ["/", "//", "/v1", "/v1/"])
async def test_the_base_url_says_what_answers_there_and_no_name_of_the_config(path: str) -> None:
    async with stand([SimModel("m")]) as s:
        status, said, _ = await asked(s, "GET", path, {})
        assert status == 200
        assert said["name"] == "weir"
        assert set(said) == {"name", "version", "links"}
        for link in said["links"].values():
            assert (await asked(s, "OPTIONS", link))[0] == 405, link  # a path that is known
        assert (await asked(s, "HEAD", path, {}))[0] == 200


async def test_health_is_for_load_balancers_and_needs_a_config_but_no_key() -> None:
    async with stand([SimModel("m")]) as s:
        assert (await asked(s, "GET", "/health", {}))[:2] == (200, {"status": "ok"})
        assert (await asked(s, "HEAD", "/health", {}))[0] == 200
        s.router.store.config = None
        assert (await asked(s, "GET", "/health", {}))[0] == 503
        s.router.store.config = CompiledConfig()


async def test_a_websocket_is_refused_at_once_as_codex_wants_it() -> None:
    async with stand([SimModel("m")]) as s:
        marks = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        for path in ("/v1/responses", "/responses", "/v1/chat/completions"):
            status, body, allowed = await asked(s, "GET", path, KEYED | marks)
            assert (status, allowed) == (426, "")
            assert "no WebSocket" in body["error"]["message"] or path.endswith("completions")
        assert (await asked(s, "GET", "/v1/responses", KEYED))[0] == 405
        assert (await asked(s, "GET", "/v1/nothing", KEYED | marks))[0] == 404


@pytest.mark.parametrize("path", [*NOT_SERVED, "/v1/messages/batches/1/results", "/openai/v1/files", "/responses"])
async def test_what_providers_serve_and_weir_does_not_is_refused_in_words(path: str) -> None:
    async with stand([SimModel("m")]) as s:
        for marks in ({}, MARKED):
            below = f"{path}/1" if meant(path) == "/v1/responses" else path
            status, body, _ = await asked(s, "POST", below, KEYED | marks, json={})
            assert status == 404
            why = next(why for known, why in NOT_SERVED.items() if meant(path).startswith(known))
            assert why in body["error"]["message"]
            assert (body.get("type") == "error") == ("/messages" in path)


def test_a_deployment_is_found_behind_a_base_url_that_ends_in_v1():
    assert deployment("/v1/openai/deployments/gpt-4o/chat/completions") == "gpt-4o"
    assert deployment("/v1/deployments/gpt-4o/chat/completions") == ""
