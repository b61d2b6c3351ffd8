"""The cost of recent traffic under another config: an estimate by policy and route. PURE.

1. One request per class stands for a route's traffic: of its average size, and otherwise as the route's conditions ask
   for (`contract.conditions.met`). Classes weigh as the classifier has counted them.
2. The router's own `decide` says where that request goes before and after, with every backend healthy.
3. Where that is the same, traffic stays where it really went, at the new prices. Where it is not, or where it went is
   no more, it goes to the new first choice.
4. Both sides are the same requests, each at the prices of one config. Where the price of a backend is unknown, the row
   has no dollars on that side, and says why.
5. Unknown, and left out: the sizes of single requests, changes of prompts, and the length of another model's answers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from weir_cli.diff.traffic import Flow, Traffic
from weir_router.contract import Backend, CallerKind, CompiledConfig, Complexity, Policy, Route
from weir_router.contract.caller import Caller
from weir_router.contract.conditions import met, one_of
from weir_router.contract.facts import Facts
from weir_router.decide.decision import decide
from weir_router.decide.request import asked_of
from weir_router.decide.types import Choice
from weir_router.decide.world import World
from weir_router.estimate.prompt import Classification
from weir_router.record.spend import dollars


@dataclass(frozen=True)
class Estimate:
    """One route's traffic, before and after. US dollars."""

    policy: str
    route: str
    requests: float
    goes: str  # first choice before: "namespace/tier/backend"; several, where classes differ
    would_go: str
    before: float | None  # at the prices of now; None: unknown
    after: float | None  # None: unknown
    why: str = ""  # it is unknown


class _Unpriced(Exception):
    """The price of a backend is not known; the message says why."""


def estimates(
    before: CompiledConfig, after: CompiledConfig, seen: Traffic, wall: float, *, hidden: Collection[str] = ()
) -> list[Estimate]:
    """Every route that has had traffic.

    `wall` is in seconds since the epoch; `hidden` are tiers that we may not read.
    """
    policies = {it.key: it for it in before.policies}, {it.key: it for it in after.policies}
    found = []
    for (key, route), flows in sorted(seen.flows.items()):
        mine = {place: flow for place, flow in flows.items() if flow.requests}
        old, new = policies[0].get(key), policies[1].get(key)
        if mine and old is not None:
            found.append(_Route(before, after, old, new, route, mine, seen.classes, wall, hidden).estimate())
    return found


@dataclass(frozen=True)
class _Route:
    """One route with its traffic."""

    before: CompiledConfig
    after: CompiledConfig
    old: Policy
    new: Policy | None
    name: str
    flows: Mapping[str, Flow]
    classes: Mapping[tuple[str, Complexity], float]
    wall: float
    hidden: Collection[str]

    def estimate(self) -> Estimate:
        requests = sum(flow.requests for flow in self.flows.values())
        moves = list(self._moves())
        goes, would_go = _told(move[1] for move in moves), _told(move[2] for move in moves)
        spent, unpriced = None, ""
        try:
            spent = sum(self._cost(flow, self.before, place) for place, flow in self.flows.items())
        except _Unpriced as error:
            unpriced = str(error)

        def told(after: float | None, why: str = "") -> Estimate:
            return Estimate(self.old.key, self.name, requests, goes, would_go, spent, after, why or unpriced)

        if self.new is None:
            return told(None, "the policy is gone")
        if not moves:
            return told(None, "the route is not what it was when this traffic came")
        if any(move[2] is None for move in moves):
            return told(None, "some of it would be refused")
        weight = sum(move[0] for move in moves)
        try:
            costs = [(share, self._after(goes, to or "", fits)) for share, goes, to, fits in moves]
        except _Unpriced as error:
            return told(None, str(error))
        return told(sum(share * cost for share, cost in costs) / weight)

    def _moves(self) -> Iterator[tuple[float, str | None, str | None, frozenset[str]]]:
        """The classes of the route: weight, first choice before and after, and all choices after."""
        route = next((it for it in self.old.routes if it.name == self.name), None)
        if route is None:
            return
        classes = [it for it in Complexity if not route.when.complexity or it in route.when.complexity]
        counted = {it: self.classes.get((self.old.key, it), 0.0) for it in classes}
        for complexity, count in counted.items():
            old = self._choice(self.before, self.old, route, complexity)
            if old.route != self.name or not (count or not any(counted.values())):
                continue  # an earlier route takes them, or there were none
            new = self._choice(self.after, self.new, route, complexity) if self.new else None
            places = [it.key for it in new.candidates] if new else []
            first = old.candidates[0].key if old.candidates else None
            yield count or 1.0, first, places[0] if places else None, frozenset(places)

    def _choice(self, config: CompiledConfig, policy: Policy, route: Route, complexity: Complexity) -> Choice:
        facts = self._facts(route, complexity)
        heads = {policy.key: lambda _: Classification(facts.complexity, 1.0, "")}
        world = World(config, health={}, wall=facts.wall, now=0.0, draw=0.0, heads=heads)
        return decide(asked_of(facts), facts.caller, policy, world).choice

    def _facts(self, route: Route, complexity: Complexity) -> Facts:
        """Those of one request that stands for the others."""
        requests = sum(flow.requests for flow in self.flows.values())
        mean = sum(flow.usage.input for flow in self.flows.values()) / requests
        caller = Caller(self.old.namespace, "", CallerKind.API_KEY)
        for rule in self.old.callers[:1]:
            caller = one_of(rule, caller)
        facts = Facts(caller, self.old.example, complexity, round(mean), wall=self.wall)
        return met(route.when, facts)

    def _after(self, goes: str | None, to: str, fits: frozenset[str]) -> float:
        """The dollars of all flows, if this class stands for all."""
        total = 0.0
        for place, flow in self.flows.items():
            stays = goes == to and place in fits
            total += self._cost(flow, self.after, place if stays else to)
        return total

    def _cost(self, flow: Flow, config: CompiledConfig, place: str) -> float:
        """The dollars of a flow at the price that the backend `place` has in `config`. How long its prompts are is
        unknown, so the price has no steps. Raises `_Unpriced`.
        """
        tier = place.rpartition("/")[0]
        if tier in self.hidden:
            raise _Unpriced(f"you may not read ModelTier {tier}, so its prices are unknown")
        backend = _backend(config, place)
        if backend is None:
            raise _Unpriced(f"{place} has served some of it and is not there any more")
        if backend.price is None:
            raise _Unpriced(f"{place} has no price: see spec.backends.price of ModelTier {tier}")
        return dollars(flow.usage, replace(backend.price, steps=()))


def _told(places: Iterable[str | None]) -> str:
    return ", ".join(dict.fromkeys(place or "nowhere" for place in places))


def _backend(config: CompiledConfig, place: str) -> Backend | None:
    tier, _, name = place.rpartition("/")
    found = config.tiers.get(tier)
    return next((it for it in found.backends if it.name == name), None) if found else None
