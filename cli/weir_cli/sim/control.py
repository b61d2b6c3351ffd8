"""The simulator's control endpoints, under `/_sim`, on the same port as its models.

    PUT    /_sim/faults/{model}    a fault or a list of faults; `*` stands for every model without its own
    GET    /_sim/faults/{model}    what is on
    DELETE /_sim/faults/{model}    switches off; without a model: all
    GET    /_sim/stats             counts per model
    GET    /_sim/requests/{model}  its last requests, oldest first, headers and all
    POST   /_sim/reset             faults off, counts to zero, requests forgotten

Called by `weir_cli.sim.server`. No authentication: the simulator binds to loopback by default.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec

from weir_cli.sim.faults import Fault, FaultBoard
from weir_cli.sim.frames import as_json
from weir_cli.sim.http1 import Request
from weir_cli.sim.stats import Book, Seen

PREFIX = "/_sim/"


class ControlError(Exception):
    """The control request makes no sense; status and message for its answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def control(request: Request, board: FaultBoard, book: Book, models: frozenset[str]) -> bytes:
    """Carries out a control request; gives the body of its answer. Raises `ControlError`."""
    what, _, model = request.path.removeprefix(PREFIX).partition("/")
    model = unquote(model)
    match request.method, what:
        case "PUT", "faults":
            if model not in models:
                raise ControlError(404, f"no model {model!r}; there are: {', '.join(sorted(models))}")
            board.set(model, *_faults(request.body))
            return as_json(board.get(model))
        case "GET", "faults":
            return as_json(board.get(model))
        case "DELETE", "faults":
            board.clear(model or None)
            return as_json([])
        case "GET", "stats":
            return as_json(book.snapshot())
        case "GET", "requests":
            return as_json([_readable(seen) for seen in book.seen(model)])
        case "POST", "reset":
            board.clear()
            book.reset()
            return as_json({})
    raise ControlError(404, f"no {request.method} {request.path}; see `weir sim --help`")


def _faults(body: bytes) -> list[Fault]:
    try:
        faults = msgspec.json.decode(body, type=Fault | list[Fault])
    except msgspec.MsgspecError as error:
        raise ControlError(400, f"not a fault: {error}") from error
    return faults if isinstance(faults, list) else [faults]


def _readable(seen: Seen) -> dict[str, Any]:
    try:
        body = seen.json()
    except msgspec.MsgspecError:
        body = seen.body.decode("utf-8", "replace")
    return {"method": seen.method, "path": seen.path, "headers": seen.headers, "body": body}
