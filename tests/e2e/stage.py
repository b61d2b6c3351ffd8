"""Further models and policies of scenarios, beside those of the README's example."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import yaml
from world import TEAM, Application, Object, Weir, apply, diagnosis, kubectl

PLATFORM = "llm"
STREAM_SECONDS = 30
"""Seconds that a stream of the model `slow` takes: longer than a rolling update."""
LONG_SECONDS = 75
"""Seconds that a stream of the model `long` takes: longer than an autoscaler needs to react, and a pod to start."""

MODELS = [
    {"name": "slow", "ttft": "100ms", "tokens_per_second": 4, "answer_tokens": 4 * STREAM_SECONDS},
    {"name": "long", "ttft": "100ms", "tokens_per_second": 2, "answer_tokens": 2 * LONG_SECONDS},
    {"name": "vault"},
    {"name": "own"},
]


def simulator() -> None:
    """Deploys a second simulator, with `MODELS`."""
    metadata = {"name": "stage", "namespace": PLATFORM}
    labels = {"app": "stage"}
    container = {
        "name": "simulator",
        "image": os.environ["IMAGE"],
        "args": ["sim", "/models/models.yaml", "--listen", "0.0.0.0:9100"],
        "readinessProbe": {"httpGet": {"path": "/_sim/stats", "port": 9100}, "periodSeconds": 1},
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
    }
    spec = {
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "models", "configMap": {"name": "stage"}}],
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"models.yaml": yaml.safe_dump({"models": MODELS})},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 9100}]},
        },
    )
    kubectl("rollout", "status", "deployment/stage", "--namespace", PLATFORM, "--timeout=60s")


def tier(model: str, *, namespace: str = PLATFORM, **backend: Any) -> Object:
    """A ModelTier of one simulated model, for all namespaces."""
    one = {
        "name": model,
        "provider": "OpenAI",
        "baseURL": "http://stage.llm/v1",
        "model": model,
        "price": {"input": "1", "output": "2"},
    }
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "ModelTier",
        "metadata": {"name": model, "namespace": namespace},
        "spec": {"grants": [{"namespaces": {"from": "All"}}], "backends": [one | backend]},
    }


def policy(name: str, model: str, *, to: str, namespace: str = TEAM, of: str = PLATFORM) -> Object:
    """A RoutingPolicy of `namespace`: `model` goes to the tier `to` of the namespace `of`."""
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "RoutingPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "models": [{"name": model}],
            "routes": [{"name": "all", "tiers": [{"name": to, "namespace": of}]}],
        },
    }


def served(weir: Weir, application: Application, model: str) -> None:
    """Waits until every pod of the gateway serves `model`. An answer only shows that one does."""
    gateways = weir.gateways()
    with application.asking("models", *gateways, "--", model) as lines:
        assert next(lines)["watching"] == len(gateways)
        assert len(next(lines)["seen"]) == len(gateways)


@contextmanager
def steady(application: Application, seconds: int, retries: int = 2) -> Iterator[None]:
    """The block runs while the application asks all the time; afterwards each request must have been answered.

    `retries` are the SDK's own, 2 by default; without them every failed attempt is a failure.
    """
    with application.asking("steady", "auto", str(seconds), str(retries)) as lines:
        assert next(lines)["started"]
        done = threading.Event()
        result: list[Object] = []

        def collect() -> None:
            result.append(next(lines))
            done.set()

        threading.Thread(target=collect, daemon=True).start()
        yield
        assert done.wait(seconds + 60)
    (end,) = result
    print(end)
    assert set(end["outcomes"]) == {"ok"}, diagnosis()


def follow(application: Application, *urls: str, to: str, namespace: str = TEAM, of: str = PLATFORM) -> float:
    """Seconds from `kubectl apply` of a policy with a new model until each router at `urls` serves it.

    The median of five changes: the machine may pause in one.
    """

    def once() -> float:
        model = f"model-{uuid.uuid4().hex[:8]}"
        with application.asking("models", *urls, "--", model) as lines:
            assert next(lines)["watching"] == len(urls)
            apply(policy("changing", model, to=to, namespace=namespace, of=of))
            applied = time.time()
            return float(max(next(lines)["seen"].values()) - applied)

    took = [once() for _ in range(5)]
    print(f"followed {[round(it, 3) for it in took]} s later")
    return median(took)


def asked(model: str) -> list[Object]:
    """The requests for `model` that the simulator has received, with headers."""
    program = (
        f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:9100/_sim/requests/{model}').read().decode())"
    )
    printed = kubectl("exec", "--namespace", PLATFORM, "deployment/stage", "--", "/opt/weir/bin/python", "-c", program)
    found: list[Object] = json.loads(printed)
    return found
