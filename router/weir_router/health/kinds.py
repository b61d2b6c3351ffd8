"""The kinds of failures by whose fault they are. Read by `health.breaker` and `call.verdict`."""

from __future__ import annotations

from weir_router.errors import FailureKind

CREDENTIAL_KINDS = frozenset({FailureKind.CREDENTIAL, FailureKind.CREDIT, FailureKind.MODEL, FailureKind.LOOP})
"""Failures of our key, our credit, or our choice of model or server: a retry at the same place cannot help."""
NEUTRAL_KINDS = frozenset(
    {
        FailureKind.CALLER,
        FailureKind.CONTENT_FILTER,
        FailureKind.CONTEXT_LENGTH,
        FailureKind.ADDED,
        FailureKind.UNFIT,
        FailureKind.LOSSY,
        FailureKind.REJECTED,
        FailureKind.BLOCKED,
    }
)
"""Failures about the request itself, or about our own checks: the upstream answered, which is neither good nor bad."""
BLAMELESS_KINDS = frozenset({FailureKind.DEADLINE, FailureKind.UNREAD})
"""Failures that say nothing about the upstream: a policy gave it less time than its own clocks would, or the caller did
not read."""
PROVOKED_KINDS = frozenset(
    {
        FailureKind.SERVER,
        FailureKind.OVERLOAD,
        FailureKind.MALFORMED,
        FailureKind.TRUNCATED,
        FailureKind.TOO_LONG,
    }
)
"""Failures that a single request can provoke at a healthy server each time. Rate limits, silence and broken connections
are none."""
