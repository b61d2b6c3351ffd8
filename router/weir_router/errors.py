"""Every way in which a request can fail, with its HTTP status.

WeirError                 ends a request; `serve.errors` turns it into HTTP or an SSE event, in the caller's format
├── BadRequest            400  the caller's mistake, found by the router
├── Unauthenticated       401  no valid key or token
├── OriginNotAllowed      403  a web page sent it, and its origin is not allowed
├── HostNotAllowed        403  the host of a request on loopback is not this machine
├── UnknownModel          404  no policy of this caller names the model
├── RequestTooLarge       413
├── RateLimited           429  a limit of a policy, or of a tier's grant
├── NoCapableModel        400  no backend on the route offers the capabilities that the request needs
├── PolicyNotReady        503  the policy has no route that works
├── NotConfigured         503  the router has no config yet
├── UpstreamRefused            the upstream blames the caller: its status, type and message
├── Overloaded            503  no room in this router, or at any backend, within the time that the request may wait
├── Unavailable           503  every candidate is out
├── CredentialsExhausted  502  every candidate is out, and only our credentials are to blame
├── DeadlineExceeded      504  no content within the policy's deadline
├── StreamBroken          502  a stream broke after the commit point: an SSE error event, never a clean close
└── InternalError         500  a bug in Weir

AttemptFailed             one try failed; caught by `call.failover`, never reaches a caller
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

import msgspec

MAX_RETRY_AFTER = 120.0
"""Seconds of the longest Retry-After. The openai SDK ignores a longer one and retries at once, so the router then
answers that a retry does not help."""


class Source(StrEnum):
    """The part that failed; stands in every error body and in the header `x-weir-error-source`."""

    CALLER = "caller"
    ROUTER = "router"
    POLICY = "policy"
    BUDGET = "budget"
    CACHE = "cache"
    UPSTREAM = "upstream"


class AttemptRecord(msgspec.Struct):
    """One try at one backend."""

    tier: str  # "namespace/name"
    backend: str
    outcome: str  # "ok" or a FailureKind value
    seconds: float  # of the whole attempt
    status: int | None = None  # HTTP status of the upstream
    code: str | None = None  # the upstream's own error code or type
    message: str | None = None  # what went wrong, without secrets
    ttft: float | None = None  # seconds to the first content


class WeirError(Exception):
    """Base of all errors that end a request. `retry_after` is in seconds; None: a retry cannot help."""

    status: int = 500
    code: str = "internal_error"
    source: Source = Source.ROUTER
    kind: ClassVar[str] = "api_error"  # the Anthropic dialect's error type; OpenAI's is derived from it

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

    status, code, source, kind = 400, "invalid_request", Source.CALLER, "invalid_request_error"


class Unauthenticated(WeirError):
    """The request has no valid key or token."""

    status, code, source, kind = 401, "unauthenticated", Source.CALLER, "authentication_error"


class OriginNotAllowed(WeirError):
    """A web page sent the request, and its origin is not allowed to call without a key."""

    status, code, source, kind = 403, "origin_not_allowed", Source.CALLER, "permission_error"


class HostNotAllowed(WeirError):
    """The host of a request to a port on loopback is not this machine, as after DNS rebinding by a web page."""

    status, code, source, kind = 403, "host_not_allowed", Source.CALLER, "permission_error"


class IdentityUnavailable(WeirError):
    """The caller cannot be identified now, though its token may be good."""

    status, code, source, kind = 503, "identity_unavailable", Source.ROUTER, "overloaded_error"


class GatewayUnavailable(WeirError):
    """A sidecar cannot reach its gateway."""

    status, code, source, kind = 503, "gateway_unavailable", Source.ROUTER, "overloaded_error"


class UnknownModel(WeirError):
    """No policy that this caller may use names the model."""

    status, code, source, kind = 404, "model_not_found", Source.POLICY, "not_found_error"


class RequestTooLarge(WeirError):
    """The request is larger than the policy or the router accepts."""

    status, code, source, kind = 413, "request_too_large", Source.POLICY, "request_too_large"


class RateLimited(WeirError):
    """A limit of the policy or of a grant is reached."""

    status, code, source, kind = 429, "rate_limited", Source.POLICY, "rate_limit_error"


class NoCapableModel(WeirError):
    """No backend on the matched route can serve this request, healthy or not."""

    status, code, source, kind = 400, "no_capable_model", Source.POLICY, "invalid_request_error"


class PolicyNotReady(WeirError):
    """The policy exists, but nothing in it can be used; its conditions say why."""

    status, code, source, kind = 503, "policy_not_ready", Source.POLICY, "overloaded_error"


class NotConfigured(WeirError):
    """The router has not received a config yet."""

    status, code, source, kind = 503, "not_configured", Source.ROUTER, "overloaded_error"


class Overloaded(WeirError):
    """The router serves as many requests as it may, or every capable backend has reached its concurrency."""

    status, code, source, kind = 503, "overloaded", Source.ROUTER, "overloaded_error"


class UpstreamRefused(WeirError):
    """The upstream blames the request. The caller gets its answer, since another model would say the same."""

    source, kind = Source.UPSTREAM, "invalid_request_error"

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

    status, code, source, kind = 503, "all_backends_unavailable", Source.UPSTREAM, "overloaded_error"

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

    status, code, source, kind = 502, "upstream_credentials", Source.UPSTREAM, "api_error"


class DeadlineExceeded(WeirError):
    """No content within the policy's `failover.deadline`."""

    status, code, source, kind = 504, "deadline_exceeded", Source.UPSTREAM, "timeout_error"


class StreamBroken(WeirError):
    """The stream broke or stalled after content had been sent."""

    status, code, source, kind = 502, "stream_broken", Source.UPSTREAM, "api_error"


class InternalError(WeirError):
    """A bug in Weir; the log has the traceback under the request's id."""


class FailureKind(StrEnum):
    """The reason why one attempt failed. `call.failover` and `health.breaker` say what follows from each."""

    CALLER = "caller"  # 400, 413, 422: answer at once
    CONTENT_FILTER = "content_filter"  # answer at once
    CONTEXT_LENGTH = "context_length"  # only a larger context can help
    ADDED = "added"  # a 400 about something Weir added: send again as asked
    CREDENTIAL = "credential"  # 401, or 403 about the key: this backend and credential is out
    CREDIT = "credit"  # 402, spend cap, no credit left: out
    MODEL = "model"  # 403 or 404 about the model: out
    RATE_LIMIT = "rate_limit"  # 429
    OVERLOAD = "overload"  # 503, 529
    SERVER = "server"  # other 5xx, 408
    CONNECT = "connect"  # no connection: refused, DNS, TLS, connect timeout
    RESET = "reset"  # the connection broke
    SILENT = "silent"  # no content within the TTFT deadline
    STALLED = "stalled"  # no content for the idle timeout
    TOO_LONG = "too_long"  # the total timeout
    MALFORMED = "malformed"  # not what the dialect says
    TRUNCATED = "truncated"  # ended without a stop reason


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
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status  # HTTP status, None where there was no answer
        self.code = code  # the upstream's error code
        self.type = type  # the upstream's error type
        self.param = param
        self.retry_after = retry_after  # seconds, as the upstream said; uncapped


def forget_frames(error: Exception) -> None:
    """Removes the traceback from an error that is kept. Its frames would refer back to the object that keeps it, and
    such a cycle waits for the garbage collector.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
