"""Commands of the plugin by a user with the ClusterRole `edit` in one namespace: they work, or name what is missing."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from apiserver import ApiServer

from cli.shell import until, weir
from support.kube import apply, run
from support.people import administrator, editor

PLATFORM = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {name: %(name)s, namespace: %(at)s-llm}
spec:
  grants: [{namespaces: {from: All}}]
  backends: [{name: one, provider: OpenAI, model: gpt-4o, labels: {zone: eu}}]
---
"""
POLICY = """
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: mine, namespace: %(at)s}
spec:
  models: [{name: mine-%(at)s}]
  routes:
  - {name: all, when: {require: {labels: {zone: eu}}}, tiers: [{name: a, namespace: %(at)s-llm}]}
"""


@pytest.fixture
def team(cluster: ApiServer, namespace: str) -> str:
    """A tenant's namespace with a policy on tier `a` of the platform, which has a tier `b` as well."""
    run(cluster, "create", "namespace", f"{namespace}-llm")
    for name in ("a", "b"):
        apply(cluster, PLATFORM % {"at": namespace, "name": name})
    apply(cluster, POLICY % {"at": namespace})
    return namespace


@pytest.fixture
def tenant(cluster: ApiServer, team: str, tmp_path: Path) -> dict[str, str]:
    path = f"{cluster.assets}{os.pathsep}{os.environ['PATH']}"
    return {**editor(cluster, team, tmp_path), "PATH": path}


def judged(cluster: ApiServer, team: str, **conditions: tuple[str, str, str]) -> None:
    """Waits for an override and writes a status of its generation, as the operator does."""
    generation = until(lambda: overridden(cluster, team))
    common = {"observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    listed = [
        {"type": kind, "status": status, "reason": reason, "message": message, **common}
        for kind, (status, reason, message) in conditions.items()
    ]
    patch = json.dumps({"status": {"conditions": listed, "observedGeneration": generation}})
    run(cluster, "-n", team, "patch", "rp", "mine", "--subresource=status", "--type=merge", "-p", patch)


def overridden(cluster: ApiServer, team: str) -> int | None:
    """The generation of the policy with an override; None: it has none."""
    body = json.loads(run(cluster, "get", "rp/mine", "-n", team, "-o", "json"))
    return int(body["metadata"]["generation"]) if "override" in body["spec"] else None


class Overriding(threading.Thread):
    """`weir override` in a thread: it waits for the operator's status, which a test writes."""

    def __init__(self, *arguments: str, env: dict[str, str]) -> None:
        super().__init__()
        self.arguments, self.env = arguments, env
        self.done: CompletedProcess[str] | None = None
        self.start()

    def run(self) -> None:
        self.done = weir("override", *self.arguments, env=self.env)

    def end(self) -> CompletedProcess[str]:
        self.join()
        assert self.done is not None
        return self.done


GOOD = {
    "Accepted": ("True", "Accepted", "the spec is valid"),
    "ResolvedRefs": ("True", "ResolvedRefs", "everything that it refers to is there"),
    "Ready": ("True", "Ready", "requests are served"),
}


def test_an_override_to_a_tier_that_cannot_be_read_goes_on_and_says_so(
    cluster: ApiServer, team: str, tenant: dict[str, str]
):
    override = Overriding("mine", "--tier", f"{team}-llm/b", "--for", "1h", env=tenant)
    judged(cluster, team, **GOOD)
    done = override.end()
    assert done.returncode == 0, done.stderr
    lacking = f"get modeltiers.weir.dev in namespace {team}-llm"
    assert f"cannot be checked: you may not read ModelTier {team}-llm/b ({lacking})" in done.stderr
    assert "TierNotFoundOrNotGranted" not in done.stderr
    assert f"everything goes to {team}-llm/b" in done.stdout


def test_what_the_operator_says_of_an_override_is_shown(cluster: ApiServer, team: str, tenant: dict[str, str]):
    override = Overriding("mine", "--tier", f"{team}-llm/none", "--for", "1h", env=tenant)
    message = f"spec.override.tier: there is no ModelTier {team}-llm/none that grants namespace {team}"
    judged(cluster, team, **{**GOOD, "ResolvedRefs": ("False", "TierNotFoundOrNotGranted", message)})
    done = override.end()
    assert done.returncode == 1
    assert f"the operator says: ResolvedRefs is False, TierNotFoundOrNotGranted: {message}" in done.stderr
    assert "--end ends the override" in done.stderr


def test_an_override_to_a_tier_that_fails_is_set_and_the_command_says_so(
    cluster: ApiServer, team: str, tenant: dict[str, str]
):
    override = Overriding("mine", "--tier", f"{team}-llm/b", "--for", "1h", env=tenant)
    message = f"the override: no tier is healthy ({team}-llm/b: connect)"
    judged(cluster, team, **{**GOOD, "Ready": ("True", "NoHealthyTiers", message)})
    done = override.end()
    assert done.returncode == 0, done.stderr
    assert f"note: the operator says: {message}" in done.stderr


def test_faults_of_other_parts_of_the_policy_are_none_of_the_override(
    cluster: ApiServer, team: str, tenant: dict[str, str]
):
    override = Overriding("mine", "--tier", f"{team}-llm/b", "--for", "1h", "-o", "json", env=tenant)
    message = f"spec.routes[0].tiers[0]: there is no ModelTier {team}-llm/a that grants namespace {team}"
    judged(cluster, team, **{**GOOD, "ResolvedRefs": ("False", "TierNotFoundOrNotGranted", message)})
    done = override.end()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"]["usable"] is True


def test_without_an_operator_an_override_says_that_none_has_judged_it(
    cluster: ApiServer, team: str, tenant: dict[str, str]
):
    done = weir("override", "mine", "--tier", f"{team}-llm/b", "--for", "1h", env=tenant)
    assert (done.returncode, "no operator has judged it within 5 s" in done.stderr) == (0, True), done.stderr


def test_a_tier_of_the_own_namespace_that_is_not_there_is_refused_before(
    cluster: ApiServer, team: str, tenant: dict[str, str]
):
    done = weir("override", "mine", "--tier", "none", "--for", "1h", env=tenant)
    assert (done.returncode, "TierNotFoundOrNotGranted" in done.stderr) == (1, True), done.stderr
    assert overridden(cluster, team) is None


def test_a_tier_that_may_be_read_by_its_name_alone_is_checked(cluster: ApiServer, team: str, tenant: dict[str, str]):
    names = ("--resource=modeltiers.weir.dev", "--resource-name=b", "--resource-name=none")
    run(cluster, "create", "role", "peek", "--verb=get", *names, "-n", f"{team}-llm")
    account = f"--serviceaccount={team}:editor"
    run(cluster, "create", "rolebinding", "peek", "--role=peek", account, "-n", f"{team}-llm")
    done = weir("override", "mine", "--tier", f"{team}-llm/none", "--for", "1h", env=tenant)
    assert (done.returncode, "TierNotFoundOrNotGranted" in done.stderr) == (1, True), done.stderr
    text = (POLICY % {"at": team}).replace("name: a,", "name: b,")
    done = weir("diff", "-f", "-", "-o", "json", stdin=text, env=tenant)
    (changed,) = json.loads(done.stdout)["objects"]
    assert changed["conditions"] == []


@pytest.mark.parametrize(
    "change",
    [
        ("name: a,", "name: b,"),
        ("zone: eu", "zone: us"),
        ("require:", "capabilities: [Vision], promptTokens: {min: 9000}, require:"),
    ],
)
def test_a_diff_with_tiers_that_cannot_be_read_invents_no_reason(
    cluster: ApiServer, team: str, tenant: dict[str, str], change: tuple[str, str]
):
    text = (POLICY % {"at": team}).replace(*change)
    done = weir("diff", "-f", "-", "-o", "json", stdin=text, env=tenant)
    assert done.returncode == 1, done.stderr
    (changed,) = json.loads(done.stdout)["objects"]
    assert changed["conditions"] == []
    assert changed["lines"]
    assert "cannot be checked: you may not read ModelTier" in done.stderr


def test_an_own_tier_that_grants_by_label_is_not_said_to_grant_nothing(
    cluster: ApiServer, team: str, tenant: dict[str, str]
):
    """The user may not list namespaces, and may get their own: the labels of that are known."""
    run(cluster, "label", "namespace", team, "team=red")
    run(cluster, "create", "clusterrole", f"{team}-tiers", "--verb=get,list", "--resource=modeltiers.weir.dev")
    bound = (f"--clusterrole={team}-tiers", f"--serviceaccount={team}:editor", "-n", f"{team}-llm")
    run(cluster, "create", "rolebinding", "tiers", *bound)
    for name in ("a", "b"):
        by_label = (PLATFORM % {"at": team, "name": name}).replace(
            "{from: All}", "{from: Selector, selector: {matchLabels: {team: red}}}"
        )
        apply(cluster, by_label)
    text = (POLICY % {"at": team}).replace("name: a,", "name: b,")
    done = weir("diff", "-f", "-", "-o", "json", stdin=text, env=tenant)
    (changed,) = json.loads(done.stdout)["objects"]
    assert changed["conditions"] == [], done.stderr


def test_explain_status_and_pause_work_or_name_the_right(cluster: ApiServer, team: str, tenant: dict[str, str]):
    explained = weir("explain", "mine", "What is 2 + 2?", "-o", "json", env=tenant)
    assert explained.returncode == 0, explained.stderr
    (candidate,) = json.loads(explained.stdout)["candidates"]
    assert candidate["reason"] == "you may not read this ModelTier"
    status = weir("status", "-o", "json", env=tenant)
    assert status.returncode == 0, status.stderr
    assert [it["object"] for it in json.loads(status.stdout)["objects"]] == [f"RoutingPolicy {team}/mine"]
    for right in ("get pods/proxy in namespace weir-system", "list routingpolicies.weir.dev cluster-wide"):
        assert right in status.stderr
    pause = weir("pause", f"{team}-llm/a", env=tenant)
    assert (pause.returncode, f'in the namespace "{team}-llm"' in pause.stderr) == (2, True)


def test_where_nothing_can_be_seen_status_ends_with_2_and_names_the_rights(team: str, tenant: dict[str, str]):
    done = weir("status", "-n", f"{team}-llm", env=tenant)
    assert done.returncode == 2
    for kind in ("modeltiers", "routingpolicies"):
        assert f"list {kind}.weir.dev in namespace {team}-llm" in done.stderr


def deployment(name: str, namespace: str) -> str:
    labels = {"app.kubernetes.io/name": "weir", "app.kubernetes.io/instance": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "o", "image": "o"}]}}
    metadata = {"name": f"{name}-gateway", "namespace": namespace, "labels": labels}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})


def test_an_installation_is_found_and_of_several_the_message_asks_which(cluster: ApiServer, team: str):
    admin = administrator(cluster)
    run(cluster, "delete", "deployments", "-A", "-l", "app.kubernetes.io/name=weir", "--wait=false")
    apply(cluster, deployment("blue", team))
    apply(cluster, deployment("green", f"{team}-llm"))
    for command in ("status", "doctor"):
        done = weir(command, env=admin)
        assert done.returncode == 2, done.stderr
        assert "there are several installations" in done.stderr
        for found in (f"blue in namespace {team}", f"green in namespace {team}-llm"):
            assert found in done.stderr
    for options in (("-n", team), ("--installation", "blue"), ("--system-namespace", team)):
        done = weir("status", *options, env=admin)
        assert f"namespace {team} has no running router of installation blue" in done.stderr
    for command in ("status", "doctor"):
        done = weir(command, "--installation", "bleu", env=admin)
        assert done.returncode == 2, done.stdout
        assert "there is no Deployment of an installation bleu, but there are those of" in done.stderr
        assert f"blue in namespace {team}" in done.stderr
    done = weir("doctor", "--installation", "bleu", "--system-namespace", team, env=admin)
    assert (done.returncode, f"no Deployment bleu-operator, bleu-gateway in namespace {team}" in done.stdout) == (
        1,
        True,
    )
    text = (POLICY % {"at": team}).replace("name: all,", "name: other,")
    path = f"{cluster.assets}{os.pathsep}{os.environ['PATH']}"
    done = weir("diff", "-f", "-", stdin=text, env={**admin, "PATH": path})
    assert (done.returncode, "no dollars: there are several installations" in done.stderr) == (1, True)
    run(cluster, "delete", "deployments", "-A", "-l", "app.kubernetes.io/name=weir", "--wait=false")
