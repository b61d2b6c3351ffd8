"""The facts of a stream that are known only at its end, in a comment before its last event. Used by `serve.visit`.

An example: `: weir {"tier":"llm/fast","backend":"gpt","attempts":2,"usage":{"input":9,"output":3},"dollars":0.00002}`.
Clients of both formats skip comments.
"""

from __future__ import annotations

import msgspec

from weir_router.dialects.usage import Usage


class Facts(msgspec.Struct, omit_defaults=True):
    """The facts, in their order. One that is not known is left out."""

    tier: str | None = None
    backend: str | None = None
    attempts: int = 0
    dropped: tuple[str, ...] = ()  # fields of the caller's request that the upstream did not get
    usage: Usage | None = None
    dollars: float | None = None  # of all attempts


def before_last(last: bytes, facts: Facts) -> bytes:
    """`last`, the events with which a stream ends, with the comment before the last of them."""
    end = len(last.rstrip(b"\r\n"))
    at = max(_after(last, b"\n\n", end), _after(last, b"\n\r\n", end))
    return b"%b: weir %b\n\n%b" % (last[:at], msgspec.json.encode(facts), last[at:])


def _after(data: bytes, blank: bytes, end: int) -> int:
    """The offset after the last `blank` line before `end`; 0: there is none."""
    found = data.rfind(blank, 0, end)
    return 0 if found < 0 else found + len(blank)
