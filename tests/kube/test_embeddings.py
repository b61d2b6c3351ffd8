"""Routes for embeddings on a real API server: a second model is refused, and kubectl explains the fields."""

from __future__ import annotations

import time

import pytest
from apiserver import ApiServer

from support.kube import apply, client_of, run
from support.leading import leading
from support.statuses import gateway

MANIFESTS = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {{name: vectors, namespace: {namespace}}}
spec:
  backends:
  - {{name: one, provider: OpenAI, model: text-embedding-3-small, endpoints: [Embeddings]}}
---
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {{name: spare, namespace: {namespace}}}
spec:
  backends:
  - {{name: two, provider: OpenAI, model: {second}, endpoints: [Embeddings]}}
---
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: documents, namespace: {namespace}}}
spec:
  models: [{{name: documents}}]
  override: {{tier: {{name: vectors}}, until: "2099-01-01T00:00:00Z"}}
  routes:
  - name: vectors
    when: {{operations: [Embeddings]}}
    tiers: [{{name: vectors}}, {{name: spare}}]
"""


SMALL = {"text-embedding-3-small"}


async def test_two_models_in_one_route_are_named_until_there_is_one(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, MANIFESTS.format(namespace=namespace, second="text-embedding-3-large"))
    async with leading(cluster, client_of(cluster), namespace) as leader:
        states = {f"{namespace}/vectors/one": "closed", f"{namespace}/spare/two": "closed"}
        leader.routers = [gateway(states=states)]
        await leader.compile_when(lambda it: len(it.of("ModelTier")) == 2 and it.of("RoutingPolicy"))
        await leader.until_condition("rp/documents", "Accepted", "reason", "MixedEmbeddings")
        await leader.until_condition("rp/documents", "Accepted", "status", "False")
        described = " ".join(run(cluster, "describe", "rp/documents", "-n", namespace).split())
        assert "2 models for embeddings: text-embedding-3-large, text-embedding-3-small;" in described
        apply(cluster, MANIFESTS.format(namespace=namespace, second="text-embedding-3-small"))
        await leader.compile_when(lambda it: {one.spec["backends"][0]["model"] for one in it.of("ModelTier")} == SMALL)
        await leader.until_condition("rp/documents", "Accepted", "status", "True")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("mt.spec.backends.endpoints", "beyond conversations, for example `[Embeddings]`"),
        ("rp.spec.routes.when.operations", "Default: `[Chat, Responses]`"),
    ],
)
def test_kubectl_explains_the_fields(cluster: ApiServer, path: str, said: str) -> None:
    # The API server publishes the schema of a new CRD a moment after the kind can be used, and nothing says when.
    deadline = time.monotonic() + 30
    while said not in (shown := " ".join(cluster.kubectl("explain", path).stdout.split())):
        assert time.monotonic() < deadline, shown


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("endpoints: [Embeddings, Embeddings]", "duplicate"),
        ("endpoints: [Chat]", "supported values"),
        ("endpoints: []", "at least 1 item"),
    ],
)
def test_wrong_endpoints_are_refused(cluster: ApiServer, namespace: str, wrong: str, said: str) -> None:
    text = MANIFESTS.format(namespace=namespace, second="m").replace("endpoints: [Embeddings]", wrong)
    refused = cluster.kubectl("apply", "-f", "-", input=text)
    assert refused.returncode != 0
    assert said in refused.stderr.lower()
