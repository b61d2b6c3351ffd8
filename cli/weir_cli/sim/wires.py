"""The wire formats that the simulator speaks. A new one is a module like `openai_wire`, and a row here."""

from __future__ import annotations

from typing import Any, Protocol, assert_never

from weir_cli.sim import anthropic_wire, openai_wire, responses_wire
from weir_cli.sim.answer import Answer, Ask
from weir_cli.sim.faults import FaultKind
from weir_cli.sim.frames import Frame
from weir_cli.sim.models import SimModel
from weir_cli.sim.refused import Refused
from weir_router.contract import Dialect, WireFormat


class Wire(Protocol):
    """One wire format; a module satisfies it."""

    PATH: str
    PROVIDER: Dialect
    MARK: bytes | None
    REQUEST_ID_HEADER: str
    PING: bytes
    BROKEN: bytes
    ERRORS: dict[FaultKind, Refused]
    ERROR_IN_200: Refused

    def parse(self, body: dict[str, Any], model: SimModel) -> Ask:
        """The request, as a question to the model. Raises `Refused` as the API would."""

    def caches(self, body: dict[str, Any]) -> bool:
        """Whether a prompt cache takes the request."""

    def choices(self, body: dict[str, Any]) -> int:
        """How many answers the request asks for."""

    def render(self, ask: Ask, model: SimModel, answers: list[Answer]) -> bytes:
        """The whole answer."""

    def stream(self, ask: Ask, model: SimModel, answers: list[Answer]) -> list[Frame]:
        """The answer as a stream."""

    def listing(self, models: list[SimModel]) -> bytes:
        """The body of `GET /v1/models`."""

    def described(self, model: SimModel) -> dict[str, Any]:
        """One model in a listing."""

    def payload(self, refused: Refused, request_id: str) -> dict[str, Any]:
        """The error object, in an answer's body or in an event of a stream."""

    def error_event(self, error: dict[str, Any]) -> bytes:
        """An error in the middle of a stream."""

    def failed_event(self, error: dict[str, Any], begun: bytes, number: int) -> bytes:
        """The end of a stream that failed. `begun` is its first event, and `number` that of the new one."""

    def unfinished(self, frames: list[Frame]) -> list[Frame]:
        """The stream without the ends of its items."""

    def unknown_path(self, method: str, path: str) -> Refused:
        """404 for a path that the API does not have."""

    def unknown_model(self, name: str) -> Refused:
        """404 for a model that the API does not have."""

    def unreadable(self) -> Refused:
        """400 for a body that is not a JSON object."""

    def wrong_key(self, given: str | None) -> Refused:
        """401 for a missing or a wrong key."""

    def missing_header(self, marked: bool) -> Refused | None:
        """400 for a request without a header that the API wants. `marked`: the header `MARK` is there."""


def wire_of(format: WireFormat) -> Wire:
    """A wire format by its name."""
    match format:
        case WireFormat.CHAT:
            return openai_wire
        case WireFormat.RESPONSES:
            return responses_wire
        case WireFormat.MESSAGES:
            return anthropic_wire
        case _:
            assert_never(format)


WIRES: dict[WireFormat, Wire] = {format: wire_of(format) for format in WireFormat}
