"""Refusals of our credential, credit or model that no second request has met yet. Used by `health.breaker`.

Firewalls and providers also refuse single requests in these words, and a believed refusal puts a backend out for all
callers. So it is believed when another namespace or the router's own request (`call.confirm`) meets the same.
"""

from __future__ import annotations

from weir_router.errors import FailureKind

DOUBT_SECONDS = 60.0
"""Seconds within which another namespace must meet the same refusal: as long as the ejection that follows."""
TRUST_SECONDS = 10.0
"""Seconds after the router's own request was answered in which refusals are about single requests."""


class Doubts:
    """The refusals of one backend that wait for a second one. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.waiting: dict[str, tuple[FailureKind, float]] = {}  # namespace -> its latest refusal, and the moment
        self._trusted_until = 0.0

    def clear(self) -> None:
        """Forgets the refusals."""
        self.waiting = {}

    def trust(self, now: float) -> None:
        """The router's own request was answered."""
        self.waiting, self._trusted_until = {}, now + TRUST_SECONDS

    def confirmed(self, namespace: str, kind: FailureKind, now: float) -> bool:
        """Takes one refusal; returns whether it is believed."""
        lately = {name: it for name, it in self.waiting.items() if now - it[1] < DOUBT_SECONDS}
        if any(name != namespace and known is kind for name, (known, _) in lately.items()):
            return True
        if now >= self._trusted_until:
            lately[namespace] = kind, now
        self.waiting = lately
        return False
