"""Responses that the simulator keeps, as OpenAI does where `store` is not false: read, cancelled and deleted by id.

Called by `weir_cli.sim.server`. An answer is made anew from its request when a client asks for it, so keeping one costs
nothing. One that runs in the background is queued when it is made, in progress when it is read first, and then done.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from weir_cli.sim.exchange import Exchange, Generated
from weir_cli.sim.frames import as_json
from weir_cli.sim.http1 import Request
from weir_cli.sim.refused import Refused
from weir_cli.sim.responses_wire import PATH
from weir_router.contract import WireFormat

MOST = 1024
"""Answers that are kept; the oldest goes first."""

COMPACT = f"{PATH}/compact"
"""Path that makes a conversation shorter."""

_INVALID = "invalid_request_error"
_RUNS = ("queued", "in_progress")


class Kept:
    """One response, and how often it was read."""

    def __init__(self, exchange: Generated, response: dict[str, Any]) -> None:
        self.model = exchange.model
        self.response = response
        self.given = exchange.asked.get("input")
        self.reads = 0
        self.cancelled = False

    def now(self) -> dict[str, Any]:
        """The response as it is now."""
        if self.cancelled:
            return {**self.response, "status": "cancelled", "output": []}
        if self.response.get("background") and self.reads < len(_RUNS):
            return {**self.response, "status": _RUNS[self.reads], "output": [], "usage": None}
        return self.response


class Stored:
    """The responses of one simulator."""

    def __init__(self) -> None:
        self._recent: dict[int, Generated] = {}  # by identity, oldest first; not looked at yet
        self._kept: dict[str, Kept] = {}  # by id

    def keep(self, exchange: Exchange) -> None:
        """Keeps the answer of a request to the Responses API, unless it wants that not."""
        if not isinstance(exchange, Generated) or exchange.dialect is not WireFormat.RESPONSES:
            return
        self._recent[id(exchange)] = exchange
        if len(self._recent) > MOST:
            del self._recent[next(iter(self._recent))]

    def refusal(self, exchange: Exchange) -> Refused | None:
        """The refusal of a request that names what is not kept."""
        if not isinstance(exchange, Generated) or exchange.dialect is not WireFormat.RESPONSES:
            return None
        body = exchange.asked
        previous = body.get("previous_response_id")
        if previous and previous not in self._look():
            message = f"Previous response with id '{previous}' not found."
            return Refused(400, _INVALID, message, code="previous_response_not_found", param="previous_response_id")
        for item in body["input"] if isinstance(body.get("input"), list) else ():
            if len(str(item.get("id") or "")) > 64:
                return Refused(400, _INVALID, "Invalid 'input.id': string too long.", code="string_above_max_length")
            if item.get("type") == "item_reference" and item.get("id") not in self._items():
                return Refused(404, _INVALID, f"Item with id '{item.get('id')}' not found.", param="input")
        return None

    def begun(self, exchange: Exchange) -> bytes | None:
        """The answer to a request that runs in the background; None: it does not."""
        if not isinstance(exchange, Generated) or not exchange.asked.get("background") or exchange.stream:
            return None
        return as_json({**_response(exchange), "status": "queued", "output": [], "usage": None})

    def answer(self, request: Request) -> bytes | list[bytes] | Refused | None:
        """The answer to a request below the path; a list of events is a stream. None: there is no such path."""
        name, _, action = request.path.removeprefix(f"{PATH}/").partition("/")
        kept = self._look().get(name)
        if (request.method, action) not in {("GET", ""), ("DELETE", ""), ("POST", "cancel"), ("GET", "input_items")}:
            return None
        if kept is None:
            return Refused(404, _INVALID, f"Response with id '{name}' not found.")
        query = dict(parse_qsl(request.target.partition("?")[2]))
        if request.method == "DELETE":
            del self._kept[name]
            return as_json({"id": name, "object": "response", "deleted": True})
        if action == "cancel":
            if not kept.response.get("background"):
                return Refused(400, _INVALID, "Only background responses can be cancelled.")
            kept.cancelled = kept.reads < len(_RUNS)
            return as_json(kept.now())
        if action == "input_items":
            return as_json(_listing(name, kept.given, query.get("after")))
        if query.get("stream") == "true":
            return list(_events(kept.response, int(query.get("starting_after", -1))))
        found = kept.now()
        kept.reads += 1
        return as_json(found)

    def _look(self) -> dict[str, Kept]:
        """All that is kept, by id."""
        recent, self._recent = self._recent, {}
        for exchange in recent.values():
            if exchange.asked.get("store") is not False:
                response = _response(exchange)
                self._kept[response["id"]] = Kept(exchange, response)
        for name in list(self._kept)[:-MOST]:
            del self._kept[name]
        return self._kept

    def _items(self) -> set[str]:
        return {item["id"] for kept in self._look().values() for item in kept.response["output"]}


def compacted(request: Request) -> bytes:
    """The answer to a request to make a conversation shorter."""
    body = msgspec.json.decode(request.body)
    item = {"id": "cmp_1", "type": "compaction", "encrypted_content": "gAAAA-short"}
    usage: dict[str, Any] = {"input_tokens": 20, "output_tokens": 5, "total_tokens": 25}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    whole = {"id": "resp_compact", "object": "response.compaction", "created_at": 0, "model": body.get("model")}
    return as_json({**whole, "output": [item], "usage": usage})


def _response(exchange: Generated) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(exchange.body)
    asked = exchange.asked
    return {**found, "background": True} if asked.get("background") else found


def _listing(name: str, given: Any, after: str | None) -> dict[str, Any]:
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    items = [{"id": f"msg_in_{name}_{number}", **item} for number, item in enumerate(given or ())]
    ids = [item["id"] for item in items]
    items = items[ids.index(after) + 1 :] if after in ids else items
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return {"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": False}


def _events(response: dict[str, Any], after: int) -> Iterator[bytes]:
    """The events of a finished response, from the one after `after` on."""
    begun = {**response, "status": "in_progress", "output": []}
    events: list[dict[str, Any]] = [
        {"type": f"response.{kind}", "response": begun} for kind in ("created", "in_progress")
    ]
    for index, item in enumerate(response["output"]):
        events.append({"type": "response.output_item.added", "output_index": index, "item": item})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": f"response.{response['status']}", "response": response})
    for number, event in enumerate(events):
        if number > after:
            yield b"event: %b\ndata: %b\n\n" % (event["type"].encode(), as_json({**event, "sequence_number": number}))
