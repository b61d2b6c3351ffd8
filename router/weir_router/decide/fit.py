"""Whether a backend can serve a request at all, healthy or not: a list of named rules. Pure; used by `decide.choose`.

Each rule gives the reason why not, or None. Where a rule has nothing to go by (capabilities or context unknown), the
backend fits: the upstream's own refusal is the better judge.
"""

from __future__ import annotations

from collections.abc import Mapping

from weir_router.contract import Backend, Capability
from weir_router.decide.request import RouteRequest

ROOM = 1_024
"""Tokens of output that must fit behind the prompt, where the caller asks for as many: a page. SDKs and frameworks ask
for tens of thousands as a matter of course; what does not fit is cut from the request and no reason to refuse it."""


GIVES_WAY = frozenset({Capability.REASONING})
"""Capabilities that a request does without where no backend has them. Clients such as Claude Code ask every model to
think, and an answer without thought is better than none."""


def lacks_label(backend: Backend, require: Mapping[str, str]) -> str | None:
    """The route's `require.labels` (residency) must all be there, with their values."""
    if not require:
        return None
    for name, value in require.items():
        if backend.labels.get(name) != value:
            return f"label {name}={value} is required, it has {backend.labels.get(name, 'none')}"
    return None


def lacks_endpoint(backend: Backend, endpoint: str) -> str | None:
    """The backend must list an operation that is no conversation."""
    return None if endpoint in backend.endpoints else f"does not list {endpoint} in its endpoints"


def lacks_capability(backend: Backend, request: RouteRequest) -> str | None:
    """The backend must offer the capabilities that the request needs."""
    if not request.needs or backend.capabilities is None:
        return None
    missing = request.needs - backend.capabilities - GIVES_WAY
    return f"does not offer {', '.join(sorted(missing))}" if missing else None


def context_too_small(backend: Backend, request: RouteRequest) -> str | None:
    """The prompt must fit, and `ROOM` for the output; more than the model can give is cut off before sending."""
    limits = backend.limits
    if limits.context_tokens is None:
        return None
    output = min(request.max_output or 0, limits.output_tokens or ROOM, ROOM)
    asked = request.at_once + output
    return f"{asked} tokens exceed its context of {limits.context_tokens}" if asked > limits.context_tokens else None


def refused_by_hook(backend: Backend, request: RouteRequest) -> str | None:
    """The caller of `choose` may know more, e.g. that the request cannot be translated."""
    return request.unable(backend) if request.unable is not None else None


def unfit(backend: Backend, request: RouteRequest, require: Mapping[str, str]) -> str | None:
    """Why the backend can never serve this request, by the first rule that says so: where a label is missing, nothing
    else matters.
    """
    return (
        lacks_label(backend, require)
        or (lacks_endpoint(backend, request.endpoint) if request.endpoint is not None else None)
        or lacks_capability(backend, request)
        or context_too_small(backend, request)
        or refused_by_hook(backend, request)
    )


def falls_short(backend: Backend, request: RouteRequest) -> str | None:
    """Why the model is not good for the request: the prompt is longer than it is known to be good for, or it cannot
    think. Not a rule: it gives way when all backends fall short.
    """
    effective = backend.limits.effective_context_tokens
    if effective is not None and request.at_once > effective:
        return f"{request.at_once} prompt tokens exceed its effective context of {effective}"
    if request.needs and backend.capabilities is not None:
        missing = (request.needs & GIVES_WAY) - backend.capabilities
        return f"does not offer {', '.join(sorted(missing))}" if missing else None
    return None
