"""An object without room is left out and says so, and no tenant's objects keep another's from routers."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import count, islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.published import NAMES
from weir_operator.compile import Compiled, Memory, compile_config
from weir_operator.compile.callers import NAME_LABEL, Labelled
from weir_operator.compile.catalogue import Catalogue
from weir_operator.compile.room import (
    CLAIMS,
    CREDENTIALS,
    KEYS,
    KIB,
    MAX_CREDENTIAL,
    MAX_ENDPOINTS_OF_TIER,
    MAX_POLICY,
    POLICIES,
    SHARDS,
    TIERS,
    credential_shard,
    left_out,
    shard_of,
    size,
)
from weir_operator.kinds import KINDS
from weir_operator.kube.crowding import Part, crowded_out
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest, Observed, SecretData, ServiceData, SliceData, by_kind
from weir_operator.observe.tenancy import Tenancy
from weir_operator.problems.problem import Reason
from weir_operator.publish.publication import publication
from weir_operator.schemas.common import Expression, Selector
from weir_operator.status.rollout import Rollout
from weir_operator.status.statuses import statuses

NOW = 1_800_000_000.0
ROUTE = {"name": "all", "tiers": [{"name": "small"}]}


def a_tier(namespace: str, name: str = "small", created: float = 0.0, **spec: Any) -> Manifest:
    backend = {"name": "one", "provider": "OpenAI", "model": "m", "baseURL": "https://api.example.com/v1"}
    return Manifest("ModelTier", namespace, name, {"backends": [backend], **spec}, generation=1, created=created)


def a_policy(namespace: str, name: str = "auto", created: float = 0.0, **spec: Any) -> Manifest:
    spec = {"models": [{"name": "auto"}], "routes": [ROUTE], **spec}
    return Manifest("RoutingPolicy", namespace, name, spec, generation=1, created=created)


def a_key(namespace: str, name: str, tier: str = "gold", created: float = 0.0) -> tuple[ObjectName, SecretData]:
    hashed = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest().encode()
    labels, annotations = {"weir.dev/api-key": "true"}, {"weir.dev/user-tier": tier}
    return ObjectName(namespace, name), SecretData(labels, annotations, {"sha256": hashed}, created=created)


def a_credential(namespace: str, name: str, value: str) -> tuple[ObjectName, SecretData]:
    return ObjectName(namespace, name), SecretData({"weir.dev/credential": "true"}, data={"k": value.encode()})


def with_credentials(*names: str) -> list[dict[str, Any]]:
    """Backends of a tier."""
    return [
        {
            "name": f"b{number}",
            "provider": "OpenAI",
            "model": "m",
            "baseURL": "https://api.example.com/v1",
            "credentials": {"secretRef": {"name": name, "key": "k"}},
        }
        for number, name in enumerate(names)
    ]


def noise(seed: object, length: int) -> str:
    """Text that gzip hardly compresses."""
    return base64.b64encode(random.Random(str(seed)).randbytes(length), b"-_").decode()[:length]


def large(seed: object, count: int = 1) -> dict[str, Any]:
    """Routes of some 16 KiB each, for callers that do not exist."""
    names = [
        [{"name": noise((seed, route, it), 250).lower().strip("-_").replace("_", "-")} for it in range(63)]
        for route in range(count)
    ]
    return {
        "routes": [
            {**ROUTE, "name": f"r{number}", "when": {"callers": [{"serviceAccounts": them}]}}
            for number, them in enumerate(names)
        ]
    }


OPEN = Tenancy(offering=("*",))


def run(*manifests: Manifest, memory: Memory | None = None, **fields: Any) -> Compiled:
    observed = Observed(
        manifests=by_kind(manifests),
        **{"namespaces": {}, "services": {}, "slices": {}, "tenancy": OPEN, **fields},
    )
    made = compile_config(observed, KINDS, catalogue=Catalogue.load(), now=NOW, memory=memory)
    publication(made, 1, names=NAMES)  # raises where it does not fit
    return made


def too_large(made: Compiled) -> set[str]:
    return {it.object for it in made.problems if it.reason is Reason.TOO_LARGE}


def policies(made: Compiled) -> set[str]:
    """The policies that serve requests."""
    return {it.key for it in made.config.policies if it.not_ready is None}


def users(made: Compiled) -> set[str]:
    return {f"{it.namespace}/{it.name}" for it in made.secrets.caller_keys.values()}


# --- one object


@pytest.mark.parametrize(("length", "kept"), [(253, True), (254, False), (240_000, False)])
def test_a_key_with_a_long_user_tier_is_left_out_and_the_others_stay(length: int, kept: bool):
    made = run(secrets=dict([a_key("team-a", "ci"), a_key("evil", "k", "x" * length)]))
    assert users(made) == {"team-a/ci"} | ({"evil/k"} if kept else set())
    assert too_large(made) == (set() if kept else {"Secret/evil/k"})


def test_a_copied_key_is_nobody_s_also_where_its_holder_s_is_too_large():
    """Otherwise, a tenant that copies a hash would get the callers of a key whose annotation is too long."""
    (name, secret), copy = a_key("team-a", "ci", "x" * 254), ObjectName("evil", "copy")
    made = run(secrets={name: secret, copy: replace(secret, annotations={})})
    assert users(made) == set()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("s" * MAX_CREDENTIAL, None),
        ("s" * MAX_CREDENTIAL + "\r\n", None),
        ("s" * (MAX_CREDENTIAL + 1), Reason.SECRET_VALUE_TOO_LARGE),
        ("s" * MAX_CREDENTIAL + "\ns", Reason.SECRET_VALUE_TOO_LARGE),
        ("s" * 1_000_000, Reason.SECRET_VALUE_TOO_LARGE),
    ],
)
def test_a_credential_has_a_bound(value: str, reason: Reason | None):
    tier = a_tier("llm", backends=with_credentials("big", "good"))
    made = run(tier, secrets=dict([a_credential("llm", "big", value), a_credential("llm", "good", "sk-1")]))
    assert [it.name for it in made.config.tiers["llm/small"].backends] == (["b1"] if reason else ["b0", "b1"])
    found = [it for it in made.problems if "secretRef" in it.field]
    assert [(it.reason, it.field) for it in found] == (
        [(reason, "spec.backends[0].credentials.secretRef.key")] if reason else []
    )
    assert all("sss" not in it.message + it.action for it in found)


def test_a_policy_that_is_too_large_refuses_its_callers_and_the_others_answer():
    made = run(a_tier("a"), a_policy("a"), a_policy("a", "big", models=[{"name": "big"}], **large(1, 5)))
    assert policies(made) == {"a/auto"}
    (claim,) = (it for it in made.config.policies if it.name == "big")
    assert (claim.models, claim.routes, claim.not_ready) == (("big",), (), "it is larger than a policy may be")
    assert [it.namespaces for it in claim.callers] == [frozenset({"a"})]
    assert too_large(made) == {"RoutingPolicy/a/big"}


def test_of_a_claim_that_is_too_large_the_own_namespace_is_left():
    callers = [
        {"namespaces": {"from": "Names", "names": ["b"]}, **large(it)["routes"][0]["when"]["callers"][0]}
        for it in range(5)
    ]
    made = run(a_tier("a"), a_policy("a", callers=callers))
    (claim,) = made.config.policies
    assert claim.callers[0].namespaces == {"a"}
    assert size(claim) < MAX_POLICY
    assert too_large(made) == {"RoutingPolicy/a/auto"}


def test_a_policy_that_cannot_be_read_claims_no_more_than_one_that_can():
    made = run(a_policy("a", models=[{"name": noise(it, 250)} for it in range(2_000)]))
    (claim,) = made.config.policies
    assert size(claim) < MAX_POLICY


def test_a_spec_that_is_larger_by_far_is_not_even_read_and_still_claims():
    made = run(a_tier("a"), a_policy("a", **large(1, 20)), a_tier("b", backends=[{"name": noise(1, 300_000)}]))
    assert too_large(made) == {"RoutingPolicy/a/auto", "ModelTier/b/small"}
    assert Reason.INVALID_SPEC not in {it.reason for it in made.problems}
    assert [(it.key, it.not_ready) for it in made.config.policies] == [("a/auto", "it is larger than a policy may be")]


def test_a_selector_that_finds_too_many_namespaces_is_too_large():
    """A spec of a few bytes makes a policy of many."""
    rule = {"namespaces": {"from": "Selector", "selector": {}}}
    known = {f"namespace-{it}": {} for it in range(2_000)}
    made = run(a_tier("a"), a_policy("a", routes=[{**ROUTE, "when": {"callers": [rule] * 4}}]), namespaces=known)
    assert too_large(made) == {"RoutingPolicy/a/auto"}


def test_a_tier_that_is_too_large_is_none_and_its_policies_say_so():
    labels = {noise(it, 60): noise(-it, 60) for it in range(16)}
    parameters = {"drop": [noise(it, 250) for it in range(60)]}
    backends = [
        {"name": f"b{it}", "provider": "OpenAI", "model": "m", "labels": labels, "parameters": parameters}
        for it in range(5)
    ]
    made = run(a_tier("a", backends=backends), a_policy("a"))
    assert made.config.tiers == {}
    assert too_large(made) == {"ModelTier/a/small"}
    assert Reason.TIER_NOT_FOUND_OR_NOT_GRANTED in {it.reason for it in made.problems}


def test_the_endpoints_of_a_tier_have_a_bound_together_and_each_service_has_some():
    name, count = ObjectName("a", "vllm"), 32
    backend = {"provider": "OpenAI", "model": "m", "backendRef": {"name": "vllm", "port": 80}}
    made = run(
        a_tier("a", backends=[{**backend, "name": f"b{it}"} for it in range(count)]),
        services={name: ServiceData({"weir.dev/backend": "true"}, ports={80: ""})},
        slices={name: SliceData("vllm", {"": 8000}, tuple(f"10.0.{it // 250}.{it % 250 + 1}" for it in range(256)))},
    )
    tier = made.config.tiers["a/small"]
    assert {it.name for it in tier.backends} == {f"b{it}" for it in range(count)}
    assert MAX_ENDPOINTS_OF_TIER / 2 < size(tier) < MAX_ENDPOINTS_OF_TIER
    assert too_large(made) == set()


def test_the_status_says_what_to_do():
    observed = Observed(manifests=by_kind((a_tier("a"), a_policy("a", **large(1, 5)))), namespaces={})
    made = compile_config(observed, KINDS, catalogue=Catalogue.load(), now=NOW)
    (_, status) = statuses(observed, KINDS, made, Rollout(), {}, NOW)[1]
    said = {it["type"]: (it["status"], it["reason"]) for it in status["conditions"]}
    assert said == {
        "Accepted": ("False", "TooLarge"),
        "ResolvedRefs": ("Unknown", "NotAccepted"),
        "Conflicted": ("Unknown", "NotAccepted"),
        "Programmed": ("False", "NotAccepted"),
        "Ready": ("False", "TooLarge"),
        "Stalled": ("True", "TooLarge"),
    }
    assert "may take 65,536; it is left out. Make several policies of it" in status["conditions"][0]["message"]


# --- all of them


def evil(count: int, namespace: str = "evil", **options: Any) -> list[Manifest]:
    """Policies of some 50 KiB that gzip hardly compresses, numbered by age."""
    return [
        a_policy(namespace, f"p{it}", created=it + 1.0, **large((namespace, it), 3), **options) for it in range(count)
    ]


HONEST = (a_tier("a"), a_policy("a", created=NOW), a_tier("b"), a_policy("b", created=NOW))


def test_a_namespace_with_too_many_policies_loses_its_newest_and_no_other_any():
    made = run(*HONEST, a_tier("evil"), *evil(60))
    out = too_large(made)
    assert {"a/auto", "b/auto"} <= policies(made)
    assert out == {f"RoutingPolicy/evil/p{it}" for it in range(60 - len(out), 60)}
    assert sum(size(it) for it in made.config.policies if it.namespace == "evil" and not it.not_ready) <= POLICIES.share
    message = next(it.message for it in made.problems if it.object == "RoutingPolicy/evil/p59")
    assert message == ("the specs of namespace evil have more than 512 KiB; this is one of its newest; it is left out")


def test_what_is_left_out_stays_left_out_when_others_change_theirs():
    memory, first = Memory(), run(*HONEST, a_tier("evil"), *evil(60))
    more = [a_policy("c", f"p{it}") for it in range(20)]
    for others in ((), HONEST, (*HONEST, a_tier("c"), *more)):
        assert too_large(run(*others, a_tier("evil"), *evil(60), memory=memory)) == too_large(first)


def test_policies_that_meet_in_one_shard_on_purpose_crowd_out_each_other():
    wanted = shard_of("a/auto")
    names = [name for name in (f"p{it}" for it in range(1_000)) if shard_of(f"evil/{name}") == wanted][:24]
    made = run(*HONEST, a_tier("evil"), *(a_policy("evil", it, created=1.0, **large(it, 3)) for it in names))
    assert {"a/auto", "b/auto"} <= policies(made)
    assert 0 < len([it for it in policies(made) if it.startswith("evil/")]) <= 8
    assert {it.partition("/")[2].partition("/")[0] for it in too_large(made)} == {"evil"}


def test_thousands_of_small_policies_of_one_namespace_leave_room_for_the_others():
    small = [a_policy("evil", f"p{it}", created=float(it)) for it in range(12_000)]
    made = run(*HONEST, a_tier("evil"), *small)
    assert {"a/auto", "b/auto"} <= policies(made)
    claims = [it for it in made.config.policies if it.not_ready]
    assert 0 < sum(map(size, claims)) < CLAIMS.share
    assert len(too_large(made)) > len(claims)  # for the rest there is no room even to refuse


def test_a_left_out_policy_still_keeps_its_callers_from_another_namespace_s():
    catch = a_policy("evil", "catch", callers=[{"namespaces": {"from": "All"}}])
    made = run(a_tier("evil"), catch, a_tier("a"), *evil(60, "a", models=[{"name": "auto"}]))
    left = next(it for it in made.config.policies if it.key == "a/p59")
    assert (left.models, left.not_ready) == (("auto",), "its namespace has too many policies")


def test_a_revocation_goes_out_while_another_tenant_fills_everything():
    keys = dict([a_key("a", "ci"), a_key("a", "old"), *(a_key("evil", f"k{it}", "x" * 253) for it in range(2_000))])
    manifests = [*HONEST, a_tier("evil"), *evil(60)]
    before = run(*manifests, secrets=keys)
    assert {"a/ci", "a/old"} <= users(before)
    del keys[ObjectName("a", "old")]
    after = run(*manifests[:1], *manifests[2:], secrets=keys)
    assert (users(before) - users(after), policies(before) - policies(after)) == ({"a/old"}, {"a/auto"})


def test_a_namespace_with_too_many_keys_loses_its_newest():
    many = dict(a_key("evil", f"k{it:05}", created=float(it)) for it in range(6_000))
    made = run(secrets={**dict([a_key("a", "ci", created=NOW)]), **many})
    kept = users(made) - {"a/ci"}
    assert "a/ci" in users(made)
    assert kept == {f"evil/k{it:05}" for it in range(len(kept))}
    assert too_large(made) == {f"Secret/evil/k{it:05}" for it in range(len(kept), 6_000)}


def test_tiers_whose_credentials_are_too_many_are_left_out_and_no_other():
    values = dict(a_credential("evil", f"s{it}", noise(it, 8_000)) for it in range(100))
    tiers = [
        a_tier("evil", f"t{it}", created=float(it), backends=with_credentials(*(f"s{it * 10 + n}" for n in range(10))))
        for it in range(10)
    ]
    again = a_tier("evil", "again", created=99.0, backends=with_credentials("s90"))  # one that had no room
    honest = a_tier("a", created=NOW, backends=with_credentials("mine"))
    made = run(honest, *tiers, again, secrets={**values, **dict([a_credential("a", "mine", "sk-1")])})
    assert set(made.config.tiers) == {"a/small", "evil/t0", "evil/t1", "evil/t2"}
    assert too_large(made) == {"ModelTier/evil/again", *(f"ModelTier/evil/t{it}" for it in range(3, 10))}
    used = {it.credential for tier in made.config.tiers.values() for it in tier.backends}
    assert used == made.secrets.credentials.keys()


def test_a_credential_that_many_tiers_of_a_namespace_use_counts_once():
    tiers = [a_tier("a", f"t{it}", backends=with_credentials("s")) for it in range(1_000)]
    made = run(*tiers, secrets=dict([a_credential("a", "s", noise(1, 2_000))]))
    assert (len(made.config.tiers), too_large(made)) == (1_000, set())


def test_tiers_of_one_namespace_leave_room_for_the_others():
    labels = {noise(it, 60): noise(-it, 60) for it in range(16)}
    backend = {"provider": "OpenAI", "model": "m", "baseURL": "https://api.example.com/v1", "labels": labels}
    backends = [{**backend, "name": f"b{it}"} for it in range(25)]
    made = run(*HONEST, *(a_tier("evil", f"t{it}", created=it + 1.0, backends=backends) for it in range(60)))
    assert {"a/auto", "b/auto"} <= policies(made)
    assert too_large(made)
    assert all(it.startswith("ModelTier/evil/") for it in too_large(made))
    assert sum(size(it) for it in made.config.tiers.values() if it.namespace == "evil") <= TIERS.share


def test_many_namespaces_together_cannot_keep_a_small_one_out():
    """Ten namespaces, each within its share, fill all room with incompressible text; the small one still fits."""
    shared = (name for name in map("evil-{}".format, count()) if credential_shard(name) == credential_shard("a"))
    namespaces = list(islice(shared, 10))  # whose credentials are all in one Secret
    keys = (a_key(it, f"k{n}", noise((it, n), 253)) for it in namespaces for n in range(600))
    credentials = (a_credential(it, f"s{n}", noise((it, n), 8_000)) for it in namespaces for n in range(25))
    hostile = [policy for it in namespaces for policy in evil(25, it)]
    tiers = [a_tier(it, "keyed", backends=with_credentials(*(f"s{n}" for n in range(25)))) for it in namespaces]
    tiers += [a_tier(it) for it in namespaces]
    mine = dict([a_key("a", "ci", created=NOW)])
    made = run(*HONEST, *hostile, *tiers, secrets={**dict(keys), **dict(credentials), **mine})
    assert {"a/auto", "b/auto"} <= policies(made)
    assert "a/ci" in users(made)
    assert {it.partition("/")[0] for it in too_large(made)} == {"RoutingPolicy", "ModelTier", "Secret"}


@pytest.mark.parametrize("name", ["{}", "{}-" + "x" * 240, "{}-{noise}"])
def test_keys_that_have_room_fit_into_one_secret_whatever_they_are_called(name: str):
    many = (
        a_key(f"n{it % 7}", name.format(it, noise=noise(it, 200).lower().replace("_", ".")), noise(it, it % 254))
        for it in range(16_000)
    )
    made = run(secrets=dict(many))
    assert len(too_large(made)) + len(users(made)) == 16_000
    assert too_large(made)


LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"), max_size=3)
EXPRESSIONS = st.builds(
    lambda key, operator, values: Expression(
        key=key, operator=operator, values=tuple(sorted(values)) if operator in ("In", "NotIn") else None
    ),
    st.sampled_from(["a", "b", NAME_LABEL]),
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.sets(st.sampled_from(["x", "y", "n1"]), min_size=1),
)


@given(
    known=st.dictionaries(st.sampled_from(["n0", "n1", "n2", "n3"]), LABELS),
    labels=st.none() | LABELS,
    expressions=st.lists(EXPRESSIONS, max_size=3),
)
def test_what_is_selected_by_sets_is_what_matches(
    known: dict[str, dict[str, str]], labels: dict[str, str] | None, expressions: list[Expression]
):
    selector = Selector.model_construct(match_labels=labels, match_expressions=tuple(expressions))
    matching = {name for name, own in known.items() if selector.matches({NAME_LABEL: name, **own})}
    assert Labelled(known).select(selector) == matching


# --- who gives up what


def total(parts: Iterable[Part], namespace: str | None = None) -> int:
    return sum(it.weight for it in parts if namespace in (None, it.name.namespace))


PARTS = st.lists(
    st.builds(
        Part,
        st.builds(ObjectName, st.sampled_from("abcd"), st.integers(0, 50).map(str)),
        st.sampled_from([0.0, 1.0, 2.0]),
        st.integers(1, 100),
    ),
    unique_by=lambda it: it.name,
    max_size=30,
)


@given(parts=PARTS, room=st.integers(0, 1_500), luck=st.randoms())
def test_who_uses_most_gives_up_its_newest(parts: list[Part], room: int, luck: random.Random):
    out = crowded_out(parts, room)
    kept = [it for it in parts if it.name not in out]
    assert total(kept) <= room
    assert out or total(parts) <= room
    for namespace in {it.namespace for it in out}:
        mine = sorted((it for it in parts if it.name.namespace == namespace), key=lambda it: (it.created, it.name))
        gone = [it for it in mine if it.name in out]
        assert mine[-len(gone) :] == gone  # the newest
        # It used most when it gave up the last of them.
        most = max((total(kept, other) for other in "abcd"), default=0)
        assert total(kept, namespace) + gone[0].weight >= most
    luck.shuffle(parts)
    assert crowded_out(parts, room) == out


@given(parts=PARTS)
def test_a_namespace_within_an_even_share_loses_nothing(parts: list[Part]):
    out = crowded_out(parts, 1_000)
    assert not [it for it in out if total(parts, it.namespace) <= 250]


def test_the_rooms_of_a_shard_fit_into_one_object():
    assert TIERS.size + POLICIES.size + CLAIMS.size <= 960 * KIB
    assert max(CREDENTIALS.size, KEYS.size) <= 1_000 * KIB
    assert {TIERS.shards, POLICIES.shards, CLAIMS.shards} == {SHARDS}


def test_nothing_is_left_out_where_there_is_room():
    assert left_out([Part(ObjectName("a", "x"), 0.0, KEYS.share)], KEYS) == {}
