"""The rollout of an object's generation to routers: the condition Programmed. PURE; used by
`weir_operator.status.statuses`.

The gateway's routers decide: those that have polled within 90 s. Sidecars are counted, and cannot hold it back: they
belong to those whose pods they run in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from weir_operator.distribute.reports import Reported, RouterId
from weir_operator.kube.objects import JSON
from weir_operator.status.conditions import (
    FALSE,
    PROGRAMMED,
    UNKNOWN,
    Judgement,
    StatusReason,
    shortened,
)

LATE_SECONDS = 15.0
"""Seconds after which a router that does not run its config holds back objects that it ran before: a start, or a slow
kubelet, takes less."""

SETTLED_SECONDS = 65.0
"""Seconds of leading after which a router that has not polled counts as gone: a poll waits 50 s, a failed one 10."""

NO_ROUTERS = (
    "no gateway router has polled within 90 s; see whether its pods run, and what their logs say of the config server"
)


@dataclass(frozen=True)
class Rollout:
    """The published revision, and the routers that run it."""

    revision: int = 0  # the last one that was published
    since: Mapping[str, int] = field(default_factory=dict)  # object -> revision that first had its generation
    failure: str | None = None  # why what was compiled last is not published
    routers: tuple[Reported, ...] = ()
    late: frozenset[RouterId] = frozenset()  # have been behind for longer than a change takes
    settled: bool = True  # we have led for so long that every router must have polled by now

    def published(self, had: Mapping[str, int], generations: Mapping[str, int], revision: int) -> Rollout:
        """The rollout after `revision` was published; `had` and `generations` are by object, before and now."""
        # A revision below an old one is of an operator that has lost its count: then all is new.
        old = self.since if revision >= self.revision else {}
        since = {
            name: old[name] if name in old and had.get(name) == generation else revision
            for name, generation in generations.items()
        }
        return replace(self, revision=revision, since=since, failure=None)

    def not_published(self, had: Mapping[str, int], generations: Mapping[str, int], failure: str) -> Rollout:
        """The rollout after a compile that could not be published; routers keep the config that they have."""
        same = {name for name, generation in generations.items() if had.get(name) == generation}
        return replace(self, since={name: it for name, it in self.since.items() if name in same}, failure=failure)

    # A thousand objects may be judged by a thousand routers: values that they share are computed once.
    @cached_property
    def gateway(self) -> tuple[Reported, ...]:
        """The gateway's routers."""
        return tuple(it for it in self.routers if it.gateway)

    @cached_property
    def _late_gateway(self) -> tuple[Reported, ...]:
        return tuple(it for it in self.gateway if router_id(it) in self.late)

    @cached_property
    def _late_sidecars(self) -> tuple[Reported, ...]:
        return tuple(it for it in self.routers if not it.gateway and router_id(it) in self.late)

    @cached_property
    def _slowest(self) -> int:
        """The revision that every gateway router has reached."""
        return min(map(self._reached, self.gateway), default=self.revision)

    def programmed(self, name: str, generation: int, before: JSON, namespaces: frozenset[str] | None) -> Judgement:
        """Whether the gateway runs generation `generation` of the object called `name`.

        `before` is the condition as it was, `namespaces` whose sidecars may use the object (None: all).
        """
        since = self.since.get(name)
        if since is None:
            why = self.failure or "it was not published yet"
            return Judgement(FALSE, StatusReason.NOT_PUBLISHED, shortened(why))
        held = before.get("status") == "True" and before.get("observedGeneration") == generation
        if not self.gateway:
            return self._without_routers(held)
        # A router that starts, or gets a change of something else, takes a moment.
        judges = self._late_gateway if held else self.gateway
        lacking = [it for it in judges if not self._runs(it, since)] if since > self._slowest else []
        if lacking:
            return _without(min(lacking, key=lambda it: (it.report.rejected is None, it.report.router)))
        good = PROGRAMMED.good
        return good._replace(message=good.message + self._sidecars(since, namespaces))

    def _without_routers(self, held: bool) -> Judgement:
        if self.settled:
            return Judgement(FALSE, StatusReason.NO_ROUTERS, NO_ROUTERS)
        if held:
            return PROGRAMMED.good
        return Judgement(UNKNOWN, StatusReason.WAITING, "no gateway router has polled yet; a minute may pass")

    def _reached(self, router: Reported) -> int:
        """The revision up to which it runs what concerns it; 0: none."""
        revision = router.report.revision or 0
        # A published revision is on offer only a moment later: being current with the one before says nothing.
        return max(router.runs or 0, revision if revision <= self.revision else 0)

    def _runs(self, router: Reported, since: int) -> bool:
        return self._reached(router) >= since

    def _sidecars(self, since: int, namespaces: frozenset[str] | None) -> str:
        """Only where some do not run it: a count of all would change with every pod."""

        def concerned(routers: Iterable[Reported]) -> list[Reported]:
            return [it for it in routers if namespaces is None or it.account.namespace in namespaces]

        late = sum(not self._runs(it, since) for it in concerned(self._late_sidecars))
        if not late:
            return ""
        there = len(concerned(it for it in self.routers if not it.gateway))
        return f"; {there - late} of {there} sidecars run it"


def router_id(router: Reported) -> RouterId:
    """The router that sent the report."""
    return RouterId(router.account, router.report.router)


def behind(routers: Iterable[Reported], revision: int) -> frozenset[RouterId]:
    """Those that do not run their part of `revision`, or of a later one."""
    return frozenset(router_id(it) for it in routers if it.runs is None or it.runs < revision)


def _without(router: Reported) -> Judgement:
    report = router.report
    if report.rejected is None:
        message = f"router {report.router} does not run it yet; if that stays, see its log and /readyz"
        return Judgement(FALSE, StatusReason.PENDING, shortened(message))
    what = "has none" if report.revision is None else "goes on with the last good one"
    message = f"router {report.router} refuses the config and {what}: {report.rejected}"
    return Judgement(FALSE, StatusReason.REJECTED, shortened(message))


class Attendance:
    """Remembers since when each router has been behind, and since when we lead."""

    def __init__(self) -> None:
        self._leading_since = 0.0
        self._behind_since: dict[RouterId, float] = {}

    def begin(self, now: float) -> None:
        """A term begins; `now` is monotonic, in seconds."""
        self._leading_since = now

    def seen(self, rollout: Rollout, routers: tuple[Reported, ...], now: float) -> Rollout:
        """The rollout with these routers, and those of them that are late."""
        since = self._behind_since
        self._behind_since = {it: since.get(it, now) for it in behind(routers, rollout.revision)}
        late = frozenset(it for it, at in self._behind_since.items() if now - at >= LATE_SECONDS)
        return replace(rollout, routers=routers, late=late, settled=now - self._leading_since >= SETTLED_SECONDS)
