"""The memory of one large request: what is counted for it, and what is kept of it. Made by `serve.story`, used by
`call.journey` and `call.attempt`.

A body is held as it came, decoded, and as it goes out. Decoded values are forgotten as soon as the outgoing body is
made; it refers to the received bytes where the formats are the same. Those are kept until the commit point, since
another attempt decodes them again. A small request is counted as it came, to the end of its answer.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import force_setattr

from weir_router.admit.memory import PER_BYTE, Holder, Memory
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import FormatRecord
from weir_router.dialects.neutral.conversation import Conversation
from weir_router.dialects.registry import record_of
from weir_router.dialects.wire.outgoing import Body, Spliced
from weir_router.estimate.prompt import Prompt

LARGE = 16 * 1024
"""Bytes from which a request is large: below it, to forget and decode again is not worth the while."""

FIELD = 1024
"""Bytes of the largest top-level field that stays decoded, such as `thinking` and `stream_options`."""

_NOTHING = msgspec.Raw(b"null")


class Load:
    """One request's."""

    def __init__(self, memory: Memory, holder: Holder, ask: Ask, source: bytes, *, logged: bool) -> None:
        """`source`: the received body. `logged`: the prompt is logged after the answer, so its texts stay."""
        self._memory = memory
        self._holder = holder
        self._ask = ask
        self._source = source
        self._logged = logged
        self._decoded = True

    def needed(self) -> None:
        """Decodes the request again, for another attempt. Raises `Overloaded`."""
        if self._decoded:
            return
        more = len(self._source) * (PER_BYTE - 1)
        self._memory.claim(more, self._holder.namespace, "another attempt at this request")
        self._holder.held += more
        self._decoded = True
        record: FormatRecord = record_of(self._ask.format)
        again = record.read(self._source, self._ask.headers)
        force_setattr(self._ask, "body", again.body)
        force_setattr(self._ask, "prompt", again.prompt)
        force_setattr(self._ask, "conversation", None)

    def prepared(self, outgoing: Body) -> None:
        """Forgets the decoded values, since the outgoing body is made."""
        ask = self._ask
        self._decoded = False
        kept = {name: ask.body[name] for name, raw in ask.raw.items() if len(memoryview(raw)) <= FIELD}
        force_setattr(ask, "body", kept)
        if ask.conversation is not None:  # the answer's translation reads its tools
            bare: Conversation = msgspec.structs.replace(ask.conversation, turns=(), instructions=())
            force_setattr(ask, "conversation", bare)
        if not self._logged:
            prompt: Prompt = msgspec.structs.replace(ask.prompt, turns=())
            force_setattr(ask, "prompt", prompt)
        self._keep(len(self._source) + (0 if isinstance(outgoing, Spliced) else len(outgoing)))

    def sent(self) -> None:
        """The outgoing body is not needed any more."""
        self._keep(len(self._source))

    def committed(self) -> None:
        """No other attempt will follow: forgets the received bytes."""
        self._source = b""
        force_setattr(self._ask, "raw", dict.fromkeys(self._ask.raw, _NOTHING))
        self._keep(0)

    def _keep(self, size: int) -> None:
        """Gives back what is counted beyond `size` bytes, and the texts that are logged."""
        if self._logged:
            size += len(self._source)
        excess = self._holder.held - size
        if excess > 0:
            self._holder.held = size
            self._memory.give_back(excess, self._holder.namespace)
