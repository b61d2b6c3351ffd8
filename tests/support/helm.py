"""The chart, rendered by a real Helm."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml
from binaries import KUBERNETES

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "weir"

Object = dict[str, Any]


class Helm:
    """One version of Helm."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Runs `helm args`; a failure is not raised."""
        return subprocess.run([str(self.path), *args], capture_output=True, text=True, timeout=60, check=False)

    def template(self, release: str, *args: str) -> subprocess.CompletedProcess[str]:
        """Runs `helm template`. A Helm 3 built without its makefile would assume a cluster of version 1.20."""
        return self.run("template", release, str(CHART), "--kube-version", KUBERNETES, *args)

    def render(self, *args: str, release: str = "weir", namespace: str = "llm") -> list[Object]:
        """The chart's objects in the order of installation."""
        done = self.template(release, "--namespace", namespace, *args)
        assert done.returncode == 0, done.stderr
        return [it for it in yaml.safe_load_all(done.stdout) if it]


def only(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The one object of a kind (and name)."""
    found = [it for it in objects if it["kind"] == kind and name in (None, it["metadata"]["name"])]
    assert len(found) == 1, [it["metadata"]["name"] for it in objects if it["kind"] == kind]
    return found[0]


def pods(objects: list[Object]) -> list[Object]:
    """The pod specs of all Deployments."""
    return [it["spec"]["template"]["spec"] for it in objects if it["kind"] == "Deployment"]
