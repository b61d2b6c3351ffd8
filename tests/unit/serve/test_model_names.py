import aiohttp
import msgspec
import pytest

from support.callers import one
from support.stand import KEY, stand
from weir_cli.sim import SimModel

KEYED = {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("prefix", "good", "bad"), [("claude-", "claude-new", "gpt-4o"), ("", "any/name.at-all", None)]
)
async def test_names_with_a_prefix_are_served_and_found_but_only_real_ones_listed(prefix, good, bad):
    async with stand([SimModel("claude-m")]) as s:
        policy = msgspec.structs.replace(s.config.policies[0], prefixes=(prefix,))
        s.apply(msgspec.structs.replace(s.config, policies=(policy,)))
        assert (await one(s, model=good)).status == 200
        async with aiohttp.ClientSession(headers=KEYED) as session:
            async with session.get(f"{s.url}/v1/models") as answer:
                assert [it["id"] for it in (await answer.json())["data"]] == ["auto", "claude-m"]
            async with session.get(f"{s.url}/v1/models/{good}") as answer:
                assert (await answer.json())["id"] == good
        if bad is not None:
            answer = await one(s, model=bad)
            assert answer.status == 404
            assert "auto, claude-m, claude-*" in str(answer.error)
