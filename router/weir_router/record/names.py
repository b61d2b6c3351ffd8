"""Names in labels that tenants, callers and upstreams choose: each namespace may have so many of its own.

Further ones count as "other". So a caller that makes up features, or a tenant that makes ever new policies, uses up its
own labels, and all that is kept stays bounded. Used by `record.metrics`.
"""

from __future__ import annotations

from weir_router.decide.types import Decision
from weir_router.errors import UpstreamRefused, WeirError
from weir_router.record.series import OTHER, owner_of

MAX_FEATURES = 20
"""Different `x-weir-feature` values of one namespace that get a label of their own, besides those that routes of the
policy name; a dashboard cannot show more."""

MAX_CODES = 20
"""Different error codes of upstreams that get a label of their own, for the policies of one namespace."""

MAX_POLICIES = 1_000
"""Policies of one namespace whose totals are kept, deleted ones included."""

MAX_MODELS = 100
"""Different models of upstreams that get a label of their own, for the tiers of one namespace."""


class Words:
    """Values of a label that others choose: each namespace has some of its own, the rest counts as "other"."""

    def __init__(self, most: int) -> None:
        """`most` words of each namespace are kept, the first that come."""
        self._most = most
        self._known: dict[str, set[str]] = {}

    def knows(self, namespace: str, word: str) -> bool:
        """Whether the word is one of the namespace's own, or may be one from now on."""
        known = self._known.get(namespace)
        if known is None:
            known = self._known[namespace] = set()
        if word not in known:
            if len(known) >= self._most:
                return False
            known.add(word)
        return True


class Names:
    """All such names of one router."""

    def __init__(self) -> None:
        self._features = Words(MAX_FEATURES)
        self._codes = Words(MAX_CODES)
        self._models = Words(MAX_MODELS)
        self._policies = Words(MAX_POLICIES)

    def feature(self, namespace: str, decision: Decision) -> str:
        """The client's claim, if a route names it or its namespace has not too many."""
        feature = decision.asked.feature or ""
        for route in decision.policy.routes:
            if feature in route.when.features:
                return feature
        return feature if self._features.knows(namespace, feature) else OTHER

    def code(self, policy: str, error: WeirError) -> str:
        """The code of an error: our own as it is, an upstream's if its policy's namespace has not too many."""
        if not isinstance(error, UpstreamRefused) or self._codes.knows(owner_of(policy), error.code):
            return error.code
        return OTHER

    def model(self, tier: str, name: str) -> str:
        """The name of an upstream's model, if its tier's namespace has not too many."""
        return name if self._models.knows(owner_of(tier), name) else OTHER

    def policy(self, policy: str) -> str:
        """`namespace/name` of a policy, or `namespace/other`."""
        namespace = owner_of(policy)
        return policy if self._policies.knows(namespace, policy) else f"{namespace}/{OTHER}"
