"""The order of a tier's backends, and of the tiers. Pure: chance comes as `Draws`; used by `decide.choose`.

Objectives come first in every selection: a backend that misses its own, is at its concurrency limit, or has just come
back and has its share for now, stands behind those that do not. Then `selection` decides. Where it leaves equals, they
share by power of two choices on the score: the better of two drawn at random, which spreads load without sending
everyone to the single best.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from weir_router.contract import Backend, Capability, Selection, TierRef
from weir_router.decide.draws import Draws
from weir_router.decide.home import Load, at_home
from weir_router.decide.request import RouteRequest
from weir_router.decide.types import UNSEEN, Note, Seen
from weir_router.health.refused import NOTHING
from weir_router.health.view import Judged

EXPECTED_OUTPUT = 256
"""Output tokens assumed in the cost order, unless the caller asked for fewer: a chat answer's usual length."""


NEEDED = {
    "tools": Capability.TOOLS,
    "tool_choice": Capability.TOOLS,
    "image": Capability.VISION,
    "audio": Capability.AUDIO,
    "document": Capability.DOCUMENTS,
    "response_format": Capability.JSON_SCHEMA,
    "output_config": Capability.JSON_SCHEMA,
    "thinking": Capability.REASONING,
}
"""Refused field -> the need of a request that has it."""


class Option:
    """A backend that fits, on its way to becoming a candidate. It reads each figure of the health once and keeps it."""

    __slots__ = (
        "_score", "available_at", "backend", "behind", "keeps_objectives", "key", "last_resort", "notes", "pending",
        "ref", "refuses", "saturated", "share", "ttft_p95", "view",
    )  # fmt: skip

    def __init__(
        self,
        ref: TierRef,
        backend: Backend,
        key: str,
        view: Judged,
    ) -> None:
        self.ref = ref
        self.backend = backend
        self.key = key
        self.view = view
        self.available_at = view.available_at
        self.last_resort = False
        self.saturated = False
        self.keeps_objectives = True
        self.share = 1.0
        self.pending: int | None = None  # read for conversations with a home only
        self.ttft_p95: float | None = None  # read for requests with a latency budget only
        self.refuses: frozenset[str] = NOTHING
        self._score = -1.0  # not looked at yet
        self.notes: tuple[Note, ...] = ()  # for the candidate's reason
        self.behind: str | None = None  # why it stands behind the others

    @property
    def score(self) -> float:
        """Expected cost of one more request there: lower is better."""
        if self._score < 0:
            self._score = self.view.score
        return self._score

    def seen(self) -> Seen:
        """Its health as it was read."""
        state = self.view.state
        plain = self._score < 0 and self.behind is None and self.share == 1 and self.ttft_p95 is None
        if plain and not self.available_at and state == "closed":
            return UNSEEN  # as nearly always
        score = None if self._score < 0 else self._score
        saturated, keeps, share = self.saturated, self.keeps_objectives, self.share
        last = self.last_resort
        refuses, p95 = self.refuses, self.ttft_p95
        return Seen(
            state, self.available_at, saturated, keeps, share, score, None, last, False, refuses, p95, self.pending
        )

    def noted(self, note: Note) -> Option:
        """Itself, with one more note."""
        self.notes = (*self.notes, note) if self.notes else (note,)
        return self


def placed(option: Option, request: RouteRequest, draws: Draws) -> Option:
    """The option with the reason why it stands behind, if there is one."""
    view = option.view
    refuses = view.refuses
    if refuses and (field := _refused(refuses, request)) is not None:
        option.refuses = refuses
        option.behind = f"its model has refused {field}"
    elif view.saturated:
        option.saturated = True
        option.behind = "at its concurrency limit"
    elif not view.keeps_objectives:
        option.keeps_objectives = False
        option.behind = "misses its objectives"
    elif request.latency_budget is not None and _exceeds(option, request.latency_budget):
        option.behind = f"its p95 TTFT of {option.ttft_p95:.2f} s exceeds the request's {request.latency_budget:g} s"
    else:
        option.share = view.share
        if option.share < 1 and draws.random() >= option.share:
            option.behind = f"just back: takes {option.share:.0%} of its requests"
    return option


def _exceeds(option: Option, budget: float) -> bool:
    """Whether the backend is known to be too slow for a request that accepts `budget` seconds to the first content."""
    option.ttft_p95 = option.view.ttft_p95
    return option.ttft_p95 is not None and option.ttft_p95 > budget


def _refused(refuses: frozenset[str], request: RouteRequest) -> str | None:
    """A field of this request that the model is known to refuse. Fields that only tune are left out when it is sent."""
    return next((field for field in sorted(refuses) if NEEDED.get(field) in request.needs), None)


def expected_cost(backend: Backend, request: RouteRequest) -> float | None:
    """US dollars that this request will cost there, about; None: price unknown."""
    if backend.price is None:
        return None
    output = EXPECTED_OUTPUT if request.max_output is None else min(request.max_output, EXPECTED_OUTPUT)
    return (request.prompt_tokens * backend.price.input + output * backend.price.output) / 1e6


def order_tiers(tiers: list[list[Option]]) -> list[list[Option]]:
    """The route's order, but a tier in which no backend keeps its objectives stands behind those in which one does."""
    keeping = [any(option.behind is None for option in options) for options in tiers]
    if all(keeping) or not any(keeping):
        return tiers
    note = "tier passed over: no available backend keeps its objectives"
    front = [options for options, keeps in zip(tiers, keeping, strict=True) if keeps]
    # A tier that is last anyway is not passed over for anyone.
    last = max(i for i, keeps in enumerate(keeping) if keeps)
    behind = [
        [option.noted(note) for option in options] if i < last else options
        for i, (options, keeps) in enumerate(zip(tiers, keeping, strict=True))
        if not keeps
    ]
    return front + behind


def order_backends(selection: Selection, options: list[Option], request: RouteRequest, draws: Draws) -> list[Option]:
    """One tier's backends in the order of trying, each with the note that says why."""
    order = _SELECTIONS[selection]
    if all(option.behind is None for option in options):
        return order(options, request, draws)
    behind = [option for option in options if option.behind is not None]
    front = [option for option in options if option.behind is None]
    return order(front, request, draws) + [
        option.noted(option.behind or "") for option in order(behind, request, draws)
    ]


def _cheapest(options: list[Option], request: RouteRequest, draws: Draws) -> list[Option]:
    costs = [_priced(option, request) for option in options]
    if len(options) < 2:
        return options
    by_cost: dict[float, list[Option]] = {}
    for cost, option in zip(costs, options, strict=True):
        by_cost.setdefault(cost, []).append(option)
    return [option for cost in sorted(by_cost) for option in _shared(by_cost[cost], request, draws)]


def _priced(option: Option, request: RouteRequest) -> float:
    cost = expected_cost(option.backend, request)
    option.noted("price unknown: last in cost order" if cost is None else ("costs about ${:.6f}", cost))
    return math.inf if cost is None else cost


def _least_latency(options: list[Option], request: RouteRequest, draws: Draws) -> list[Option]:
    return [option.noted(("latency score {:.2f}", option.score)) for option in _shared(options, request, draws)]


def _weighted(options: list[Option], request: RouteRequest, draws: Draws) -> list[Option]:
    # An exponential variable per backend with its weight as rate: sorting them draws without replacement by weight.
    def arrival(option: Option) -> float:
        weight = option.backend.weight
        return draws.exponential(weight) if weight > 0 else math.inf

    if request.session is not None and len(options) > 1:
        options = _at_home(options, request.session, weighted=True)
        return [option.noted(f"weight {option.backend.weight}") for option in options]
    drawn = sorted(((arrival(option), i) for i, option in enumerate(options)))
    return [options[i].noted(f"weight {options[i].backend.weight}") for _, i in drawn]


def _shared(options: list[Option], request: RouteRequest, draws: Draws) -> list[Option]:
    """Backends that are equal otherwise: by the conversation's home, or else by load."""
    if request.session is None or len(options) < 2:
        return _two_choices(options, draws)
    return _at_home(options, request.session)


def _at_home(options: list[Option], session: str, *, weighted: bool = False) -> list[Option]:
    loads = []
    for option in options:
        option.pending = option.view.pending
        weight = option.backend.weight if weighted else 1
        loads.append(Load(option.backend, option.pending, option.score, weight))
    order, why = at_home(session, loads)
    options[order[0]].noted(why)
    return [options[at] for at in order]


def _two_choices(options: list[Option], draws: Draws) -> list[Option]:
    """Repeatedly the better of two drawn at random."""
    if len(options) < 2:
        return options
    left, order = list(options), []
    while len(left) > 1:
        one, other = draws.pair(len(left))
        order.append(left.pop(other if left[other].score < left[one].score else one))
    return order + left


_SELECTIONS: dict[Selection, Callable[[list[Option], RouteRequest, Draws], list[Option]]] = {
    Selection.CHEAPEST: _cheapest,
    Selection.LEAST_LATENCY: _least_latency,
    Selection.WEIGHTED: _weighted,
}
