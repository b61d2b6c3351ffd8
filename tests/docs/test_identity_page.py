"""docs/identity.md: its figures are the code's, and its snippets work."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.stand import NAMESPACE, stand
from support.tokens import NOW, RSA, trust
from weir_cli.sim import SimModel
from weir_operator.identity import trust as operator
from weir_operator.kube import oidc
from weir_router.clock import ManualClock
from weir_router.identify import identifier, reviews, tokens

PAGE = (Path(__file__).parents[2] / "docs" / "identity.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
KNOBS = {
    "`LEEWAY`": f"{tokens.LEEWAY:g} s",
    "`KNOWN_MAX`": f"{identifier.KNOWN_MAX:,}",
    "`GOOD_SECONDS`, `GOOD_MAX`": f"{reviews.GOOD_SECONDS:g} s, {reviews.GOOD_MAX:,}",
    "`REFRESH_SECONDS`, `RETRY_SECONDS`": f"{oidc.REFRESH_SECONDS:g} s, {oidc.RETRY_SECONDS:g} s",
    "`KEPT_SECONDS`": f"{operator.KEPT_SECONDS:g} s",
    "`KEYS_MAX`": f"{operator.KEYS_MAX}",
}
HI = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(("knob", "value"), KNOBS.items())
def test_a_knob_has_the_value_that_the_page_says(knob: str, value: str):
    assert f"| {knob} | {value} |" in PAGE


async def test_the_page_s_clients_read_the_token_for_each_request(tmp_path: Path):
    token_file = tmp_path / "token"
    async with stand([SimModel("m")], clock=ManualClock(wall=NOW)) as it:
        it.apply(msgspec.structs.replace(it.config, tokens=trust(RSA)))

        def asked(snippet: str) -> list[str]:
            """The callers that the router sees for two requests of the snippet's client, each with another token."""
            found: dict[str, Any] = {}
            text = snippet.replace("/var/run/secrets/weir/token", str(token_file))
            exec(text.replace("http://weir.weir-system", it.url), found)
            create = getattr(found["client"], "chat", found["client"])
            create = getattr(create, "completions", None) or create.messages
            answers = []
            for account in ("one", "two"):
                token_file.write_text(RSA.token(NAMESPACE, account))
                create.create(model="auto", max_tokens=50, messages=HI)
                answers.append(it.last["caller"])
            found["client"].close()
            return answers

        assert len(SNIPPETS) == 2
        for snippet in SNIPPETS:
            assert await asyncio.to_thread(asked, snippet) == [f"{NAMESPACE}/one", f"{NAMESPACE}/two"]
