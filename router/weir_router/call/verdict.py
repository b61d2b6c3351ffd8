"""The verdict on failures: the next step after one, and the one error of a request that no backend could serve. Pure.

Used by `call.journey`. `MEANING` is the whole policy of failover in one table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from weir_router.decide.types import Choice
from weir_router.errors import (
    CONTEXT_EXCEEDED,
    AttemptFailed,
    AttemptRecord,
    ContextExceeded,
    CredentialsExhausted,
    CreditExhausted,
    DeadlineExceeded,
    FailureKind,
    HostForbidden,
    LoopDetected,
    ModelMissing,
    NoCapableModel,
    RateLimited,
    Unavailable,
    UpstreamLimited,
    UpstreamRefused,
    WeirError,
)
from weir_router.health.kinds import CREDENTIAL_KINDS, PROVOKED_KINDS
from weir_router.health.view import BackendView

SOONEST_RETRY = 1.0
"""Seconds of the shortest Retry-After, even for a backend that is only busy, so that callers do not retry in a loop."""


class Next(Enum):
    """The next step of a request after a failed attempt."""

    ELSEWHERE = "another candidate; never the same one again in this request"
    ONCE_MORE = "another candidate; the same one once more when there is no other"
    WITHOUT = "the same candidate without a field that it refuses, if the request can do without; else another one"
    LARGER = "only a candidate with a larger context"
    NEXT_TIER = "only a candidate of another tier"
    ANSWER = "the caller's own fault: answer at once"


MEANING: dict[FailureKind, Next] = {
    FailureKind.CALLER: Next.ANSWER,
    FailureKind.CONTENT_FILTER: Next.ANSWER,
    FailureKind.CONTEXT_LENGTH: Next.LARGER,
    FailureKind.ADDED: Next.WITHOUT,
    FailureKind.UNFIT: Next.WITHOUT,
    FailureKind.LOSSY: Next.WITHOUT,
    FailureKind.CREDENTIAL: Next.ELSEWHERE,
    FailureKind.CREDIT: Next.ELSEWHERE,
    FailureKind.MODEL: Next.ELSEWHERE,
    FailureKind.LOOP: Next.ELSEWHERE,
    FailureKind.BLOCKED: Next.ELSEWHERE,
    FailureKind.RATE_LIMIT: Next.ELSEWHERE,
    FailureKind.OVERLOAD: Next.ELSEWHERE,
    FailureKind.SERVER: Next.ONCE_MORE,
    FailureKind.HOST: Next.ELSEWHERE,
    FailureKind.CONNECT: Next.ELSEWHERE,
    FailureKind.RESET: Next.ONCE_MORE,
    FailureKind.SILENT: Next.ELSEWHERE,  # a silent upstream may cost one TTFT deadline, and no more
    FailureKind.STALLED: Next.ELSEWHERE,
    FailureKind.TOO_LONG: Next.ELSEWHERE,
    FailureKind.DEADLINE: Next.ELSEWHERE,
    FailureKind.UNREAD: Next.ELSEWHERE,  # only after the commit point
    FailureKind.MALFORMED: Next.ONCE_MORE,
    FailureKind.TRUNCATED: Next.ONCE_MORE,
    FailureKind.REJECTED: Next.NEXT_TIER,
}


REFUSED = frozenset({FailureKind.ADDED, FailureKind.UNFIT})
"""Refusals of a field. They cost the upstream nothing."""

CORRECTED = REFUSED | {FailureKind.LOSSY}
"""Failures after which the same request goes out in another form. They count neither as a try nor in the retry budget:
that a stream was asked for a plain caller was the router's choice."""

PASSING = frozenset(
    {FailureKind.OVERLOAD, FailureKind.SERVER, FailureKind.CONNECT, FailureKind.RESET}
    | {FailureKind.MALFORMED, FailureKind.TRUNCATED}
)
"""Failures that may be over in a moment, so that another try of the same backend can help."""


def alike(one: AttemptFailed | None, other: AttemptFailed) -> bool:
    """Whether two failures of one request are so alike that the request is at fault."""
    return one is not None and other.kind in PROVOKED_KINDS and (one.kind, one.status) == (other.kind, other.status)


class Ending(NamedTuple):
    """A request that no backend answered."""

    choice: Choice
    trail: Sequence[AttemptRecord]
    failures: Sequence[AttemptFailed]
    tried: frozenset[str]  # keys of backends that have failed
    ours: frozenset[str]  # those of them that blame our account
    limited: RateLimited | None  # the last grant that had no room
    refused: WeirError | None  # the last format into which the request could not be put
    health: Mapping[str, BackendView]  # now
    now: float  # seconds of the monotonic clock
    deadline: float  # the same, for the first content
    prompt_tokens: int
    bound: float  # seconds that the policy gives for it


def refusal(failure: AttemptFailed, trail: Sequence[AttemptRecord]) -> UpstreamRefused:
    """The upstream's own refusal, for a request that every backend would refuse."""
    return UpstreamRefused(
        failure.message,
        status=failure.status or 400,
        code=CONTEXT_EXCEEDED if failure.kind is FailureKind.CONTEXT_LENGTH else failure.code,
        kind=failure.type,
        param=failure.param,
        trail=trail,
    )


def exhausted(reason: str, ending: Ending) -> WeirError:
    """The one error for a request that no backend could serve."""
    choice, trail = ending.choice, ending.trail
    if not trail:
        if ending.limited is not None:
            return ending.limited
        if ending.refused is not None:
            return ending.refused
        if choice.unable is not None:
            return _unable(choice, choice.unable, ending.prompt_tokens)
    tried = "; ".join(f"{a.tier}/{a.backend}: {a.message or a.outcome}" for a in trail) or _skipped(ending)
    kinds = {failure.kind for failure in ending.failures} - REFUSED
    views = _views(ending)
    only_credentials = bool(views) and all(view.credential_out or key in ending.ours for key, view in views.items())
    if ending.failures and not kinds and not any(skip.seen for skip in choice.skipped):
        return refusal(ending.failures[-1], trail)
    if kinds == {FailureKind.HOST}:
        return HostForbidden(f"No backend is where a router may connect ({tried}).", trail=trail)
    if kinds == {FailureKind.BLOCKED}:
        return _blocked(ending, tried)
    reasons = {view.reason for view in views.values() if view.reason is not None}
    if only_credentials and kinds <= CREDENTIAL_KINDS:
        if kinds | reasons == {FailureKind.MODEL}:
            what = "No backend has its model at its baseURL, as the platform has configured them"
            return ModelMissing(f"{what} ({tried}).", trail=trail)
        if kinds | reasons == {FailureKind.CREDIT}:
            what = "The platform has no credit left at any backend, or has reached its spend cap there"
            return CreditExhausted(f"{what} ({tried}).", trail=trail)
        if kinds | reasons == {FailureKind.LOOP}:
            what = "Every backend leads back to an installation of Weir that has passed the request on already"
            action = "Give their ModelTiers the baseURL of a model server or provider."
            return LoopDetected(f"{what} ({tried}). {action}", trail=trail)
        verb = "refuses the platform's" if kinds else "is out for its"
        return CredentialsExhausted(f"Every backend {verb} credentials ({tried}).", trail=trail)
    if ending.now >= ending.deadline:
        return DeadlineExceeded(f"No content within {ending.bound:g} s ({tried}).", trail=trail)
    soonest = _soonest(ending, views)
    limited = kinds | {view.reason for key, view in views.items() if key not in ending.tried}
    if limited == {FailureKind.RATE_LIMIT}:
        wait = SOONEST_RETRY if soonest is None else soonest
        return UpstreamLimited(f"Every backend is at its rate limit ({tried}).", retry_after=wait, trail=trail)
    return Unavailable(
        f"No backend could answer: {reason} ({tried}).",
        retry_after=SOONEST_RETRY if soonest is None else soonest,
        trail=trail,
        exhausted=soonest is None and not kinds & PASSING,
    )


def _unable(choice: Choice, why: str, prompt_tokens: int) -> WeirError:
    """The error for a request that no backend could ever serve. A shorter prompt helps, if any lacks only context."""
    context = max([skip.context for skip in choice.skipped if skip.context], default=None)
    if context is None:
        return NoCapableModel(why)
    return ContextExceeded(
        f"This model's maximum context length is {context} tokens, and the prompt has about {prompt_tokens} ({why})."
    )


def _blocked(ending: Ending, tried: str) -> WeirError:
    """The error for a request that servers in front of the models refuse. Without a key they say 401."""
    last = ending.failures[-1]
    if last.status == 401:
        return CredentialsExhausted(
            f"Servers in front of every backend ask for other credentials ({tried}).", trail=ending.trail
        )
    return UpstreamRefused(
        f"A server in front of the model refuses this request ({tried}).", status=400, code=None, trail=ending.trail
    )


def _skipped(ending: Ending) -> str:
    """The backends that were not tried, with the reason and their last failure: who reads it did not see the first."""
    choice, shown = ending.choice, []
    for it in choice.skipped:
        view = ending.health.get(it.key) if it.seen is not None else None
        last = f"; its last failure was {view.words}" if view is not None and view.words else ""
        shown.append(f"{it.tier}/{it.backend}: {it.reason}{last}")
    return "; ".join(shown) or choice.reason


def _views(ending: Ending) -> dict[str, BackendView]:
    """The present health of all backends that could serve this request."""
    choice, health = ending.choice, ending.health
    keys = [candidate.key for candidate in choice.candidates]
    keys += [skip.key for skip in choice.skipped if skip.seen is not None]
    return {key: health[key] for key in keys if key in health}


def _soonest(ending: Ending, views: Mapping[str, BackendView]) -> float | None:
    """Seconds until the first backend may be back; None: all that are not out were tried just now."""
    waits = [
        view.available_at - ending.now
        for key, view in views.items()
        if not view.credential_out and (view.available_at > ending.now or key not in ending.tried)
    ]
    if ending.limited is not None and ending.limited.retry_after is not None:
        waits.append(ending.limited.retry_after)
    return max(SOONEST_RETRY, min(waits)) if waits else None
