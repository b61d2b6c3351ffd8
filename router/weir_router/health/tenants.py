"""The namespaces that a backend serves and fails, so that requests of one tenant do not open its breaker for others.

Used by `health.breaker`. Some requests make a healthy server answer 500 each time. While it serves other namespaces,
such quick failures of one namespace say little about it, and only two of them count within ten seconds. An outage
fails every namespace: each that fails no longer counts as served, and then all failures count.
"""

from __future__ import annotations

QUICK_FAILURES = 2
"""Quick failures of one namespace that count within `SPAN`: fewer than half of the row that opens a breaker."""
SPAN = 10.0
"""Seconds for which a failure counts in its namespace, and an answer as a sign that the namespace is served: the span
of the breaker's window."""


class Tenants:
    """Record of the namespaces that one backend has served and failed lately; the config bounds their number."""

    def __init__(self) -> None:
        self.served: dict[str, int] = {}  # namespace -> second of its latest content, unless a failure came after it
        self._failed: dict[str, list[float]] = {}  # namespace -> its latest failures that counted

    def clear(self) -> None:
        """Forgets everything."""
        self.served, self._failed = {}, {}

    def failed(self, namespace: str) -> None:
        """A request of this namespace failed, so it is not served."""
        self.served.pop(namespace, None)

    def serves_others(self, namespace: str, now: float) -> bool:
        """Whether another namespace is served at present."""
        return any(name != namespace and now - at < SPAN for name, at in self.served.items())

    def counts(self, namespace: str, now: float) -> bool:
        """Takes one quick failure of this namespace; returns whether it counts against the backend."""
        self.failed(namespace)
        lately = [at for at in self._failed.get(namespace, ()) if now - at < SPAN]
        counts = len(lately) < QUICK_FAILURES or not self.serves_others(namespace, now)
        self._failed[namespace] = [*lately, now][-QUICK_FAILURES:] if counts else lately
        return counts
