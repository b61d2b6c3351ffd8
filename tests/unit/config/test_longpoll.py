"""The long poll against a real config server, and against one with scripted answers."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from support.config_server import KnownTokens, Stand, serving
from support.published import Volume, compiled, policy, published
from support.servers import certificates, server_context
from weir_operator.compile import Compiled
from weir_router.clock import ManualClock
from weir_router.config import longpoll as module
from weir_router.config.access import Access
from weir_router.config.decode import decode
from weir_router.config.longpoll import OLDER_PAUSE, OLDER_SECONDS, RETRY_FIRST, RETRY_MAX, LongPoll, PollFailed
from weir_router.config.mounted import MountedConfig
from weir_router.config.store import ConfigStore
from weir_router.contract import Delivery, RouterReport, Secrets
from weir_router.contract.delta import difference

ONE, TWO = compiled(policy(models=("one",))), compiled(policy(models=("two",)))
TWO_AS_2 = msgspec.structs.replace(TWO.config, revision=2)


class Router:
    """A store, the long poll that feeds it, and an event for each swap."""

    def __init__(self, folder: Path, url: str, ca_file: Path | None = None) -> None:
        self.store = ConfigStore()
        self.swaps: asyncio.Queue[int] = asyncio.Queue()
        self.store.subscribe(lambda config, _: self.swaps.put_nowait(config.revision))
        self.token_file = folder / "token"
        self.token_file.write_text("gateway\n")
        self.clock = ManualClock()
        self.pauses: asyncio.Queue[float] = asyncio.Queue()
        self.access = Access(url, self.token_file, ca_file)
        self.source = LongPoll(
            self.access, self.store, self.report, clock=self.clock, rng=random.Random(1), sleep=self.sleep
        )

    def report(self) -> RouterReport:
        running = self.store.config
        return RouterReport(router="r", revision=running.revision if running else None, rejected=self.store.rejected)

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.pauses.put_nowait(seconds)
        await asyncio.sleep(0)

    async def poll(self) -> None:
        async with aiohttp.ClientSession() as session:
            await self.source.poll(session)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.source.run())
        try:
            async with asyncio.timeout(20):
                yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with serving() as stand:
        yield stand


@pytest.fixture
def router(tmp_path: Path, stand: Stand) -> Router:
    return Router(tmp_path, stand.url)


@contextlib.asynccontextmanager
async def answering(*answers: web.Response) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """A server with these answers, one per poll, and the requests that it received."""
    left, asked = iter(answers), []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request)
        return next(left)

    async with handling(handler) as url:
        yield url, asked


@contextlib.asynccontextmanager
async def handling(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A server that answers polls with `handler`."""
    app = web.Application()
    app.router.add_post("/v1/poll", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def delivery(what: Compiled, revision: int = 1, etag: str = '"e"') -> web.Response:
    config = msgspec.structs.replace(what.config, revision=revision)
    body = msgspec.json.encode(Delivery(config=config, secrets=what.secrets))
    return web.Response(body=body, headers={"ETag": etag})


def change(old: Compiled, new: Compiled, base: str = '"e"', revision: int = 2) -> web.Response:
    """The answer to a router that has `old`."""
    config = msgspec.structs.replace(new.config, revision=revision)
    last, next_ = Delivery(config=old.config, secrets=old.secrets), Delivery(config=config, secrets=new.secrets)
    body = msgspec.json.encode(difference(base, last, next_))
    return web.Response(status=226, body=body, headers={"ETag": '"f"' if revision == 2 else '"g"'})


async def test_config_arrives_with_its_secrets_and_each_change_at_once(stand: Stand, router: Router):
    stand.publish(ONE)
    async with router.running():
        assert await router.swaps.get() == 1
        assert router.store.secrets == ONE.secrets
        for revision in range(2, 6):
            await stand.until_waiting()
            stand.publish(TWO if revision % 2 == 0 else ONE, revision)
            assert await router.swaps.get() == revision
    assert router.pauses.empty()


async def test_after_the_first_config_only_what_changes_is_asked_for_and_comes(tmp_path: Path):
    async with answering(delivery(ONE), change(ONE, TWO), web.Response(status=304)) as (url, asked):
        router = Router(tmp_path, url)
        for _ in range(3):
            await router.poll()
    assert [it.headers.get("A-IM") for it in asked] == [None, "weir-delta", "weir-delta"]
    assert [it.headers.get("If-None-Match") for it in asked] == [None, '"e"', '"f"']
    assert (router.store.config, router.store.secrets) == (TWO_AS_2, TWO.secrets)


@pytest.mark.parametrize("base", ['"other"', '"e"'], ids=["of another config", "of a larger config"])
async def test_a_change_of_something_else_is_not_applied_and_the_whole_is_asked_for(tmp_path: Path, base: str):
    wrong = change(compiled(policy("a"), policy("b")), compiled(policy("a"), policy("b"), policy("c")), base=base)
    async with answering(delivery(ONE), wrong, delivery(TWO, 2)) as (url, asked):
        router = Router(tmp_path, url)
        await router.poll()
        with pytest.raises(PollFailed, match="the change is for"):
            await router.poll()
        assert router.store.config.revision == 1
        await router.poll()
    assert ("If-None-Match" in asked[2].headers, "A-IM" in asked[2].headers) == (False, False)
    assert router.store.config == TWO_AS_2


async def test_of_what_could_not_be_read_no_change_is_asked_for(tmp_path: Path):
    bad = web.Response(body=b"{}", headers={"ETag": '"bad"'})
    async with answering(delivery(ONE), bad, delivery(TWO, 2)) as (url, asked):
        router = Router(tmp_path, url)
        for _ in range(3):
            await router.poll()
    assert (asked[2].headers["If-None-Match"], "A-IM" in asked[2].headers) == ('"bad"', False)


async def test_a_change_to_what_must_not_run_is_refused_and_the_next_change_builds_on_it(tmp_path: Path):
    lacking = dataclasses.replace(TWO, secrets=Secrets())
    third = compiled(policy(models=("three",)))
    async with answering(delivery(ONE), change(ONE, lacking), change(lacking, third, '"f"', 3)) as (url, _):
        router = Router(tmp_path, url)
        await router.poll()
        await router.poll()
        assert (router.store.config.revision, "has not arrived" in router.store.rejected) == (1, True)
        await router.poll()
    assert (router.store.config.policies, router.store.rejected) == (third.config.policies, None)


async def test_the_next_poll_reports_what_was_applied(stand: Stand, router: Router):
    stand.publish(ONE, 7)
    async with router.running():
        await stand.until_waiting()
        (found,) = stand.server.reports
    assert (found.report.router, found.report.revision, found.current) == ("r", 7, True)


async def test_news_of_ours_ends_the_poll_that_waits_and_the_next_one_tells_them(
    stand: Stand, router: Router, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "TELL_SECONDS", (0.01, 0.02))
    stand.publish(ONE)
    async with router.running():
        await stand.until_waiting()
        stand.heard_again.clear()
        router.store.rejected = "because"
        router.source.tell_soon()
        router.source.tell_soon()
        async with asyncio.timeout(20):
            await stand.heard_again.wait()
        assert [it.report.rejected for it in stand.server.reports] == ["because"]
        await stand.until_waiting()
    assert router.pauses.empty()


async def test_a_backend_that_fails_and_works_in_turns_does_not_make_polls_storm(
    stand: Stand, router: Router, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "TELL_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(module, "HEALTH_SECONDS", 1.0)
    ended: list[float] = []
    stand.publish(ONE)
    async with router.running():
        await stand.until_waiting()
        loop, report = asyncio.get_running_loop(), router.source._report
        monkeypatch.setattr(router.source, "_report", lambda: (ended.append(loop.time()), report())[1])
        began = loop.time()
        while len(ended) < 3:
            router.source.tell_health()
            await asyncio.sleep(0)
        assert ended[0] - began < 1.0 <= ended[1] - ended[0] + 0.02
        assert ended[2] - ended[1] + 0.02 >= 1.0


async def test_load_is_told_at_once_although_news_of_health_wait(
    stand: Stand, router: Router, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "TELL_SECONDS", (100.0, 200.0))
    stand.publish(ONE)
    async with router.running():
        await stand.until_waiting()
        stand.heard_again.clear()
        router.store.rejected = "because"
        router.source.tell_health()
        router.source.tell_soon((0.0, 0.0))
        async with asyncio.timeout(20):
            await stand.heard_again.wait()


async def test_a_config_from_elsewhere_is_told_too(stand: Stand, router: Router, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "TELL_SECONDS", (0.01, 0.02))
    stand.publish(ONE)
    async with router.running():
        await stand.until_waiting()
        stand.heard_again.clear()
        router.store.apply(msgspec.structs.replace(TWO.config, revision=9), TWO.secrets)
        async with asyncio.timeout(20):
            await stand.heard_again.wait()
        assert stand.server.reports[0].report.revision == 9


async def test_an_answer_that_has_begun_is_not_cut_off_by_news_of_ours(tmp_path: Path):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(request: web.Request) -> web.StreamResponse:
        answer = delivery(ONE)
        response = web.StreamResponse(headers={"ETag": '"e"'})
        await response.prepare(request)
        begun.set()
        await go_on.wait()
        await response.write(answer.body)
        return response

    async with handling(slowly) as url:
        router = Router(tmp_path, url)
        poll = asyncio.create_task(router.poll())
        await begun.wait()
        while router.source._waiting is not None:  # noqa: ASYNC110 - the answer's head is on its way
            await asyncio.sleep(0)
        router.source.tell_soon()
        go_on.set()
        await poll
    assert router.swaps.qsize() == 1


async def test_nothing_new_changes_nothing(router: Router):
    async with answering(delivery(ONE), web.Response(status=304)) as (url, asked):
        router.source._url = f"{url}/v1/poll"
        await router.poll()
        await router.poll()
    assert [it.headers.get("If-None-Match") for it in asked] == [None, '"e"']
    assert asked[1].headers["Prefer"] == f"wait={module.WAIT}"
    assert router.swaps.qsize() == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"config": {"apiVersion": "config.weir.dev/v9"}}', "upgrade the router"),
        (b'{"config": {"apiVersion": "config.weir.dev/v1", "policies": 3}}', "is not a config"),
        (b"<html>", "is not a config"),
        (msgspec.json.encode(Delivery(config=msgspec.structs.replace(TWO.config, revision=2))), "has not arrived"),
    ],
)
async def test_what_must_not_run_is_refused_once_and_told_and_the_last_good_one_stays(
    tmp_path: Path, body: bytes, said: str
):
    bad = web.Response(body=body, headers={"ETag": '"bad"'})
    async with answering(delivery(ONE), bad, web.Response(status=304)) as (url, asked):
        router = Router(tmp_path, url)
        for _ in range(3):
            await router.poll()
        assert asked[2].headers["If-None-Match"] == '"bad"'
    assert said in router.report().rejected
    assert (router.store.config.revision, router.swaps.qsize()) == (1, 1)


async def test_after_a_refused_config_a_good_one_is_applied(tmp_path: Path):
    bad = web.Response(body=b"{}", headers={"ETag": '"bad"'})
    async with answering(bad, delivery(ONE)) as (url, _):
        router = Router(tmp_path, url)
        await router.poll()
        assert router.store.rejected
        await router.poll()
    assert (router.store.rejected, router.store.config.revision) == (None, 1)


async def test_a_refusal_holds_nothing_secret(tmp_path: Path):
    body = b'{"config": {"apiVersion": "config.weir.dev/v1"}, "secrets": {"credentials": {"sk-a": ["sk-b"]}}}'
    async with answering(web.Response(body=body, headers={"ETag": '"e"'})) as (url, _):
        router = Router(tmp_path, url)
        await router.poll()
    assert "not a config" in router.store.rejected
    assert "sk-" not in router.store.rejected


async def test_a_large_config_is_decoded_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    threads: list[Callable[..., Any]] = []
    to_thread = asyncio.to_thread
    monkeypatch.setattr(
        asyncio, "to_thread", lambda function, *args: (threads.append(function), to_thread(function, *args))[1]
    )
    large = compiled(*(policy(f"p{number}", models=("m" * 300,)) for number in range(1_000)))
    async with answering(delivery(ONE), delivery(large, 2)) as (url, _):
        router = Router(tmp_path, url)
        await router.poll()
        assert threads == []
        await router.poll()
    assert (threads, router.store.config.revision) == ([decode], 2)


async def test_the_token_is_read_for_each_poll(tmp_path: Path):
    async with answering(delivery(ONE), web.Response(status=304)) as (url, asked):
        router = Router(tmp_path, url)
        await router.poll()
        router.token_file.write_text("renewed")
        await router.poll()
    assert [it.headers["Authorization"] for it in asked] == ["Bearer gateway", "Bearer renewed"]


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"split\r\nx: y"])
async def test_a_token_file_that_holds_no_token_is_said_without_what_it_holds(router: Router, content: bytes):
    router.token_file.write_bytes(content)
    with pytest.raises(PollFailed, match="file") as failed:
        await router.poll()
    assert "words" not in str(failed.value)


async def test_a_token_file_that_is_missing_is_named(router: Router):
    router.token_file.unlink()
    with pytest.raises(PollFailed, match=r"FileNotFoundError: .*token"):
        await router.poll()


async def test_a_redirect_is_not_followed_with_the_token(tmp_path: Path):
    async with answering(web.Response(status=307, headers={"Location": "/v1/poll"})) as (url, asked):
        with pytest.raises(PollFailed, match="HTTP 307"):
            await Router(tmp_path, url).poll()
    assert len(asked) == 1


async def test_a_refused_token_is_said_once_and_tried_again_ever_more_slowly(
    router: Router, caplog: pytest.LogCaptureFixture
):
    router.token_file.write_text("forged")
    async with router.running():
        pauses = [await router.pauses.get() for _ in range(8)]
    assert RETRY_FIRST / 2 <= pauses[0] <= RETRY_FIRST
    assert pauses[4] > pauses[0]
    assert all(RETRY_MAX / 2 <= it <= RETRY_MAX for it in pauses[5:])
    assert [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING] == [
        f"no config from {router.access.url}: HTTP 401: nobody knows this token"
    ]


async def test_a_server_that_comes_back_is_followed_again(tmp_path: Path):
    known = KnownTokens()
    async with serving(known) as stand:
        router = Router(tmp_path, stand.url)
        stand.publish(ONE)
        async with router.running():
            assert await router.swaps.get() == 1
            await stand.until_waiting()
            known.trouble = web.HTTPBadGateway()
            stand.publish(TWO, 2)
            assert await router.swaps.get() == 2
            await router.pauses.get()
            assert router.store.config.revision == 2
            known.trouble = None
            stand.publish(ONE, 3)
            assert await router.swaps.get() == 3


async def test_nobody_there_is_a_failure_and_not_the_end(tmp_path: Path):
    with pytest.raises(PollFailed, match="ClientConnectorError"):
        await Router(tmp_path, "http://127.0.0.1:9").poll()


async def test_a_replica_that_lags_behind_does_not_take_us_back(tmp_path: Path):
    async with answering(delivery(TWO, 2), delivery(ONE, 1), delivery(TWO, 3)) as (url, asked):
        router = Router(tmp_path, url)
        for _ in range(3):
            await router.poll()
        assert asked[2].headers["If-None-Match"] == '"e"'
    assert [router.swaps.get_nowait() for _ in range(2)] == [2, 3]
    assert router.pauses.get_nowait() == OLDER_PAUSE


async def test_an_older_revision_that_stays_is_believed_in_the_end(tmp_path: Path):
    tries = int(OLDER_SECONDS / OLDER_PAUSE) + 1
    async with answering(delivery(TWO, 9), *(delivery(ONE, 1) for _ in range(tries))) as (url, _):
        router = Router(tmp_path, url)
        for _ in range(tries):
            await router.poll()
        assert router.store.config.revision == 9
        await router.poll()
    assert router.store.config.revision == 1


async def test_mounted_files_are_the_start_and_never_overwrite_what_is_newer(
    stand: Stand, router: Router, tmp_path: Path
):
    volume = Volume(tmp_path / "config")
    mounted = MountedConfig(volume.directory, router.store)
    volume.swap(published(ONE, 1).files)
    await mounted.look()
    assert await router.swaps.get() == 1
    stand.publish(TWO, 3)
    await router.poll()
    for revision in (2, 3):
        volume.swap(published(ONE, revision).files)
        await mounted.look()
    assert (router.store.config.revision, router.store.config.policies[0].models) == (3, ("two",))


async def test_a_server_that_lags_behind_mounted_files_is_never_believed(tmp_path: Path):
    volume = Volume(tmp_path / "config")
    volume.swap(published(TWO, 2).files)
    async with answering(*(delivery(ONE, 1) for _ in range(40)), delivery(ONE, 3)) as (url, _):
        router = Router(tmp_path, url)
        await MountedConfig(volume.directory, router.store).look()
        for _ in range(40):
            await router.poll()
        assert router.clock.monotonic() > ManualClock().monotonic() + OLDER_SECONDS
        assert router.store.config.revision == 2
        await router.poll()
        assert router.store.config.revision == 3


async def test_mounted_files_go_on_where_the_server_has_stopped(stand: Stand, router: Router, tmp_path: Path):
    volume = Volume(tmp_path / "config")
    mounted = MountedConfig(volume.directory, router.store)
    stand.publish(ONE, 1)
    await router.poll()
    volume.swap(published(TWO, 2).files)
    await mounted.look()
    assert router.store.config.revision == 2
    stand.publish(ONE, 3)
    await router.poll()
    assert router.store.config.revision == 3


@pytest.fixture(scope="module")
def private_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates(tmp_path_factory.mktemp("pki"))


async def test_over_tls_only_the_named_authority_is_trusted(tmp_path: Path, private_ca: Path):
    async with serving(tls=server_context(private_ca)) as stand:
        stand.publish(ONE)
        with pytest.raises(PollFailed, match="CertificateError"):
            await Router(tmp_path, stand.url).poll()
        trusting = Router(tmp_path, stand.url, private_ca / "ca.pem")
        await trusting.poll()
        assert trusting.store.config.revision == 1


@pytest.mark.parametrize("content", ["", "no certificate"])
async def test_an_authority_file_without_certificates_trusts_nobody(tmp_path: Path, private_ca: Path, content: str):
    ca_file = tmp_path / "ca.pem"
    async with serving(tls=server_context(private_ca)) as stand:
        stand.publish(ONE)
        ca_file.write_text(content)
        router = Router(tmp_path, stand.url, ca_file)
        with pytest.raises(PollFailed):
            await router.poll()
        ca_file.write_text((private_ca / "ca.pem").read_text())
        await router.poll()
        assert router.store.config.revision == 1
