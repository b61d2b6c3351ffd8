"""Neighbours: a tenant that floods, provokes failures or does not fit leaves others as they were."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from attacks.town import ENEMY, HONEST, Town, answer, key, policy, tier, town, upstream, well
from cli.shell import http, until


def state(it: Town) -> str:
    """The state of the shared backend's breaker."""
    found: str = json.loads(http(f"{it.admin}/state").text)["backends"]["llm/shared/x"]["state"]
    return found


def test_a_flood_with_high_priority_leaves_others_their_turns(tmp_path: Path) -> None:
    """Four places, and forty requests of one namespace under way at any time."""

    def slow(body: dict[str, Any], connection: socket.socket) -> None:
        time.sleep(0.1)
        well(body, connection)

    theirs = policy(ENEMY, queue={"priority": "High", "wait": "60s"})
    arguments = ("--require-keys", "--max-in-flight", "4")
    over = threading.Event()
    with upstream(slow) as up, town(tmp_path, tier(up.url), policy(HONEST), theirs, arguments=arguments) as it:

        def flood() -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    it.ask(ENEMY)

        threads = [threading.Thread(target=flood) for _ in range(40)]
        for thread in threads:
            thread.start()
        until(lambda: it.metric("weir_queue_depth") >= 20)
        with it.honest_callers(5):
            pass
        over.set()
        for thread in threads:
            thread.join()


def test_a_deadline_of_ones_own_opens_no_breaker_for_others(tmp_path: Path) -> None:
    def slow(body: dict[str, Any], connection: socket.socket) -> None:
        time.sleep(0.3)
        with contextlib.suppress(OSError):
            well(body, connection)

    theirs = policy(ENEMY, failover={"deadline": "50ms", "attempts": 1})
    with upstream(slow) as up, town(tmp_path, tier(up.url), policy(HONEST), theirs) as it:
        for _ in range(12):
            assert it.ask(ENEMY, stream=True).status >= 500
        assert state(it) == "closed"
        assert it.ask(HONEST, stream=True).status == 200


def test_prompts_that_provoke_failures_put_no_backend_out_for_others(tmp_path: Path) -> None:
    """A firewall's page, errors of the server, and a parameter's name in a value."""

    def touchy(body: dict[str, Any], connection: socket.socket) -> None:
        match body["messages"][0]["content"]:
            case "firewall":
                connection.sendall(answer(b"<html>Forbidden</html>", status=403, kind="text/html"))
            case "crash":
                connection.sendall(answer(b'{"error": {"message": "oops"}}', status=500))
            case "quoted":
                text = json.dumps({"error": {"message": f"bad value {body.get('tool_choice')!r} of tool_choice"}})
                connection.sendall(answer(text.encode(), status=400))
            case _:
                well(body, connection)

    with upstream(touchy) as up, town(tmp_path, tier(up.url), policy(HONEST), policy(ENEMY)) as it:
        for text in ("firewall", "crash", "quoted"):
            with it.honest_callers():
                for _ in range(8):
                    choice = "stream_options"
                    asked = {"messages": [{"role": "user", "content": text}], "tool_choice": choice}
                    assert it.ask(ENEMY, **asked).status >= 400
            assert state(it) == "closed", text
        before = len(up.seen)
        assert it.ask(HONEST, stream=True).status == 200
        assert up.seen[before]["stream_options"] == {"include_usage": True}


def test_objects_of_one_tenant_keep_nobody_elses_from_being_served(tmp_path: Path) -> None:
    """Keys with a user tier of 240 KB, a policy of 500 routes, and a tier of 300 backends."""
    metadata = {"namespace": ENEMY, "labels": {"weir.dev/api-key": "true"}}
    large = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {**metadata, "name": f"k{it}", "annotations": {"weir.dev/user-tier": "x" * 240_000}},
            "stringData": {"sha256": f"{it:064x}"},
        }
        for it in range(6)
    ]
    huge = policy(ENEMY, "huge")
    huge["spec"]["routes"] = [
        {**huge["spec"]["routes"][0], "name": f"r{it}", "when": {"features": ["f" * 200]}} for it in range(500)
    ]
    wide = tier("http://127.0.0.1:1/v1", ENEMY, "wide")
    wide["spec"]["backends"] = [{**wide["spec"]["backends"][0], "name": f"b{it}"} for it in range(300)]
    with upstream() as up, town(tmp_path, tier(up.url), policy(HONEST), *large, huge, wide) as it:
        assert it.ask(HONEST).status == 200
        assert it.ask(ENEMY, model="huge").status in (404, 503)
        assert "ModelTier/team-b/wide" in it.command.said


def test_a_tier_that_leads_back_to_the_router_ends_at_once(tmp_path: Path) -> None:
    with upstream() as up, town(tmp_path, tier(up.url), policy(HONEST), policy(ENEMY)) as it:
        back = tier(f"http://{it.host}:{it.port}/v1", ENEMY, "back", "weir", model="loop")
        fresh = tmp_path / "back.yaml"
        fresh.write_text(yaml.safe_dump_all([back, policy(ENEMY, "loop", f"{ENEMY}/back", failover={"attempts": 1})]))
        until(lambda: it.ask(ENEMY, model="loop").status != 404)
        with it.honest_callers():
            found = it.ask(ENEMY, model="loop")
        assert found.status == 508
        assert b"baseURL of a model server" in found.body
        assert it.metric("weir_requests_in_flight") <= 1


def test_a_tier_that_leads_back_by_way_of_another_installation_ends_at_once(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    objects = policy(HONEST), policy(ENEMY)
    with upstream() as up, town(folders[0], tier(up.url), *objects) as a, town(folders[1], tier(up.url), *objects) as b:
        for folder, there in zip(folders, (b, a), strict=True):
            back = tier(f"http://{there.host}:{there.port}/v1", ENEMY, "back", "weir", model="loop")
            to_back = policy(ENEMY, "loop", f"{ENEMY}/back")
            (folder / "back.yaml").write_text(yaml.safe_dump_all([back, to_back]))
        for it in (a, b):
            models, mine = f"http://{it.host}:{it.port}/v1/models", {"authorization": f"Bearer {key(ENEMY)}"}
            until(lambda models=models, mine=mine: '"loop"' in http(models, **mine).text)
        with a.honest_callers(), b.honest_callers():
            found = [a.ask(ENEMY, model="loop") for _ in range(10)]
        assert {it.status for it in found} == {508}
        assert b"baseURL of a model server" in found[0].body
        assert a.metric("weir_requests_in_flight") + b.metric("weir_requests_in_flight") <= 2
