"""Objects for the cluster: half a dozen big namespaces, many small ones, a platform's that all may use. Pure."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from weir_router.identify.keys import fingerprint

PLATFORM = "llm"
BIG = 6
"""Namespaces that hold half of everything between them."""

SMALL_POLICIES = 5
"""Policies of each of the others."""

MODELS = (("OpenAI", "gpt-4o-mini"), ("OpenAI", "gpt-4o"), ("Anthropic", "claude-haiku-4-5"))
"""Provider and model of a tier's backends, from the catalogue."""

JSON = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A namespace with so many policies and tiers."""

    namespace: str
    policies: int
    tiers: int


def places(policies: int, tiers: int) -> list[Place]:
    """The namespaces of the objects; one tier at least, and no more of anything than was asked for."""
    big = [f"big-{number}" for number in range(BIG)]
    small = [f"small-{number:03}" for number in range(max(1, policies // 2 // SMALL_POLICIES))]
    many = _shares(policies - policies // 2, big) | _shares(policies // 2, small)
    few = _shares(1, [PLATFORM]) | _shares((tiers - 1) // 2, big) | _shares(tiers - 1 - (tiers - 1) // 2, small)
    return [Place(name, many.get(name, 0), few.get(name, 0)) for name in (PLATFORM, *big, *small)]


def _shares(total: int, names: list[str]) -> dict[str, int]:
    each, rest = divmod(total, len(names))
    return {name: each + (number < rest) for number, name in enumerate(names)}


def objects(place: Place) -> Iterator[JSON]:
    """Everything of one namespace, itself first."""
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.namespace}}
    key = base64.b64encode(f"sk-of-{place.namespace}-0123456789".encode()).decode()
    yield _secret(place.namespace, "provider", "credential", {"api-key": key})
    hashed = base64.b64encode(fingerprint(f"weir_{place.namespace}-0123456789").encode()).decode()
    yield _secret(place.namespace, "ci", "api-key", {"sha256": hashed})
    for number in range(place.tiers):
        yield tier(place, number)
    for number in range(place.policies):
        yield policy(place, number)


def tier(place: Place, number: int, version: int = 0) -> JSON:
    """A tier of three models; `version` makes it another one."""
    credentials = {"type": "APIKey", "secretRef": {"name": "provider", "key": "api-key"}}
    backends = [
        {"name": f"b{each}", "provider": provider, "model": model, "credentials": credentials}
        | {"limits": {"concurrency": 100 + version}, "labels": {"region": "eu-west-1"}}
        for each, (provider, model) in enumerate(MODELS)
    ]
    spec: JSON = {"objectives": {"ttft": "800ms"}, "backends": backends}
    if place.namespace == PLATFORM:
        spec["grants"] = [{"namespaces": {"from": "All"}, "limits": {"requestsPerMinute": 3000}}]
    return _named("ModelTier", place, f"tier-{number}", spec)


def policy(place: Place, number: int, version: int = 0) -> JSON:
    """A policy of three routes to tiers of its namespace and of the platform; `version` makes it another one."""
    own = [{"name": f"tier-{(number + each) % place.tiers}"} for each in range(min(2, place.tiers))]
    refs = [*own, {"name": "tier-0", "namespace": PLATFORM}]
    routes = [
        {"name": "quick", "when": {"complexity": ["Simple"], "promptTokens": {"max": 2000 + version}}, "tiers": refs},
        {"name": "tools", "when": {"capabilities": ["Tools"]}, "tiers": refs[::-1]},
        {"name": "everything-else", "tiers": refs},
    ]
    spec = {"models": [{"name": f"auto-{number}"}], "baseline": refs[-1], "routes": routes}
    return _named("RoutingPolicy", place, f"policy-{number}", spec | {"failover": {"attempts": 3, "deadline": "90s"}})


def changes(where: list[Place]) -> Iterator[JSON]:
    """Changed objects for ever, each of another place: four policies, then a tier."""
    turns: dict[str, Iterator[Place]] = {
        "policy": itertools.cycle([it for it in where if it.policies]),
        "tier": itertools.cycle([it for it in where if it.tiers]),
    }
    for version in itertools.count(1):
        if version % 5:
            place = next(turns["policy"])
            yield policy(place, version % place.policies, version)
        else:
            place = next(turns["tier"])
            yield tier(place, version % place.tiers, version)


def _named(kind: str, place: Place, name: str, spec: JSON) -> JSON:
    metadata = {"name": name, "namespace": place.namespace}
    return {"apiVersion": "weir.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def _secret(namespace: str, name: str, label: str, data: dict[str, str]) -> JSON:
    metadata = {"name": name, "namespace": namespace, "labels": {f"weir.dev/{label}": "true"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
