"""The rules between tenants of one installation: whose policies may serve whose callers. Pure.

They come from the values `tenancy.*` of the chart, or from options of `weir`, and from annotations of Namespaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

ACCEPT_ANNOTATION = "weir.dev/accept-policies-from"
"""Annotation of a Namespace: the namespaces, as `a, b`, whose policies may serve its callers; `*`: all."""

EVERY = "*"
"""The name that stands for every namespace."""


class Consent(StrEnum):
    """The consequence of a missing consent: `WARN` serves and says so, `ENFORCE` does not serve."""

    WARN = "Warn"
    ENFORCE = "Enforce"


@dataclass(frozen=True)
class Tenancy:
    """The rules of one installation."""

    consent: Consent = Consent.ENFORCE
    offering: tuple[str, ...] = ()  # namespaces whose policies may serve all callers, the first goes first
    user_tiers: frozenset[str] = frozenset()  # namespaces whose user tiers count in policies of all namespaces


def names_of(text: str) -> tuple[str, ...]:
    """The names in a list such as `a, b` or `a b`, each once, in their order."""
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def accepted(annotations: Mapping[str, str]) -> frozenset[str]:
    """The namespaces whose policies may serve callers of the Namespace with these annotations."""
    return frozenset(names_of(annotations.get(ACCEPT_ANNOTATION, "")))


class Consents:
    """The answers to: which namespaces agreed that policies of a namespace serve their callers?"""

    def __init__(self, tenancy: Tenancy, accepts: Mapping[str, Iterable[str]]) -> None:
        """`accepts`: by namespace, the namespaces whose policies it accepts."""
        self.tenancy = tenancy
        self._by_policy: dict[str, set[str]] = {}
        for namespace, names in accepts.items():
            for name in names:
                self._by_policy.setdefault(name, set()).add(namespace)

    def agreed(self, own: str) -> frozenset[str] | None:
        """The namespaces whose callers a policy of namespace `own` may serve; None: all."""
        if own in self.tenancy.offering or EVERY in self.tenancy.offering:
            return None
        return frozenset({own, *self._by_policy.get(own, ()), *self._by_policy.get(EVERY, ())})

    def trusted(self, own: str) -> frozenset[str] | None:
        """The namespaces whose user tiers count in a policy of namespace `own`; None: all."""
        return None if EVERY in self.tenancy.user_tiers else self.tenancy.user_tiers | {own}

    def rank(self, own: str) -> int:
        """The place of policies of namespace `own` among those of other namespaces; see `contract.Policy.rank`."""
        offering = self.tenancy.offering
        return offering.index(own) - len(offering) if own in offering else 0
