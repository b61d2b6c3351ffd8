"""Another client that writes the same object again and again: notices it, names it, and slows our answer down.

A hand that breaks an object once is mended at once. A tool that writes it all the time, such as GitOps with a field
of ours in its manifests, would otherwise make both write for ever. Used by all that heals: `kube.webhooks`,
`publish.certificate`, `run.reconciler`. No I/O but the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

AT_ONCE = 5
"""Times that an object is written back without a pause: hands rarely do the same thing more often."""

FIRST_PAUSE = 5.0
"""Seconds before the next time; each further one is twice as long."""

LONGEST_PAUSE = 60.0
"""Seconds between two times, at most: 1,440 writes a day are no burden to an API server."""

OVER_AFTER = 900.0
"""Seconds without a restoration after which the contest is over: GitOps tools apply every ten minutes or more often."""

_log = logging.getLogger("weir_operator.contest")


class Contest:
    """The restorations of one object, or of a group of them. Used from one thread at a time."""

    def __init__(self, what: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`what` names the object in the log, for example `ConfigMap weir/weir-ca`."""
        self._what = what
        self._monotonic = monotonic
        self._count = 0
        self._last = 0.0

    @property
    def due_in(self) -> float:
        """Seconds until the object may be written back again; 0: now."""
        over = self._calm_down()
        if over or self._count < AT_ONCE:
            return 0.0
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._count - AT_ONCE, 8))
        return max(0.0, self._last + pause - self._monotonic())

    @property
    def trouble(self) -> str | None:
        """Names the other client's doing; None: there is no contest."""
        if self._calm_down() or self._count <= AT_ONCE:
            return None
        return (
            f"another client writes {self._what} again and again: "
            "take the fields of the operator out of that tool's manifests, or stop it"
        )

    def restored(self) -> None:
        """Notes that the object was written back."""
        before = self.trouble
        self._count, self._last = self._count + 1, self._monotonic()
        if before is None and self.trouble is not None:
            _log.warning("%s. (It is written back every %.0f s at most.)", self.trouble, LONGEST_PAUSE)

    def _calm_down(self) -> bool:
        if self._count and self._monotonic() - self._last > OVER_AFTER:
            self._count = 0
        return not self._count
