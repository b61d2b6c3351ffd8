"""A person with kubectl who breaks an installation, and sees after how many seconds it is right again, or named."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from apiserver import ApiServer
from binaries import ensure_tool

from cli.shell import policy, tier, until
from support.helm import Helm, Object, pods
from support.installation import Installation, Operator, Tenant
from support.kube import run

HEALED = 10.0
"""Seconds within which a broken object is right again, or named."""


def rendered(name: str) -> list[Object]:
    """The chart's objects of an installation; release and namespace have the same name."""
    return Helm(ensure_tool("helm")).render(release=name, namespace=name)


def installed(server: ApiServer, name: str, folder: Path) -> Installation:
    """An installation with a tier that has a credential, a policy and a caller's key."""
    run(server, "create", "namespace", name)
    it = Installation(server, name, folder, release=name)
    small = tier("http://127.0.0.1:9")
    small["spec"]["className"] = name
    small["spec"]["backends"][0]["credentials"] = {"type": "APIKey", "secretRef": {"name": "openai", "key": "k"}}
    Tenant(server, name).apply(
        _secret("openai", "weir.dev/credential", k="sk-of-the-test"),
        _secret("caller", "weir.dev/api-key", sha256="0" * 64),
        small,
        policy("kept", model="kept", className=name),
    )
    return it


def _secret(name: str, label: str, **values: str) -> Object:
    metadata = {"name": name, "labels": {label: "true"}}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def with_sidecars(name: str, objects: list[Object]) -> list[str]:
    """The options of the chart's operator about sidecars."""
    (spec,) = (it for it in pods(objects) if it["serviceAccountName"] == f"{name}-operator")
    return [it for it in spec["containers"][0]["args"] if it.startswith(("--sidecar=", "--service-name="))]


@contextlib.contextmanager
def operated(installation: Installation, *options: str) -> Iterator[Operator]:
    """A leading operator that has judged the policy."""
    name = installation.release
    with installation.operator(*options, "--class", name) as operator:
        operator.until(leads=True, ready=True)
        Tenant(installation.server, name).condition("routingpolicy/kept", "Accepted", "True")
        yield operator


class Hand:
    """A person with kubectl, and a watch."""

    def __init__(self, installation: Installation, operator: Operator) -> None:
        self.server = installation.server
        self.namespace = installation.namespace
        self.operator = operator
        self._begun = time.monotonic()

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Runs kubectl in the namespace of the installation."""
        return run(self.server, "-n", self.namespace, *arguments, input=input)

    def breaks(self, *arguments: str, input: str | None = None) -> None:
        """Runs kubectl; seconds count from its end."""
        self.kubectl(*arguments, input=input)
        self._begun = time.monotonic()

    def patches(self, resource: str, patch: Any, kind: str = "merge") -> None:
        """Patches an object; seconds count from then."""
        self.breaks("patch", resource, f"--type={kind}", "-p", json.dumps(patch))

    def object(self, resource: str) -> dict[str, Any] | None:
        """The object; None: there is none."""
        done = self.server.kubectl("-n", self.namespace, "get", resource, "-o", "json")
        return json.loads(done.stdout) if done.returncode == 0 else None  # type: ignore[no-any-return]

    def files(self, resource: str) -> Any:
        """The content and labels of a ConfigMap or Secret, as far as they matter."""
        found = self.object(resource)
        if found is None:
            return None
        data = {**found.get("data", {}), **found.get("binaryData", {})}
        return data, found["metadata"].get("labels"), found.get("immutable", False)

    def sees(self, what: str, condition: Callable[[], Any], within: float = HEALED) -> Any:
        """Waits for `condition`, and prints after how many seconds it held."""
        found = until(
            condition,
            lambda: f"{what}: not within {within} s: {self.operator.state()}\n{self.operator.command.said}",
            patience=within,
        )
        print(f"\n    {what}: {time.monotonic() - self._begun:.1f} s")
        return found

    def named(self, text: str) -> None:
        """Waits until `/readyz` names the fault."""
        self.sees(f"named {text!r}", lambda: any(text in it for it in self.operator.state()["troubles"]))
        until(lambda: text in self.operator.command.said)  # the log is read by a thread

    def is_well(self) -> None:
        """Waits until `/readyz` names no fault."""
        self.sees("nothing is wrong", lambda: not self.operator.state()["troubles"])
