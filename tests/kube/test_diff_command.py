"""`weir diff -f` with the real kubectl and API server."""

from __future__ import annotations

import json
import os
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from apiserver import ApiServer

from cli.shell import weir
from support.kube import apply
from support.people import administrator, tenant

MANIFESTS = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {name: budget, namespace: %(at)s}
spec: {backends: [{name: one, provider: OpenAI, model: gpt-4o-mini}]}
---
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: auto, namespace: %(at)s}
spec: {models: [{name: auto-%(at)s}], routes: [{name: all, tiers: [{name: budget}]}]}
"""


@pytest.fixture
def team(cluster: ApiServer, namespace: str) -> str:
    """A namespace with a tier and a policy."""
    apply(cluster, MANIFESTS % {"at": namespace})
    return namespace


def diff(cluster: ApiServer, text: str, env: dict[str, str], *options: str) -> CompletedProcess[str]:
    path = f"{cluster.assets}{os.pathsep}{os.environ['PATH']}"
    return weir("diff", "-f", "-", *options, stdin=text, env={**env, "PATH": path})


def test_what_is_there_already_is_no_difference(cluster: ApiServer, team: str):
    done = diff(cluster, MANIFESTS % {"at": team}, administrator(cluster))
    assert (done.returncode, done.stdout) == (0, "Nothing would change.\n"), done.stderr


def test_another_model_is_told_with_its_price_and_what_it_breaks(cluster: ApiServer, team: str):
    text = (MANIFESTS % {"at": team}).replace("gpt-4o-mini", "gpt-4o").replace("{name: budget}", "{name: none}")
    done = diff(cluster, text, administrator(cluster), "-o", "json", "--system-namespace", team)
    assert done.returncode == 1, done.stderr
    tier, policy = json.loads(done.stdout)["objects"]
    assert {"path": "backends[one].model", "before": "gpt-4o-mini", "after": "gpt-4o"} in tier["lines"]
    assert {"path": "backends[one].price.input", "before": "0.15", "after": "2.5"} in tier["lines"]
    assert {it["type"] for it in policy["conditions"] if it["worse"]} == {"ResolvedRefs", "Ready"}
    assert f"no dollars: namespace {team} has no running router" in done.stderr


def test_what_the_api_server_refuses_is_exit_2_with_its_words(cluster: ApiServer, team: str):
    text = (MANIFESTS % {"at": team}).replace("provider: OpenAI", "provider: Nobody")
    done = diff(cluster, text, administrator(cluster))
    assert (done.returncode, 'Unsupported value: "Nobody"' in done.stderr) == (2, True)


def test_a_tenant_sees_their_own_namespace_and_is_told_so(cluster: ApiServer, team: str, tmp_path: Path):
    text = (MANIFESTS % {"at": team}).replace("name: all,", "name: other,")
    done = diff(cluster, text, tenant(cluster, team, tmp_path), "-o", "json")
    assert done.returncode == 1, done.stderr
    assert [it["object"] for it in json.loads(done.stdout)["objects"]] == [f"RoutingPolicy/{team}/auto"]
    assert f"what follows knows the RoutingPolicies of namespace {team}" in done.stderr
    assert "no dollars: you may not list pods in namespace weir-system" in done.stderr
