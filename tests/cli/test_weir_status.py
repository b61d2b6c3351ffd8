"""`weir status` on a router that runs."""

from __future__ import annotations

import json
from pathlib import Path

from cli.shell import up, weir


def test_it_shows_what_the_router_has_done(manifests: Path) -> None:
    with up(manifests) as gateway:
        gateway.ask()
        done = weir("status", "--url", gateway.admin)
        data = json.loads(weir("status", "--url", gateway.admin, "-o", "json").stdout)
    assert done.returncode == 0
    assert "1 router, revision 1; 1 requests since they started" in done.stdout
    assert "closed" in done.stdout
    assert data["requests"] == 1
    assert [(it["name"], it["states"], it["requests"]) for it in data["backends"]] == [("one", {"closed": 1}, 1)]


def test_a_period_shows_only_what_happens_in_it(manifests: Path) -> None:
    with up(manifests) as gateway:
        gateway.ask()
        done = weir("status", "--url", gateway.admin, "--seconds", "0.1")
    assert "0 requests in 0.1 s" in done.stdout


def test_a_router_that_is_not_there_is_said() -> None:
    done = weir("status", "--url", "http://127.0.0.1:9")
    assert (done.returncode, "http://127.0.0.1:9/metrics" in done.stderr) == (2, True)


def test_without_a_cluster_it_says_what_to_do(tmp_path: Path) -> None:
    done = weir("status", env={"KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)})
    assert (done.returncode, "there is no cluster" in done.stderr, "--url" in done.stderr) == (2, True, True)
