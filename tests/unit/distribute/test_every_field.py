"""Every field of the contract has a decision: does a namespace see it? A new field fails here until it has one."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import fields

from support.config_server import GATEWAY, TENANT
from weir_operator.distribute.views import Views
from weir_router.contract import CallerKey, CompiledConfig, Secrets

SEEN = "as it is"
PART = "the part for this namespace: see test_views"
NEVER = "not at all"

DECISIONS: dict[str, dict[str, str]] = {
    "CompiledConfig": {
        "api_version": SEEN,
        "revision": SEEN,
        "class_name": SEEN,
        "tiers": PART,
        "policies": PART,
        "generations": PART,
        "anonymous_namespace": PART,
        "tokens": SEEN,
        "routers": SEEN,
        "catalogue_date": SEEN,
        "hosts": SEEN,
        "gateway_authorities": SEEN,
    },
    "HostPolicy": {"in_cluster": SEEN, "addresses": SEEN, "networks": SEEN},
    "Secrets": {"credentials": PART, "caller_keys": PART, "state_keys": NEVER},
    "StateKey": {"key": NEVER, "since": NEVER},
    "CallerKey": {"namespace": SEEN, "name": SEEN, "user_tier": SEEN},
    "TokenTrust": {"issuer": SEEN, "audience": SEEN, "keys": SEEN, "review": SEEN},
    "SigningKey": dict.fromkeys(("id", "algorithm", "n", "e", "crv", "x", "y"), SEEN),
    "Tier": {"namespace": SEEN, "name": SEEN, "selection": SEEN, "backends": PART},
    "Backend": dict.fromkeys(
        (
            *("name", "provider", "base_url", "model", "credential", "price", "limits", "capabilities", "objectives"),
            *("timeouts", "breaker", "parameters", "labels", "state", "weight", "transport", "traits", "extra"),
            *("endpoint", "formats", "endpoints", "base_model", "account"),
        ),
        SEEN,
    ),
    "Price": dict.fromkeys(
        ("input", "output", "cached_input", "cache_write", "source", "cache_write_long", "steps"), SEEN
    ),
    "PriceStep": dict.fromkeys(("above", "input", "output", "cached_input", "cache_write", "cache_write_long"), SEEN),
    "Traits": dict.fromkeys(
        ("thinking", "efforts", "no_prefill", "one_sampling", "tools_without_reasoning", "recall"), SEEN
    ),
    "BackendLimits": dict.fromkeys(
        ("context_tokens", "effective_context_tokens", "output_tokens", "concurrency"), SEEN
    ),
    "Objectives": {"ttft": SEEN, "tokens_per_second": SEEN},
    "Timeouts": {"connect": SEEN, "ttft": SEEN, "idle": SEEN, "total": SEEN},
    "BreakerKnobs": dict.fromkeys(
        (
            *("consecutive_failures", "failure_percent", "minimum_requests", "open_for", "max_open_for"),
            *("max_retry_after", "probes", "slow_start"),
        ),
        SEEN,
    ),
    "Parameters": {"drop": SEEN, "rename": SEEN, "defaults": SEEN},
    "Extra": {"headers": SEEN, "query": SEEN, "key_header": SEEN},
    "Policy": {
        "namespace": SEEN,
        "name": SEEN,
        "models": SEEN,
        "prefixes": SEEN,
        "callers": PART,
        "routes": PART,
        "not_ready": SEEN,
        "created": SEEN,
        "rank": SEEN,
        "mode": SEEN,
        "baseline": SEEN,
        "min_confidence": SEEN,
        "failover": SEEN,
        "queue": SEEN,
        "override": SEEN,
        "limits": SEEN,
        "max_request_bytes": SEEN,
        "prompt_logging": SEEN,
    },
    "CallerRule": {"namespaces": PART, "service_accounts": SEEN, "api_keys": SEEN},
    "Limit": {"key": SEEN, "requests_per_minute": SEEN, "in_flight": SEEN},
    "TierRef": {"tier": SEEN, "limits": SEEN, "priority": SEEN},
    "Route": {"name": SEEN, "tiers": SEEN, "when": PART, "require": SEEN},
    "When": {
        "complexity": SEEN,
        "min_prompt_tokens": SEEN,
        "max_prompt_tokens": SEEN,
        "capabilities": SEEN,
        "headers": SEEN,
        "callers": PART,
        "user_tiers": SEEN,
        "features": SEEN,
        "times": SEEN,
        "max_latency_budget": SEEN,
        "operations": SEEN,
    },
    "TimeWindow": {"zone": SEEN, "days": SEEN, "start": SEEN, "end": SEEN},
    "HeaderMatch": {"name": SEEN, "exact": SEEN, "prefix": SEEN},
    "Failover": {"attempts": SEEN, "deadline": SEEN, "retry_budget": SEEN, "tier_delay": SEEN, "keep_alive": SEEN},
    "RetryBudget": {"percent": SEEN, "per_second": SEEN, "burst": SEEN},
    "Queue": {"priority": SEEN, "wait": SEEN},
    "Override": {"tier": SEEN, "until": SEEN},
}


def structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """The structs that a value of this type holds, itself included."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for hint in typing.get_type_hints(kind).values():
            yield from structs(hint)
    for argument in typing.get_args(kind):
        yield from structs(argument)


FOUND = {it.__name__: it for root in (CompiledConfig, Secrets) for it in structs(root)}


def filled(kind: Any, name: str = "") -> Any:
    """A value of this type in which no field has its default."""
    options = [it for it in typing.get_args(kind) if it is not type(None)]
    if isinstance(kind, types.UnionType):
        return filled(options[0], name)
    origin = typing.get_origin(kind)
    if origin in (tuple, frozenset):
        return origin([filled(options[0], name)])
    if origin is dict:
        return {KEYS.get(name, f"{name}-key"): filled(options[1], name)}
    if issubclass(kind, msgspec.Struct):
        return kind(**{field: filled(hint, field) for field, hint in typing.get_type_hints(kind).items()})
    if issubclass(kind, enum.Enum):
        return list(kind)[-1]
    if kind is bool:
        return True
    return kind(7) if kind in (int, float) else TEXTS.get(name, f"its-{name}")


KEYS = {"tiers": "team-a/its-name", "generations": "ModelTier/team-a/its-name", "credentials": "its-credential"}
TEXTS = {"tier": "team-a/its-name", "namespace": "team-a", "namespaces": "team-a", "anonymous_namespace": "team-a"}


def test_every_type_and_every_field_has_a_decision():
    missing = {name: kind.__struct_fields__ for name, kind in FOUND.items() if name not in DECISIONS}
    assert missing == {}, "decide for each field whether a namespace may see it"
    stated = {name: set(fields) for name, fields in DECISIONS.items()}
    assert stated == {name: set(kind.__struct_fields__) for name, kind in FOUND.items()}


def values(it: Any) -> Iterator[msgspec.Struct]:
    """The structs within a value, itself included."""
    if isinstance(it, msgspec.Struct):
        yield it
        it = msgspec.structs.astuple(it)
    if isinstance(it, dict):
        it = it.values()
    if not isinstance(it, str) and hasattr(it, "__iter__"):
        for item in it:
            yield from values(item)


def defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The defaults of the fields that have one."""
    made = {it.name: it.default_factory() for it in fields(kind) if it.default_factory is not msgspec.NODEFAULT}
    return made | {it.name: it.default for it in fields(kind) if it.default is not msgspec.NODEFAULT}


@pytest.mark.parametrize("name", FOUND)
def test_a_namespace_sees_what_was_decided(name: str):
    """All of this config is for team-a, so its view holds every visible field."""
    whole, secrets = filled(CompiledConfig), filled(Secrets)
    seen = Views(whole, secrets, GATEWAY).of(TENANT)
    before = [it for it in values((whole, secrets)) if type(it).__name__ == name]
    after = [it for it in values(seen) if type(it).__name__ == name]
    if set(DECISIONS[name].values()) == {NEVER}:
        assert before
        assert not after
        return
    assert len(after) == len(before) > 0
    for field, decision in DECISIONS[name].items():
        for was, now in zip(before, after, strict=True):
            expected = defaults(FOUND[name])[field] if decision is NEVER else getattr(was, field)
            assert getattr(now, field) == expected, field


def test_nothing_in_the_filled_config_has_its_default():
    """Otherwise, the test above would not notice a field that a view leaves out."""
    for it in values((filled(CompiledConfig), filled(Secrets))):
        for field, default in defaults(type(it)).items():
            assert getattr(it, field) != default, f"{type(it).__name__}.{field}"


def test_the_key_of_another_namespace_stays_there():
    secrets = Secrets(caller_keys={"0" * 64: CallerKey(namespace="team-b", name="ci")})
    assert Views(filled(CompiledConfig), secrets, GATEWAY).of(TENANT)[1].caller_keys == {}
