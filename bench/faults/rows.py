"""The faults of `make faults`: one row per fault, with its goals. Data only; read by `run`,
`verdict` and the page that is printed.

The fleet: models a and b in the first tier at the same price, c and d in the second. `a` falls ill unless a row says
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

FIRST, SECOND = ("a", "b"), ("c", "d")
FLEET = FIRST + SECOND


class Goals(msgspec.Struct, frozen=True, kw_only=True):
    """Goals of a row; None: there is none. Times in seconds."""

    errors: float | None = 0.0  # per cent of callers who get an error instead of content
    broken: float | None = 0.0  # per cent whose stream ends in an error event
    truncated: int = 0  # answers that end like a success and are none
    ttft: float | None = 2.0  # p99, as a multiple of the p99 of the row without a fault
    attempts: float | None = 1.05  # per request
    eject: float | None = None  # until the sick backend is left alone
    probe: float | None = 30.0  # from recovery, or the end of an ejection, to the first request there


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One fault."""

    name: str
    what: str
    sick: tuple[str, ...] = ("a",)
    fault: Mapping[str, Any] | None = None  # of the simulator
    front: str = ""  # or of the network before it: see `front`
    api: str = "chat"  # that callers use, and models take: see `callers.APIS`
    reasoning: int = 0  # tokens before an answer
    flapping: float = 0.0  # seconds on, seconds off
    random: bool = False  # figures depend on chance: several seeds
    phases: tuple[float, float, float] = (20.0, 60.0, 40.0)  # calm, fault, after
    held: float = 0.0  # seconds for which a refusal keeps a backend out
    breaker: Mapping[str, Any] = {}  # of the first tier, where the defaults would take too long to see
    quiet_after: bool = False  # errors count only once the first backend is back
    goals: Goals = Goals()


ERRORS, SLOWNESS = 3.0, 10.0
"""Seconds in which a backend must be left alone: when it fails, and when it is silent or slow."""

_STREAMS_BREAK = 2.0  # per cent of callers, where half of a tier breaks streams until it is left alone

ROWS: tuple[Row, ...] = (
    Row(
        name="calm",
        what="nothing fails",
        sick=(),
        random=True,
        goals=Goals(ttft=None, probe=None),
    ),
    Row(
        name="silent",
        what="accepts and never answers",
        fault={"kind": "silence"},
        random=True,
        goals=Goals(eject=SLOWNESS),
    ),
    Row(
        name="429",
        what="429 without Retry-After",
        fault={"kind": "rate_limit"},
        random=True,
        goals=Goals(eject=ERRORS),
    ),
    Row(
        name="slow",
        what="ten times the time to first token",
        fault={"kind": "slow_first_token", "factor": 10},
        random=True,
        goals=Goals(eject=SLOWNESS),
    ),
    Row(
        name="stall",
        what="streams stop after three chunks",
        fault={"kind": "stall"},
        random=True,
        goals=Goals(broken=_STREAMS_BREAK, eject=SLOWNESS),
    ),
    Row(
        name="flapping",
        what="500 for ten seconds in twenty",
        fault={"kind": "server_error"},
        flapping=10.0,
        random=True,
        goals=Goals(eject=ERRORS),
    ),
    Row(
        name="resets",
        what="30 % of requests are reset",
        fault={"kind": "refuse", "probability": 0.3},
        random=True,
        goals=Goals(),  # no time to eject: it answers most, and what it costs is bounded by attempts
    ),
    Row(
        name="half refuses",
        what="the whole first tier resets",
        sick=FIRST,
        fault={"kind": "refuse"},
        goals=Goals(eject=ERRORS),
    ),
    Row(
        name="half silent",
        what="the whole first tier is silent",
        sick=FIRST,
        fault={"kind": "silence"},
        random=True,
        goals=Goals(ttft=3.0, eject=SLOWNESS),
    ),
    Row(
        name="all 429",
        what="all four say 429",
        sick=FLEET,
        fault={"kind": "rate_limit"},
        quiet_after=True,
        random=True,
        goals=Goals(eject=ERRORS),
    ),
    Row(
        name="drip",
        what="one token a second after a fast first one",
        fault={"kind": "drip", "seconds": 1.0},
        goals=Goals(eject=SLOWNESS),
    ),
    Row(
        name="cut",
        what="the connection closes after three chunks",
        fault={"kind": "cut"},
        goals=Goals(broken=_STREAMS_BREAK, eject=ERRORS),
    ),
    Row(
        name="malformed",
        what="the fourth chunk is broken JSON",
        fault={"kind": "malformed"},
        goals=Goals(broken=_STREAMS_BREAK, eject=ERRORS),
    ),
    Row(name="no [DONE]", what="finish reason, but no [DONE]", fault={"kind": "no_done"}),
    Row(
        name="error event",
        what="200, then an error before content",
        fault={"kind": "error_event"},
        goals=Goals(eject=ERRORS),
    ),
    Row(name="error body", what="200 whose body is an error", fault={"kind": "error_body"}, goals=Goals(eject=ERRORS)),
    Row(
        name="spend cap",
        what="429 insufficient_quota, no Retry-After",
        fault={"kind": "insufficient_quota"},
        phases=(20.0, 30.0, 70.0),
        held=60.0,
        goals=Goals(eject=ERRORS),
    ),
    Row(
        name="Retry-After 1 h",
        what="429 for an hour; maxRetryAfter: 40s",
        fault={"kind": "rate_limit", "retry_after": 3600},
        phases=(20.0, 30.0, 70.0),
        held=40.0,
        breaker={"maxRetryAfter": "40s"},
        goals=Goals(eject=ERRORS),
    ),
    Row(
        name="thundering return",
        what="all four say 503, and are back at once",
        sick=FLEET,
        fault={"kind": "unavailable"},
        phases=(20.0, 40.0, 60.0),
        quiet_after=True,
        random=True,
        goals=Goals(eject=ERRORS),
    ),
    Row(
        name="quota event",
        what="Responses: created, then an error about the quota",
        api="responses",
        fault={"kind": "quota_event"},
        phases=(20.0, 30.0, 70.0),
        held=60.0,
        goals=Goals(eject=ERRORS),
    ),
    Row(
        name="failed event",
        what="Responses: response.failed after three deltas",
        api="responses",
        fault={"kind": "failed_event", "after": 3},
        goals=Goals(broken=_STREAMS_BREAK, eject=ERRORS),
    ),
    Row(
        name="item never done",
        what="Responses: items have no end",
        api="responses",
        fault={"kind": "item_never_done"},
        goals=Goals(broken=_STREAMS_BREAK, eject=ERRORS),
    ),
    Row(
        name="cut in an item",
        what="Responses: the connection closes after three deltas",
        api="responses",
        fault={"kind": "cut"},
        goals=Goals(broken=_STREAMS_BREAK, eject=ERRORS),
    ),
    Row(
        name="silent reasoning",
        what="Responses: reasoning begins, and nothing follows",
        api="responses",
        reasoning=20,
        fault={"kind": "silent_reasoning"},
        random=True,
        goals=Goals(eject=SLOWNESS),
    ),
    Row(
        name="stall in reasoning",
        what="Responses: silence after three tokens of reasoning",
        api="responses",
        reasoning=20,
        fault={"kind": "stall"},
        random=True,
        goals=Goals(broken=_STREAMS_BREAK, eject=SLOWNESS),
    ),
    Row(
        name="long reasoning",
        what="Responses: 60 tokens of reasoning before a word",
        api="responses",
        reasoning=60,
        sick=(),
        goals=Goals(probe=None),
    ),
    Row(
        name="embeddings",
        what="embeddings: 429 without Retry-After",
        api="embeddings",
        fault={"kind": "rate_limit"},
        goals=Goals(ttft=None, eject=ERRORS),
    ),
    Row(
        name="DNS change",
        what="the name moves; the old address takes nothing new",
        front="moves",
    ),
    Row(
        name="TLS failure",
        what="handshakes fail, open connections break",
        front="tls",
        goals=Goals(broken=_STREAMS_BREAK, eject=ERRORS),
    ),
    Row(
        name="half-open",
        what="open connections go dead without a word",
        front="half-open",
        goals=Goals(broken=_STREAMS_BREAK),
    ),
)
