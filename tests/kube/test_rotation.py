"""The shell lines of docs/config.md that rotate a provider's key, run as they stand there on a real API server.

The label by which the Secret consents stays, and the provider gets the new key.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver import ApiServer

from cli.shell import http, policy, tier, until
from support.helm import ROOT
from support.installation import Caller, Installation, Operator, Router, Tenant
from support.kube import run
from weir_cli.sim import SimModel, SimulatorThread
from weir_router.contract import Dialect

SECTION = (ROOT / "docs" / "config.md").read_text().partition("\n## Rotating keys\n")[2].partition("\n## ")[0]
(BLOCK,) = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
WAYS = {re.match(r"# (.+)", it)[1]: it for it in BLOCK.strip().split("\n\n")}  # type: ignore[index]
PATCH, MANIFEST, LABEL = WAYS

NAIVE = (
    "kubectl create secret generic openai --namespace llm --from-literal=api-key=sk-new --dry-run=client -o yaml"
    " | kubectl apply -f -"
)
"""The usual way, which removes the label of a Secret that was applied."""


@pytest.fixture(scope="module")
def installation(emptied: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    emptied.kubectl("create", "namespace", "weir-system")  # it may be there already
    return Installation(emptied, "weir-system", tmp_path_factory.mktemp("weir"))


@pytest.fixture(scope="module")
def operator(installation: Installation) -> Iterator[Operator]:
    with installation.operator() as operator:
        yield operator


@pytest.fixture(scope="module")
def router(installation: Installation, operator: Operator) -> Iterator[Router]:
    with installation.router() as router:
        until(lambda: router.ready()["ready"], lambda: router.command.said + operator.command.said)
        yield router


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorThread]:
    """A provider that takes the new key only."""
    with SimulatorThread([SimModel("sim-minnow", Dialect.OPENAI, key="sk-new")]) as simulator:
        yield simulator


class Team:
    """A team with a key that its provider refuses, and a shell."""

    def __init__(self, server: ApiServer, tenant: Tenant, caller: Caller, folder: Path) -> None:
        self.server, self.tenant, self.caller = server, tenant, caller
        self._folder = folder
        kubectl = folder / "kubectl"
        options = f"--kubeconfig={server.kubeconfig} --cache-dir={server.state / 'cache'}"
        kubectl.write_text(f'#!/bin/sh\nexec {server.assets / "kubectl"} {options} "$@"\n')
        kubectl.chmod(0o755)

    def shell(self, lines: str) -> None:
        """Runs lines of the docs, in the team's namespace."""
        script = lines.replace("--namespace llm", f"--namespace {self.tenant.namespace}")
        path = f"{self._folder}:/usr/bin:/bin"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={"PATH": path}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def label(self) -> str:
        """The Secret's consent."""
        path = r"jsonpath={.metadata.labels.weir\.dev/credential}"
        return run(self.server, "-n", self.tenant.namespace, "get", "secret/openai", "-o", path)


@pytest.fixture
def team(cluster: ApiServer, namespace: str, router: Router, simulator: SimulatorThread, tmp_path: Path) -> Team:
    tenant = Tenant(cluster, namespace)
    metadata = {"name": "openai", "labels": {"weir.dev/credential": "true"}}
    credentials = {"type": "APIKey", "secretRef": {"name": "openai", "key": "api-key"}}
    tenant.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"api-key": "sk-old"}},
        tier(simulator.url, credentials=credentials),
        policy(),
    )
    team = Team(cluster, tenant, tenant.caller(router), tmp_path)
    until(lambda: team.caller.ask().status == 502)
    return team


@pytest.mark.parametrize("way", [PATCH, MANIFEST])
def test_a_way_of_the_docs_keeps_the_label_and_the_new_key_is_used(team: Team, way: str) -> None:
    team.shell(WAYS[way])
    assert team.label() == "true"
    until(lambda: team.caller.ask().status == 200)


def test_the_usual_way_strips_the_label_and_the_condition_names_the_command_that_mends_it(
    team: Team, operator: Operator
) -> None:
    team.shell(NAIVE)
    assert team.label() == ""
    team.tenant.condition("modeltier/small", "ResolvedRefs", "False")
    counted = 'weir_operator_objects{kind="ModelTier",ready="False",reason="NoUsableBackends"}'
    until(lambda: operator.metric(counted) >= 1, lambda: http(f"{operator.admin}/metrics").text)
    path = '{.status.conditions[?(@.type=="ResolvedRefs")].message}'
    message = run(team.server, "-n", team.tenant.namespace, "get", "modeltier/small", "-o", f"jsonpath={path}")
    command = f"kubectl -n {team.tenant.namespace} label secret openai weir.dev/credential=true"
    assert message.endswith(command)
    team.shell(command)
    until(lambda: team.caller.ask().status == 200)


def test_the_label_comes_back_by_the_line_of_the_docs(team: Team) -> None:
    team.shell(NAIVE)
    team.shell(WAYS[LABEL])
    assert team.label() == "true"
    until(lambda: team.caller.ask().status == 200)
