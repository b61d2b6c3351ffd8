"""Deltas: any delivery and its difference to another delivery together make the other one."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.published import VALUES, compiled, policy, tier
from weir_router.contract import CallerKey, Delivery, Secrets, TokenTrust
from weir_router.contract.delta import Delta, DeltaMismatch, difference, updated

POLICIES = [policy(name, models=(model,), created=at) for name in "abc" for model, at in (("one", 2.0), ("two", 1.0))]
TIERS = [tier(name, values) for name in "xyz" for values in ((), VALUES[:1], VALUES)]
KEYS = {str(number) * 64: CallerKey(namespace="team-a", name=f"key-{number}") for number in range(3)}


def delivery(policies, tiers, keys, routers, trusted, authorities):
    made = compiled(*{it.key: it for it in policies}.values(), tiers=[*{it.name: it for it in tiers}.values()])
    trust = TokenTrust(issuer="i", audience="a") if trusted else None
    config = msgspec.structs.replace(made.config, revision=routers + 1, routers=routers, tokens=trust)
    secrets = Secrets(credentials=made.secrets.credentials, caller_keys={it: KEYS[it] for it in keys})
    return Delivery(config=config, secrets=secrets, authorities=authorities)


deliveries = st.builds(
    delivery,
    st.lists(st.sampled_from(POLICIES), min_size=1, max_size=4),
    st.lists(st.sampled_from(TIERS), max_size=4),
    st.sets(st.sampled_from(sorted(KEYS))),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([None, "PEM"]),
)


@settings(max_examples=300, deadline=None)
@given(deliveries, deliveries)
def test_the_difference_applied_to_the_old_is_the_new(old: Delivery, new: Delivery):
    wire = msgspec.json.encode(difference("e", old, new))
    assert updated(old, msgspec.json.decode(wire, type=Delta)) == new


@settings(deadline=None)
@given(deliveries)
def test_between_equals_nothing_travels(it: Delivery):
    change = difference("e", it, msgspec.json.decode(msgspec.json.encode(it), type=Delivery))
    assert (change.config.tiers, change.config.policies, change.config.generations) == ({}, (), {})
    assert change.secrets == Secrets()


def test_a_change_of_one_policy_is_that_policy():
    old = delivery(POLICIES[:4:2], TIERS[1:2], KEYS, 1, True, None)
    new = delivery([POLICIES[1], POLICIES[2]], TIERS[1:2], KEYS, 1, True, None)
    change = difference("e", old, new)
    assert (change.config.policies, change.config.tiers, change.secrets) == ((POLICIES[1],), {}, Secrets())


def test_a_change_of_something_else_is_noticed():
    old, new, other = (delivery(POLICIES[: 2 * n : 2], TIERS[1:2], KEYS, 1, True, None) for n in (1, 2, 3))
    with pytest.raises(DeltaMismatch, match="a config of"):
        updated(other, difference("e", old, new))


def test_no_secret_shows_in_it():
    last = delivery(POLICIES, TIERS, KEYS, 1, True, None)
    change = difference("e", Delivery(config=last.config), last)
    value = next(iter(change.secrets.credentials.values()))
    assert value in VALUES
    assert value not in repr(change)
    assert next(iter(KEYS)) not in repr(change)
