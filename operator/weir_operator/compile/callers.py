"""Namespaces, caller rules and limits as the router wants them. Pure; used by the kinds' compile steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Protocol

from weir_operator.problems.finding import Finding, Verdict
from weir_operator.problems.problem import ConditionType, Reason
from weir_operator.schemas.common import (
    CallerRuleSpec,
    Expression,
    From,
    NamedList,
    Namespaces,
    Operator,
    RateLimits,
    Selector,
)
from weir_router import contract

NAME_LABEL = "kubernetes.io/metadata.name"
"""Kubernetes puts it on every namespace; a directory need not."""


class Labelled:
    """The namespaces of a cluster, sorted by label: a selector is a few operations on sets and no look at each of them.

    A policy may have five hundred selectors, and a cluster thousands of namespaces.
    """

    def __init__(self, known: Mapping[str, Mapping[str, str]]) -> None:
        self._all = frozenset(known)
        self._by_key: dict[str, set[str]] = defaultdict(set)
        self._by_label: dict[tuple[str, str], set[str]] = defaultdict(set)
        for name, labels in known.items():
            for key, value in {NAME_LABEL: name, **labels}.items():
                self._by_key[key].add(name)
                self._by_label[key, value].add(name)

    def select(self, selector: Selector) -> frozenset[str]:
        """Those that the selector selects, as `Selector.matches` has it."""
        found = self._all
        for label in (selector.match_labels or {}).items():
            found &= self._by_label.get(label, frozenset())
        for expression in selector.match_expressions or ():
            found = self._narrowed(found, expression)
        return found

    def _narrowed(self, found: frozenset[str], by: Expression) -> frozenset[str]:
        match by.operator:
            case Operator.IN | Operator.NOT_IN:
                there = found & self._having(by)
            case _:
                there = found & self._by_key.get(by.key, frozenset())
        return there if by.operator in (Operator.IN, Operator.EXISTS) else found - there

    def _having(self, by: Expression) -> set[str]:
        return set().union(*(self._by_label.get((by.key, value), ()) for value in by.values or ()))


def resolve(namespaces: Namespaces, own: str, known: Labelled | None) -> frozenset[str] | None:
    """The namespaces that are meant; None: all of them, also those to come. A selector finds only `known` ones."""
    match namespaces.from_:
        case From.SAME:
            return frozenset((own,))
        case From.ALL:
            return None
        case From.NAMES:
            return frozenset(namespaces.names or ())
        case _:  # Selector
            selector = namespaces.selector
            return frozenset() if selector is None or known is None else known.select(selector)


def caller_rules(rules: Iterable[CallerRuleSpec], own: str, known: Labelled | None) -> tuple[contract.CallerRule, ...]:
    """The rules with their namespaces resolved."""
    return tuple(
        contract.CallerRule(
            namespaces=resolve(rule.namespaces, own, known),
            service_accounts=_names(rule.service_accounts),
            api_keys=_names(rule.api_keys),
        )
        for rule in rules
    )


def _names(items: NamedList | None) -> frozenset[str] | None:
    return None if items is None else frozenset(item.name for item in items)


def limit(key: str, limits: RateLimits | None) -> contract.Limit | None:
    """A limit under `key`; None where nothing is limited."""
    if limits is None or (limits.requests_per_minute is None and limits.in_flight is None):
        return None
    return contract.Limit(key=key, requests_per_minute=limits.requests_per_minute, in_flight=limits.in_flight)


class Selecting(Protocol):
    """An object that may select namespaces by their labels."""

    @property
    def selects_unknown(self) -> bool:
        """Whether it selects by labels while no namespace is known."""


def namespaces_are_unknown(it: Selecting) -> Finding | None:
    """A check for all kinds with selectors. Unknown is not empty: the selector may well match later."""
    if not it.selects_unknown:
        return None
    message = "namespaces and their labels are not known, so selectors match none of them"
    action = "Let Weir list namespaces, or name them with from: Names."
    return Finding(Reason.NAMESPACES_UNKNOWN, message, Verdict.WARN, ConditionType.RESOLVED_REFS, action)
