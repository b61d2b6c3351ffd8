"""Counts of the demo, read from the router's own request log, as any user could."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from weir_router.record.log import outputs


class Place:
    """Counts of one backend."""

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self.ttfts: list[float] = []
        self.dollars = 0.0


class Tally:
    """Counts the request log's lines; attach with `with Tally() as tally`."""

    def __init__(self) -> None:
        self.answered = 0
        self.unanswered = 0
        self.failovers = 0
        self.dollars = 0.0
        self.baseline_dollars = 0.0
        self.classes: Counter[str] = Counter()
        self.places: dict[str, Place] = {}

    def __enter__(self) -> Tally:
        outputs.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        outputs.remove(self)

    def __call__(self, line: bytes) -> None:
        """Counts one request."""
        self._count(msgspec.json.decode(line))

    def place(self, tier: str, backend: str) -> Place:
        """The counts of one backend."""
        return self.places.setdefault(f"{tier}/{backend}", Place())

    def _count(self, line: dict[str, Any]) -> None:
        good = line.get("outcome") == "ok"
        self.answered += good
        self.unanswered += not good
        self.classes[line.get("complexity", "?")] += 1
        attempts = line.get("attempts", [])
        self.failovers += good and len(attempts) > 1
        for attempt in attempts:
            place = self.place(attempt["tier"], attempt["backend"])
            if attempt["outcome"] == "ok":
                place.answered += 1
                place.dollars += line.get("dollars", 0.0)
                if attempt.get("ttft") is not None:
                    place.ttfts.append(attempt["ttft"])
            else:
                place.failed += 1
        self.dollars += line.get("dollars", 0.0)
        self.baseline_dollars += line.get("baseline_dollars", 0.0)
