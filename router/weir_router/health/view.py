"""The view of a backend for `decide`, `record` and the admin port. No logic: `health.board` fills it in."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Judged(Protocol):
    """The part of a backend's health that decisions look at. Read live: two readings of one view may differ."""

    @property
    def state(self) -> str:
        """`closed`, `open`, `half-open` or `ejected`."""

    @property
    def reason(self) -> str | None:
        """The reason why it is not closed, or is paused by a Retry-After: a `FailureKind` value or `slow`."""

    @property
    def available_at(self) -> float:
        """Monotonic moment from which an attempt may be taken; 0: now."""

    @property
    def last_resort(self) -> bool:
        """True if it is not available, but better than nothing: `Board.begin(..., panic=True)` takes it."""

    @property
    def credential_out(self) -> bool:
        """True if it refused our credential, our credit or the model, and has not come back since."""

    @property
    def saturated(self) -> bool:
        """True if it has reached this router's share of `limits.concurrency`."""

    @property
    def share(self) -> float:
        """Share of its normal requests; below 1 while it comes back from an outage."""

    @property
    def score(self) -> float:
        """Expected cost of one more request here: lower is better."""

    @property
    def keeps_objectives(self) -> bool:
        """False if it misses an objective; true while its figures are unknown."""

    @property
    def pending(self) -> int:
        """Attempts that have not ended, over all tiers that share this backend and credential."""

    @property
    def refuses(self) -> frozenset[str]:
        """Fields of requests that its model is known to refuse, e.g. `tools`."""

    @property
    def ttft_p95(self) -> float | None:
        """95th percentile of the TTFT of recent attempts, in seconds. Sorts them: only for who has a latency budget."""


class BackendView(Judged, Protocol):
    """All that is known of one backend's health."""

    @property
    def healthy(self) -> bool:
        """True if it is closed, and hardly any recent attempts were bad: it can take over requests of others."""

    @property
    def saturation(self) -> float | None:
        """Attempts in flight over this router's share of `limits.concurrency`, 0 to 1; None: without a limit."""

    @property
    def tried(self) -> bool:
        """True if an attempt of the last ten minutes, since the backend's config, says something about it."""

    @property
    def failing(self) -> int:
        """Attempts that failed in a row since the last answer."""

    @property
    def words(self) -> str:
        """The last failure while it fails, e.g. `connect: connection refused`, without secrets."""

    @property
    def ttft(self) -> float | None:
        """Average seconds to the first content."""

    @property
    def ttft_p50(self) -> float | None:
        """Median TTFT of recent attempts, in seconds."""

    @property
    def tokens_per_second(self) -> float | None:
        """Average output speed after the first content."""


class Snapshot(msgspec.Struct, frozen=True):
    """A `BackendView` at one moment. The defaults describe an unknown backend, which counts as healthy."""

    state: str = "closed"
    reason: str | None = None
    available_at: float = 0.0
    last_resort: bool = False
    credential_out: bool = False
    healthy: bool = True
    pending: int = 0
    saturated: bool = False
    saturation: float | None = None
    share: float = 1.0
    score: float = 1.0
    keeps_objectives: bool = True
    refuses: frozenset[str] = frozenset()
    ttft: float | None = None
    ttft_p50: float | None = None
    ttft_p95: float | None = None
    tokens_per_second: float | None = None


def held(view: Judged, *, hurried: bool = False) -> Snapshot:
    """A snapshot of the fields that a decision reads. `hurried`: it is about a request with a latency budget."""
    return Snapshot(
        state=view.state,
        reason=view.reason,
        available_at=view.available_at,
        last_resort=view.last_resort,
        credential_out=view.credential_out,
        saturated=view.saturated,
        share=view.share,
        score=view.score,
        keeps_objectives=view.keeps_objectives,
        pending=view.pending,
        refuses=view.refuses,
        ttft_p95=view.ttft_p95 if hurried else None,
    )
