"""The account of a backend: what holds the state that requests leave there."""

from __future__ import annotations

import re

WITH_KEY = "credentials: {secretRef: {name: openai, key: api-key}}"


def account(result, tier="default/budget") -> str:
    (backend,) = result.config.tiers[tier].backends
    return backend.account


def test_it_has_48_bits_in_characters_of_ids(compiled, tier):
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", account(compiled(tier())))


def test_a_new_value_of_the_credential_and_another_name_of_the_tier_leave_it(compiled, tier, secret):
    first = compiled(tier(backend=WITH_KEY) + secret())
    renamed = tier(name="other", backend=WITH_KEY) + secret(data="{api-key: sk-2}")
    second = compiled(renamed)
    assert account(first) == account(second, "default/other")
    assert len({it.credential for r in (first, second) for t in r.config.tiers.values() for it in t.backends}) == 2


def test_another_secret_namespace_or_address_is_another_account(compiled, tier, secret):
    url = "dialects: [Responses], baseURL: 'http://vllm:8000/v1'"
    made = [
        account(compiled(tier())),
        account(compiled(tier(backend=WITH_KEY) + secret())),
        account(compiled(tier(backend=WITH_KEY.replace("api-key", "other")) + secret(data="{other: sk-1}"))),
        account(compiled(tier(namespace="llm", backend=WITH_KEY) + secret().replace("default", "llm")), "llm/budget"),
        account(compiled(tier(backend=url))),
        account(compiled(tier(backend=url.replace("8000", "9000")))),
    ]
    assert len(set(made)) == len(made)


def test_a_backend_that_takes_no_responses_has_none(compiled, tier):
    assert account(compiled(tier(backend="dialects: [Chat]"))) == ""
