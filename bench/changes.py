"""How long a change takes from `kubectl apply` to the router's answers: operator, router and API server as processes.

    python -m bench.changes [--changes 100] [--policies 100]

Measured from before the request to the API server until a caller's answer shows it: a policy whose model has another
name, and an API key that is deleted. Needs the binaries of `hack/kube/ensure`, and Helm for the operator's rights.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from kubernetes.client import CoreV1Api, CustomObjectsApi

from bench.cluster import NAMESPACE, ApiServer, api_server
from cli.shell import policy, tier
from support.installation import Caller, Installation, Tenant, serving
from support.kube import client_of

UPSTREAM = "http://127.0.0.1:9"


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.changes")
    parser.add_argument("--changes", type=int, default=100, help="of a policy, one after the other")
    parser.add_argument("--policies", type=int, default=100, help="that are there besides")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, api_server() as (server, _):
        tenant = Tenant(server, NAMESPACE)
        others = [policy(f"other-{number}", model=f"other-{number}") for number in range(options.policies)]
        tenant.apply(tier(UPSTREAM), policy(model="model-0"), *others)
        with serving(Installation(server, NAMESPACE, Path(folder))) as (operator, router):
            _say("changed policy", _policies(server, tenant.caller(router), options.changes))
            _say("deleted API key", [_key(server, tenant, tenant.caller(router, f"k{it}"), it) for it in range(20)])
            rounds = operator.metric("weir_operator_compile_seconds_count")
            compiled = operator.metric("weir_operator_compile_seconds_sum") / rounds
            print(f"compile: {compiled * 1000:.1f} ms on average, of {options.policies + 1} policies")


def _policies(server: ApiServer, caller: Caller, changes: int) -> list[float]:
    with client_of(server) as client:
        api = CustomObjectsApi(client)
        took = []
        for number in range(1, changes + 1):
            body = {"spec": {"models": [{"name": f"model-{number}"}]}}
            started = time.perf_counter()
            api.patch_namespaced_custom_object(
                "weir.dev", "v1alpha1", NAMESPACE, "routingpolicies", "assistants", body,
                _content_type="application/merge-patch+json",
            )  # fmt: skip
            _until(caller, lambda _, text, wanted=f'"model-{number}"': wanted in text)
            took.append(time.perf_counter() - started)
    return took


def _key(server: ApiServer, tenant: Tenant, caller: Caller, number: int) -> float:
    with client_of(server) as client:
        started = time.perf_counter()
        CoreV1Api(client).delete_namespaced_secret(f"k{number}", tenant.namespace)
        _until(caller, lambda status, _: status == 401)
        return time.perf_counter() - started


def _until(caller: Caller, condition: Callable[[int, str], bool]) -> None:
    """Asks every few milliseconds, on one connection."""
    connection = http.client.HTTPConnection(urlsplit(caller.url).netloc, timeout=10)
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {caller.key}"})
            with connection.getresponse() as answer:
                if condition(answer.status, answer.read().decode()):
                    return
            time.sleep(0.002)
    finally:
        connection.close()
    raise TimeoutError("the change did not arrive within a minute")


def _say(what: str, took: list[float]) -> None:
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    print(
        f"{what}: {len(took)} times, median {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms, "
        f"slowest {max(took) * 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()
