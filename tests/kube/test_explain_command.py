"""`weir explain NAMESPACE/POLICY` on a real API server, by users with and without full rights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from apiserver import ApiServer

from cli.shell import weir
from support.kube import apply, run
from support.people import administrator, tenant

MANIFESTS = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {name: budget, namespace: %(platform)s}
spec:
  grants: [{namespaces: {from: All}}]
  backends:
  - {name: mini, provider: OpenAI, model: gpt-4o-mini, credentials: {type: APIKey, secretRef: {name: openai, key: k}}}
---
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: assistants, namespace: %(team)s}
spec:
  models: [{name: auto-%(team)s}]
  routes:
  - {name: quick, when: {complexity: [Simple]}, tiers: [{name: budget, namespace: %(platform)s}]}
"""


@pytest.fixture
def team(cluster: ApiServer, namespace: str) -> str:
    """The namespace of a policy that routes to a tier of another namespace."""
    run(cluster, "create", "namespace", f"{namespace}-llm")
    apply(cluster, MANIFESTS % {"platform": f"{namespace}-llm", "team": namespace})
    return namespace


def explained(team: str, env: dict[str, str], *options: str) -> tuple[dict[str, Any], str]:
    done = weir("explain", f"{team}/assistants", "What is 2 + 2?", "-o", "json", *options, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_policy_of_the_cluster_is_explained_without_looking_at_secrets(cluster: ApiServer, team: str):
    story, said = explained(team, administrator(cluster))
    assert (story["route"], story["model"]) == ("quick", f"auto-{team}")
    (candidate,) = story["candidates"]
    assert (candidate["tier"], candidate["price"]["input"]) == (f"{team}-llm/budget", 0.15)
    assert said == ""


def test_what_the_operator_has_found_of_secrets_counts(cluster: ApiServer, team: str):
    status = {"status": {"backends": [{"name": "mini", "state": "Unusable", "reason": "SecretNotFound"}]}}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps(status))
    run(cluster, "patch", "mt", "budget", "-n", f"{team}-llm", *patch)
    done = weir("explain", f"{team}/assistants", "hi", env=administrator(cluster))
    assert (done.returncode, "is not ready" in done.stderr) == (1, True)


def test_a_backend_that_routers_leave_alone_is_named(cluster: ApiServer, team: str):
    status = {"status": {"backends": [{"name": "mini", "state": "Unhealthy", "reason": "2 of 2 routers: timeout"}]}}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps(status))
    run(cluster, "patch", "mt", "budget", "-n", f"{team}-llm", *patch)
    _, said = explained(team, administrator(cluster))
    assert f"note: {team}-llm/budget/mini is Unhealthy at the moment: 2 of 2 routers: timeout" in said


def test_a_tenant_learns_the_route_but_nothing_of_a_tier_that_is_not_theirs(
    cluster: ApiServer, team: str, tmp_path: Path
):
    story, said = explained(team, tenant(cluster, team, tmp_path))
    assert (story["route"], story["complexity"]) == ("quick", "Simple")
    assert [it["reason"] for it in story["candidates"]] == ["you may not read this ModelTier"]
    assert "gpt-4o-mini" not in json.dumps(story)
    assert f"you may not read ModelTier {team}-llm/budget" in said
    assert f"what follows knows the RoutingPolicies of namespace {team}" in said


def test_a_policy_of_others_is_not_shown(cluster: ApiServer, team: str, tmp_path: Path):
    run(cluster, "create", "namespace", f"{team}-other")
    done = weir("explain", f"{team}/assistants", "hi", env=tenant(cluster, f"{team}-other", tmp_path))
    assert (done.returncode, "forbidden" in done.stderr) == (2, True)


def test_a_caller_who_would_get_another_policy_is_told(cluster: ApiServer, team: str):
    _, said = explained(team, administrator(cluster), "--caller", "elsewhere/anonymous")
    assert "elsewhere/anonymous itself would get no policy" in said


def test_a_policy_that_is_not_there_is_said_with_the_api_server_s_words(cluster: ApiServer, namespace: str):
    done = weir("explain", f"{namespace}/none", "hi", env=administrator(cluster))
    assert (done.returncode, '"none" not found' in done.stderr) == (2, True)
