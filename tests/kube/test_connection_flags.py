"""kubectl's connection flags on commands that ask a cluster, beside what kubectl itself does with them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from apiserver import ApiServer

from cli.shell import weir
from support.kube import apply, run
from support.people import editor

POLICY = """
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: %(name)s, namespace: %(at)s}
spec: {models: [{name: %(name)s-%(at)s}], routes: [{name: all, tiers: [{name: budget}]}]}
"""
NOWHERE = {"KUBECONFIG": "/nowhere", "HOME": "/nowhere"}

COMMANDS = {
    "status": ["status"],
    "doctor": ["doctor"],
    "diff": ["diff", "-f", "-"],
    "pause": ["pause", "budget"],
    "resume": ["resume", "budget"],
    "override": ["override", "auto"],
    "explain": ["explain", "auto", "hi"],
}


@pytest.fixture
def team(cluster: ApiServer, namespace: str) -> str:
    """A namespace with a policy `auto`."""
    apply(cluster, POLICY % {"at": namespace, "name": "auto"})
    return namespace


def config(server: ApiServer, **changes: Any) -> dict[str, Any]:
    """The administrator's kubeconfig, with `changes`."""
    return {**yaml.safe_load(server.kubeconfig.read_text()), **changes}


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def shown(*options: str | Path, env: dict[str, str]) -> CompletedProcess[str]:
    """`weir override auto`, which shows one policy: of the namespace and to the user that the flags say."""
    return weir("override", "auto", *options, env=env)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_same_flags(name: str):
    done = weir(*COMMANDS[name], "--as-group", "x", "--kubeconfig", "/nowhere/config", env=NOWHERE)
    assert (done.returncode, "--as-group and --as-uid need --as" in done.stderr) == (2, True), done.stderr
    done = weir(*COMMANDS[name], "--kubeconfig", "/nowhere/config", env=NOWHERE)
    assert (done.returncode, "no kubeconfig at /nowhere/config" in done.stderr) == (2, True), done.stderr


def test_a_kubeconfig_and_a_namespace_are_what_kubectl_makes_of_them(cluster: ApiServer, team: str):
    done = shown("--kubeconfig", cluster.kubeconfig, "-n", team, env=NOWHERE)
    assert (done.returncode, done.stdout) == (0, f"{team}/auto: no override, its routes decide\n"), done.stderr
    done = shown("--kubeconfig", cluster.kubeconfig, env=NOWHERE)
    assert (done.returncode, 'routingpolicies.weir.dev "auto" not found' in done.stderr) == (2, True)


def test_of_several_files_the_first_current_context_counts_as_for_kubectl(
    cluster: ApiServer, team: str, tmp_path: Path
):
    ours = config(cluster)
    ours["contexts"] = [{"name": "ours", "context": {**ours["contexts"][0]["context"], "namespace": team}}]
    first = write(tmp_path / "first", {**ours, "current-context": "ours"})
    gone = {"name": "gone", "cluster": {"server": "https://127.0.0.1:9"}}
    other = {"name": "other", "context": {"cluster": "gone", "user": ours["users"][0]["name"]}}
    second = write(
        tmp_path / "second",
        {"apiVersion": "v1", "kind": "Config", "clusters": [gone], "contexts": [other], "current-context": "other"},
    )
    (tmp_path / "empty").write_text("")
    files = os.pathsep.join(map(str, (tmp_path / "absent", tmp_path / "empty", first, second)))
    env = {**os.environ, "KUBECONFIG": files}
    kubectl = str(cluster.assets / "kubectl")
    assert shown(env=env).stdout == f"{team}/auto: no override, its routes decide\n"
    done = shown("--context", "other", "--request-timeout", "2s", env=env)
    assert (done.returncode, "does not answer" in done.stderr) == (2, True), done.stderr
    done = shown("--context", "other", "--cluster", ours["clusters"][0]["name"], "-n", team, env=env)
    assert done.returncode == 0, done.stderr
    done = shown("--context", "third", env=env)
    assert "the kubeconfig has no context third; it has ours, other" in done.stderr
    assert kubectl


def test_a_server_a_token_and_an_authority_need_no_kubeconfig(cluster: ApiServer, team: str):
    access = ("--server", cluster.url, "--token", cluster.token, "-n", team)
    done = shown(*access, "--certificate-authority", cluster.ca_file, env=NOWHERE)
    assert done.returncode == 0, done.stderr
    done = shown(*access, "--insecure-skip-tls-verify", env=NOWHERE)
    assert (done.returncode, done.stderr) == (0, "")
    done = shown(*access, env=NOWHERE)
    assert done.returncode == 2
    assert cluster.token not in done.stderr + done.stdout


@pytest.mark.parametrize("content", [b"- a\n- b\n", b"\x00\xff", b"{not: [yaml", b"contexts: 7\ncurrent-context: a\n"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "config").write_bytes(content)
    done = shown(env={"KUBECONFIG": str(tmp_path / "config")})
    assert (done.returncode, str(tmp_path / "config") in done.stderr) == (2, True), done.stderr


def test_a_credential_plugin_that_gives_nothing_is_no_missing_right(cluster: ApiServer, team: str, tmp_path: Path):
    content = config(cluster)
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "/no/such-plugin"}
    content["users"][0]["user"] = {"exec": plugin}
    env = {"KUBECONFIG": str(write(tmp_path / "exec", content))}
    for command in (["doctor"], ["override", "auto"]):
        done = weir(*command, "-n", team, env=env)
        assert done.returncode == 2, done.stdout
        assert "credential plugin /no/such-plugin gave no credential" in done.stderr
        assert "you may not" not in done.stderr + done.stdout
    done = shown("-n", team, "--token", cluster.token, env=env)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["status", "doctor", "override"])
def test_an_api_server_that_does_not_answer_is_named_with_the_cause(cluster: ApiServer, name: str):
    causes = {"https://127.0.0.1:9": "Connection refused", "https://weir.invalid": "Failed to resolve 'weir.invalid'"}
    for server, cause in causes.items():
        env = {"KUBECONFIG": str(cluster.kubeconfig)}
        done = weir(*COMMANDS[name], "--server", server, env=env)
        assert done.returncode == 2, done.stdout
        place = f"the API server at {server.removeprefix('https://')}"
        assert place in done.stderr
        assert cause in done.stderr


def test_a_token_wins_over_that_of_the_kubeconfig(cluster: ApiServer, team: str):
    done = shown("-n", team, "--token", "wrong", env={"KUBECONFIG": str(cluster.kubeconfig)})
    assert (done.returncode, "Unauthorized" in done.stderr) == (2, True), done.stderr


def test_impersonation_has_the_rights_of_user_and_groups(cluster: ApiServer, team: str, tmp_path: Path):
    admin = {"KUBECONFIG": str(cluster.kubeconfig)}
    run(cluster, "create", "role", "read", "--verb=get", "--resource=routingpolicies.weir.dev", "-n", team)
    run(cluster, "create", "rolebinding", "read", "--role=read", "--group=readers", "-n", team)
    done = shown("-n", team, "--as", "eve", env=admin)
    assert (done.returncode, 'User "eve" cannot get resource' in done.stderr) == (2, True), done.stderr
    done = shown(
        "-n", team, "--as", "eve", "--as-group", "writers", "--as-group", "readers", "--as-uid", "7", env=admin
    )
    assert done.returncode == 0, done.stderr
    content = config(cluster)
    content["users"][0]["user"] |= {"as": "eve", "as-groups": ["writers"]}
    done = shown("-n", team, env={"KUBECONFIG": str(write(tmp_path / "as", content))})
    assert (done.returncode, 'User "eve" cannot get resource' in done.stderr) == (2, True), done.stderr


def test_the_dry_run_of_diff_has_the_same_connection(cluster: ApiServer, team: str):
    text = (POLICY % {"at": team, "name": "auto"}).replace("name: all", "name: other")
    env = {"KUBECONFIG": str(cluster.kubeconfig), "PATH": f"{cluster.assets}{os.pathsep}{os.environ['PATH']}"}
    done = weir("diff", "-f", "-", "--as", "eve", "--as-group", "a", stdin=text, env=env)
    assert (done.returncode, 'User "eve" cannot' in done.stderr) == (2, True), done.stderr
    bare = text.replace(f", namespace: {team}", "")
    done = weir("diff", "-f", "-", "-n", team, "-o", "json", stdin=bare, env=env)
    assert done.returncode == 1, done.stderr
    assert [it["object"] for it in json.loads(done.stdout)["objects"]] == [f"RoutingPolicy/{team}/auto"]


def test_a_bare_name_is_that_of_the_context_s_namespace(cluster: ApiServer, team: str, tmp_path: Path):
    env = editor(cluster, team, tmp_path)
    done = weir("explain", "auto", "What is 2 + 2?", "-o", "json", env=env)
    assert done.returncode == 1, done.stderr  # its tier is not there
    assert f"RoutingPolicy {team}/auto is not ready" in done.stderr
    done = weir("explain", "auto", "hi", "-n", "elsewhere", env=env)
    assert (done.returncode, 'in the namespace "elsewhere"' in done.stderr) == (2, True), done.stderr
    assert "is not there; give a directory" in weir("explain", "auto", "hi", env=NOWHERE).stderr
