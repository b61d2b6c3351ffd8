"""Turns an ended request into one log line and its metrics. Called by `serve.story`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from weir_router.contract import Backend, Tier
from weir_router.record.events import RequestRecord, Usage
from weir_router.record.log import log
from weir_router.record.metrics import Metrics
from weir_router.record.spend import baseline_dollars, dollars


class Spent(Protocol):
    """What the recorder needs to know of an attempt."""

    usage: Usage | None
    seconds: float
    ttft: float | None

    @property
    def backend(self) -> Backend:
        """Where it went."""


class Recorder:
    """One per router."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def started(self) -> None:
        """A request came in."""
        self.metrics.in_flight.value += 1

    def account(self, record: RequestRecord, attempts: Sequence[Spent], baseline: Tier | None) -> None:
        """Adds tokens and dollars of every attempt, failed ones too: their tokens were paid for."""
        for attempt in attempts:
            if attempt.usage is None:
                continue
            price = attempt.backend.price
            if price is not None:
                record.dollars = (record.dollars or 0.0) + dollars(attempt.usage, price)
                record.price_source = price.source
        last = attempts[-1] if attempts else None
        if last is None or last.usage is None:
            return
        record.usage = last.usage
        record.upstream_model = last.backend.model
        if record.outcome == "ok":
            record.baseline_dollars = baseline_dollars(last.usage, baseline)
            generating = last.seconds - (last.ttft or 0.0)
            if last.ttft is not None and last.usage.output > 1 and generating > 0:
                record.tokens_per_second = (last.usage.output - 1) / generating

    def ended(self, record: RequestRecord) -> None:
        """The last byte has gone out, or nothing will."""
        self.metrics.in_flight.value -= 1
        self.metrics.observe(record)
        log(record)
