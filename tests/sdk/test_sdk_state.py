"""State of the Responses API with OpenAI's own SDK: ids that go home, on any router, for their namespace only."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import openai
import pytest

from sdk.clients import openai_client
from support.servers import one_request, talking
from support.stand import KEY, NAMESPACE, OTHER_KEY, OTHER_NAMESPACE, Stand, stand
from weir_cli.sim import Fault, FaultKind, SimModel
from weir_router.app import Router
from weir_router.contract import CallerRule, Complexity, Limit, Route, StateKey, TierRef, When
from weir_router.serve import stored as serve_stored
from weir_router.serve.keys import holders

A, B, CHAT = SimModel("a"), SimModel("b"), SimModel("chat")
CALLERS = (CallerRule(namespaces=frozenset({NAMESPACE, OTHER_NAMESPACE})),)
RESPONSES = ("Responses", "Chat")
HOMES = {
    "a": {"formats": RESPONSES, "account": "AAAAAAAAAAAAAAAA"},
    "b": {"formats": RESPONSES, "account": "BBBBBBBBBBBBBBBB"},
    "chat": {"formats": ("Chat",)},
}


def client(url: str, key: str = KEY) -> openai.AsyncOpenAI:
    return openai_client(SimpleNamespace(url=url), api_key=key, max_retries=0)


@contextlib.asynccontextmanager
async def served(*tiers: list[SimModel], **options: Any) -> AsyncIterator[tuple[Stand, openai.AsyncOpenAI]]:
    options = {"changes": HOMES, "callers": CALLERS, **options}
    async with stand(*(tiers or ([A],)), **options) as s, client(s.url) as sdk:
        yield s, sdk


async def created(sdk: openai.AsyncOpenAI, text: str = "hello", **more: Any) -> Any:
    return await sdk.responses.create(model="auto", input=text, **more)


def sent(s: Stand, model: str = "a") -> dict[str, Any]:
    """The last request that reached the simulator."""
    return msgspec.json.decode(s.sim.requests(model)[-1].body)


async def test_an_id_is_sealed_and_leads_back_to_the_providers_own():
    async with served() as (s, sdk):
        first = await created(sdk)
        assert first.id.startswith("resp_w1AAAAAAAAAAAAAAAA")
        assert first.output[0].id.startswith("msg_w1AAAAAAAAAAAAAAAA")
        assert len(first.id) < 512
        second = await created(sdk, "more", previous_response_id=first.id)
        own = sent(s)["previous_response_id"]
        assert own.startswith("resp_")
        assert first.id.endswith(own)
        assert second.previous_response_id == first.id


async def test_every_event_of_a_stream_has_the_same_sealed_ids():
    async with served() as (_s, sdk):
        ids, items, kinds = set(), set(), []
        async with sdk.responses.stream(model="auto", input="tell me something long, please") as events:
            async for event in events:
                kinds.append(event.type)
                if hasattr(event, "response"):
                    ids.add(event.response.id)
                for id in (getattr(event, "item_id", None), getattr(getattr(event, "item", None), "id", None)):
                    items |= {id} - {None}
            final = await events.get_final_response()
        assert kinds.count("response.output_text.delta") > 3
        assert ids == {final.id}
        assert items == {it.id for it in final.output}
        assert all("_w1AAAAAAAAAAAAAAAA" in id for id in ids | items)
        assert (await sdk.responses.retrieve(final.id)).output_text == final.output_text


async def test_a_stored_answer_is_read_listed_and_deleted():
    async with served() as (s, sdk):
        first = await created(sdk, "keep this")
        read = await sdk.responses.retrieve(first.id, include=["message.output_text.logprobs"])
        assert (read.id, read.output_text) == (first.id, first.output_text)
        assert read.output[0].id == first.output[0].id
        items = await sdk.responses.input_items.list(first.id)
        (item,) = items.data
        assert item.content[0].text == "keep this"
        assert "_w1AAAAAAAAAAAAAAAA" in item.id
        assert (await sdk.responses.input_items.list(first.id, after=item.id)).data == []
        await sdk.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.retrieve(first.id)
        assert s.last["tier"] == "llm/t0"
        assert s.last["path"].startswith("/v1/responses/")


async def test_an_answer_in_the_background_is_polled_and_cancelled():
    async with served() as (s, sdk):
        begun = await created(sdk, "slowly", background=True)
        assert begun.status == "queued"
        assert s.sim.stats["a"].answered == 1
        states = [(await sdk.responses.retrieve(begun.id)).status for _ in range(3)]
        assert states == ["queued", "in_progress", "completed"]
        other = await created(sdk, "never mind", background=True)
        assert (await sdk.responses.cancel(other.id)).status == "cancelled"
        with pytest.raises(openai.BadRequestError, match="background"):
            await sdk.responses.cancel((await created(sdk, "plain")).id)


async def test_a_stored_answer_is_read_as_a_stream_from_any_event():
    async with served() as (_s, sdk):
        first = await created(sdk)
        events = [event async for event in await sdk.responses.retrieve(first.id, stream=True)]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert events[-1].response.id == first.id
        assert events[2].item.id == first.output[0].id
        rest = [event async for event in await sdk.responses.retrieve(first.id, stream=True, starting_after=1)]
        assert [event.type for event in rest] == [event.type for event in events[2:]]


async def test_items_by_reference_go_home_as_vercels_sdk_sends_them():
    async with served() as (s, sdk):
        first = await created(sdk)
        reference = {"type": "item_reference", "id": first.output[0].id}
        await sdk.responses.create(model="auto", input=[reference, {"role": "user", "content": "go on"}])
        assert sent(s)["input"][0]["id"] == f"msg_{first.output[0].id.partition('msg_')[2].partition('msg_')[2]}"


async def test_a_whole_history_with_sealed_ids_goes_to_any_backend():
    """Its items hold all that they mean, so another backend gets them without ids."""
    async with served([A], [B]) as (s, sdk):
        first = await created(sdk)
        history = [{"role": "user", "content": "hello"}, first.output[0].model_dump(exclude_none=True)]
        again = [*history, {"role": "user", "content": "more"}]
        await sdk.responses.create(model="auto", input=again)
        assert sent(s)["input"][1]["id"].startswith("msg_")
        assert "_w1" not in sent(s)["input"][1]["id"]
        s.sim.fault("a", Fault(FaultKind.SERVER_ERROR))
        await sdk.responses.create(model="auto", input=again)
        assert "id" not in sent(s, "b")["input"][1]


async def test_it_goes_only_to_the_backend_that_holds_it_and_says_so_when_that_is_ill():
    async with served([A], [B]) as (s, sdk):
        first = await created(sdk)
        s.sim.fault("a", Fault(FaultKind.SERVER_ERROR))
        for _ in range(8):
            with pytest.raises(openai.InternalServerError) as error:
                await created(sdk, "more", previous_response_id=first.id)
        assert "No other backend has the response" in error.value.message
        assert int(error.value.response.headers["retry-after"]) >= 1
        assert len(s.sim.requests("b")) == 0
        with pytest.raises(openai.InternalServerError) as error:
            await sdk.responses.retrieve(first.id)
        assert error.value.response.headers["retry-after"]


async def test_another_tier_of_the_same_account_may_go_on():
    """A conversation that began with a dear model goes on with a cheap one, if both are of one account."""
    homes = {"a": HOMES["a"], "b": {**HOMES["b"], "account": "AAAAAAAAAAAAAAAA"}}
    async with served([A], [B], changes=homes) as (s, sdk):
        first = await created(sdk)
        s.sim.fault("a", Fault(FaultKind.REFUSE))
        # The simulator keeps answers of all its models together, as an account does.
        await created(sdk, "more", previous_response_id=first.id)
        assert sent(s, "b")["previous_response_id"]


async def test_a_route_by_the_prompt_does_not_separate_a_turn_from_its_conversation():
    routes = (
        Route(name="long", when=When(min_prompt_tokens=30), tiers=(TierRef("llm/t1"),)),
        Route(name="simple", when=When(complexity=frozenset(Complexity)), tiers=(TierRef("llm/t0"),)),
    )
    async with served([A], [B], routes=routes) as (s, sdk):
        first = await created(sdk, "a long prompt " * 30)
        assert first.id.startswith("resp_w1BBBBBBBBBBBBBBBB")
        await created(sdk, "short", previous_response_id=first.id)
        assert s.last["route"] == "long"


async def test_a_backend_that_the_policy_no_longer_leads_to():
    async with served([A], [B]) as (s, sdk):
        first = await created(sdk)
        (policy,) = s.config.policies
        rest = msgspec.structs.replace(policy, routes=(Route(name="rest", tiers=(TierRef("llm/t1"),)),))
        s.apply(msgspec.structs.replace(s.config, policies=(rest,)))
        for ask in (created(sdk, "more", previous_response_id=first.id), sdk.responses.retrieve(first.id)):
            with pytest.raises(openai.NotFoundError, match="no longer served to you") as error:
                await ask
            assert "send the whole conversation" in error.value.message


async def test_state_that_would_have_to_be_translated_is_refused_with_what_to_do():
    async with served([CHAT]) as (s, sdk):
        for more in ({"background": True}, {"previous_response_id": "resp_made_up"}):
            with pytest.raises(openai.BadRequestError, match=r"leave background out|send the whole"):
                await created(sdk, **more)
        reference = [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "go on"}]
        with pytest.raises(openai.BadRequestError, match="store: false"):
            await sdk.responses.create(model="auto", input=reference)
        plain = await created(sdk)
        assert "_w1" not in plain.id
    async with served([A], [CHAT]) as (s, sdk):
        first = await created(sdk)
        chat = msgspec.structs.replace(s.config.tiers["llm/t0"].backends[0], formats=("Chat",))
        tier = msgspec.structs.replace(s.config.tiers["llm/t0"], backends=(chat,))
        s.apply(msgspec.structs.replace(s.config, tiers={**s.config.tiers, "llm/t0": tier}))
        with pytest.raises(openai.BadRequestError, match="send the whole conversation"):
            await created(sdk, "more", previous_response_id=first.id)


async def test_nothing_of_an_answer_without_store_is_sealed():
    async with served() as (_s, sdk):
        plain = await created(sdk, store=False)
        assert "_w1" not in plain.id + plain.output[0].id
        events = [event async for event in await created(sdk, store=False, stream=True)]
        assert "_w1" not in events[-1].response.id


async def test_a_conversation_is_refused_with_what_to_do():
    async with served() as (_s, sdk):
        with pytest.raises(openai.BadRequestError, match="previous_response_id"):
            await created(sdk, conversation="conv_1")


FORGED = {
    "made up": lambda id: "resp_w1" + "A" * 60,
    "another seal": lambda id: id[:30] + ("A" if id[30] != "A" else "B") + id[31:],
    "cut": lambda id: id[:-1],
    "longer": lambda id: id + "a",
    "another account": lambda id: id.replace("AAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBB"),
    "the provider's own": lambda id: id[39:],
    "an item's": lambda id: id.replace("resp_w1", "msg_w1", 1),
    "nothing of ours": lambda id: "resp_1",
}


@pytest.mark.parametrize("how", FORGED)
async def test_a_forged_id_is_not_found(how: str):
    async with served([A], [B]) as (s, sdk):
        first = await created(sdk)
        forged = FORGED[how](first.id)
        messages = set()
        for ask in (created(sdk, previous_response_id=forged), sdk.responses.retrieve(forged)):
            with pytest.raises(openai.NotFoundError, match="that can be found") as error:
                await ask
            messages.add(error.value.message.partition("` ")[2])
        assert len(messages) == 1
        assert len(s.sim.requests("a")) == 1


@pytest.mark.parametrize("id", ["résp_1", "a b", "x" * 513, "../models", "resp_1?x=y", "%2e%2e", "\u202e"])
async def test_what_is_no_id_is_a_400(id: str):
    async with served() as (_s, sdk):
        with pytest.raises(openai.BadRequestError, match="is not an id"):
            await created(sdk, previous_response_id=id)
        reference = [{"type": "item_reference", "id": id}, {"role": "user", "content": "go on"}]
        with pytest.raises(openai.BadRequestError, match="is not an id"):
            await sdk.responses.create(model="auto", input=reference)


async def test_ids_of_another_namespace_are_not_found_in_the_same_words():
    async with served() as (s, mine), client(s.url, OTHER_KEY) as other:
        first = await created(mine)
        words = set()
        for id in (first.id, first.id[:-3] + "abc"):
            for ask in (
                created(other, previous_response_id=id),
                other.responses.retrieve(id),
                other.responses.delete(id),
                other.responses.cancel(id),
                other.responses.input_items.list(id),
            ):
                with pytest.raises(openai.NotFoundError) as error:
                    await ask
                words.add(error.value.message.partition("` ")[2])
        assert len(words) == 1
        item = {"type": "item_reference", "id": first.output[0].id}
        with pytest.raises(openai.NotFoundError):
            await other.responses.create(model="auto", input=[item, {"role": "user", "content": "x"}])
        theirs = await created(other)
        assert theirs.id != first.id
        with pytest.raises(openai.NotFoundError):
            await mine.responses.retrieve(theirs.id)
        assert (await mine.responses.retrieve(first.id)).id == first.id


async def test_ten_thousand_random_ids_are_never_found():
    async with served() as (s, sdk):
        first = await created(sdk)
        rng, total = random.Random(7), len(s.sim.requests("a"))
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
        async with aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as http:

            async def ask(id: str) -> int:
                async with http.get(f"{s.url}/v1/responses/{id}") as answer:
                    return answer.status

            ids = []
            for number in range(10_000):
                text = list(first.id)
                for _ in range(1 + number % 5):
                    text[rng.randrange(len(text))] = rng.choice(letters)
                ids.append("".join(text))
            ids = [id for id in ids if id != first.id]
            found: set[int] = set()
            for start in range(0, len(ids), 100):
                found |= set(await asyncio.gather(*map(ask, ids[start : start + 100])))
        assert found == {404}
        assert len(s.sim.requests("a")) == total


@contextlib.asynccontextmanager
async def more_routers(s: Stand, count: int) -> AsyncIterator[list[str]]:
    """Further routers with the same config."""
    async with contextlib.AsyncExitStack() as stack:
        routers = [await stack.enter_async_context(Router(port=0, admin_port=0, grace=1.0)) for _ in range(count)]
        for router in routers:
            router.store.apply(s.config, s.secrets)
        yield [s.url, *(router.url for router in routers)]


async def test_any_router_behind_a_balancer_serves_any_id():
    async with served() as (s, _), more_routers(s, 2) as urls, contextlib.AsyncExitStack() as stack:
        sdks = [await stack.enter_async_context(client(url)) for url in urls]
        last = await created(sdks[0], "turn 0")
        for turn in range(1, 9):
            sdk = sdks[turn % 3]
            last = await created(sdk, f"turn {turn}", previous_response_id=last.id)
            assert (await sdks[(turn + 1) % 3].responses.retrieve(last.id)).id == last.id
            events = [event async for event in await sdks[turn % 3].responses.retrieve(last.id, stream=True)]
            assert events[-1].response.id == last.id
        await sdks[0].responses.delete(last.id)
        with pytest.raises(openai.NotFoundError):
            await sdks[1].responses.retrieve(last.id)


def key(letter: bytes, since: int = 0) -> StateKey:
    return StateKey(key=base64.b64encode(letter * 32).decode(), since=since)


async def test_keys_are_replaced_while_ids_are_in_use():
    async with served() as (s, sdk):
        old = (key(b"k"),)
        first = await created(sdk, "with the old key")

        def keys(*them: StateKey) -> None:
            s.secrets = msgspec.structs.replace(s.secrets, state_keys=them)
            s.apply(s.config)

        keys(*old, key(b"n", since=2**40))
        soon = await created(sdk, "before the new one seals", previous_response_id=first.id)
        keys(*old, key(b"n"))
        keys(key(b"k"), key(b"n", since=1))
        later = await created(sdk, "with the new key", previous_response_id=soon.id)
        for id in (first.id, soon.id, later.id):
            await sdk.responses.retrieve(id)
        keys(key(b"n", since=1))
        assert (await sdk.responses.retrieve(later.id)).id == later.id
        for id in (first.id, soon.id):
            with pytest.raises(openai.NotFoundError):
                await sdk.responses.retrieve(id)


async def test_without_keys_state_is_refused_and_answers_keep_their_ids():
    async with served() as (s, sdk):
        s.secrets = msgspec.structs.replace(s.secrets, state_keys=())
        s.apply(s.config)
        plain = await created(sdk)
        assert "_w1" not in plain.id
        for ask in (
            created(sdk, previous_response_id=plain.id),
            created(sdk, background=True),
            sdk.responses.retrieve(plain.id),
        ):
            with pytest.raises(openai.BadRequestError, match="send the whole conversation"):
                await ask


async def test_a_conversation_is_made_shorter_by_a_backend_of_the_format():
    async with served() as (s, sdk):
        short = await sdk.post("/responses/compact", body={"model": "auto", "input": "long"}, cast_to=object)
        (item,) = short["output"]
        assert item["encrypted_content"].startswith("w1.")
        await sdk.responses.create(model="auto", input=[item, {"role": "user", "content": "go on"}])
        assert sent(s)["input"][0]["encrypted_content"] == "gAAAA-short"
        assert s.log.lines[0]["usage"]["input"] == 20 if "usage" in s.log.lines[0] else True
    async with served([CHAT]) as (s, sdk):
        with pytest.raises(openai.NotFoundError, match="takes no format that has /compact"):
            await sdk.post("/responses/compact", body={"model": "auto", "input": "long"}, cast_to=object)


@pytest.mark.parametrize("said", [b'{"error": {"message": "Invalid URL"}}', b'{"detail": "Not Found"}'])
async def test_a_server_without_the_path_that_makes_shorter_is_not_ill(said: bytes):
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await one_request(reader)
                head = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                writer.write(head % len(said) + said)

    async with (
        talking(talk) as url,
        served(changes={"a": HOMES["a"] | {"base_url": url}}) as (s, sdk),
    ):
        for _ in range(3):
            with pytest.raises(openai.NotFoundError):
                await sdk.post("/responses/compact", body={"model": "auto", "input": "long"}, cast_to=object)
        assert [it["outcome"] for it in s.last["attempts"]] == ["unfit"]
        assert [it.failing for it in s.router.board.view().values()] == [0]


async def test_reading_counts_no_tokens_and_takes_no_slot():
    async with served() as (s, sdk):
        first = await created(sdk)
        before = s.router.metrics.render() if hasattr(s.router.metrics, "render") else b""
        for _ in range(3):
            await sdk.responses.retrieve(first.id)
        after = s.router.metrics.render() if hasattr(s.router.metrics, "render") else b""
        tokens = [line for line in before.splitlines() if b"token" in line]
        assert tokens == [line for line in after.splitlines() if b"token" in line]
        assert len(s.log.lines) == 4


async def test_a_grant_limits_reading_apart():
    limits = (Limit(key="llm/t0/granted", requests_per_minute=2),)
    routes = (Route(name="all", tiers=(TierRef(tier="llm/t0", limits=limits),)),)
    async with served(routes=routes) as (_s, sdk):
        first = await created(sdk)
        for _ in range(2):
            await sdk.responses.retrieve(first.id)
        with pytest.raises(openai.RateLimitError):
            await sdk.responses.retrieve(first.id)
        await created(sdk)


async def test_the_holder_of_an_account_is_found_once_per_config(monkeypatch: pytest.MonkeyPatch):
    """A config may have thousands of policies, and a tenant polls as fast as it can."""
    looked: list[str] = []

    def counted(account: str, *rest: Any) -> Any:
        looked.append(account)
        return holders(account, *rest)

    monkeypatch.setattr(serve_stored, "holders", counted)
    async with served() as (s, sdk):
        first = await created(sdk)
        for _ in range(3):
            await sdk.responses.retrieve(first.id)
        assert looked == ["AAAAAAAAAAAAAAAA"]
        s.apply(msgspec.structs.replace(s.config, policies=()))
        with pytest.raises(openai.NotFoundError, match="no longer served"):
            await sdk.responses.retrieve(first.id)


@pytest.mark.parametrize("path", ["", "?stream=true", "/input_items", "/cancel"])
async def test_head_has_no_answer_that_the_next_request_could_get(path: str):
    """Behind a proxy the next request of the connection may be another tenant's."""
    async with served() as (s, sdk):
        id = (await created(sdk)).id
        host, _, port = s.url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            keyed = f"host: x\r\nauthorization: Bearer {KEY}\r\n"
            writer.write(f"HEAD /v1/responses/{id}{path} HTTP/1.1\r\n{keyed}\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 405")
            writer.write(f"GET /healthz HTTP/1.1\r\n{keyed}\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 ")
        finally:
            writer.close()
