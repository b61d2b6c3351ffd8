"""Every way in which a request can fail, with its HTTP status.

WeirError                 ends a request; `serve.errors` turns it into HTTP or an SSE event, in the caller's format
├── BadRequest            400  the caller's mistake, found by the router
├── Unauthenticated       401  no valid key or token
├── OriginNotAllowed      403  a web page sent it, and its origin is not allowed
├── HostNotAllowed        403  the host of a request on loopback is not this machine
├── CheckRefused          403  a check before the call does not let it pass
├── IdentityUnavailable   503  the caller cannot be identified now
├── GatewayUnavailable    503  a sidecar cannot reach its gateway
├── UnknownModel          404  no policy of this caller names the model
├── StateNotFound         404  an id names nothing that this caller has stored
├── RequestTooLarge       413  the body has more bytes than the policy allows
├── RateLimited           429  a limit of a policy, or of a tier's grant
├── NoCapableModel        400  no backend on the route offers the capabilities that the request needs
├── ContextExceeded       400  the prompt is longer than the context of every backend on the route
├── PolicyNotReady        503  the policy has no route that works
├── NotConfigured         503  the router has no config yet
├── UpstreamRefused            the upstream blames the caller: its status, type and message
├── Overloaded            503  no room in this router, or at any backend, within the time that the request may wait
├── Unavailable           503  every candidate is out
├── CredentialsExhausted  502  every candidate is out, and only our credentials are to blame
├── CreditExhausted       502  every candidate is out, and only the credit of our accounts is to blame
├── HostForbidden         502  every candidate's host leads to an address to which routers do not connect
├── ModelMissing          502  no backend has the model that the platform has configured for it
├── UpstreamLimited       429  every candidate is out, and only rate limits of upstreams are to blame
├── DeadlineExceeded      504  no content within the policy's deadline
├── LoopDetected          508  the request has passed this installation already, or every backend leads back to one
├── StreamBroken          502  a stream broke after the commit point: an SSE error event, never a clean close
└── InternalError         500  a bug in Weir

AttemptFailed             one try failed; caught by `call.journey`, never reaches a caller
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

MAX_RETRY_AFTER = 120.0
"""Seconds of the longest Retry-After. The openai SDK ignores a longer one and retries at once, so the router then
answers that a retry does not help."""


class Source(StrEnum):
    """The part that failed; stands in every error body and in the header `x-weir-error-source`."""

    CALLER = "caller"
    ROUTER = "router"
    POLICY = "policy"
    UPSTREAM = "upstream"


class AttemptRecord(msgspec.Struct):
    """One try at one backend."""

    tier: str  # "namespace/name"
    backend: str
    outcome: str  # "ok", a FailureKind value, or "empty" where another answer is asked for in place of an empty one
    seconds: float  # of the whole attempt
    status: int | None = None  # HTTP status of the upstream
    code: str | None = None  # the upstream's own error code or type
    message: str | None = None  # what went wrong, without secrets
    ttft: float | None = None  # seconds to the first content
    dropped: tuple[str, ...] = ()  # fields of the caller's request that the upstream did not get


class WeirError(Exception):
    """Base of all errors that end a request. `retry_after` is in seconds; None: a retry cannot help."""

    status: int = 500
    code: str = "internal_error"
    source: Source = Source.ROUTER
    unserved: bool = False  # no backend of the route could answer, and neither caller nor policy is at fault

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        trail: Sequence[AttemptRecord] = (),
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.retry_helps = retry_after is not None and retry_after <= MAX_RETRY_AFTER
        self.trail = tuple(trail)
        self.param = param


class BadRequest(WeirError):
    """The request cannot be understood; the message says what is wrong and where."""

    status, code, source = 400, "invalid_request", Source.CALLER


class LoopDetected(WeirError):
    """A tier's backend leads back to this installation."""

    status, code, source = 508, "loop_detected", Source.POLICY
    unserved = True


class Unauthenticated(WeirError):
    """The request has no valid key or token."""

    status, code, source = 401, "unauthenticated", Source.CALLER


class OriginNotAllowed(WeirError):
    """A web page sent the request, and its origin is not allowed to call without a key."""

    status, code, source = 403, "origin_not_allowed", Source.CALLER


class HostNotAllowed(WeirError):
    """The host of a request to a port on loopback is not this machine, as after DNS rebinding by a web page."""

    status, code, source = 403, "host_not_allowed", Source.CALLER


class CheckRefused(WeirError):
    """A check before the call does not let the request pass."""

    status, code, source, kind = 403, "check_refused", Source.POLICY, "permission_error"


class IdentityUnavailable(WeirError):
    """The caller cannot be identified now, though its token may be good."""

    status, code, source = 503, "identity_unavailable", Source.ROUTER


class GatewayUnavailable(WeirError):
    """A sidecar cannot reach its gateway."""

    status, code, source = 503, "gateway_unavailable", Source.ROUTER


class UnknownModel(WeirError):
    """No policy that this caller may use names the model."""

    status, code, source = 404, "model_not_found", Source.POLICY


class StateNotFound(WeirError):
    """An id names no stored response or item of this caller, or none that can be reached."""

    status, code, source = 404, "not_found", Source.CALLER


class RequestTooLarge(WeirError):
    """The request is larger than the policy or the router accepts."""

    status, code, source = 413, "request_too_large", Source.POLICY


class RateLimited(WeirError):
    """A limit of the policy or of a grant is reached."""

    status, code, source = 429, "rate_limited", Source.POLICY


class NoCapableModel(WeirError):
    """No backend on the matched route can serve this request, healthy or not."""

    status, code, source = 400, "no_capable_model", Source.POLICY


CONTEXT_EXCEEDED = "context_length_exceeded"
"""Code of every error about a prompt that is too long, by which agents know that they must shorten it."""


class ContextExceeded(WeirError):
    """The prompt is longer than the context of every backend that could serve the request."""

    status, code, source = 400, CONTEXT_EXCEEDED, Source.POLICY


class PolicyNotReady(WeirError):
    """The policy exists, but nothing in it can be used; its conditions say why."""

    status, code, source = 503, "policy_not_ready", Source.POLICY


class NotConfigured(WeirError):
    """The router has not received a config yet."""

    status, code, source = 503, "not_configured", Source.ROUTER


class Overloaded(WeirError):
    """The router serves as many requests as it may, or every capable backend has reached its concurrency."""

    status, code, source = 503, "overloaded", Source.ROUTER


class UpstreamRefused(WeirError):
    """The upstream blames the request. The caller gets its answer, since another model would say the same."""

    source = Source.UPSTREAM

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None,
        kind: str | None = None,
        param: str | None = None,
        trail: Sequence[AttemptRecord] = (),
    ) -> None:
        super().__init__(message, trail=trail, param=param)
        self.status = status
        self.code = code or "upstream_refused"
        self.upstream_kind = kind


class Unavailable(WeirError):
    """Every candidate is out or failed; `retry_after` is the time in seconds until the first may be back.

    `exhausted`: each was tried just now, so an SDK that retries at once would only repeat Weir's attempts.
    """

    status, code, source = 503, "all_backends_unavailable", Source.UPSTREAM
    unserved = True

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        trail: Sequence[AttemptRecord] = (),
        exhausted: bool = False,
    ) -> None:
        super().__init__(message, retry_after=retry_after, trail=trail)
        self.retry_helps = self.retry_helps and not exhausted


class CredentialsExhausted(WeirError):
    """Every candidate refuses our credentials. Never a 401: the caller's own key is fine."""

    status, code, source = 502, "upstream_credentials", Source.UPSTREAM
    unserved = True


class CreditExhausted(WeirError):
    """The accounts at all candidates have no credit left, or have reached their spend cap. Their keys are fine."""

    status, code, source = 502, "upstream_credit", Source.UPSTREAM
    unserved = True


class HostForbidden(WeirError):
    """The hosts of all candidates lead to addresses to which routers do not connect, e.g. a metadata service's."""

    status, code, source = 502, "host_forbidden", Source.POLICY
    unserved = True


class ModelMissing(WeirError):
    """The upstreams have no model of the configured name, or redirect: the platform's config is to blame."""

    status, code, source = 502, "upstream_model_missing", Source.UPSTREAM
    unserved = True


class UpstreamLimited(WeirError):
    """Every candidate has refused for its rate limit. A 429, so that SDKs raise their `RateLimitError`."""

    status, code, source = 429, "rate_limit_exceeded", Source.UPSTREAM
    unserved = True


class DeadlineExceeded(WeirError):
    """No content within the policy's `failover.deadline`."""

    status, code, source = 504, "deadline_exceeded", Source.UPSTREAM
    unserved = True


class StreamBroken(WeirError):
    """The stream broke or stalled after content had been sent."""

    status, code, source = 502, "stream_broken", Source.UPSTREAM


class InternalError(WeirError):
    """A bug in Weir; the log has the traceback under the request's id."""


class FailureKind(StrEnum):
    """The reason why one attempt failed. `call.journey` and `health.breaker` say what follows from each."""

    CALLER = "caller"  # 400, 413, 422: answer at once
    CONTENT_FILTER = "content_filter"  # answer at once
    CONTEXT_LENGTH = "context_length"  # only a larger context can help
    ADDED = "added"  # a 400 about something Weir added: send again without it
    UNFIT = "unfit"  # a 400 about what this model accepts: another may accept it
    LOSSY = "lossy"  # a stream that makes no whole answer: send again without a stream
    CREDENTIAL = "credential"  # 401, or 403 about the key: this backend and credential is out
    CREDIT = "credit"  # 402, spend cap, no credit left: out
    MODEL = "model"  # 403 or 404 about the model: out
    LOOP = "loop"  # 508 of another router: the request comes back to an installation that it has passed
    BLOCKED = "blocked"  # 401 or 403 that is no error of the format: a firewall refuses this request
    RATE_LIMIT = "rate_limit"  # 429
    OVERLOAD = "overload"  # 503, 529
    SERVER = "server"  # other 5xx, 408
    HOST = "host_forbidden"  # the host leads only to addresses to which routers do not connect
    CONNECT = "connect"  # no connection: refused, DNS, TLS, connect timeout
    RESET = "reset"  # the connection broke
    SILENT = "silent"  # no content within the TTFT deadline
    STALLED = "stalled"  # no content for the idle timeout
    TOO_LONG = "too_long"  # the total timeout
    DEADLINE = "deadline"  # the rest of the policy's deadline, which was less than the backend may take
    UNREAD = "unread"  # the caller does not read its stream
    MALFORMED = "malformed"  # not what the dialect says
    TRUNCATED = "truncated"  # ended without a stop reason
    REJECTED = "rejected"  # a check after the call does not let the answer pass


NOT_THERE = frozenset({404, 405, 501})
"""Statuses of a server that lacks a path, or the model."""


class AttemptFailed(Exception):
    """One try at one backend failed."""

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        type: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        field: str | None = None,
        tunes: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status  # HTTP status, None where there was no answer
        self.code = code  # the upstream's error code
        self.type = type  # the upstream's error type
        self.param = param
        self.retry_after = retry_after  # seconds, as the upstream said; uncapped
        self.field = field  # of the request, which was refused: a name of the format's own table
        self.tunes = tunes  # the request can be sent without that field

    def at(self, below: str) -> AttemptFailed:
        """The failure of a path below a format's usual one, such as `/compact`, or of an endpoint. Not every server has
        these, and one that lacks it stays in use for all else. Empty: it is the usual path.
        """
        if (
            below
            and self.kind is FailureKind.MODEL
            and self.status in NOT_THERE
            and "model" not in self.message.lower()
        ):
            self.kind = FailureKind.UNFIT
        return self


def forget_frames(error: Exception) -> None:
    """Removes the traceback from an error that is kept. Its frames would refer back to the object that keeps it, and
    such a cycle waits for the garbage collector.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
