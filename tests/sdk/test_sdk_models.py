"""`GET /v1/models` and `/v1/models/{id}` as each SDK and client decodes them."""

import aiohttp
import anthropic
import msgspec
import openai
import pytest

from sdk.clients import anthropic_client, openai_client
from support.stand import KEY, Stand, config_for, stand
from weir_cli.sim import SimModel
from weir_router.contract import Backend, BackendLimits, CallerKind, CallerRule, Dialect
from weir_router.contract.caller import Caller
from weir_router.decide.policy import PolicyIndex
from weir_router.decide.sizes import listed
from weir_router.dialects.listed import Listed
from weir_router.serve import models as serve_models

KEYED = {"authorization": f"Bearer {KEY}"}
NAMES = ("a/b", "auto", "claude-sonnet", "gpt-4o", "org/very large%2Fmodel", "50%", "über")
SIZES = {"m": {"limits": BackendLimits(context_tokens=200_000, output_tokens=32_000)}}


def models(**more):
    return stand([SimModel("m")], models=NAMES, changes=SIZES, **more)


async def got(s: Stand, path: str, **headers: str) -> dict:
    async with aiohttp.ClientSession(headers=KEYED | headers) as session, session.get(s.url + path) as answer:
        return {"status": answer.status, **await answer.json()}


async def test_the_openai_sdk_lists_names_with_sizes() -> None:
    async with models() as s, openai_client(s) as client:
        found = (await client.models.list()).data
        assert [it.id for it in found] == sorted(NAMES)
        assert {(it.object, it.owned_by) for it in found} == {("model", "weir")}
        assert {(it.model_extra["context_length"], it.model_extra["max_output_tokens"]) for it in found} == {
            (200_000, 32_000)
        }


@pytest.mark.parametrize("limit", [None, 1, 2, 3, 7, 1000])
async def test_the_anthropic_sdk_turns_pages(limit: int | None) -> None:
    async with models() as s, anthropic_client(s) as client:
        pages = await client.models.list(**({} if limit is None else {"limit": limit}))
        assert len(pages.data) == min(limit or 1000, len(NAMES))
        found = [it async for it in pages]
        assert [it.id for it in found] == sorted(NAMES)
        first = found[0]
        assert (first.type, first.display_name, first.created_at.year) == ("model", first.id, 1970)
        assert (first.max_input_tokens, first.max_tokens) == (200_000, 32_000)
        assert first.model_extra is None or first.model_extra.get("lifecycle", "active") == "active"
        anthropic.types.ModelInfo.model_validate(first.model_dump())


async def test_the_anthropic_sdk_turns_pages_backwards() -> None:
    async with models() as s, anthropic_client(s) as client:
        page = await client.models.list(limit=2, before_id=sorted(NAMES)[-1])
        assert [it.id for it in page.data] == sorted(NAMES)[-3:-1]
        seen = [it.id for it in page.data]
        while page.has_next_page():
            page = await page.get_next_page()
            seen = [it.id for it in page.data] + seen
        assert seen == sorted(NAMES)[:-1]


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "1e2", "9" * 5000, "\u0661"])
async def test_a_page_of_another_size_is_refused(limit: str) -> None:
    async with models() as s, anthropic_client(s) as client:
        with pytest.raises(anthropic.BadRequestError, match="`limit` must be a whole number from 1 to 1000"):
            await client.models.list(extra_query={"limit": limit})


async def test_a_page_goes_on_after_a_name_that_is_gone() -> None:
    async with models() as s:
        page = await got(s, "/v1/models?limit=2&after_id=b-is-gone", **{"anthropic-version": "2023-06-01"})
        assert [it["id"] for it in page["data"]] == ["claude-sonnet", "gpt-4o"]
        assert (page["has_more"], page["first_id"], page["last_id"]) == (True, "claude-sonnet", "gpt-4o")
        page = await got(s, "/v1/models?after_id=%C3%BC", **{"anthropic-version": "2023-06-01"})
        assert [it["id"] for it in page["data"]] == ["über"]
        page = await got(s, "/v1/models?after_id=%C3%BC&before_id=a", **{"anthropic-version": "2023-06-01"})
        assert (page["data"], page["has_more"], page["first_id"], page["last_id"]) == ([], False, None, None)


@pytest.mark.parametrize("name", NAMES)
async def test_both_sdks_find_each_name(name: str) -> None:
    async with models() as s, openai_client(s) as of_openai, anthropic_client(s) as of_anthropic:
        assert (await of_openai.models.retrieve(name)).id == name
        found = await of_anthropic.models.retrieve(name)
        assert (found.id, found.max_input_tokens) == (name, 200_000)


async def test_a_raw_slash_names_a_model_too() -> None:
    async with models() as s:
        assert (await got(s, "/v1/models/a/b"))["id"] == "a/b"
        assert (await got(s, "/models/a/b"))["id"] == "a/b"


async def test_an_unknown_name_is_an_error_of_each_sdk() -> None:
    async with models() as s, openai_client(s) as of_openai, anthropic_client(s) as of_anthropic:
        with pytest.raises(openai.NotFoundError, match="You may not ask for a model 'nothing'"):
            await of_openai.models.retrieve("nothing")
        with pytest.raises(anthropic.NotFoundError, match="You may not ask for a model 'nothing'"):
            await of_anthropic.models.retrieve("nothing")


async def test_codex_gets_a_list_of_its_own_that_is_empty() -> None:
    async with models() as s:
        assert "models" not in await got(s, "/v1/models")
        for path in ("/v1/models?client_version=0.153.0", "/models?client_version="):
            listed = await got(s, path)
            assert listed["models"] == []
            assert len(listed["data"]) == len(NAMES)


async def test_unknown_sizes_are_left_out() -> None:
    async with stand([SimModel("m")]) as s:
        (entry,) = (await got(s, "/v1/models"))["data"]
        assert not {"context_length", "max_output_tokens"} & set(entry)
        (entry,) = (await got(s, "/v1/models", **{"anthropic-version": "2023-06-01"}))["data"]
        assert not {"max_input_tokens", "max_tokens"} & set(entry)


async def test_names_behind_a_prefix_have_its_sizes() -> None:
    async with models() as s:
        policy = msgspec.structs.replace(s.config.policies[0], models=(), prefixes=("",))
        s.apply(msgspec.structs.replace(s.config, policies=(policy,)))
        (entry,) = (await got(s, "/v1/models"))["data"]
        assert (entry["id"], entry["context_length"]) == ("m", 200_000)
        assert (await got(s, "/v1/models/any/name"))["context_length"] == 200_000


async def test_a_list_is_made_once_per_caller_config_and_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a tenth of a second with thousands of names, and nothing limits how often a tenant asks."""
    sized: list[str] = []

    def counted(name: str, *rest: object) -> Listed:
        sized.append(name)
        return listed(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(serve_models, "listed", counted)
    async with models() as s:
        for query in ("", "?limit=1", "?x=1"):
            await got(s, f"/v1/models{query}", **{"anthropic-version": "2023-06-01"})
        assert sorted(sized) == sorted(NAMES)
        (policy,) = s.config.policies
        s.apply(msgspec.structs.replace(s.config, policies=(msgspec.structs.replace(policy, models=("new",)),)))
        assert [it["id"] for it in (await got(s, "/v1/models"))["data"]] == ["new"]


def test_a_list_is_kept_for_its_caller_and_time_only() -> None:
    rule = CallerRule(namespaces=frozenset({"team-a"}))
    config = config_for(
        [[Backend(name="m", provider=Dialect.OPENAI, base_url="http://m/v1", model="m")]], callers=(rule,)
    )
    index, kept = PolicyIndex(config), serve_models.Models()
    mine, pod, other = (
        Caller(namespace=it, name="x", kind=CallerKind.API_KEY) for it in ("team-a", "team-a", "team-b")
    )
    pod = msgspec.structs.replace(pod, pod="p-1")
    first = kept._all(index, config, mine, 100.0)
    assert [it.name for it in first] == ["auto"]
    assert kept._all(index, config, other, 100.0) == []
    assert kept._all(index, config, pod, 109.9) is first
    for wall in (110.0, 50.0):
        assert kept._all(index, config, mine, wall) is not first
    for number in range(1_000):
        kept._all(index, config, msgspec.structs.replace(mine, name=str(number)), 100.0)
    assert len(kept._kept) <= serve_models.MAX_KEPT
