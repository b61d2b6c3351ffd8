"""Whether two routes or two policies are after the same requests. Pure set questions, used by the compiler only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from weir_router.contract import CallerRule, Complexity, HeaderMatch, Policy, When

T = TypeVar("T")

_ALL_CLASSES = frozenset(Complexity)


def covers(earlier: When, later: When) -> bool:
    """Whether every request that meets `later` also meets `earlier`. False where that cannot be told."""
    return (
        _any_of(earlier.complexity if earlier.complexity != _ALL_CLASSES else frozenset(), later.complexity)
        and (earlier.min_prompt_tokens or 0) <= (later.min_prompt_tokens or 0)
        and _no_less(earlier.max_prompt_tokens, later.max_prompt_tokens)
        and earlier.capabilities <= later.capabilities
        and all(any(_header_implies(has, wants) for has in later.headers) for wants in earlier.headers)
        and _callers_cover(earlier.callers, later.callers)
        and _any_of(earlier.user_tiers, later.user_tiers)
        and _any_of(earlier.features, later.features)
    )


def _any_of(earlier: frozenset[T], later: frozenset[T]) -> bool:
    return not earlier or (bool(later) and later <= earlier)


def _no_less(earlier: int | None, later: int | None) -> bool:
    return earlier is None or (later is not None and later <= earlier)


def _header_implies(has: HeaderMatch, wants: HeaderMatch) -> bool:
    if has.name != wants.name:
        return False
    if wants.exact is not None:
        return has.exact == wants.exact
    return wants.prefix is None or (has.exact or has.prefix or "").startswith(wants.prefix)


def _callers_cover(earlier: tuple[CallerRule, ...], later: tuple[CallerRule, ...]) -> bool:
    if not earlier:
        return True
    return bool(later) and all(any(_rule_covers(wide, narrow) for wide in earlier) for narrow in later)


def _rule_covers(wide: CallerRule, narrow: CallerRule) -> bool:
    return (
        _within(wide.namespaces, narrow.namespaces)
        and _within(wide.service_accounts, narrow.service_accounts)
        and _within(wide.api_keys, narrow.api_keys)
    )


def _within(wide: frozenset[str] | None, narrow: frozenset[str] | None) -> bool:
    return wide is None or (narrow is not None and narrow <= wide)


class Conflict(NamedTuple):
    """A policy that is after the same callers and model as one that goes first."""

    policy: Policy
    winner: Policy
    model: str


def precedence(policy: Policy) -> tuple[float, str, str]:
    """Sorts policies as the router does: the older first, then by namespace and name."""
    return (policy.created, policy.namespace, policy.name)


def conflicts(policies: Iterable[Policy]) -> Iterator[Conflict]:
    """The first conflict of each policy that has one.

    For its own callers a namespace's policy wins over those from elsewhere, and that is no conflict: two policies
    compete only where both are at home, or neither is.
    """
    index: dict[str, _Claims] = defaultdict(_Claims)
    for policy in sorted(policies, key=precedence):
        found = ((model, index[model].rival(policy)) for model in policy.models)
        model, rival = next(((model, rival) for model, rival in found if rival), ("", None))
        if rival is not None:
            yield Conflict(policy, rival, model)
        for model in policy.models:
            index[model].add(policy)


class _Claims:
    """Who claims callers for one model, by namespace, so that a thousand teams need no million comparisons."""

    def __init__(self) -> None:
        self._named: dict[str, list[tuple[Policy, CallerRule]]] = defaultdict(list)
        self._everywhere: list[tuple[Policy, CallerRule]] = []

    def add(self, policy: Policy) -> None:
        for rule in policy.callers:
            if rule.namespaces is None:
                self._everywhere.append((policy, rule))
            for namespace in rule.namespaces or ():
                self._named[namespace].append((policy, rule))

    def rival(self, policy: Policy) -> Policy | None:
        """An earlier policy that competes for some caller."""
        return next((other for rule in policy.callers for other in self._rivals(policy, rule)), None)

    def _rivals(self, policy: Policy, rule: CallerRule) -> Iterator[Policy]:
        for other, theirs in self._everywhere:
            # Both name every namespace, or ours some: then one must be left in which both or neither are at home.
            if _same_callers(rule, theirs) and (rule.namespaces is None or _compete(policy, other, rule.namespaces)):
                yield other
        names = self._named if rule.namespaces is None else rule.namespaces
        for namespace in sorted(names):
            for other, theirs in self._named.get(namespace, ()):
                if _same_callers(rule, theirs) and _compete(policy, other, (namespace,)):
                    yield other


def _compete(one: Policy, other: Policy, namespaces: Iterable[str]) -> bool:
    return one.namespace == other.namespace or any(it not in (one.namespace, other.namespace) for it in namespaces)


def _same_callers(one: CallerRule, other: CallerRule) -> bool:
    if (one.service_accounts and other.api_keys) or (one.api_keys and other.service_accounts):
        return False  # a caller proves itself in one way
    return _meet(one.service_accounts, other.service_accounts) and _meet(one.api_keys, other.api_keys)


def _meet(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    return one is None or other is None or not one.isdisjoint(other)
