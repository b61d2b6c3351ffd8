"""Memory of what the model of one backend refuses: request fields such as `temperature` or `tools`, by name.

Held by `health.place`, written by `call.journey`, read by both and by `decide`. No single refusal is remembered, since
a caller's value may be at fault, and no caller decides how others are served. It is remembered when it is confirmed:
the same backend took the same request without the field, or a request of another namespace has met the same. It is
forgotten after a while, and tried again, since models change; and with the config of the backend.
"""

from __future__ import annotations

from typing import Final

FIRST_PERIOD, LAST_PERIOD = 600.0, 86_400.0
"""Seconds for which a refusal is remembered at first, and at most. Doubled each time that it is confirmed again: a
model that accepts a field after all is seen within ten minutes, one that never does costs one request a day.
"""

NOTHING: frozenset[str] = frozenset()


class Learned:
    """A refusal that was confirmed. Times are monotonic seconds."""

    __slots__ = ("period", "since", "until")

    def __init__(self, now: float) -> None:
        self.since: Final = now
        self.period = FIRST_PERIOD  # seconds for which it was remembered last
        self.until = now + FIRST_PERIOD  # forgotten from then on


class Refused:
    """The fields that one backend refuses. Names come from a format's table, so their number is bounded."""

    def __init__(self) -> None:
        self.learned: dict[str, Learned] = {}
        self._met: dict[str, tuple[str, float]] = {}  # field -> namespace that met its refusal last, and when

    def clear(self) -> None:
        """Forgets everything."""
        self.learned, self._met = {}, {}

    def at(self, now: float) -> frozenset[str]:
        """The fields that are known to be refused."""
        if not self.learned:
            return NOTHING
        return frozenset([field for field, it in self.learned.items() if now < it.until])

    def met(self, field: str, namespace: str, now: float) -> None:
        """A request of this namespace was refused for this field."""
        other, at = self._met.get(field, (namespace, now))
        self._met[field] = namespace, now
        if other != namespace and now - at < FIRST_PERIOD:
            self.confirm(field, now)

    def confirm(self, field: str, now: float) -> None:
        """The refusal is no accident."""
        known = self.learned.get(field)
        if known is None:
            self.learned[field] = Learned(now)
        elif now >= known.until:
            known.period = min(2 * known.period, LAST_PERIOD)
            known.until = now + known.period
