"""`weir override`, `weir pause` and `weir resume` on a real API server."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from apiserver import ApiServer

from cli.shell import weir
from support.kube import apply, run
from support.people import administrator, tenant

MANIFESTS = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {name: budget, namespace: %(at)s}
spec: {backends: [{name: one, provider: OpenAI, model: gpt-4o-mini}, {name: two, provider: OpenAI, model: gpt-4o}]}
---
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: auto, namespace: %(at)s}
spec: {models: [{name: auto-%(at)s}], routes: [{name: all, tiers: [{name: budget}]}]}
"""


@pytest.fixture
def team(cluster: ApiServer, namespace: str) -> str:
    """A namespace with a tier of two backends and a policy."""
    apply(cluster, MANIFESTS % {"at": namespace})
    return namespace


def spec(cluster: ApiServer, team: str, resource: str) -> Any:
    return json.loads(run(cluster, "get", resource, "-n", team, "-o", "json"))["spec"]


def states(cluster: ApiServer, team: str) -> list[str]:
    return [it["state"] for it in spec(cluster, team, "mt/budget")["backends"]]


def test_an_override_begins_shows_who_and_ends(cluster: ApiServer, team: str):
    env = administrator(cluster)

    def override(*options: str) -> CompletedProcess[str]:
        return weir("override", f"{team}/auto", *options, env=env)

    done = override("--tier", f"{team}/budget", "--for", "2h", "--reason", "outage")
    assert done.returncode == 0, done.stderr
    found = json.loads(override("-o", "json").stdout)["override"]
    assert (found["tier"], found["holds"], found["reason"]) == (f"{team}/budget", True, "outage")
    assert found["by"]
    assert spec(cluster, team, "rp/auto")["override"]["until"] == found["until"]
    assert override("--end").stdout == f"{team}/auto: no override, its routes decide\n"
    assert "override" not in spec(cluster, team, "rp/auto")
    annotations = json.loads(run(cluster, "get", "rp/auto", "-n", team, "-o", "json"))["metadata"]["annotations"]
    assert not [it for it in annotations if it.startswith("weir.dev/")]


def test_an_override_to_a_tier_that_is_not_there_changes_nothing(cluster: ApiServer, team: str):
    done = weir("override", f"{team}/auto", "--tier", f"{team}/none", "--for", "1h", env=administrator(cluster))
    assert done.returncode == 1
    assert "ResolvedRefs becomes False, TierNotFoundOrNotGranted" in done.stderr
    assert "override" not in spec(cluster, team, "rp/auto")


def test_one_backend_is_paused_and_resumed(cluster: ApiServer, team: str):
    env = administrator(cluster)
    assert weir("pause", f"{team}/budget", "one", env=env).stdout == f"{team}/budget/one: Draining\n"
    assert states(cluster, team) == ["Draining", "Active"]
    assert weir("pause", f"{team}/budget", "one", env=env).stdout == f"{team}/budget: nothing to change\n"
    assert weir("resume", f"{team}/budget", env=env).returncode == 0
    assert states(cluster, team) == ["Active", "Active"]


def test_a_pause_that_would_leave_a_policy_without_a_model_needs_force(cluster: ApiServer, team: str):
    env = administrator(cluster)
    done = weir("pause", f"{team}/budget", env=env)
    assert done.returncode == 1
    assert f"RoutingPolicy/{team}/auto: Ready becomes False, RouteCannotBeServed" in done.stderr
    assert "ModelTier/" not in done.stderr
    assert states(cluster, team) == ["Active", "Active"]
    assert weir("pause", f"{team}/budget", "--force", env=env).returncode == 0
    assert states(cluster, team) == ["Draining", "Draining"]


def test_a_backend_that_is_not_there_is_said(cluster: ApiServer, team: str):
    done = weir("pause", f"{team}/budget", "three", env=administrator(cluster))
    assert (done.returncode, "has no backend 'three'; it has one, two" in done.stderr) == (2, True)


def test_whoever_may_not_write_is_told_by_the_api_server(cluster: ApiServer, team: str, tmp_path: Path):
    reader = tenant(cluster, team, tmp_path, may="get,list")
    done = weir("pause", f"{team}/budget", "one", env=reader)
    assert (done.returncode, "cannot patch resource" in done.stderr) == (2, True)
    assert states(cluster, team) == ["Active", "Active"]


def test_a_tenant_may_override_their_own_policy(cluster: ApiServer, team: str, tmp_path: Path):
    done = weir(
        "override",
        f"{team}/auto",
        "--tier",
        f"{team}/budget",
        "--for",
        "30m",
        env=tenant(cluster, team, tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert f"by system:serviceaccount:{team}:tenant" in done.stdout


def test_a_server_side_apply_of_what_does_not_speak_of_state_leaves_a_pause_alone(cluster: ApiServer, team: str):
    weir("pause", f"{team}/budget", "one", env=administrator(cluster))
    run(cluster, "apply", "--server-side", "--force-conflicts", "-f", "-", input=MANIFESTS % {"at": team})
    assert states(cluster, team) == ["Draining", "Active"]
