"""The choice: from a policy and a request to the backends to try, in order, each with its reason.

Called by `decide.decision`. Pure: health, time and chance come in the `World`. It takes nothing: a half-open probe or
a concurrency slot may be gone by the time `call.journey` asks for it, and then the next candidate is tried.

When nothing is available the choice is empty and the request fails fast with the soonest Retry-After: sending it to a
backend that is known to refuse only makes the caller wait for the same answer. Two kinds of backend are tried after
all ("panic"): one whose breaker opened for slowness alone, since slow beats nothing; and a half-open one that is
already giving content to its probe, since turning everyone away while it answers would prolong the outage by three
streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from weir_router.contract import CONVERSATIONS, BackendState, Mode, Operation, Policy, Route, TierRef
from weir_router.contract.conditions import conditions_for, conditions_of
from weir_router.contract.embeddings import embedding_models
from weir_router.decide.draws import Draws
from weir_router.decide.fit import context_too_small, falls_short, unfit
from weir_router.decide.rank import Option, order_backends, order_tiers, placed
from weir_router.decide.request import RouteRequest
from weir_router.decide.types import Candidate, Choice, Seen, Skipped
from weir_router.decide.world import World
from weir_router.health.view import Judged, Snapshot, held

OF_PROMPT = frozenset({"complexity", "min_prompt_tokens", "max_prompt_tokens"})
"""Conditions about the prompt, by their fields."""

EMBEDDINGS = Operation.EMBEDDINGS.value
UNKNOWN = Snapshot()
"""Stands for a backend that the view does not hold (`weir explain` has no router): taken to be well."""
REASONS_SHOWN = 5
"""Backends named in `Choice.unable`, which ends up in an error message."""


def choose(policy: Policy, request: RouteRequest, world: World, began: RouteRequest | None = None) -> Choice:
    """Orders the candidates. `began`: in a tool loop the request that began it, for which the route is found."""
    entry = request if began is None else began
    route = match_route(policy, entry) if not request.home else _route_home(policy, entry, world)
    refs, reason = _destination(policy, route, entry, world.wall)
    require = route.require if route is not None else {}
    observed: tuple[Candidate, ...] = ()
    unobserved: tuple[Skipped, ...] = ()
    if route is None or policy.mode is not Mode.OBSERVE:
        candidates, skipped, panic = _Plan(world, world.health, request, require).order(refs)
    else:
        plan = _Plan(world, _held(world, (*refs, *route.tiers), request), request, require)
        candidates, skipped, panic = plan.order(refs)
        observed, unobserved, _ = plan.order(route.tiers)
    return Choice(  # by position, which costs half
        None if route is None else route.name,
        candidates,
        skipped,
        reason,
        reason if route is None and not refs else _unable(candidates, skipped),
        panic,
        bool(refs) and (route is None or refs is not route.tiers),
        observed,
        unobserved,
    )


def _held(world: World, refs: Sequence[TierRef], request: RouteRequest) -> Mapping[str, Judged]:
    """The health of these tiers' backends at one moment: two orders are made of it, and must agree."""
    tiers, health = world.config.tiers, world.health
    keys = [it.key(ref.tier) for ref in refs if ref.tier in tiers for it in tiers[ref.tier].backends]
    return {key: held(health[key], hurried=request.latency_budget is not None) for key in keys if key in health}


def match_route(policy: Policy, request: RouteRequest) -> Route | None:
    """The first route whose conditions all hold; None: no route's do."""
    for route in policy.routes:
        when = route.when
        for condition in conditions_of(when) if request.endpoint is None else conditions_for(when, request):
            if not condition.matches(when, request):
                break
        else:
            return route
    return None


def _route_home(policy: Policy, request: RouteRequest, world: World) -> Route | None:
    """The first route with the state that the request uses, of those whose conditions hold.

    Conditions about the prompt do not count: the request holds only the last turn of its conversation.
    """
    for route in policy.routes:
        tiers = [world.config.tiers[ref.tier] for ref in route.tiers if ref.tier in world.config.tiers]
        if any(backend.account == request.home for tier in tiers for backend in tier.backends):
            conditions = [it for it in conditions_of(route.when) if it.field not in OF_PROMPT]
            if all(it.matches(route.when, request) for it in conditions):
                return route
    return match_route(policy, request)


def _destination(
    policy: Policy, route: Route | None, request: RouteRequest, wall: float
) -> tuple[tuple[TierRef, ...], str]:
    """The tiers to use, and why these."""
    if request.endpoint is None:  # other operations have their route's tiers only: vectors of another model are no use
        override = policy.override
        if override is not None and wall < override.until:
            until = datetime.fromtimestamp(override.until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return (override.tier,), f"override: everything goes to {override.tier.tier} until {until}"
        if policy.mode is Mode.OBSERVE and policy.baseline is not None:
            matched = "no route" if route is None else f"route {route.name}"
            return (policy.baseline,), f"observe: {matched} matches, sent to the baseline {policy.baseline.tier}"
    if route is None:
        return (), _unmatched(policy, request)
    if not route.tiers:  # kept by the compiler for its `require`: falling to a later route would break residency
        return (), f"route {route.name} matches, and none of its tiers can be used; see the conditions of {policy.key}"
    if request.home:
        return route.tiers, f"route {route.name} has the state that the request names"
    return route.tiers, f"route {route.name} is the first that matches"


def _unmatched(policy: Policy, request: RouteRequest) -> str:
    """Why no route serves the request."""
    operation = request.operation
    if all(operation not in (it.when.operations or CONVERSATIONS) for it in policy.routes):
        return f"no route of {policy.key} serves {operation}: name it in when.operations of a route"
    size = f"{request.complexity.value}, {request.prompt_tokens} prompt tokens"
    return f"no route of {policy.key} matches this request ({size})"


def _unable(candidates: Sequence[Candidate], skipped: Sequence[Skipped]) -> str | None:
    """Why no backend could ever serve: only if each is unfit, since a draining or failing one may come back."""
    if candidates or not skipped or not all(skip.unfit for skip in skipped):
        return None
    shown = "; ".join(f"{skip.tier}/{skip.backend}: {skip.reason}" for skip in skipped[:REASONS_SHOWN])
    rest = len(skipped) - REASONS_SHOWN
    return shown + (f"; and {rest} more" if rest > 0 else "")


class _Plan:
    """One request's way from tiers to candidates."""

    def __init__(
        self, world: World, health: Mapping[str, Judged], request: RouteRequest, require: Mapping[str, str]
    ) -> None:
        self._tiers = world.config.tiers
        self._request = request
        self._require = require
        self._health = health
        self._now = world.now
        self._draws = Draws(world.draw)

    def order(self, refs: tuple[TierRef, ...]) -> tuple[tuple[Candidate, ...], tuple[Skipped, ...], bool]:
        """`(candidates, skipped, panic)` of these tiers."""
        skipped: list[Skipped] = []
        if self._request.endpoint == EMBEDDINGS and (mixed := self._mixed(refs)):
            return (), mixed, False
        fitting = self._effective(self._fitting(refs, skipped), skipped)
        ready = [option for option in fitting if option.available_at <= self._now]
        if len(ready) == len(fitting):
            return self._candidates(ready), tuple(skipped), False
        panic = not ready and self._last_resorts(fitting)
        if panic:
            ready = [option.noted("last resort: nothing else is available") for option in fitting if option.last_resort]
        taken = {option.key for option in ready}
        skipped += [self._unavailable(option) for option in fitting if option.key not in taken]
        return self._candidates(ready), tuple(skipped), panic

    def _mixed(self, refs: tuple[TierRef, ...]) -> tuple[Skipped, ...]:
        """All backends, if they are of several models for embeddings; empty: they are of one."""
        tiers = [(ref.tier, self._tiers[ref.tier].backends) for ref in refs if ref.tier in self._tiers]
        models = embedding_models([backend for _, backends in tiers for backend in backends], self._require)
        if len(models) < 2:
            return ()
        reason = f"the route has {len(models)} models for embeddings, whose vectors cannot be compared"
        found = [(tier, backend) for tier, backends in tiers for backend in backends]
        return tuple([Skipped(tier, it.name, f"{reason} ({it.model})", it.key(tier), unfit=True) for tier, it in found])

    def _last_resorts(self, fitting: list[Option]) -> bool:
        """Whether there are any; marks them."""
        for option in fitting:
            option.last_resort = option.view.last_resort
        return any(option.last_resort for option in fitting)

    def _candidates(self, ready: list[Option]) -> tuple[Candidate, ...]:
        return tuple([_candidate(option) for option in self._ranked(ready)])

    def _fitting(self, refs: tuple[TierRef, ...], skipped: list[Skipped]) -> list[Option]:
        """The backends that could serve, in the tiers' order; the others go to `skipped`."""
        fitting = []
        for ref in refs:
            tier = self._tiers.get(ref.tier)
            if tier is None:
                skipped.append(Skipped(ref.tier, "", "the tier is not in the config"))
                continue
            for backend in tier.backends:
                # As `Backend.key` says. Nearly all have no endpoint, and a call of an uncompiled method is dear.
                key = backend.key(ref.tier) if backend.endpoint else f"{ref.tier}/{backend.name}"
                if (reason := unfit(backend, self._request, self._require)) is not None:
                    short = reason == context_too_small(backend, self._request)
                    context = backend.limits.context_tokens if short else None
                    skipped.append(Skipped(ref.tier, backend.name, reason, key, True, context=context))
                elif backend.state is not BackendState.ACTIVE:
                    skipped.append(Skipped(ref.tier, backend.name, f"state {backend.state.value}", key))
                else:
                    fitting.append(Option(ref, backend, key, self._view(key)))
        return fitting

    def _view(self, key: str) -> Judged:
        try:  # compiled, one look at any mapping costs a third of its `get`
            return self._health[key]
        except KeyError:
            return UNKNOWN

    def _effective(self, fitting: list[Option], skipped: list[Skipped]) -> list[Option]:
        """Those that do not fall short; all of them, with a note, where nothing else is left."""
        short = {option.key: why for option in fitting if (why := falls_short(option.backend, self._request))}
        if not short:
            return fitting
        if len(short) == len(fitting):
            return [option.noted(f"{short[option.key]}, as on the whole route") for option in fitting]
        skipped += [
            Skipped(option.ref.tier, option.backend.name, short[option.key], option.key, unfit=True)
            for option in fitting
            if option.key in short
        ]
        return [option for option in fitting if option.key not in short]

    def _ranked(self, ready: list[Option]) -> list[Option]:
        for option in ready:
            placed(option, self._request, self._draws)
        if all(option.ref is ready[0].ref for option in ready):  # no tiers to put in order
            return self._within(ready) if ready else ready
        by_tier: dict[str, list[Option]] = {}
        for option in ready:
            options = by_tier.get(option.ref.tier)
            if options is None:  # compiled, `setdefault` makes an error and catches it
                options = by_tier[option.ref.tier] = []
            options.append(option)
        ranked = []
        for options in order_tiers(list(by_tier.values())):
            ranked += self._within(options)
        return ranked

    def _within(self, options: list[Option]) -> list[Option]:
        """The order of one tier's options."""
        selection = self._tiers[options[0].ref.tier].selection
        return order_backends(selection, options, self._request, self._draws)

    def _unavailable(self, option: Option) -> Skipped:
        view, at = option.view, option.available_at
        state, why = view.state, view.reason
        reason = f"{state} because of {why}, available in {max(at - self._now, 0.0):.1f} s"
        seen = Seen(state=state, available_at=at, reason=why, credential_out=view.credential_out)
        return Skipped(option.ref.tier, option.backend.name, reason, option.key, seen=seen)


def _candidate(option: Option) -> Candidate:
    notes, seen = option.notes, option.seen()
    if seen.state == "half-open":
        notes = (*notes, "probe of a half-open breaker")
    return Candidate(option.ref.tier, option.backend, option.key, option.ref.limits, notes, seen)
