"""Namespaces, caller rules and limits as the router wants them. Pure; used by the compiler's other modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from weir_operator.schemas.common import From, Namespaces, RateLimits
from weir_operator.schemas.routingpolicy import CallerRuleSpec, NamedList
from weir_router import contract

NAME_LABEL = "kubernetes.io/metadata.name"
"""Kubernetes puts it on every namespace; a directory need not."""


def resolve(namespaces: Namespaces, own: str, known: Mapping[str, Mapping[str, str]] | None) -> frozenset[str] | None:
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
            labelled = ((name, {NAME_LABEL: name, **labels}) for name, labels in (known or {}).items())
            return frozenset(name for name, labels in labelled if selector is not None and selector.matches(labels))


def caller_rules(
    rules: Iterable[CallerRuleSpec], own: str, known: Mapping[str, Mapping[str, str]] | None
) -> tuple[contract.CallerRule, ...]:
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
