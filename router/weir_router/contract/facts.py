"""The facts of one request that conditions of a route can ask for: who asks, and its figures, without any text.

`weir_router.identify` makes a `Caller`, `weir_router.decide` the rest. Nothing here travels between operator and
router; it stands here because `weir_router.contract.conditions` gives the contract's `When` its meaning with it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from weir_router.contract.caller import CallerKind
from weir_router.contract.policy import Complexity
from weir_router.contract.tier import Capability


class Caller(msgspec.Struct, frozen=True):
    """One proven identity: a ServiceAccount, the Secret of an API key, or the anonymous caller of a namespace.

    It carries no secret, and no right either: the policies say what a caller may do.
    """

    namespace: str
    name: str
    kind: CallerKind
    user_tier: str | None = None  # from the annotation on the key's Secret, never the client's claim
    pod: str | None = None  # the pod to which its token is bound; for the log, never for a decision


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as far as conditions may look at it."""

    caller: Caller
    model: str  # the name that the caller asks for
    complexity: Complexity  # as applied: estimated, or raised by `minConfidence`
    prompt_tokens: int  # estimated
    needs: frozenset[Capability] = frozenset()
    headers: Mapping[str, str] = {}  # names in lower case
    feature: str | None = None  # the client's own claim, `x-weir-feature`
