"""Tells people of changed verdicts, as Kubernetes Events. Used by `status.reporter` after a status was written."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from weir_operator.kube.statuses import StatusWriter
from weir_operator.observe.observed import Manifest
from weir_operator.status.conditions import StatusReason
from weir_operator.status.due import Task
from weir_operator.status.events import Event, manifest_of
from weir_operator.status.requests import Requests

EVENT_SECONDS = 300.0
"""Seconds for which the same Event of the same object is not repeated: a backend may come and go all day."""

COMES_AND_GOES = (StatusReason.DEGRADED, StatusReason.NO_HEALTHY_BACKENDS, StatusReason.NO_HEALTHY_TIERS)
"""Reasons whose Events are the same in other words, too: counts of routers and words of upstreams differ each time."""


class Teller:
    """Sends Events for one operator, called `instance`."""

    def __init__(
        self,
        writer: StatusWriter,
        requests: Requests,
        *,
        instance: str,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._writer = writer
        self._requests = requests
        self._instance = instance
        self._monotonic = monotonic
        self._wall = wall
        self._told: dict[tuple[str, Event], float] = {}  # by uid and Event: when

    async def tell(self, task: Task) -> None:
        """Sends the Events of a status that was just written."""
        for event in task.news:
            await self._tell(task.subject, event)

    async def _tell(self, subject: Manifest, event: Event) -> None:
        same = event._replace(note="") if event.reason in COMES_AND_GOES else event
        now, key = self._monotonic(), (subject.uid, same)
        if now - self._told.get(key, -EVENT_SECONDS) < EVENT_SECONDS:
            return
        self._told[key] = now
        moment = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        body = manifest_of(event, subject, self._instance, moment)
        await self._requests.make("Events", self._writer.tell, body)

    def forget(self) -> None:
        """Drops Events that may be repeated by now."""
        oldest = self._monotonic() - EVENT_SECONDS
        self._told = {key: at for key, at in self._told.items() if at > oldest}
