"""Which route of a policy a request takes: the first whose conditions all hold. Pure; used by `decide.choose`."""

from __future__ import annotations

from collections.abc import Mapping, Set

from weir_router.contract import Capability, Complexity, HeaderMatch, Policy, Route, When
from weir_router.decide.callers import named
from weir_router.estimate.prompt import Features
from weir_router.identify.caller import Caller


def match_route(
    policy: Policy,
    caller: Caller,
    complexity: Complexity,
    features: Features,
    needs: Set[Capability],
    headers: Mapping[str, str],
    feature_name: str | None,
) -> Route | None:
    """The first route that matches; None: no route does. `headers` has its names in lower case."""
    for route in policy.routes:
        when = route.when
        if (
            (not when.complexity or complexity in when.complexity)
            and _within(when, features.tokens)
            and (not when.capabilities or when.capabilities <= needs)
            and all(_header_matches(match, headers) for match in when.headers)
            and (not when.callers or named(when.callers, caller))
            and (not when.user_tiers or caller.user_tier in when.user_tiers)
            and (not when.features or feature_name in when.features)
        ):
            return route
    return None


def _within(when: When, tokens: int) -> bool:
    above = when.min_prompt_tokens is None or tokens >= when.min_prompt_tokens
    return above and (when.max_prompt_tokens is None or tokens <= when.max_prompt_tokens)


def _header_matches(match: HeaderMatch, headers: Mapping[str, str]) -> bool:
    value = headers.get(match.name)
    if value is None:
        return False
    if match.exact is not None:
        return value == match.exact
    return match.prefix is None or value.startswith(match.prefix)
