"""Exchanges: the bytes of a request, and an answer that is ready to be sent.

`weir_cli.sim.server` asks an `ExchangeBook` once per request. Answers depend on nothing but the body, the models and
the seed, so those to small bodies are kept: a benchmark that repeats itself costs a look-up. No sockets, no clock, no
faults.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import msgspec

from weir_cli.sim.answer import Answer, Ask, compose
from weir_cli.sim.frames import Frame, chunked
from weir_cli.sim.models import SimModel
from weir_cli.sim.prompt_cache import PromptCache
from weir_cli.sim.refused import Refused
from weir_cli.sim.wires import WIRES
from weir_router.contract import WireFormat

UNKNOWN = "-"
"""Name under which requests for an unknown model are counted."""

CACHED_BODY_BYTES = 16_384
"""Bytes of a body whose answer is cached; longer ones would take much memory for little gain."""

CACHED_EXCHANGES = 512
"""Exchanges that are cached. A full cache starts over; a benchmark has fewer prompts."""


class Exchange:
    """One model's answer to one body."""

    def __init__(
        self,
        dialect: WireFormat,
        name: str,
        model: SimModel | None,
        ask: Ask | None,
        refused: Refused | None,
        seed: int,
    ) -> None:
        self.dialect = dialect
        self.name = name  # of the model; UNKNOWN where there is none
        self.model = model
        self.refused = refused
        self.stream = ask is not None and ask.stream
        self._ask = ask
        self._seed = seed

    def read_from(self, cache: PromptCache, credential: str | None, now: float) -> Exchange:
        """The same exchange, as this prompt cache makes it for the credential."""
        ask, model = self._ask, self.model
        if ask is None or model is None or not WIRES[self.dialect].caches(ask.body):
            return self
        cached = cache.read(f"{model.name}\0{credential}", ask.body, now)
        read = msgspec.structs.replace(ask, cached_tokens=cached)
        return Exchange(self.dialect, self.name, model, read, self.refused, self._seed)

    @cached_property
    def steps(self) -> int:
        """Tokens to wait for."""
        return max(answer.steps for answer in self._answers(exhausted=False))

    @cached_property
    def body(self) -> bytes:
        """The whole answer."""
        return self.whole(exhausted=False)

    @cached_property
    def frames(self) -> list[Frame]:
        """The answer as a stream."""
        return self.parts(exhausted=False)

    @cached_property
    def wire(self) -> list[bytes]:
        """The stream as HTTP/1.1 chunks, its end included."""
        return [*(chunked(frame.data) for frame in self.frames), b"0\r\n\r\n"]

    @cached_property
    def wire_size(self) -> int:
        """Bytes of `wire`."""
        return sum(map(len, self.wire))

    def whole(self, *, exhausted: bool) -> bytes:
        """The whole answer; `exhausted`: the one without content."""
        assert self._ask is not None
        assert self.model is not None
        answers = self._answers(exhausted=exhausted)
        return WIRES[self.dialect].render(self._ask, self.model, answers)

    def parts(self, *, exhausted: bool) -> list[Frame]:
        """The stream; `exhausted`: the one without content."""
        assert self._ask is not None
        assert self.model is not None
        answers = self._answers(exhausted=exhausted)
        return WIRES[self.dialect].stream(self._ask, self.model, answers)

    def _answers(self, *, exhausted: bool) -> list[Answer]:
        assert self._ask is not None
        assert self.model is not None
        count = WIRES[self.dialect].choices(self._ask.body)
        return [compose(self._ask, self.model, self._seed, choice, exhausted=exhausted) for choice in range(count)]


class ExchangeBook:
    """The answers of each model to each body."""

    def __init__(self, models: Iterable[SimModel], seed: int) -> None:
        self.models = {model.name: model for model in models}
        self._seed = seed
        self._kept: dict[WireFormat, dict[bytes, Exchange]] = {dialect: {} for dialect in WireFormat}

    def look_up(self, dialect: WireFormat, body: bytes) -> Exchange:
        """The exchange that `body` begins at this dialect's endpoint."""
        kept = self._kept[dialect]
        exchange = kept.get(body)
        if exchange is None:
            exchange = self._make(dialect, body)
            if len(body) <= CACHED_BODY_BYTES:
                if len(kept) >= CACHED_EXCHANGES:
                    kept.clear()
                kept[body] = exchange
        return exchange

    def _make(self, dialect: WireFormat, raw: bytes) -> Exchange:
        wire = WIRES[dialect]
        try:
            body: dict[str, Any] = _decode(raw)
        except msgspec.MsgspecError:
            return Exchange(dialect, UNKNOWN, None, None, wire.unreadable(), self._seed)
        model = self.models.get(str(body.get("model")))
        if model is None or model.dialect is not wire.PROVIDER:
            return Exchange(dialect, UNKNOWN, None, None, wire.unknown_model(str(body.get("model"))), self._seed)
        try:
            return Exchange(dialect, model.name, model, wire.parse(body, model), None, self._seed)
        except Refused as refused:
            return Exchange(dialect, model.name, model, None, refused, self._seed)
        except (TypeError, AttributeError, KeyError, ValueError, RecursionError):
            # A field of a type that no SDK can send: a provider says 400 too, each field in its own words.
            return Exchange(dialect, model.name, model, None, wire.unreadable(), self._seed)


_decode = msgspec.json.Decoder(dict[str, Any]).decode
