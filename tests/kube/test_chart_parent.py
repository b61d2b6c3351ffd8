"""The chart as a part of another chart, by each version of Helm: global values, conditions, two installations."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import ApiServer
from binaries import ensure_tool

from support.helm import CHART, Helm
from support.kube import run

VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
Ran = subprocess.CompletedProcess[str]


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A chart with two installations of Weir: one and, where `two.enabled`, two."""
    path = tmp_path / "parent"
    shutil.copytree(CHART, path / "charts" / "weir")
    parts: list[dict[str, Any]] = [
        {"name": "weir", "version": VERSION, "alias": alias, "condition": f"{alias}.enabled"}
        for alias in ("one", "two")
    ]
    chart = {"apiVersion": "v2", "name": "parent", "version": "0.1.0", "dependencies": parts}
    (path / "Chart.yaml").write_text(yaml.safe_dump(chart))
    ours = {
        alias: {"enabled": alias == "one", "fullnameOverride": alias, "className": alias, "crds": {"install": False}}
        for alias in ("one", "two")
    }
    (path / "values.yaml").write_text(yaml.safe_dump({"global": {"imageRegistry": "a"}, **ours}))
    return path


@pytest.fixture(params=["helm", "helm3"])
def helm(request: pytest.FixtureRequest, apiserver: ApiServer, namespace: str, parent: Path) -> Callable[..., Ran]:
    """Runs a command of each version of Helm with the parent's chart."""
    version = Helm(ensure_tool(request.param))

    def ran(command: str, *args: str) -> Ran:
        there = ("--kubeconfig", str(apiserver.kubeconfig), "--namespace", namespace)
        return version.run(command, "parent", str(parent), *args, *there)

    return ran


def test_a_second_installation_of_a_parent_is_no_new_name_of_the_first(
    helm: Callable[..., Ran], apiserver: ApiServer, namespace: str
) -> None:
    done = helm("install")
    assert done.returncode == 0, done.stderr
    done = helm("upgrade", "--set", "two.enabled=true")
    assert done.returncode == 0, done.stderr
    run(apiserver, "get", "deployment", "one-operator", "two-operator", "-n", namespace)
    # A new name of either is still refused
    done = helm("upgrade", "--set", "two.enabled=true", "--set", "two.fullnameOverride=three")
    assert done.returncode != 0
    assert "this release is installed as two, and would be three" in " ".join(done.stderr.split())


@pytest.mark.parametrize("version", ["helm", "helm3"])
def test_a_condition_without_a_parent_is_refused(version: str) -> None:
    """`enabled: false` would install all the same."""
    done = Helm(ensure_tool(version)).template("weir", "--set", "enabled=false")
    assert done.returncode != 0
    assert "at '/enabled'" in done.stderr
