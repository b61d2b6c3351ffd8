"""The JSON form of a decision, `decision.weir.dev/v1`: the inputs of a request's decision, its result and its end.

The list of fields is closed (`RecordedDecision`): none holds text of a prompt, a credential, or a header's value. Times
are in seconds, prices in US dollars per million tokens, spending in US dollars. With the config of its revision a
record is enough to make the decision again: `inputs_of`. Only readers of records pay for making them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from weir_router.contract import (
    Backend,
    CallerKind,
    Capability,
    CompiledConfig,
    Complexity,
    HeaderMatch,
    Operation,
    Policy,
    Price,
    Route,
)
from weir_router.contract.caller import Caller
from weir_router.contract.conditions import header_matches
from weir_router.decide.decision import Inputs, passed_over, views
from weir_router.decide.types import Asked, Candidate, Decision, Seen, Skipped
from weir_router.decide.world import World
from weir_router.dialects.usage import Usage
from weir_router.errors import AttemptRecord
from weir_router.estimate.prompt import Features
from weir_router.record.finished import Finished

API_VERSION = "decision.weir.dev/v1"
"""Version of the form. A reader ignores fields that it does not know, and refuses another major version."""


class _Form(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all parts."""


class RecordedCaller(_Form, frozen=True):
    """The caller."""

    namespace: str
    name: str
    kind: CallerKind
    user_tier: str | None = None


class RecordedRequest(_Form, frozen=True):
    """The request, in figures."""

    model: str  # the name that the caller asked for
    features: Features
    max_output: int | None = None  # tokens
    needs: tuple[Capability, ...] = ()  # sorted
    feature: str | None = None  # the client's claim, `x-weir-feature`
    headers: dict[str, str] = {}  # stand-ins for those that the policy's routes look at, see `_stand_in`
    latency_budget: float | None = None  # seconds, `x-weir-ttft`
    session: str | None = None  # hash of the conversation, where it has a home
    began: Features | None = None  # in a tool loop: those of the prompt that began it
    unable: dict[str, str] = {}  # backend, "namespace/tier/backend" -> why it cannot serve this request
    operation: Operation = Operation.CHAT
    longest: int | None = None  # tokens of the longest input for embeddings, at least


class RecordedHealth(_Form, frozen=True):
    """The health of a backend as the decision saw it, without unread figures. See `health.view.Judged`."""

    state: str = "closed"
    available_at: float = 0.0  # seconds of the clock of `monotonic`
    saturated: bool = False
    keeps_objectives: bool = True
    share: float = 1.0
    score: float | None = None
    reason: str | None = None
    last_resort: bool = False
    credential_out: bool = False
    refuses: frozenset[str] = frozenset()
    ttft_p95: float | None = None  # seconds
    pending: int | None = None  # attempts in flight


class RecordedPlace(_Form, frozen=True):
    """A backend that could be tried, or was skipped."""

    tier: str
    backend: str
    reason: str
    key: str = ""
    endpoint: str = ""
    model: str = ""  # as the upstream knows it
    input_price: float | None = None
    output_price: float | None = None
    price_source: str | None = None
    health: RecordedHealth | None = None  # None: it was not looked at


class RecordedRoute(_Form, frozen=True):
    """A route that was passed over."""

    route: str
    reasons: tuple[str, ...]


class RecordedAttempt(_Form, frozen=True):
    """One try. The upstream's words are left out: they may quote the prompt."""

    tier: str
    backend: str
    outcome: str
    seconds: float
    status: int | None = None
    code: str | None = None
    ttft: float | None = None
    dropped: tuple[str, ...] = ()  # fields of the request that it did not get


class RecordedUsage(_Form, frozen=True):
    """Tokens of the last attempt, as `Usage`."""

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    estimated: bool = False
    cache_write_long: int = 0


class RecordedDecision(_Form, frozen=True):
    """One decision and its outcome. `apiVersion` comes first."""

    api_version: str
    id: str  # of the request
    revision: int  # of the config
    wall: float  # seconds since the epoch
    monotonic: float  # seconds of this router's own clock
    draw: float  # all chance of the decision follows from it
    policy: str
    caller: RecordedCaller
    request: RecordedRequest
    estimated: Complexity
    probability: float
    complexity: Complexity  # as applied
    class_reason: str
    route_reason: str
    route: str | None = None
    passed_over: tuple[RecordedRoute, ...] = ()
    require: dict[str, str] = {}  # labels that the route demands
    candidates: tuple[RecordedPlace, ...] = ()
    skipped: tuple[RecordedPlace, ...] = ()
    observed: tuple[RecordedPlace, ...] = ()  # mode Observe: what the route would have had
    unobserved: tuple[RecordedPlace, ...] = ()
    unable: str | None = None
    panic: bool = False
    diverted: bool = False
    gate: None = None  # no gate is known yet
    dropped: tuple[str, ...] = ()  # fields that the answering backend's config takes out of the request
    attempts: tuple[RecordedAttempt, ...] = ()
    tier: str | None = None  # that answered
    backend: str | None = None  # that answered
    outcome: str = ""
    status: int = 0
    error: str | None = None  # code
    usage: RecordedUsage | None = None
    dollars: float | None = None
    baseline: str | None = None  # the policy's baseline tier
    baseline_dollars: float | None = None
    ttft: float | None = None
    seconds: float = 0.0


def recorded(finished: Finished) -> RecordedDecision | None:
    """The form of a request that has ended; None: it ended before anything was decided."""
    decision = finished.decision
    if decision is None:
        return None
    choice, policy, bill = decision.choice, decision.policy, finished.bill
    caller = decision.caller
    route = _route(decision)
    return RecordedDecision(
        api_version=API_VERSION,
        id=finished.id,
        revision=decision.config.revision,
        wall=decision.wall,
        monotonic=decision.now,
        draw=decision.draw,
        policy=policy.key,
        caller=RecordedCaller(
            namespace=caller.namespace, name=caller.name, kind=caller.kind, user_tier=caller.user_tier
        ),
        request=_request(decision),
        estimated=decision.classification.complexity,
        probability=decision.classification.probability,
        complexity=decision.complexity,
        class_reason=decision.reason,
        route=choice.route,
        route_reason=choice.reason,
        passed_over=tuple(RecordedRoute(route=it.route, reasons=tuple(it.reasons)) for it in passed_over(decision)),
        require={} if route is None else route.require,
        candidates=tuple(map(_candidate, choice.candidates)),
        skipped=tuple(map(_skipped, choice.skipped)),
        observed=tuple(map(_candidate, choice.observed)),
        unobserved=tuple(map(_skipped, choice.unobserved)),
        unable=choice.unable,
        panic=choice.panic,
        diverted=choice.diverted,
        dropped=_dropped(finished, choice.candidates),
        attempts=tuple(map(_attempt, finished.attempts)),
        tier=finished.tier,
        backend=finished.backend,
        outcome=finished.outcome,
        status=finished.status,
        error=None if finished.error is None else finished.error.code,
        usage=_usage(bill.usage),
        dollars=bill.dollars,
        baseline=None if policy.baseline is None else policy.baseline.tier,
        baseline_dollars=bill.baseline_dollars,
        ttft=finished.ttft,
        seconds=finished.seconds,
    )


def inputs_of(record: RecordedDecision, config: CompiledConfig) -> Inputs:
    """The inputs of `decide` that made the recorded decision, with the config of its revision."""
    policy = next(it for it in config.policies if it.key == record.policy)
    places = (*record.candidates, *record.skipped, *record.observed, *record.unobserved)
    health = views((it.key, Seen(**msgspec.structs.asdict(it.health))) for it in places if it.health is not None)
    request, caller = record.request, record.caller
    named = {id(backend): key for key, backend in _backends(policy, config)}
    asked = Asked(
        model=request.model,
        features=request.features,
        max_output=request.max_output,
        needs=frozenset(request.needs),
        headers=request.headers,
        feature=request.feature,
        latency_budget=request.latency_budget,
        session=request.session,
        began=request.began,
        operation=request.operation,
        longest=request.longest,
        unable=lambda backend: request.unable.get(named[id(backend)]),
    )
    world = World(config, health, record.wall, record.monotonic, record.draw)
    return Inputs(asked, Caller(caller.namespace, caller.name, caller.kind, caller.user_tier), policy, world)


def _route(decision: Decision) -> Route | None:
    return next((it for it in decision.policy.routes if it.name == decision.choice.route), None)


def _request(decision: Decision) -> RecordedRequest:
    asked = decision.asked
    return RecordedRequest(
        model=asked.model,
        features=asked.features,
        max_output=asked.max_output,
        needs=tuple(sorted(asked.needs)),
        feature=asked.feature,
        latency_budget=asked.latency_budget,
        session=asked.session,
        began=asked.began,
        operation=asked.operation,
        longest=asked.longest,
        headers=_stand_ins(decision.policy, asked.headers),
        unable=_unable(decision),
    )


def _stand_ins(policy: Policy, headers: Mapping[str, str]) -> dict[str, str]:
    """One value for each header that the policy's routes look at: all conditions give the same answer for it."""
    matches: dict[str, list[HeaderMatch]] = {}
    for route in policy.routes:
        for match in route.when.headers:
            matches.setdefault(match.name, []).append(match)
    return {name: _stand_in(asked, headers[name]) for name, asked in sorted(matches.items()) if name in headers}


def _stand_in(matches: Sequence[HeaderMatch], value: str) -> str:
    """Text of the policy in the place of a header's value, which may be a secret or a person's name.

    Either the value is one that a condition names, or it is the longest prefix that fits, with as many dots as it takes
    for no further condition to hold.
    """
    if any(match.exact == value for match in matches):
        return value
    fits = [match.prefix for match in matches if match.prefix is not None and value.startswith(match.prefix)]
    made = max(fits, key=len, default="") + "…"
    while any(header_matches(it, {it.name: made}) is not header_matches(it, {it.name: value}) for it in matches):
        made += "…"
    return made


def _unable(decision: Decision) -> dict[str, str]:
    """Why backends cannot serve this request: of each that the policy may send to."""
    unable = decision.asked.unable
    if unable is None:
        return {}
    reasons = ((key, unable(backend)) for key, backend in _backends(decision.policy, decision.config))
    return {key: reason for key, reason in reasons if reason is not None}


def _backends(policy: Policy, config: CompiledConfig) -> Iterator[tuple[str, Backend]]:
    """The backends that the policy may send to, by their keys."""
    for ref in policy.references():
        for backend in config.tiers[ref.tier].backends if ref.tier in config.tiers else ():
            yield backend.key(ref.tier), backend


def _candidate(candidate: Candidate) -> RecordedPlace:
    backend = candidate.backend
    price: Price | None = backend.price
    return RecordedPlace(
        tier=candidate.tier,
        backend=backend.name,
        reason=candidate.reason,
        key=candidate.key,
        endpoint=backend.endpoint,
        model=backend.model,
        input_price=None if price is None else price.input,
        output_price=None if price is None else price.output,
        price_source=None if price is None else price.source,
        health=_health(candidate.seen),
    )


def _skipped(skipped: Skipped) -> RecordedPlace:
    health = None if skipped.seen is None else _health(skipped.seen)
    return RecordedPlace(
        tier=skipped.tier, backend=skipped.backend, reason=skipped.reason, key=skipped.key, health=health
    )


def _health(seen: Seen) -> RecordedHealth:
    return RecordedHealth(**msgspec.structs.asdict(seen))


def _attempt(attempt: AttemptRecord) -> RecordedAttempt:
    figures = msgspec.structs.asdict(attempt)
    del figures["message"]
    return RecordedAttempt(**figures)


def _usage(usage: Usage | None) -> RecordedUsage | None:
    return None if usage is None else RecordedUsage(**msgspec.structs.asdict(usage))


def _dropped(finished: Finished, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    ask = finished.ask
    backend: Backend | None = next(
        (it.backend for it in candidates if (it.tier, it.backend.name) == (finished.tier, finished.backend)), None
    )
    if ask is None or backend is None:
        return ()
    return tuple(name for name in backend.parameters.drop if name in ask.raw)
