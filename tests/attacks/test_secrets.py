"""Secrets: a credential that an upstream repeats, and the objects of other tenants."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from attacks.town import CREDENTIAL, ENEMY, HONEST, answer, completion, policy, tier, town, upstream
from cli.shell import http, until

ECHO = (
    f"x-request-id: {CREDENTIAL}",
    f"openai-version: {CREDENTIAL}",
    f"retry-after: {CREDENTIAL}",
    f"x-{CREDENTIAL}: 1",
)


def repeating(body: dict[str, Any], connection: socket.socket) -> None:
    """An upstream that repeats its credential in headers, and in the error of the status that the prompt names."""
    status = int(body["messages"][0]["content"])
    error = {
        "error": {"message": f"Key {CREDENTIAL} is wrong", "code": CREDENTIAL, "type": CREDENTIAL, "param": CREDENTIAL}
    }
    content = completion() if status == 200 else json.dumps(error).encode()
    connection.sendall(answer(content, *ECHO, status=status))


def test_a_credential_that_an_upstream_repeats_is_shown_nowhere(tmp_path: Path) -> None:
    statuses = (200, 400, 401, 403, 404, 413, 422, 429, 500, 529)
    with upstream(repeating) as up, town(tmp_path, tier(up.url), policy(HONEST)) as it:
        for status in statuses:
            for more in ({}, {"stream": True}):
                found = it.ask(HONEST, messages=[{"role": "user", "content": str(status)}], **more)
                assert CREDENTIAL not in str(found.headers)
                assert CREDENTIAL.encode() not in found.body, status
        assert len(up.seen) >= 3
        for page in ("/metrics", "/state", "/readyz"):
            assert CREDENTIAL not in http(it.admin + page).text
        until(lambda: sum(line.startswith("{") for line in it.command.stdout) >= len(statuses) * 2)
        assert CREDENTIAL not in "".join(it.command.stdout) + it.command.said


@pytest.mark.parametrize("callers", [{"from": "All"}, {"from": "Names", "names": [HONEST]}])
def test_a_policy_serves_no_caller_who_has_not_consented(tmp_path: Path, callers: dict[str, Any]) -> None:
    """A tenant's policy for all would read the prompts of others, and log them."""
    greedy = policy(ENEMY, callers=[{"namespaces": callers}], promptLogging="Full")
    with upstream() as up, town(tmp_path, tier(up.url), greedy, policy(HONEST, "own")) as it:
        assert it.ask(HONEST).status == 404
        assert not up.seen
        assert it.ask(HONEST, model="own").status == 200
        assert b"own" in it.ask(HONEST).body  # the list of models that the caller may ask for ...
        assert b"auto," not in it.ask(HONEST).body  # ... without the tenant's
