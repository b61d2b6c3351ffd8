"""The web pages that may call: the decision by itself, then routers and a sidecar on real sockets."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import msgspec
import pytest

from support.sidecar import sidecar
from support.stand import KEY, NAMESPACE, Stand, stand
from weir_cli.sim import SimModel
from weir_router.app import Router
from weir_router.serve.browsers import MAX_HOSTS, Allowed, Gate, is_loopback, origin_of, refusal

EVIL = "https://evil.example"
BODY = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hi"}]}).encode()
STREAMED = BODY[:-1] + b', "stream": true}'
CHAT, MESSAGES, MODELS = "POST /v1/chat/completions", "POST /v1/messages", "GET /v1/models"

GOOD_ORIGINS = [
    "http://localhost", "http://localhost:3000", "https://localhost:8443", "HTTP://LocalHost:3000", "http://localhost.",
    "http://127.0.0.1:5173", "http://[::1]:5173", "http://tauri.localhost", "https://tauri.localhost",
    "app://obsidian.md", "app://-", "tauri://localhost", "vscode-webview://0a1b2c3d", "VSCODE-WEBVIEW://0a1b",
]  # fmt: skip
BAD_ORIGINS = [
    EVIL, "HTTPS://EVIL.EXAMPLE", "null", "", "file://", "http://localhost.evil.example", "http://127.0.0.1.evil.example",
    "http://evil.example#localhost", "http://localhost@evil.example", "http://evil.example@localhost",
    "http://localhost:3000/", "http://localhost:x", "http://localhost:", "http://localhost, https://evil.example",
    "http://notlocalhost", "http://evil.localhost", "http://localhost..", "ftp://localhost", "localhost",
    "localhost:3000", "app", "app:", "xapp://x", "application://x", "http://", "http://[::1", "http://[::2]", "http://localhost\udc80",
    "http://localhos\u0442", "*", "http://*", "chrome-extension://abc", "http://10.0.0.1", "http://0.0.0.0:8080",
]  # fmt: skip
GOOD_HOSTS = [
    "localhost", "localhost:8080", "LOCALHOST:8080", "localhost.:8080", "127.0.0.1", "127.0.0.1:1", "127.1.2.3:8080",
    "[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]:80", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]:8080",
]  # fmt: skip
BAD_HOSTS = [
    "", ":8080", "evil.example", "evil.example:8080", "EVIL.example.", "127.0.0.1.evil.example", "127.0.0.1.evil:80",
    "localhost.evil.example", "evil.localhost", "localhost@evil.example", "evil.example@localhost",
    "localhost:8080@evil", "localhost evil.example", "localhost,evil.example", "localhost:http", "localhost:123456",
    "localhost..", "::1", "[::1", "[::1]evil", "[::2]", "[::1%25lo]", "[fe80::1]", "0.0.0.0", "10.0.0.1:8080",
    "169.254.169.254", "127.0.0.256", "127.1", "0x7f.0.0.1", "2130706433", "localhost/evil", "localhost\udc80",
    "\u0661\u0662\u0667.0.0.1", "x" * 60_000,
]  # fmt: skip


def code(
    origin: str | None = None, host: str | None = "localhost", site: str | None = None, *origins: str
) -> str | None:
    error = refusal(origin, host, site, Allowed(map(origin_of, origins)))
    return error.code if error else None


@pytest.mark.parametrize("origin", GOOD_ORIGINS)
def test_pages_of_this_machine_and_desktop_applications_may_call(origin: str) -> None:
    assert code(origin, site="cross-site") is None


@pytest.mark.parametrize("origin", BAD_ORIGINS)
def test_pages_of_other_origins_may_not(origin: str) -> None:
    error = refusal(origin, "localhost", None, Allowed())
    assert error is not None
    assert (error.status, error.code) == (403, "origin_not_allowed")
    assert "--allow-origin" in error.message
    assert "cors.allowedOrigins" in error.message
    msgspec.json.encode(error.message)


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_names_of_loopback_are_the_router_s_own(host: str) -> None:
    assert code(host=host) is None


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_other_names_are_refused_on_loopback(host: str) -> None:
    error = refusal(None, host, None, Allowed())
    assert error is not None
    assert (error.status, error.code) == (403, "host_not_allowed")
    assert "--allow-origin" in error.message
    assert len(msgspec.json.encode(error.message)) < 1000


@pytest.mark.parametrize(
    ("origin", "option"),
    [
        ("https://app.example", "https://app.example"),
        ("https://app.example", "https://App.Example:443"),
        ("https://app.example:8443", "https://app.example:8443"),
        ("null", "null"),
        ("chrome-extension://abc", "chrome-extension:"),
        ("moz-extension://0a-1b", "moz-extension://0a-1b"),
        ("http://any.example", "http:"),
        (EVIL, "*"),
        ("null", "*"),
    ],
)
def test_an_origin_that_is_named_may_call(origin: str, option: str) -> None:
    assert code(origin) == "origin_not_allowed"
    assert code(origin, "localhost", "cross-site", option) is None


@pytest.mark.parametrize(
    "origin",
    ["http://app.example", "https://app.example:8443", "https://app.example.", "https://x.app.example", "null", EVIL],
)
def test_only_exactly_that_origin_may(origin: str) -> None:
    assert code(origin, "localhost", None, "https://app.example") == "origin_not_allowed"


def test_a_page_of_another_site_is_known_without_its_origin() -> None:
    """Browsers fetch images without an `Origin`."""
    assert code(site="cross-site") == "origin_not_allowed"
    assert code(site="Cross-Site") == "origin_not_allowed"
    assert code(None, "localhost", "cross-site", "https://app.example") == "origin_not_allowed"
    assert code(None, "localhost", "cross-site", "*") is None
    for site in ("none", "same-origin", "same-site", ""):
        assert code(site=site) is None


def test_a_host_is_good_by_the_name_of_the_listener_or_of_an_origin() -> None:
    allowed = Allowed([origin_of("https://weir.example:8443"), origin_of("app://inside")], "MyHost")
    for host in ("myhost:8080", "weir.example", "weir.example:9", "WEIR.example.", "localhost"):
        assert refusal(None, host, None, allowed) is None
    for host in ("inside", "example", "nyhost"):
        assert refusal(None, host, None, allowed) is not None
    assert code("https://weir.example", "evil.example", None, "*") == "host_not_allowed"


@pytest.mark.parametrize(
    "text",
    ["", "app.example", "https://", "https://app.example/", "https://app.example/x", "https://a b", "https://ä.example",
     "https://u@app.example", "https://*.example", "//app.example", "https://app.example,https://b", "a\n", "null\n"],
)  # fmt: skip
def test_what_is_no_origin_is_no_option(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        origin_of(text)


def test_the_chart_takes_no_origin_that_routers_refuse() -> None:
    """Routers would not start with such an origin."""
    chart = Path(__file__).parents[3] / "helm" / "weir" / "values.schema.json"
    pattern = json.loads(chart.read_text())["properties"]["cors"]["properties"]["allowedOrigins"]["items"]["pattern"]
    good = [
        "null",
        "*",
        "app:",
        "https://app.example",
        "http://[::1]:80",
        "chrome-extension://abc",
        "https://a_b.c:8443",
    ]
    for text in [*GOOD_ORIGINS, *BAD_ORIGINS, *good]:
        if re.search(pattern, text) and not text.endswith("\n"):
            origin_of(text)
    assert all(re.search(pattern, text) for text in good)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_loopback_is_known_by_its_text(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "myhost", "localhost.example", "127.1", "::ffff:10.0.0.1"]
)
def test_anything_else_may_be_reached_from_elsewhere(host: str) -> None:
    assert not is_loopback(host)


def test_hosts_that_are_remembered_are_bounded_and_still_good() -> None:
    gate = Gate(Allowed(), [].append, anonymous=True, pages=True)
    for port in range(3 * MAX_HOSTS):
        headers = {"host": f"127.0.0.1:{port}"}
        assert not gate.is_plain(headers)
        assert gate.refusal("GET", headers) is None
        assert gate.is_plain(headers)
    assert sum(gate.is_plain({"host": f"127.0.0.1:{port}"}) for port in range(3 * MAX_HOSTS)) <= MAX_HOSTS


def test_a_bad_host_is_never_remembered() -> None:
    gate = Gate(Allowed(), [].append, anonymous=True, pages=True)
    for _ in range(3):
        assert gate.refusal("GET", {"host": "evil.example"}) is not None
        assert not gate.is_plain({"host": "evil.example"})


# Over real sockets.


def anonymous(it: Stand) -> None:
    it.apply(msgspec.structs.replace(it.config, anonymous_namespace=NAMESPACE))


async def raw(url: str, line: str, *headers: str, body: bytes = BODY, version: str = "1.1") -> tuple[int, str, bytes]:
    """Sends exactly these lines; returns status, head and body of the answer."""
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(url.partition("://")[2].rpartition(":")[0].strip("[]"), port)
    framing = [f"content-length: {len(body)}"] if line.startswith("POST") else []
    head = "\r\n".join([f"{line} HTTP/{version}", *headers, "connection: close", *framing, "", ""])
    writer.write(head.encode("latin-1") + (body if framing else b""))
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    top, _, rest = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), top.decode().lower(), rest


HOST = "host: 127.0.0.1:8080"


@pytest.mark.parametrize(
    "line", [CHAT, MESSAGES, MODELS, "HEAD /v1/models", "GET /v1/models/auto", "GET /", "OPTIONS /"]
)
async def test_callers_without_a_key_are_served_unless_a_stranger_s_page_sends_it(line: str) -> None:
    async with stand([SimModel("m")]) as s:
        anonymous(s)
        fine = (await raw(s.url, line, HOST))[0]
        assert fine not in (401, 403)
        assert (await raw(s.url, line, "host: localhost:9999", "content-type: text/plain"))[0] == fine
        for bad in (
            [HOST, f"origin: {EVIL}"],
            [HOST, "ORIGIN: null", "sec-fetch-site: cross-site"],
            [HOST, "sec-fetch-site: cross-site"],
            ["host: evil.example:8080"],
            ["host: evil.example", "origin: http://evil.example", "sec-fetch-site: same-origin"],
            ["host: 127.0.0.1.evil.example"],
            [HOST, f"origin: {EVIL}", f"authorization: Bearer {KEY}"],
        ):
            status, head, _ = await raw(s.url, line, *bad)
            assert status == 403, bad
            assert "access-control" not in head


async def test_a_refusal_is_an_error_of_the_dialect_and_names_the_option() -> None:
    async with stand([SimModel("m")]) as s:
        anonymous(s)
        openai = json.loads((await raw(s.url, CHAT, HOST, f"origin: {EVIL}"))[2])
        anthropic = json.loads((await raw(s.url, MESSAGES, "host: evil.example"))[2])
    assert (openai["error"]["code"], openai["error"]["type"]) == ("origin_not_allowed", "permission_error")
    assert "--allow-origin" in openai["error"]["message"]
    assert (anthropic["type"], anthropic["error"]["code"]) == ("error", "host_not_allowed")
    assert "--allow-origin" in anthropic["error"]["message"]


async def test_a_refused_request_reaches_no_upstream() -> None:
    async with stand([SimModel("m")]) as s:
        anonymous(s)
        for headers in ([HOST, f"origin: {EVIL}"], ["host: evil.example"]):
            assert (await raw(s.url, CHAT, *headers))[0] == 403
        assert not s.log.lines
        assert (await raw(s.url, CHAT, HOST))[0] == 200
        assert len(s.log.lines) == 1


@pytest.mark.parametrize("header", ["host: evil.example", f"host: localhost\r\norigin: {EVIL}"])
async def test_a_page_is_refused_before_its_body_is_sent_and_an_allowed_one_s_is_read(header: str) -> None:
    async with stand([SimModel("m")]) as s:
        anonymous(s)
        head = f"{CHAT} HTTP/1.1\r\ncontent-length: {len(BODY)}\r\nconnection: close\r\n"
        for lines, body, status in (
            (header, b"", b" 403 "),
            ("host: localhost\r\norigin: http://localhost", BODY, b" 200 "),
            ("host: localhost", BODY, b" 200 "),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(s.url.rpartition(":")[2]))
            writer.write(f"{head}{lines}\r\n\r\n".encode())
            await writer.drain()
            await asyncio.sleep(0.05)  # for the head to come apart from the body
            writer.write(body)
            assert status in await asyncio.wait_for(reader.readline(), 10)
            writer.close()


@pytest.mark.parametrize("target", ["http://evil.example/v1/models", "http://127.0.0.1@evil.example/v1/models"])
async def test_a_whole_url_as_target_counts_more_than_the_host_header(target: str) -> None:
    async with stand([SimModel("m")]) as s:
        anonymous(s)
        assert (await raw(s.url, f"GET {target}", HOST))[0] == 403
        assert (await raw(s.url, "GET http://localhost/v1/models", "host: evil.example"))[0] == 200


@pytest.mark.parametrize("name", ["Host", "Origin", "Sec-Fetch-Site"])
@pytest.mark.parametrize("first", [True, False])
async def test_headers_that_decide_must_not_come_twice(name: str, first: bool) -> None:
    good = {"Host": "localhost", "Origin": "http://localhost", "Sec-Fetch-Site": "none"}[name]
    lines = [f"{name}: {good}", f"{name.upper()}: evil.example"]
    async with stand([SimModel("m")]) as s:
        anonymous(s)
        more = [] if name == "Host" else [HOST]
        assert (await raw(s.url, CHAT, *more, *(lines if first else lines[::-1])))[0] == 400


async def test_the_admin_port_is_no_page_s_either_whoever_may_call() -> None:
    async with stand([SimModel("m")]) as s:  # callers need a key
        for path in ("/state", "/metrics", "/readyz", "/healthz"):
            line, admin = f"GET {path}", s.router.admin_url
            assert (await raw(admin, line, HOST))[0] == 200
            assert (await raw(admin, line, "host: evil.example:9090"))[0] == 403
            assert (await raw(admin, line, HOST, f"origin: {EVIL}"))[0] == 403
            assert (await raw(admin, line, HOST, "sec-fetch-site: cross-site"))[0] == 403
            status, head, _ = await raw(admin, line, HOST, "origin: http://localhost:3000")
            assert (status, "access-control" in head) == (200, False)


async def test_with_a_key_the_page_does_not_matter_but_reads_no_answer() -> None:
    key = f"authorization: Bearer {KEY}"
    async with stand([SimModel("m")]) as s:
        status, head, _ = await raw(s.url, CHAT, "host: weir.team.example", f"origin: {EVIL}", key)
        assert (status, "access-control" in head) == (200, False)
        assert (await raw(s.url, CHAT, "host: evil.example"))[0] == 401
        ask = ["access-control-request-method: POST", "access-control-request-headers: authorization"]
        status, head, body = await raw(s.url, "OPTIONS /v1/chat/completions", HOST, f"origin: {EVIL}", *ask)
        assert (status, "access-control" in head) == (403, False)
        assert b"--allow-origin" in body


async def test_a_config_that_asks_for_keys_and_one_that_does_not_count_at_once() -> None:
    async with stand([SimModel("m")]) as s:
        line = [HOST, f"origin: {EVIL}", f"authorization: Bearer {KEY}"]
        assert (await raw(s.url, CHAT, *line))[0] == 200
        anonymous(s)
        assert (await raw(s.url, CHAT, *line))[0] == 403
        s.apply(msgspec.structs.replace(s.config, anonymous_namespace=None))
        assert (await raw(s.url, CHAT, *line))[0] == 200


@pytest.mark.parametrize("keyed", [True, False])
async def test_a_page_that_is_allowed_asks_first_and_reads_every_answer(keyed: bool) -> None:
    page = "origin: https://app.example"
    async with stand([SimModel("m")], origins=("https://app.example",)) as s:
        if not keyed:
            anonymous(s)
        more = [HOST, page, "sec-fetch-site: cross-site", *([f"x-api-key: {KEY}"] if keyed else [])]
        status, head, _ = await raw(
            s.url, "OPTIONS /v1/messages", HOST, page, "access-control-request-method: POST",
            "access-control-request-headers: content-type,x-api-key", "access-control-request-private-network: true",
        )  # fmt: skip
        assert status == 200
        assert "access-control-allow-origin: https://app.example\r\n" in head
        assert "access-control-allow-methods: get, post\r\n" in head
        assert "access-control-allow-headers: content-type,x-api-key\r\n" in head
        assert "access-control-allow-private-network: true\r\n" in head
        answers = [
            await raw(s.url, CHAT, *more),
            await raw(s.url, CHAT, *more, body=STREAMED),
            await raw(s.url, MODELS, *more),
            await raw(s.url, CHAT, *more, body=b"{"),
            await raw(s.url, "GET /nowhere", *more),
        ]
    assert [status for status, *_ in answers] == [200, 200, 200, 400, 404]
    for _, head, _ in answers:
        assert head.count("access-control-allow-origin: https://app.example\r\n") == 1
        assert "vary: origin" in head
    assert b"[DONE]" in answers[1][2]


async def test_what_a_preflight_asks_for_adds_no_header_of_its_own() -> None:
    async with stand([SimModel("m")]) as s:
        ask = [
            "origin: http://localhost",
            "access-control-request-method: POST",
            "access-control-request-headers: x\0\xff",
        ]
        status, head, _ = await raw(s.url, "OPTIONS /v1/messages", HOST, *ask)
    assert status in (200, 400)
    assert "\0" not in head


async def test_without_an_origin_options_is_no_method() -> None:
    async with stand([SimModel("m")]) as s:
        assert (await raw(s.url, "OPTIONS /v1/messages", HOST))[0] == 405


async def test_other_machines_have_other_names_for_a_router() -> None:
    """A router that is not on loopback serves any host, but still refuses web pages."""
    async with (
        stand([SimModel("m")]) as s,
        Router(host="0.0.0.0", admin_host="0.0.0.0", port=0, admin_port=0) as router,
    ):
        router.store.apply(msgspec.structs.replace(s.config, anonymous_namespace=NAMESPACE), s.secrets)
        for url, line in ((router.url, CHAT), (router.admin_url, "GET /state")):
            url = url.replace("0.0.0.0", "127.0.0.1")
            assert (await raw(url, line, "host: models.internal"))[0] == 200
            assert (await raw(url, line, "host: models.internal", f"origin: {EVIL}"))[0] == 403


async def test_beyond_loopback_only_stated_hosts_are_served_if_there_are_some() -> None:
    async with (
        stand([SimModel("m")]) as s,
        Router(host="0.0.0.0", port=0, admin_port=0, hosts=["m.internal"]) as router,
    ):
        router.store.apply(msgspec.structs.replace(s.config, anonymous_namespace=NAMESPACE), s.secrets)
        url = router.url.replace("0.0.0.0", "127.0.0.1")
        for _ in range(2):
            for host, status in (("m.internal:8080", 200), ("127.0.0.1", 200), ("evil.example", 403)):
                assert (await raw(url, CHAT, f"host: {host}"))[0] == status
        assert router.metrics.refused["callers", "web_page"].value == 2


async def test_loopback_is_so_in_ipv6_and_by_name() -> None:
    for host in ("::1", "localhost"):
        async with stand([SimModel("m")]) as s, Router(host=host, admin_host=host, port=0, admin_port=0) as router:
            router.store.apply(msgspec.structs.replace(s.config, anonymous_namespace=NAMESPACE), s.secrets)
            assert (await raw(router.url, CHAT, "host: [::1]:8080"))[0] == 200
            assert (await raw(router.url, CHAT, "host: evil.example"))[0] == 403


async def test_a_sidecar_serves_its_pod_and_no_page(tmp_path: Path) -> None:
    async with sidecar(tmp_path, SimModel("m")) as side:
        for _ in range(2):  # without a config, and with one
            assert (await raw(side.url, CHAT, HOST))[0] == 200
            assert (await raw(side.url, CHAT, HOST, f"origin: {EVIL}"))[0] == 403
            assert (await raw(side.url, CHAT, "host: evil.example"))[0] == 403
            assert (await raw(side.router.admin_url, "GET /state", "host: evil.example"))[0] == 403
            side.knows(side.local(SimModel("m")))


async def test_a_page_beside_a_sidecar_reads_what_the_gateway_answers_once(tmp_path: Path) -> None:
    async with sidecar(tmp_path, SimModel("m")) as side:
        for body in (BODY, STREAMED):
            status, head, _ = await raw(side.url, CHAT, HOST, "origin: http://localhost:3000", body=body)
            assert status == 200
            assert head.count("access-control-allow-origin") == 1
        assert len(side.relayed) == 2
