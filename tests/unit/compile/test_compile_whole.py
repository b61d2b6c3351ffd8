"""The compiler as a whole: callers' keys, messages, and good objects beside broken ones."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_operator.compile import Memory, compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.compile.report import Report
from weir_operator.kinds import KINDS
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest, Observed, SecretData, by_kind
from weir_operator.problems.problem import Problem, Reason
from weir_router.contract import CallerKey

DIGEST = "ab" * 32


def api_key(digest: str = DIGEST, annotations: dict[str, str] | None = None) -> SecretData:
    return SecretData({"weir.dev/api-key": "true"}, annotations or {}, {"sha256": digest.encode()})


def with_secrets(catalogue: Catalogue, **secrets: SecretData):
    observed = Observed(secrets={ObjectName("team-a", name): secret for name, secret in secrets.items()})
    return compile_config(observed, KINDS, catalogue=catalogue, now=0.0)


def test_a_callers_key_is_known_by_its_hash(catalogue):
    result = with_secrets(catalogue, ci=api_key(DIGEST.upper() + "\n", {"weir.dev/user-tier": "paid"}))
    assert result.secrets.caller_keys == {DIGEST: CallerKey(namespace="team-a", name="ci", user_tier="paid")}


@pytest.mark.parametrize("digest", ["", "sk-plain", DIGEST[1:], DIGEST + "00"])
def test_what_is_no_hash_is_told_without_being_shown(catalogue, digest):
    result = with_secrets(catalogue, ci=api_key(digest))
    (problem,) = result.problems
    assert (problem.object, problem.reason) == ("Secret/team-a/ci", Reason.API_KEY_INVALID)
    assert not digest or digest not in str(problem)
    assert not result.secrets.caller_keys


def test_one_key_is_one_caller(catalogue):
    result = with_secrets(catalogue, one=api_key(), two=api_key())
    assert result.secrets.caller_keys[DIGEST].name == "one"
    assert [(it.object, it.reason) for it in result.problems] == [("Secret/team-a/two", Reason.API_KEY_REPEATED)]


def test_a_key_in_two_namespaces_is_nobodys(catalogue):
    copied = {ObjectName("aaa", "copy"): api_key(), ObjectName("team-a", "ci"): api_key()}
    result = compile_config(Observed(secrets=copied), KINDS, catalogue=catalogue, now=0.0)
    assert not result.secrets.caller_keys
    found = [(it.object, it.reason) for it in result.problems]
    assert found == [("Secret/aaa/copy", Reason.API_KEY_REPEATED), ("Secret/team-a/ci", Reason.API_KEY_REPEATED)]
    assert "team-a" not in result.problems[0].message


def test_a_copied_hash_neither_takes_over_nor_switches_off_the_older_key(observe, catalogue, tier, policy):
    older, younger = replace(api_key(), created=100.0), replace(api_key(), created=200.0)
    names = [ObjectName("team-a", "ci"), ObjectName("aaa", "copy"), ObjectName("zzz", "copy"), ObjectName("aaa", "x")]
    observed = observe(
        tier() + policy("mine", "team-a") + policy("theirs", "aaa") + policy("other", "bbb"),
        secrets=dict(zip(names, (older, younger, younger, younger), strict=True)),
    )
    result = compile_config(observed, KINDS, catalogue=catalogue, now=300.0)
    assert result.secrets.caller_keys == {DIGEST: CallerKey(namespace="team-a", name="ci")}
    repeated = {it.object: it for it in result.problems if it.reason == Reason.API_KEY_REPEATED}
    refused = {f"Secret/{it}" for it in names[1:]}
    assert repeated.keys() == refused | {"RoutingPolicy/team-a/mine", "RoutingPolicy/aaa/theirs"}
    assert "weir key create ci --namespace team-a" in repeated["RoutingPolicy/team-a/mine"].action
    assert not any("team-a" in repeated[it].message for it in refused)


def test_a_secret_without_the_label_is_no_callers_key(catalogue):
    assert not with_secrets(catalogue, ci=replace(api_key(), labels={})).secrets.caller_keys


def in_words(catalogue: Catalogue, kind: str, spec: Any) -> list[tuple[str, str, str]]:
    manifest = Manifest(kind, "default", "it", spec)
    observed = Observed(manifests=by_kind((manifest,)))
    return [
        (it.field, it.message, it.action)
        for it in compile_config(observed, KINDS, catalogue=catalogue, now=0.0).problems
    ]


BACKEND = {"name": "a", "provider": "OpenAI", "model": "known"}


@pytest.mark.parametrize(
    ("spec", "field", "message", "action"),
    [
        ({}, "spec.backends", "'backends' is required", "Add 'backends'."),
        ([], "spec", "must be an object with fields", "Correct 'spec'."),
        (None, "spec", "must be an object with fields", "Correct 'spec'."),
        ({"backends": [BACKEND | {"zzz": 1}]}, "spec.backends[0].zzz", "there is no field 'zzz' here", "Remove it."),
        (
            {"backends": [BACKEND | {"price": {"input": 0.15}}]},
            "spec.backends[0].price.input",
            "must be a string",
            'Write it in quotes, e.g. "0.15".',
        ),
        (
            {"backends": [BACKEND | {"model": ["x"]}]},
            "spec.backends[0].model",
            "input should be a valid string",
            "Correct 'model'.",
        ),
        (
            {"backends": [BACKEND | {"name": "A"}]},
            "spec.backends[0].name",
            "is not a name of lower-case letters, digits and '-'",
            "Correct 'name'.",
        ),
        (
            {"backends": [BACKEND | {"capabilities": ["Tools"] * 9}]},
            "spec.backends[0].capabilities",
            "must have at most 6 entries",
            "Correct 'capabilities'.",
        ),
        ({"backends": []}, "spec.backends", "must have at least 1 entries", "Correct 'backends'."),
        (
            {"backends": [BACKEND, BACKEND]},
            "spec.backends",
            "'a' stands in this list twice",
            "Correct 'backends'.",
        ),
        (
            {"backends": [BACKEND | {"endpoints": ["Images", "embedings"]}]},
            "spec.backends[0].endpoints[1]",
            "must be 'Embeddings', 'Completions', 'Moderations', 'Images', 'Audio' or 'Rerank'",
            "Did you mean 'Embeddings'?",
        ),
        (
            {"backends": [BACKEND | {"provider": "openai"}]},
            "spec.backends[0].provider",
            "must be 'OpenAI' or 'Anthropic'",
            "Did you mean 'OpenAI'?",
        ),
        (
            {"backends": [BACKEND | {"dialects": ["Embeddings"]}]},
            "spec.backends[0].dialects[0]",
            "must be 'Chat', 'Responses' or 'Messages'",
            "Correct 'dialects[0]'.",
        ),
        (
            {"backends": [BACKEND | {"dialects": [7]}]},
            "spec.backends[0].dialects[0]",
            "must be 'Chat', 'Responses' or 'Messages'",
            "Correct 'dialects[0]'.",
        ),
        (
            {"backends": [BACKEND | {"endpoints": "Embeddings"}]},
            "spec.backends[0].endpoints",
            "must be a list",
            "Write it as a list, in [].",
        ),
        (
            {"backends": ["a"]},
            "spec.backends[0]",
            "must be an object with fields",
            "Write it with its fields: name, provider, dialects, endpoints, model, ...",
        ),
        (
            {"backends": [BACKEND | {"price": "0.15"}]},
            "spec.backends[0].price",
            "must be an object with fields",
            "Write it with its fields: input, cachedInput, cacheWrite, cacheWriteLong, output, ...",
        ),
        (
            {"backends": [BACKEND | {"provider": "Anthropic", "endpoints": ["Embeddings"]}]},
            "spec.backends[0]",
            "a server of provider Anthropic takes conversations only; others have endpoints with provider OpenAI",
            "Correct 'backends[0]'.",
        ),
    ],
)
def test_errors_say_what_is_wrong_where_and_what_to_do(catalogue, spec, field, message, action):
    assert in_words(catalogue, "ModelTier", spec) == [(field, message, action)]


def test_a_hundred_mistakes_are_twenty_problems(catalogue):
    assert len(in_words(catalogue, "ModelTier", {f"x{number}": 1 for number in range(100)})) == 20


class Broken:
    """A catalogue with a bug."""

    date = "2026-01-02"

    def find(self, *_: Any) -> None:
        raise LookupError("sk-secret")


def test_a_bug_of_ours_is_one_objects_problem(policy, tier, observe):
    result = compile_config(observe(tier() + policy()), KINDS, catalogue=Broken(), now=0.0)  # type: ignore[arg-type]
    bug = next(it for it in result.problems if it.reason is Reason.COMPILER_BUG)
    assert bug.object == "ModelTier/default/budget"
    assert "LookupError" in bug.message
    assert "sk-secret" not in bug.message
    assert result.config.policies[0].not_ready


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TIER_SPEC: dict[str, Any] = {
    "grants": [
        {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}, "limits": {"inFlight": 3}}
    ],
    "objectives": {"ttft": "1s"},
    "backends": [
        BACKEND
        | {
            "baseURL": "http://localhost/v1",
            "credentials": {"type": "APIKey", "secretRef": {"name": "openai", "key": "api-key"}},
            "price": {"input": "1", "output": "2"},
            "limits": {"contextTokens": 5, "effectiveContextTokens": 4},
            "parameters": {"drop": ["a"], "rename": {"b": "c"}},
            "labels": {"region": "eu"},
        }
    ],
}
POLICY_SPEC: dict[str, Any] = {
    "models": [{"name": "other"}],
    "callers": [{"namespaces": {"from": "Names", "names": ["x"]}, "apiKeys": [{"name": "k"}]}],
    "override": {"tier": {"name": "good"}, "until": "2099-01-01T00:00:00Z"},
    "failover": {"attempts": 2, "deadline": "3s"},
    "routes": [
        {
            "name": "a",
            "when": {
                "complexity": ["Simple"],
                "promptTokens": {"min": 1, "max": 2},
                "headers": [{"name": "x", "exact": "y"}],
                "require": {"labels": {"region": "eu"}},
            },
            "tiers": [{"name": "good", "namespace": "default"}],
        }
    ],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, spec: dict[str, Any]) -> Any:
    """The spec with a few parts replaced, removed or added."""
    result: Any = {"spec": copy.deepcopy(spec)}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(result)[1:]))
        parent = result
        for step in path[:-1]:
            parent = parent[step]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                parent[path[-1]] = draw(ANYTHING)
            case "remove" if len(path) > 1:
                del parent[path[-1]]
            case _ if isinstance(parent, dict) and len(path) > 1:
                parent[draw(st.text(max_size=8))] = draw(ANYTHING)
        if "spec" not in result or len(places(result)) < 2:
            break
    return result["spec"]


GOOD = (
    Manifest("ModelTier", "default", "good", {"backends": [BACKEND]}),
    Manifest(
        "RoutingPolicy",
        "default",
        "good",
        {"models": [{"name": "auto"}], "routes": [{"name": "a", "tiers": [{"name": "good"}]}]},
    ),
)


@settings(max_examples=300, deadline=None)
@given(tier_spec=mutated(TIER_SPEC), policy_spec=mutated(POLICY_SPEC))
def test_whatever_is_wrong_with_one_object_the_good_ones_serve(catalogue, tier_spec, policy_spec):
    observed = Observed(
        manifests=by_kind(
            (
                *GOOD,
                Manifest("ModelTier", "default", "bad", tier_spec),
                Manifest("RoutingPolicy", "other", "bad", policy_spec),
            )
        ),
        namespaces={},
    )
    result = compile_config(observed, KINDS, catalogue=catalogue, now=0.0)
    assert result.config.tiers["default/good"].backends
    good = next(it for it in result.config.policies if it.key == "default/good")
    assert (good.not_ready, good.routes[0].tiers[0].tier) == (None, "default/good")
    assert all(isinstance(it, Problem) and it.message and it.action for it in result.problems)
    assert not any(it.reason is Reason.COMPILER_BUG for it in result.problems)


def test_a_spec_is_read_again_only_if_it_is_another(catalogue, monkeypatch):
    read = []
    parse = Report.parse
    monkeypatch.setattr(Report, "parse", lambda report, model: read.append(report.manifest.id) or parse(report, model))
    memory = Memory()
    secrets = [{}, {ObjectName("llm", "key"): SecretData()}, {}]
    for tier, there in zip(
        (changed_tier(), changed_tier(), changed_tier(selection="LeastLatency")), secrets, strict=True
    ):
        compile_config(
            Observed(manifests=by_kind((tier,)), secrets=there), KINDS, catalogue=catalogue, now=0.0, memory=memory
        )
    assert len(read) == 2


def changed_tier(**changes: Any) -> Manifest:
    backend = {"name": "b", "provider": "OpenAI", "model": "m", "baseURL": "http://models:8000/v1"}
    return Manifest("ModelTier", "llm", "t", {"backends": [backend], **changes})
