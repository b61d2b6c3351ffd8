"""The caller of a request. Made by the rest of `identify` from a token, a key or the anonymous default; read by
`decide` and `record`.

It carries no secret and no rights: the policies say what a caller may do.
"""

from __future__ import annotations

import msgspec

from weir_router.contract import CallerKind


class Caller(msgspec.Struct, frozen=True):
    """One proven identity: a ServiceAccount, the Secret of an API key, or the anonymous caller of a namespace."""

    namespace: str
    name: str
    kind: CallerKind
    user_tier: str | None = None  # from the annotation on the key's Secret, never the client's claim
    pod: str | None = None  # the pod to which its token is bound; for the log, never for a decision
