"""The contract between operator and router: `CompiledConfig` and `Secrets` one way, `RouterReport` the other.

`weir_operator.compile` writes it, and `weir_router.config` reads it. Types are frozen and versioned: a router ignores
unknown fields (an older router reads a newer operator's config) and refuses an unknown major version. Durations are
seconds as floats, prices US dollars per million tokens as floats. Secrets never stand in `CompiledConfig`.

There is one module for each subject; this one offers them all, so import from `weir_router.contract`. Two other forms
of a config have modules of their own: files that pods mount (`published`) and the difference of two configs (`delta`).
`tests/contract/` holds a golden JSON file for each example, and a list of the fields that a namespace may see.
"""

from __future__ import annotations

from weir_router.contract.addresses import HostPolicy
from weir_router.contract.base import prepare
from weir_router.contract.caller import TOKEN_ALGORITHMS, CallerKey, CallerKind, CallerRule, SigningKey, TokenTrust
from weir_router.contract.config import POLL_PATH, CompiledConfig, Delivery
from weir_router.contract.policy import (
    MAX_BODY_BYTES,
    Complexity,
    Day,
    Failover,
    HeaderMatch,
    Limit,
    Mode,
    Override,
    Policy,
    Priority,
    PromptLogging,
    Queue,
    RetryBudget,
    Route,
    TierRef,
    TimeWindow,
    When,
)
from weir_router.contract.report import (
    FAILING,
    MAX_FAILING,
    MAX_GATEWAY_REPORT_BYTES,
    MAX_REPORT_BYTES,
    MAX_WORDS,
    TRIED_SECONDS,
    BackendReport,
    PolicyReport,
    RouteReport,
    RouterLoad,
    RouterReport,
    Waiting,
    line,
)
from weir_router.contract.review import REVIEW_PATH, ReviewAnswer, ReviewRequest
from weir_router.contract.secrets import Secrets
from weir_router.contract.tier import (
    Backend,
    BackendLimits,
    BackendState,
    BreakerKnobs,
    Capability,
    Dialect,
    Extra,
    Objectives,
    Parameters,
    Price,
    PriceStep,
    Recall,
    Selection,
    Thinking,
    Tier,
    Timeouts,
    Traits,
    Transport,
    WireFormat,
)
from weir_router.contract.version import API_VERSION, ConfigRejected, check_version, digest

__all__ = [
    "API_VERSION",
    "FAILING",
    "MAX_BODY_BYTES",
    "MAX_FAILING",
    "MAX_GATEWAY_REPORT_BYTES",
    "MAX_REPORT_BYTES",
    "MAX_WORDS",
    "POLL_PATH",
    "REVIEW_PATH",
    "TOKEN_ALGORITHMS",
    "TRIED_SECONDS",
    "Backend",
    "BackendLimits",
    "BackendReport",
    "BackendState",
    "BreakerKnobs",
    "CallerKey",
    "CallerKind",
    "CallerRule",
    "Capability",
    "CompiledConfig",
    "Complexity",
    "ConfigRejected",
    "Day",
    "Delivery",
    "Dialect",
    "Extra",
    "Failover",
    "HeaderMatch",
    "HostPolicy",
    "Limit",
    "Mode",
    "Objectives",
    "Override",
    "Parameters",
    "Policy",
    "PolicyReport",
    "Price",
    "PriceStep",
    "Priority",
    "PromptLogging",
    "Queue",
    "Recall",
    "RetryBudget",
    "ReviewAnswer",
    "ReviewRequest",
    "Route",
    "RouteReport",
    "RouterLoad",
    "RouterReport",
    "Secrets",
    "Selection",
    "SigningKey",
    "Thinking",
    "Tier",
    "TierRef",
    "TimeWindow",
    "Timeouts",
    "TokenTrust",
    "Traits",
    "Transport",
    "Waiting",
    "When",
    "WireFormat",
    "check_version",
    "digest",
    "line",
    "prepare",
]
