"""An installation on the test API server: operators and routers as processes, with exactly the rights of the chart."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from apiserver import ApiServer
from binaries import ensure_tool

from cli.shell import Answer, Running, http, running, until
from support.helm import Helm
from support.kube import PATIENCE, run
from support.published import Volume
from weir_router.contract import CompiledConfig
from weir_router.contract.published import INDEX_FILE, assemble, parse_index
from weir_router.identify.keys import fingerprint

START_PATIENCE = 90.0
"""Seconds until a process listens on a busy machine; on an idle one it takes two."""

RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


def free_port() -> int:
    """A free port. It stays the same, so that a router finds a restarted operator."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


class Operator:
    """A running replica of the operator."""

    def __init__(self, command: Running, url: str, admin: str) -> None:
        self.command = command
        self.url = url
        self.admin = admin

    def state(self) -> dict[str, Any]:
        """`/readyz`."""
        found: dict[str, Any] = http(f"{self.admin}/readyz").json()
        return found

    def until(self, **wanted: Any) -> dict[str, Any]:
        """Waits until `/readyz` holds `wanted`."""

        def there() -> dict[str, Any] | None:
            state = self.state()
            return state if wanted.items() <= state.items() else None

        found: dict[str, Any] = until(there, lambda: f"{wanted} is not in {self.state()}:\n{self.command.said}")
        return found

    def metric(self, name: str) -> float:
        """The value of a metric, named with its labels; 0 if it is not exported."""
        lines = http(f"{self.admin}/metrics").text.splitlines()
        return float(next((line for line in lines if line.startswith(f"{name} ")), "0").rpartition(" ")[2])


@dataclass
class Caller:
    """A caller with an API key."""

    url: str
    key: str

    def models(self) -> set[str] | int:
        """The models for which it may ask, or the status of a refusal."""
        answer = http(f"{self.url}/v1/models", **self._headers)
        return {it["id"] for it in answer.json()["data"]} if answer.status == 200 else answer.status

    def ask(self, model: str = "auto") -> Answer:
        """One completion."""
        message = {"role": "user", "content": "What is 2 + 2?"}
        return http(f"{self.url}/v1/chat/completions", {"model": model, "messages": [message]}, **self._headers)

    @property
    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


class Router:
    """A running router."""

    def __init__(self, command: Running, url: str, admin: str) -> None:
        self.command = command
        self.url = url
        self.admin = admin

    def ready(self) -> dict[str, Any]:
        """`/readyz`."""
        found: dict[str, Any] = http(f"{self.admin}/readyz").json()
        return found

    def policies(self) -> set[str]:
        """The policies in use."""
        return set(http(f"{self.admin}/state").json()["policies"])

    def until_policies(self, *names: str) -> None:
        """Waits until exactly these policies are in use."""
        until(lambda: self.policies() == set(names), lambda: f"{self.policies()}:\n{self.command.said}")


class Installation:
    """An installation: its objects in one namespace, and its processes."""

    def __init__(
        self, server: ApiServer, namespace: str, folder: Path, *values: str, release: str = "weir", url: str = ""
    ) -> None:
        """`values` are options of `helm template`; `url` is another URL of the API server."""
        self.server = server
        self.namespace = namespace
        self.release = release
        self.folder = folder
        self.port = free_port()
        self._rights = [it for it in self._rendered(*values) if it["kind"] in RIGHTS]
        run(server, "apply", "-f", "-", input=yaml.safe_dump_all(self._rights))
        self.kubeconfig = folder / "kubeconfig"
        self._write_kubeconfig(url or server.url)
        self.volume = Volume(folder / "config")

    def _rendered(self, *values: str) -> list[dict[str, Any]]:
        return Helm(ensure_tool("helm")).render(*values, release=self.release, namespace=self.namespace)

    def rights(self, kind: str) -> list[str]:
        """Names of the objects of `kind` that give the operator its rights."""
        return [
            it["metadata"]["name"]
            for it in self._rights
            if it["kind"] == kind and it["metadata"]["labels"].get("app.kubernetes.io/component") == "operator"
        ]

    @property
    def _audience(self) -> str:
        return f"--audience=weir-config/{self.release}"

    def _token(self, account: str, *audience: str) -> str:
        return run(self.server, "-n", self.namespace, "create", "token", account, *audience).strip()

    def _write_kubeconfig(self, url: str) -> None:
        token = self._token(f"{self.release}-operator")
        cluster = {"server": url, "certificate-authority": str(self.server.ca_file)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "operator", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "operator"}}],
        }
        self.kubeconfig.write_text(json.dumps(content))

    @contextlib.contextmanager
    def operator(self, *options: str, port: int | None = None) -> Iterator[Operator]:
        """A replica of the operator, as soon as it listens."""
        (self.folder / "operator-token").write_text(self._token(f"{self.release}-operator", self._audience))
        listen = ("--listen", f"127.0.0.1:{self.port if port is None else port}", "--admin", "127.0.0.1:0")
        listen += ("--token-file", str(self.folder / "operator-token"))
        ours = ("--installation", self.release, "--namespace", self.namespace)
        env = {"KUBECONFIG": str(self.kubeconfig), "POD_IP": "127.0.0.1"}
        with running("operator", *ours, *listen, *options, env=env) as command:
            said = r"config server on (https://\S+?), metrics and state on (http://[^\s\"]+)"
            found = command.wait_for(said, patience=START_PATIENCE)
            yield Operator(command, found[1], found[2])

    @contextlib.contextmanager
    def router(self, name: str = "first", *, fresh: bool = True, admin: str = "127.0.0.1") -> Iterator[Router]:
        """A router of the gateway, with the directory that `mount` fills; `fresh`: with a new token and authority.

        `admin` is the address of its admin port: the API server's proxy does not connect to loopback.
        """
        if fresh:
            (self.folder / "token").write_text(self._token(f"{self.release}-router", self._audience))
            (self.folder / "ca.crt").write_text(self.authority())
        self.volume.directory.mkdir(exist_ok=True)
        access = ("--config-server", f"https://localhost:{self.port}", "--token-file", self.folder / "token")
        listen = ("--listen", "127.0.0.1:0", "--admin", f"{admin}:0", "--no-log")
        files = ("--config-dir", self.volume.directory, "--ca-file", self.folder / "ca.crt")
        with running("router", *files, *access, *listen, env={"POD_NAME": name}) as command:
            said = r"callers on (http://\S+),[^h]*(http://[^\s.]+\S*\d)"
            found = command.wait_for(said, patience=START_PATIENCE)
            yield Router(command, found[1], found[2])

    def authority(self) -> str:
        """The authority with which routers verify the config server, once it exists."""

        def there() -> str:
            done = self.server.kubectl(
                "-n", self.namespace, "get", "configmap", f"{self.release}-ca", "-o", "jsonpath={.data.ca\\.crt}"
            )
            return done.stdout

        found: str = until(there)
        return found

    def published(self) -> dict[str, dict[str, Any]]:
        """The objects that the operator published, by name."""
        selector = f"weir.dev/installation={self.release},app.kubernetes.io/component=router-config"
        text = run(self.server, "-n", self.namespace, "get", "configmap,secret", "-l", selector, "-o", "json")
        return {it["metadata"]["name"]: it for it in json.loads(text)["items"]}

    def config(self) -> CompiledConfig:
        """The published config."""
        files = self.files()
        return assemble(parse_index(files[INDEX_FILE]), files)[0]

    def mount(self) -> None:
        """Updates the mounted volume, as the kubelet does within a minute."""
        self.volume.swap(self.files())

    def files(self) -> dict[str, bytes]:
        """The published files, as a pod sees them."""
        files: dict[str, bytes] = {}
        for it in self.published().values():
            data, binary = it.get("data", {}), it.get("binaryData", {})
            if it["kind"] == "Secret":
                data, binary = {}, data
            files |= {name: value.encode() for name, value in data.items()}
            files |= {name: base64.b64decode(value) for name, value in binary.items()}
        return files


@contextlib.contextmanager
def serving(installation: Installation, *options: str) -> Iterator[tuple[Operator, Router]]:
    """One operator and one router that has a config."""
    with installation.operator(*options) as operator, installation.router() as router:
        until(lambda: router.ready()["ready"], lambda: router.command.said + operator.command.said)
        yield operator, router


class Audit:
    """Records every request that an API server gets; made before its start."""

    def __init__(self, server: ApiServer) -> None:
        policy = server.state / "audit.json"
        rules = [{"level": "Metadata"}]
        policy.write_text(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}))
        self.log = server.state / "audit.log"
        server.flags += [f"--audit-policy-file={policy}", f"--audit-log-path={self.log}"]

    def requests(self, user: str, since: str, until: str) -> list[str]:
        """`verb path` of each request of `user` between two moments (RFC 3339)."""
        entries = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [
            f"{it['verb']} {it['requestURI']}"
            for it in entries
            if it["stage"] == "RequestReceived"
            and it["user"]["username"] == user
            and since <= it["requestReceivedTimestamp"] <= until
        ]


class Tenant:
    """A tenant's namespace: its objects and its callers."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self.server = server
        self.namespace = namespace

    def apply(self, *manifests: dict[str, Any]) -> None:
        """`kubectl apply`."""
        run(self.server, "-n", self.namespace, "apply", "-f", "-", input=yaml.safe_dump_all(manifests))

    def delete(self, kind: str, name: str) -> None:
        """Runs `kubectl delete`, without waiting for finalizers, of which there are none."""
        run(self.server, "-n", self.namespace, "delete", kind, name, "--wait=false")

    def caller(self, router: Router, name: str = "ci") -> Caller:
        """A caller with an API key of this namespace, once the router knows the key."""
        key = f"weir_{secrets.token_urlsafe(32)}"
        data = {"sha256": base64.b64encode(fingerprint(key).encode()).decode()}
        metadata = {"name": name, "labels": {"weir.dev/api-key": "true"}}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
        caller = Caller(router.url, key)
        until(lambda: caller.models() != 401, lambda: router.command.said)
        return caller

    def condition(self, resource: str, kind: str, status: str) -> None:
        """Waits until a condition of an object has a status."""
        where = f'jsonpath={{.status.conditions[?(@.type=="{kind}")].status}}'
        run(
            self.server, "-n", self.namespace, "wait", resource, f"--for={where}={status}", f"--timeout={PATIENCE:.0f}s"
        )
