"""The admin port: one text of metrics for all who ask, and names only for those who may see them."""

import asyncio
import json
import threading

import aiohttp
import pytest

from support.stand import stand
from weir_cli.sim import SimModel
from weir_router.serve import admin, scrape
from weir_router.serve.http import Request
from weir_router.serve.scrape import Scrape


async def test_those_who_ask_at_the_same_time_get_one_text_from_a_thread(monkeypatch):
    monkeypatch.setattr(scrape, "EVERY", 0.0)
    made, release = [], threading.Event()

    def make():
        made.append(threading.get_ident())
        release.wait(5)
        return b"%d" % len(made)

    it = Scrape(lambda: None, make)
    first = asyncio.create_task(it.text())
    while not made:  # noqa: ASYNC110  # a thread makes it
        await asyncio.sleep(0)
    later = [asyncio.create_task(it.text()) for _ in range(8)]  # a text under way may lack what they look for
    await asyncio.sleep(0)
    later.pop().cancel()
    release.set()
    assert await first == b"1"
    assert await asyncio.gather(*later) == [b"2"] * 7
    assert threading.get_ident() not in made
    assert await it.text() == b"3"


async def test_a_text_is_made_once_a_second_at_most(monkeypatch):
    monkeypatch.setattr(scrape, "EVERY", 0.05)
    loop, begun = asyncio.get_running_loop(), []
    it = Scrape(lambda: begun.append(loop.time()), lambda: b"")
    for _ in range(3):
        await it.text()
    assert begun[1] - begun[0] >= 0.049 <= begun[2] - begun[1]  # the loop's clock has whole milliseconds


async def test_a_text_that_cannot_be_made_does_not_stop_the_next(monkeypatch):
    monkeypatch.setattr(scrape, "EVERY", 0.0)
    answers = [ZeroDivisionError(), None]

    def make():
        if error := answers.pop(0):
            raise error
        return b"made"

    it = Scrape(lambda: None, make)
    with pytest.raises(ZeroDivisionError):
        await it.text()
    assert await it.text() == b"made"


class At:
    def __init__(self, peer):
        self.peer = peer


def request(peer="10.0.0.7", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", "/state", "1.1", named, b"", True, At(peer))


async def shown(s, it, token_file):
    page = admin.Admin(
        s.router.store, s.router.board, s.router.metrics, s.router.room, s.router._places, s.router.memory, token_file
    )
    return (await page.metrics(it)).status, json.loads((await page.state(it)).body)


async def test_names_of_tenants_are_for_those_who_may_see_them(tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    async with stand([SimModel("m")]) as s:
        for it in (
            request("127.0.0.1"),
            request("::1"),
            request(authorization="Bearer s3cret"),
            request(x_weir_admin_token="s3cret"),
        ):
            status, state = await shown(s, it, token)
            assert (status, state["policies"], list(state["backends"])) == (200, ["team-a/assistants"], ["llm/t0/m"])
        for it in (request(), request(authorization="Bearer no"), request(authorization="Bearer é")):
            status, state = await shown(s, it, token)
            assert (status, state["policies"], state["backends"]) == (401, 1, {"closed": 1})
            assert "team-a" not in json.dumps(state)
        token.write_text("")
        assert (await shown(s, request(authorization="Bearer "), token))[0] == 401
        token.unlink()
        assert (await shown(s, request(authorization="Bearer s3cret"), token))[0] == 401
        assert (await shown(s, request(), None))[1]["policies"] == ["team-a/assistants"]


async def test_the_port_knows_who_asks(tmp_path):
    async with stand([SimModel("m")]) as s, aiohttp.ClientSession() as session:
        for path in ("/metrics", "/state"):
            async with session.get(s.router.admin_url + path) as answer:
                assert answer.status == 200
                assert b"llm/t0" in await answer.read()
