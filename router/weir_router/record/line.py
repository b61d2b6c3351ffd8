"""The request log's line: one JSON object per request, made of a `Finished` by `record.log`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from weir_router.contract import Operation, PromptLogging
from weir_router.dialects.usage import Usage
from weir_router.errors import AttemptRecord
from weir_router.estimate.prompt import Features


class RequestRecord(msgspec.Struct, omit_defaults=True):
    """The fields of a line, in their order. A field with its default value is left out."""

    id: str
    path: str
    outcome: str = ""  # ok, error, refused, limited, broken, cancelled; never empty, so always in the line
    status: int = 0  # HTTP status sent to the caller
    error: str | None = None  # WeirError.code
    error_source: str | None = None
    error_message: str | None = None
    caller: str | None = None  # namespace/name
    caller_namespace: str = ""
    caller_pod: str | None = None  # the pod to which its token is bound
    feature: str | None = None
    policy: str | None = None
    model: str | None = None  # as asked
    operation: Operation = Operation.CHAT
    stream: bool = False
    route: str | None = None
    complexity: str | None = None
    probability: float | None = None
    reason: str | None = None  # of the class; under promptLogging None only the caller sees it
    diverted: str | None = None  # reason for another tier than the route's: an override, or `mode: Observe`
    prompt_tokens: int | None = None  # estimated, for routing
    features: Features | None = None  # under promptLogging Metadata and Full
    prompt_logging: PromptLogging = PromptLogging.METADATA  # the policy's
    prompt: str | None = None  # promptLogging Full only
    tier: str | None = None
    backend: str | None = None
    upstream_model: str | None = None  # the backend's own name for its model
    observed_tier: str | None = None  # mode Observe: tier of the route
    attempts: Sequence[AttemptRecord] = []
    usage: Usage | None = None
    dollars: float | None = None  # None: unknown price
    price_source: str | None = None
    baseline_dollars: float | None = None
    ttft: float | None = None  # seconds from arrival to the first content
    seconds: float = 0.0  # from arrival to the last byte
    tokens_per_second: float | None = None
