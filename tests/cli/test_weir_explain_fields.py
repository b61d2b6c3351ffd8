"""Fields of a request that candidates do not get, as `weir explain` shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.shell import policy, save, tier
from cli.test_weir_commands import run

BODY = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}


def fields(folder: Path, request: dict[str, Any], **backend: Any) -> dict[str, Any]:
    """The fate of the request's fields at the only candidate."""
    save(folder / "all.yaml", tier("http://127.0.0.1:9", **backend), policy())
    (folder / "body.json").write_text(json.dumps(BODY | request))
    shown = json.loads(run("explain", folder, "--request", folder / "body.json", "--output", "json").stdout)
    (candidate,) = shown["candidates"]
    found: dict[str, Any] = candidate["fields"]
    return found


@pytest.mark.parametrize(
    ("request_fields", "backend", "fate"),
    [
        ({}, {}, {}),
        ({"stream": True}, {}, {}),
        ({"seed": 1}, {"parameters": {"drop": ["seed"]}}, {"dropped": ["seed"]}),
        ({"seed": 1}, {"parameters": {"defaults": {"top_p": "1", "seed": "2"}}}, {"added": ["top_p"]}),
        ({}, {"limits": {"outputTokens": 20}}, {"changed": ["max_tokens"]}),
        ({"n": 2}, {"dialects": ["Responses", "Chat"]}, {"dialect": "Chat"}),
        ({"seed": 1, "logit_bias": {"1": 2}}, {"provider": "Anthropic"}, {"dropped": ["logit_bias", "seed"]}),
    ],
)
def test_each_candidate_shows_what_it_does_not_get(
    tmp_path: Path, request_fields: dict[str, Any], backend: dict[str, Any], fate: dict[str, Any]
) -> None:
    assert fields(tmp_path, request_fields, **backend) == fate


def test_a_request_to_the_responses_api_is_known_by_its_fields(tmp_path: Path) -> None:
    save(tmp_path / "all.yaml", tier("http://127.0.0.1:9", provider="Anthropic"), policy())
    asked = {"model": "auto", "input": "Hi", "truncation": "auto"}
    (tmp_path / "body.json").write_text(json.dumps(asked))
    shown = json.loads(run("explain", tmp_path, "--request", tmp_path / "body.json", "--output", "json").stdout)
    (candidate,) = shown["candidates"]
    assert candidate["fields"] == {"dropped": ["truncation"]}


def test_a_field_that_is_refused_skips_the_candidate(tmp_path: Path) -> None:
    save(tmp_path / "all.yaml", tier("http://127.0.0.1:9", provider="Anthropic"), policy())
    (tmp_path / "body.json").write_text(json.dumps(BODY | {"n": 2}))
    shown = json.loads(run("explain", tmp_path, "--request", tmp_path / "body.json", "--output", "json").stdout)
    assert shown["candidates"] == []
    (skipped,) = shown["skipped"]
    assert skipped["reason"].startswith("n: Anthropic models give one answer")


def test_people_read_it_beside_the_candidate(tmp_path: Path) -> None:
    save(tmp_path / "all.yaml", tier("http://127.0.0.1:9", parameters={"drop": ["seed"]}), policy())
    (tmp_path / "body.json").write_text(json.dumps(BODY | {"seed": 1}))
    assert "drops seed" in run("explain", tmp_path, "--request", tmp_path / "body.json").stdout


OPERATIONS = ("Completions", "Moderations", "Images", "Audio", "Rerank")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_requests_beside_conversations_are_explained(tmp_path: Path, operation: str) -> None:
    routes = [
        {"name": "talk", "tiers": [{"name": "small"}]},
        {"name": "rest", "when": {"operations": list(OPERATIONS)}, "tiers": [{"name": "small"}]},
    ]
    changes = {"endpoints": list(OPERATIONS), "parameters": {"drop": ["user"], "defaults": {"quality": '"low"'}}}
    save(tmp_path / "all.yaml", tier("http://127.0.0.1:9", **changes), policy(routes=routes))
    shown = json.loads(run("explain", tmp_path, "a dam", "--operation", operation, "--output", "json").stdout)
    assert (shown["route"], shown["operation"], shown["model"]) == ("rest", operation, "auto")
    assert [it["backend"] for it in shown["candidates"]] == [shown["candidates"][0]["backend"]]
    (tmp_path / "body.json").write_text(json.dumps({"input": "a dam", "prompt": "a dam", "query": "a", "user": "me"}))
    arguments = ("--request", tmp_path / "body.json", "--operation", operation)
    shown = json.loads(run("explain", tmp_path, *arguments, "--output", "json").stdout)
    assert shown["candidates"][0]["fields"] == {"dropped": ["user"], "added": ["quality"]}
    assert f"operation {operation}" in run("explain", tmp_path, "a dam", "--operation", operation).stdout
