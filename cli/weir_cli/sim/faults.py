"""Faults: what they are, what each does, and the board on which they are switched on and off.

`weir_cli.sim.server` asks the board once per request; `weir_cli.sim.playback` carries out what the board says. A fault
holds for requests that start while it is on: one that hangs goes on hanging until its client leaves, as a real one
would. `HELP` is the table of all faults; `weir sim --help` prints it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from weir_cli.sim.refused import Refused

ANY_MODEL = "*"
"""Faults under this name hold for every model that has none of its own."""

DEFAULT_AFTER = 3
"""Content chunks before a stream breaks: past the commit point, well before the end of a default answer."""


class FaultKind(StrEnum):
    """A kind of fault; `HELP` has one line for each."""

    RATE_LIMIT = "rate_limit"
    INSUFFICIENT_QUOTA = "insufficient_quota"
    SERVER_ERROR = "server_error"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    UNAUTHORIZED = "unauthorized"
    PAYMENT_REQUIRED = "payment_required"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    TIMEOUT = "timeout"
    BAD_REQUEST = "bad_request"
    CONTENT_FILTER = "content_filter"
    CONTEXT_LENGTH = "context_length"
    STREAM_REFUSED = "stream_refused"
    STATUS = "status"
    REFUSE = "refuse"
    RESET = "reset"
    SILENCE = "silence"
    SLOW_FIRST_TOKEN = "slow_first_token"
    STALL = "stall"
    CUT = "cut"
    ENDS_EARLY = "ends_early"
    MALFORMED = "malformed"
    NO_DONE = "no_done"
    NO_FINISH = "no_finish"
    DRIP = "drip"
    BYTE_DRIP = "byte_drip"
    ERROR_EVENT = "error_event"
    QUOTA_EVENT = "quota_event"
    FAILED_EVENT = "failed_event"
    ERROR_BODY = "error_body"
    STREAM_IGNORED = "stream_ignored"
    EMPTY_LENGTH = "empty_length"
    PINGS = "pings"
    ITEM_NEVER_DONE = "item_never_done"
    SILENT_REASONING = "silent_reasoning"


HELP: dict[FaultKind, str] = {
    FaultKind.RATE_LIMIT: "429; Retry-After only when `retry_after` is set",
    FaultKind.INSUFFICIENT_QUOTA: "spend cap: OpenAI 429 insufficient_quota; Anthropic 400 'credit balance is too low'",
    FaultKind.SERVER_ERROR: "500",
    FaultKind.UNAVAILABLE: "503; Retry-After only when `retry_after` is set",
    FaultKind.OVERLOADED: "529, Anthropic's overloaded_error",
    FaultKind.UNAUTHORIZED: "401 invalid key",
    FaultKind.PAYMENT_REQUIRED: "402",
    FaultKind.FORBIDDEN: "403 the key may not use this model",
    FaultKind.NOT_FOUND: "404 no such model",
    FaultKind.TIMEOUT: "408",
    FaultKind.BAD_REQUEST: "400; `body` replaces the provider's own",
    FaultKind.CONTENT_FILTER: "400 blocked by the provider's moderation",
    FaultKind.CONTEXT_LENGTH: "400 the prompt is too long, for a prompt of any length",
    FaultKind.STREAM_REFUSED: "400 with param `stream` for requests that ask for a stream; others are answered",
    FaultKind.STATUS: "any `status` with any `body` and `headers` (text bodies go out as HTML, as proxies send them)",
    FaultKind.REFUSE: "connection aborted (RST) as soon as the request is read, with no byte of an answer",
    FaultKind.RESET: "RST: before the answer, or after `after` content chunks (plain: half-way through the body)",
    FaultKind.SILENCE: "accepts and never answers, not even headers",
    FaultKind.SLOW_FIRST_TOKEN: "time to first token x `factor` + `seconds`",
    FaultKind.STALL: "nothing more after `after` content chunks (plain: half-way through the body)",
    FaultKind.CUT: "TCP closed cleanly after `after` content chunks, without HTTP's end (plain: half-way)",
    FaultKind.ENDS_EARLY: "clean HTTP end after `after` content chunks, no finish reason or [DONE]; plain stays whole",
    FaultKind.MALFORMED: "content chunk number `after` is broken JSON, the rest is fine (plain: half of the JSON)",
    FaultKind.NO_DONE: "finish reason sent, but no [DONE] or message_stop; plain answers stay whole",
    FaultKind.NO_FINISH: "[DONE] or message_stop sent, but no finish reason; plain answers stay whole",
    FaultKind.DRIP: "one token every `seconds` (plain: as late as the last token)",
    FaultKind.BYTE_DRIP: "one byte every `seconds`, headers excepted",
    FaultKind.ERROR_EVENT: "error event in a 200 stream after `after` content chunks (plain: as error_body)",
    FaultKind.QUOTA_EVENT: "insufficient_quota in a 200 stream after `after` content chunks (plain: its HTTP error)",
    FaultKind.FAILED_EVENT: "as error_event, but in Responses the event is `response.failed`",
    FaultKind.ERROR_BODY: "status 200 whose JSON body is an error, stream asked or not",
    FaultKind.STREAM_IGNORED: "a plain answer although a stream was asked",
    FaultKind.EMPTY_LENGTH: "no content, finish reason length, as when reasoning used up the limit",
    FaultKind.PINGS: "only comments (OpenAI) or pings (Anthropic), one every `seconds`, forever (plain: line feeds)",
    FaultKind.ITEM_NEVER_DONE: "Responses: items have no end, and the response completes without them; others whole",
    FaultKind.SILENT_REASONING: "silence where reasoning or else content begins, for `seconds` or forever",
}
"""One line for each fault."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fault to switch on. A field that a kind does not mention in `HELP` has no effect on it."""

    kind: FaultKind
    probability: float = 1.0  # of each request, drawn from the simulator's seed
    count: int | None = None  # holds for the next so many requests; None: until cleared
    lasts: float | None = None  # seconds from being switched on; None: until cleared
    after: int | None = None  # content chunks; None: reset and events with an error 0, others DEFAULT_AFTER
    seconds: float = 0.0
    factor: float = 1.0
    retry_after: str | float | None = None  # seconds or an HTTP date, as the header says it
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = {}

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError("probability lies between 0 and 1")
        if self.kind is FaultKind.STATUS and self.status is None:
            raise ValueError("a fault of kind status needs a `status`")


class _Armed:
    """A fault on the board, with the times that it is still due."""

    def __init__(self, fault: Fault, now: float) -> None:
        self.fault = fault
        self._left = fault.count
        self._end = None if fault.lasts is None else now + fault.lasts

    def over(self, now: float) -> bool:
        return self._left == 0 or (self._end is not None and now >= self._end)

    def taken(self) -> Fault:
        if self._left is not None:
            self._left -= 1
        return self.fault


class FaultBoard:
    """The faults that are on. Not thread-safe: used from the simulator's own loop."""

    def __init__(self, seed: int, now: Callable[[], float] = time.monotonic) -> None:
        self._random = random.Random(f"faults {seed}")
        self._now = now
        self._armed: dict[str, list[_Armed]] = {}

    def __bool__(self) -> bool:
        """Whether anything is on at all; the fast path asks only this."""
        return bool(self._armed)

    def set(self, model: str, *faults: Fault) -> None:
        """Replaces what is on for `model` (`ANY_MODEL`: for all without their own). The first that holds wins."""
        self._armed[model] = [_Armed(fault, self._now()) for fault in faults]
        self._tidy()

    def clear(self, model: str | None = None) -> None:
        """Switches off `model`'s faults, or all of them."""
        if model is None:
            self._armed.clear()
        else:
            self._armed.pop(model, None)

    def get(self, model: str) -> list[Fault]:
        """The faults that are on under exactly this name."""
        self._tidy()
        return [armed.fault for armed in self._armed.get(model, ())]

    def take(self, model: str) -> Fault | None:
        """The fault for the next request to `model`, counted down; None: none."""
        self._tidy()
        for armed in self._armed.get(model) or self._armed.get(ANY_MODEL) or []:
            if armed.fault.probability >= 1 or self._random.random() < armed.fault.probability:
                return armed.taken()
        return None

    def _tidy(self) -> None:
        now = self._now()
        left = {model: [a for a in armed if not a.over(now)] for model, armed in self._armed.items()}
        self._armed = {model: armed for model, armed in left.items() if armed}


def refusal(fault: Fault, errors: Mapping[FaultKind, Refused], model: str, *, stream: bool) -> Refused | None:
    """The HTTP error of this fault, in the provider's own words (`errors`); None: the fault is no HTTP error."""
    if fault.kind is FaultKind.STREAM_REFUSED and not stream:
        return None
    if fault.kind is FaultKind.QUOTA_EVENT and not stream:
        return errors[FaultKind.INSUFFICIENT_QUOTA]
    if fault.kind is FaultKind.STATUS:
        refused = Refused(fault.status or 500, "api_error", "Something went wrong.")
    elif found := errors.get(fault.kind):
        refused = found.about(model)
    else:
        return None
    headers = dict(fault.headers)
    if fault.retry_after is not None:
        headers["retry-after"] = fault.retry_after if isinstance(fault.retry_after, str) else f"{fault.retry_after:g}"
    return refused.but(status=fault.status, headers=headers, body=fault.body)
