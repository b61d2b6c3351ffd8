"""Two policies that are after the same callers and model. Pure set questions, used by the compiler only.

Whether one route takes every request of another, `weir_router.contract.conditions.covers` says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

from weir_router.contract import CallerRule, Policy

MAX_LOOKS = 1_000
"""Claims and namespaces that are looked at for a policy and a model before it is taken to be without a rival."""


MAX_CLAIMS = 1_000
"""Claims of a policy that others are compared with, over all models: one for each namespace and caller of a rule. With
more it is taken to be without a rival."""


class Conflict(NamedTuple):
    """A policy that is after the same callers and model as one that goes first."""

    policy: Policy
    winner: Policy
    model: str


def conflicts(policies: Iterable[Policy]) -> Iterator[Conflict]:
    """The first conflict of each policy that has one.

    For its own callers a namespace's policy wins over those from elsewhere, and that is no conflict: two policies
    compete only where both are at home, or neither is. Names and prefixes compete with the same only, since the more
    exact one always wins.
    """
    index: dict[tuple[str, bool], _Claims] = defaultdict(_Claims)
    for policy in sorted(policies, key=lambda it: it.precedence):
        asked = [*((name, False) for name in policy.models), *((prefix, True) for prefix in policy.prefixes)]
        patterns = zip(asked, policy.patterns, strict=True)
        found = ((pattern, index[key].rival(policy)) for key, pattern in patterns)
        model, rival = next(((model, rival) for model, rival in found if rival), ("", None))
        if rival is not None:
            yield Conflict(policy, rival, model)
        for key in asked:
            index[key].add(policy, max(1, MAX_CLAIMS // len(asked)))


class _Claim(NamedTuple):
    """A rule of a policy. Numbers grow in the order of precedence."""

    number: int
    policy: Policy
    rule: CallerRule


class _Rules:
    """Rules in the order of precedence, found by the callers that they name."""

    def __init__(self) -> None:
        self._all: list[_Claim] = []
        self._anyone: list[_Claim] = []
        self._by_caller: dict[tuple[str, str], list[_Claim]] = defaultdict(list)

    def add(self, claim: _Claim, callers: Sequence[tuple[str, str]]) -> None:
        self._all.append(claim)
        for caller in callers:
            self._by_caller[caller].append(claim)
        if not callers:
            self._anyone.append(claim)

    def near(self, rule: CallerRule) -> Iterable[_Claim]:
        """Those that may have callers in common with `rule`."""
        callers = _named_callers(rule)
        if not callers:
            return self._all
        return merge(self._anyone, *(self._by_caller.get(it, ()) for it in callers), key=lambda it: it.number)


class _Claims:
    """Claims of callers for one model, by namespace, so that a thousand teams need no million comparisons."""

    def __init__(self) -> None:
        self._named: dict[str, _Rules] = defaultdict(_Rules)
        self._everywhere = _Rules()
        self._count = 0

    def add(self, policy: Policy, most: int) -> None:
        """Adds `most` claims of the policy."""
        for rule in policy.callers:
            self._count += 1
            claim, callers = _Claim(self._count, policy, rule), _named_callers(rule)
            if rule.namespaces is None:
                self._everywhere.add(claim, callers[:most])
                most -= 1 + len(callers)
            for namespace in sorted(rule.namespaces or ()):
                if most <= 0:
                    return
                self._named[namespace].add(claim, callers[:most])
                most -= 1 + len(callers)
            if most <= 0:
                return

    def rival(self, policy: Policy) -> Policy | None:
        """An earlier policy that competes for some caller."""
        looks = islice((look for rule in policy.callers for look in self._looks(policy, rule)), MAX_LOOKS)
        return next((other for other in looks if other is not None), None)

    def _looks(self, policy: Policy, rule: CallerRule) -> Iterator[Policy | None]:
        """Rivals, and None for each look that found none."""
        for _, other, theirs in self._everywhere.near(rule):
            # Both name every namespace, or ours some: then one must be left in which both or neither are at home.
            competes = rule.namespaces is None or _compete(policy, other, rule.namespaces)
            yield other if competes and _same_callers(rule, theirs) else None
        names = self._named if rule.namespaces is None else rule.namespaces
        for namespace in sorted(names):
            yield None
            for _, other, theirs in self._named[namespace].near(rule) if namespace in self._named else ():
                yield other if _compete(policy, other, (namespace,)) and _same_callers(rule, theirs) else None


def _named_callers(rule: CallerRule) -> list[tuple[str, str]]:
    if rule.service_accounts is None and rule.api_keys is None:
        return []
    accounts, keys = rule.service_accounts or (), rule.api_keys or ()
    return [*(("ServiceAccount", it) for it in accounts), *(("APIKey", it) for it in keys)]


def _compete(one: Policy, other: Policy, namespaces: Iterable[str]) -> bool:
    return one.namespace == other.namespace or any(it not in (one.namespace, other.namespace) for it in namespaces)


def _same_callers(one: CallerRule, other: CallerRule) -> bool:
    if (one.service_accounts and other.api_keys) or (one.api_keys and other.service_accounts):
        return False  # a caller proves itself in one way
    return _meet(one.service_accounts, other.service_accounts) and _meet(one.api_keys, other.api_keys)


def _meet(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    return one is None or other is None or not one.isdisjoint(other)
