"""How many routers share a limit "of all routers together". PURE; asked by the leader before each compile.

The number is in every router's config, so it must not follow each pod that comes and goes: it rises at once, because
a limit that is exceeded costs money, and falls only when fewer have been there for a while.
"""

from __future__ import annotations

FALL_SECONDS = 120.0
"""Fewer routers must have been there for so long: a rolling update starts the new one before the old one goes, and a
router that died is missed after up to 90 s."""


class Headcount:
    """The damped number of routers."""

    def __init__(self, published: int, now: float) -> None:
        """`published` is the number in the published config, from the leader before; `now` is monotonic, in seconds."""
        self.value = max(1, published)
        self._highest = 0  # that was seen while it was below `value`
        self._below_since: float | None = now

    def update(self, routers: int, now: float) -> int:
        """The number to tell routers, `routers` being there now."""
        routers = max(1, routers)
        if routers >= self.value:
            self.value, self._highest, self._below_since = routers, 0, None
        elif self._below_since is None:
            self._highest, self._below_since = routers, now
        else:
            self._highest = max(self._highest, routers)
            if now - self._below_since >= FALL_SECONDS:
                # The most of that time: of two that went, one may have come back meanwhile.
                self.value, self._highest, self._below_since = self._highest, 0, None
        return self.value

    def due_in(self, now: float) -> float | None:
        """Seconds until the number may fall; None: it will not."""
        return None if self._below_since is None else max(0.0, self._below_since + FALL_SECONDS - now)
