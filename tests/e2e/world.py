"""The world of the scenarios: the cluster, the installed Weir, and an application with an unchanged SDK."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
NAMESPACE = "weir-system"
TEAM = "team-a"
PATIENCE = 120.0
"""Seconds until an event that takes a few: the machine may be busy with something else."""

Object = dict[str, Any]


def kubectl(*args: str, input: str | None = None, check: bool = True, timeout: float = PATIENCE) -> str:
    """Runs `kubectl args` and returns its output."""
    command = ["kubectl", *args]
    done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0 or not check, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout + ("" if check else done.stderr)


def apply(*objects: Object) -> None:
    """Applies objects with `kubectl apply`."""
    kubectl("apply", "--filename", "-", input=yaml.safe_dump_all(objects))


def helm(*args: str) -> str:
    """Runs `helm args` and returns its output."""
    done = subprocess.run(["helm", *args], capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    assert done.returncode == 0, f"helm {' '.join(args)}\n{done.stdout}{done.stderr}\n{diagnosis()}"
    return done.stdout


def until(what: Callable[[], Any], seconds: float = PATIENCE, pause: float = 0.1) -> Any:
    """Waits until `what` returns a true value, and returns it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s\n{diagnosis()}"
        time.sleep(pause)
    return found


def diagnosis() -> str:
    """The state of the cluster, to find the cause of a failure."""
    shown = [
        kubectl("get", "pods", "--all-namespaces", "--output=wide", check=False),
        kubectl("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp", check=False)[-3000:],
        kubectl("get", "modeltiers,routingpolicies", "--all-namespaces", check=False),
        kubectl("get", "endpointslices", "--all-namespaces", check=False),
    ]
    logs = ("logs", "--namespace", NAMESPACE, "--tail=20")
    shown += [kubectl(*logs, f"deployment/weir-{part}", check=False) for part in ("operator", "gateway")]
    return "\n".join(shown)


class Weir:
    """The installation."""

    def __init__(self, answers: list[str], seconds: float) -> None:
        self.answers = answers
        """Answers to the README's requests, with their headers."""
        self.seconds = seconds

    def pods(self, component: str) -> list[Object]:
        """Pods of the gateway or the operator that are not terminating, from the API server."""
        listed = json.loads(
            kubectl(
                "get", "pods", "--namespace", NAMESPACE, "--output=json",
                f"--selector=app.kubernetes.io/instance=weir,app.kubernetes.io/component={component}",
            )
        )  # fmt: skip
        return [it for it in listed["items"] if "deletionTimestamp" not in it["metadata"]]

    def gateways(self) -> list[str]:
        """URLs of the gateway's pods."""
        return [f"http://{it['status']['podIP']}:8080" for it in self.pods("gateway")]

    def rolled_out(self, component: str = "gateway") -> None:
        """Waits until the Deployment is rolled out, and older pods are terminating."""
        kubectl(
            "rollout", "status", f"deployment/weir-{component}", "--namespace", NAMESPACE, f"--timeout={PATIENCE:g}s"
        )

    @contextlib.contextmanager
    def without_operator(self) -> Iterator[None]:
        """Stops all replicas of the operator for the block."""
        scale = ("scale", "deployment/weir-operator", "--namespace", NAMESPACE)
        kubectl(*scale, "--replicas=0")
        until(lambda: not self.pods("operator"))
        try:
            yield
        finally:
            kubectl(*scale, "--replicas=2")
        self.rolled_out("operator")


class Application:
    """A pod with `ask.py`."""

    def __init__(self, name: str, namespace: str) -> None:
        self.name, self.namespace = name, namespace

    @classmethod
    def deployed(cls, weir: Weir, name: str = "application", *, key_secret: str | None = None) -> Application:
        """A Deployment of one pod in team-a; with `key_secret` it sends that API key instead of a token."""
        token = {"serviceAccountToken": {"audience": "weir/weir", "path": "token", "expirationSeconds": 3600}}
        env: list[Object] = [{"name": "WEIR_URL", "value": f"http://weir.{NAMESPACE}/v1"}]
        if key_secret is not None:
            reference = {"name": key_secret, "key": "key"}
            env.append({"name": "KEY", "valueFrom": {"secretKeyRef": reference}})
        return cls._deployed(
            name,
            TEAM,
            {"env": env, "volumeMounts": [{"name": "weir", "mountPath": "/var/run/secrets/weir"}]},
            volumes=[{"name": "weir", "projected": {"sources": [token]}}],
        )

    @classmethod
    def unaware(cls, name: str, namespace: str, labels: dict[str, str] | None = None) -> Application:
        """A Deployment of one pod that does not mention Weir; `labels` are its pod's labels."""
        return cls._deployed(name, namespace, {}, labels or {})

    @classmethod
    def _deployed(
        cls, name: str, namespace: str, container: Object, labels: dict[str, str] | None = None, **spec: Any
    ) -> Application:
        metadata = {"name": name, "namespace": namespace}
        own = {"app": name}
        pod = {
            "serviceAccountName": name,
            "securityContext": {"fsGroup": 65532},
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "application", "image": os.environ["APP_IMAGE"]} | container],
            **spec,
        }
        template = {"metadata": {"labels": own | (labels or {})}, "spec": pod}
        apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {"selector": {"matchLabels": own}, "template": template},
            },
        )
        kubectl("rollout", "status", f"deployment/{name}", "--namespace", namespace, f"--timeout={PATIENCE:g}s")
        return cls(name, namespace)

    def pod(self) -> Object:
        """The application's pod, from the API server."""
        listed = kubectl("get", "pods", "--namespace", self.namespace, f"--selector=app={self.name}", "--output=json")
        (found,) = (it for it in json.loads(listed)["items"] if "deletionTimestamp" not in it["metadata"])
        return dict(found)

    def ask(self, model: str = "auto", *prompt: str) -> Object:
        """Sends one request; returns its status, the text, and the backend."""
        return next(self.run("one", model, *prompt))

    @contextlib.contextmanager
    def asking(self, what: str, *args: str) -> Iterator[Iterator[Object]]:
        """Runs `ask.py what args` in the pod, and yields its lines as they come."""
        command = ["kubectl", "exec", "--namespace", self.namespace, f"deployment/{self.name}", "--"]
        process = subprocess.Popen(
            [*command, "/app/venv/bin/python", "ask.py", what, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        watchdog = threading.Timer(300, process.kill)
        watchdog.start()
        try:
            yield _lines(process)
        finally:
            watchdog.cancel()
            process.kill()
            process.communicate()

    def run(self, what: str, *args: str) -> Iterator[Object]:
        """Runs `ask.py what args` to its end, and yields its lines."""
        with self.asking(what, *args) as lines:
            yield from lines


def _lines(process: subprocess.Popen[str]) -> Iterator[Object]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)
    assert process.wait() == 0, process.stderr.read() if process.stderr else ""


def readme_commands() -> list[str]:
    """The commands of the README's section on installing, unchanged."""
    _, _, section = (ROOT / "README.md").read_text().partition("\n## Install\n")
    (block,) = re.findall(r"```shell\n(.*?)```", section, re.DOTALL)
    return [line for line in re.sub(r"\\\n", "", block).splitlines() if line.strip()]


def image_values(image: str) -> list[str]:
    """Options of Helm that make the chart use `image`."""
    repository, _, tag = image.rpartition(":")
    return ["--set", f"image.repository={repository}", "--set", f"image.tag={tag}"]


def install() -> Weir:
    """Runs the README's commands, except for the one that builds the image; the last ones ask for answers."""
    for leftover in ("modeltiers", "routingpolicies"):
        kubectl("delete", leftover, "--all", "--all-namespaces", "--ignore-not-found", check=False)
    background = []
    answers = []
    began = time.monotonic()
    try:
        for command in readme_commands():
            if command.startswith("make "):
                continue
            if command.startswith("helm install") and not os.environ.get("WEIR_E2E_NODE"):
                command = " ".join(
                    [command, *image_values(os.environ["IMAGE"])]
                )  # a name in a registry; on our own node it is the one that the README has
            if command.endswith("&"):
                process = subprocess.Popen(
                    ["bash", "-c", f"exec {command.removesuffix('&')}"], cwd=ROOT, stdout=subprocess.PIPE, text=True
                )
                background.append(process)
                assert process.stdout is not None
                process.stdout.readline()  # it says that it forwards
                continue
            # `timeout`, so that a command that hangs is told like one that fails: with a look at the cluster.
            limited = ["timeout", "180", "bash", "-c", command]
            done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{diagnosis()}"
            if command.startswith("curl "):
                answers.append(done.stdout)
    finally:
        for process in background:
            process.terminate()
            process.communicate()
    return Weir(answers, time.monotonic() - began)
