"""Exchanges: the bytes of a request, and an answer that is ready to be sent.

`weir_cli.sim.server` asks an `ExchangeBook` once per request. Answers depend on nothing but the body, the models and
the seed, so those to small bodies are kept: a benchmark that repeats itself costs a look-up. No sockets, no clock, no
faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import msgspec

from weir_cli.sim.answer import Answer, Ask, compose
from weir_cli.sim.connection import EVENT_STREAM, JSON
from weir_cli.sim.endpoints.forms import read_form
from weir_cli.sim.endpoints.reply import Endpoint, Reply
from weir_cli.sim.frames import Frame, chunked
from weir_cli.sim.models import Service, SimModel
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

    content_type = JSON
    stream_type = EVENT_STREAM
    stream = False

    def __init__(self, dialect: WireFormat, name: str, model: SimModel | None, refused: Refused | None) -> None:
        self.dialect = dialect  # whose headers and errors it has
        self.name = name  # of the model; UNKNOWN where there is none
        self.model = model
        self.refused = refused

    def read_from(self, cache: PromptCache, credential: str | None, now: float) -> Exchange:
        """The same exchange, as this prompt cache makes it for the credential."""
        return self

    @cached_property
    def steps(self) -> int:
        """Tokens to wait for."""
        raise NotImplementedError

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
        raise NotImplementedError

    def parts(self, *, exhausted: bool) -> list[Frame]:
        """The stream; `exhausted`: the one without content."""
        raise NotImplementedError


class Generated(Exchange):
    """An answer in a wire format: to a chat completion, a message or a response."""

    def __init__(self, dialect: WireFormat, model: SimModel, ask: Ask, seed: int) -> None:
        super().__init__(dialect, model.name, model, None)
        self.stream = ask.stream
        self._of = model
        self._ask = ask
        self._seed = seed

    @property
    def asked(self) -> dict[str, Any]:
        """The request's body."""
        return self._ask.body

    def read_from(self, cache: PromptCache, credential: str | None, now: float) -> Exchange:
        """The same exchange, as this prompt cache makes it for the credential."""
        if not WIRES[self.dialect].caches(self._ask.body):
            return self
        cached = cache.read(f"{self.name}\0{credential}", self._ask.body, now)
        read = msgspec.structs.replace(self._ask, cached_tokens=cached)
        return Generated(self.dialect, self._of, read, self._seed)

    @cached_property
    def steps(self) -> int:
        """Tokens to wait for."""
        return max(answer.steps for answer in self._answers(exhausted=False))

    def whole(self, *, exhausted: bool) -> bytes:
        """The whole answer; `exhausted`: the one without content."""
        return WIRES[self.dialect].render(self._ask, self._of, self._answers(exhausted=exhausted))

    def parts(self, *, exhausted: bool) -> list[Frame]:
        """The stream; `exhausted`: the one without content."""
        return WIRES[self.dialect].stream(self._ask, self._of, self._answers(exhausted=exhausted))

    def _answers(self, *, exhausted: bool) -> list[Answer]:
        count = WIRES[self.dialect].choices(self._ask.body)
        return [compose(self._ask, self._of, self._seed, choice, exhausted=exhausted) for choice in range(count)]


class Replied(Exchange):
    """An answer of an endpoint beside the wire formats."""

    def __init__(self, dialect: WireFormat, model: SimModel, reply: Reply) -> None:
        super().__init__(dialect, model.name, model, None)
        self.stream = reply.frames is not None
        self.content_type = reply.content_type
        self.stream_type = reply.stream_type
        self._reply = reply

    @cached_property
    def steps(self) -> int:
        """Tokens to wait for."""
        return self._reply.steps

    def whole(self, *, exhausted: bool) -> bytes:
        """The whole answer; there is none without content."""
        return self._reply.body

    def parts(self, *, exhausted: bool) -> list[Frame]:
        """The stream; there is none without content."""
        return self._reply.frames or []


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

    def reply(self, endpoint: Endpoint, content_type: str | None, raw: bytes) -> Exchange:
        """The exchange that `raw` begins at an endpoint beside the wire formats; none of these is kept."""

        def answered(body: dict[str, Any], model: SimModel) -> Exchange:
            return Replied(endpoint.errors, model, endpoint.answer(body, model))

        try:
            body = read_form(content_type, raw) if endpoint.form else _decode(raw)
        except Refused as refused:
            return Exchange(endpoint.errors, UNKNOWN, None, refused)
        except msgspec.MsgspecError:
            return Exchange(endpoint.errors, UNKNOWN, None, WIRES[endpoint.errors].unreadable())
        return self._answer(endpoint.errors, endpoint.service, body, answered)

    def _make(self, dialect: WireFormat, raw: bytes) -> Exchange:
        def answered(body: dict[str, Any], model: SimModel) -> Exchange:
            return Generated(dialect, model, WIRES[dialect].parse(body, model), self._seed)

        try:
            body: dict[str, Any] = _decode(raw)
        except msgspec.MsgspecError:
            return Exchange(dialect, UNKNOWN, None, WIRES[dialect].unreadable())
        return self._answer(dialect, Service(dialect), body, answered)

    def _answer(
        self,
        dialect: WireFormat,
        service: Service,
        body: dict[str, Any],
        answered: Callable[[dict[str, Any], SimModel], Exchange],
    ) -> Exchange:
        wire, name = WIRES[dialect], str(body.get("model"))
        model = self.models.get(name)
        if model is None or service not in model.offered:
            return Exchange(dialect, UNKNOWN, None, wire.unknown_model(name))
        try:
            return answered(body, model)
        except Refused as refused:
            return Exchange(dialect, model.name, model, refused)
        except (TypeError, AttributeError, KeyError, ValueError, RecursionError):
            # A field of a type that no SDK can send: a provider says 400 too, each field in its own words.
            return Exchange(dialect, model.name, model, wire.unreadable())


_decode = msgspec.json.Decoder(dict[str, Any]).decode
