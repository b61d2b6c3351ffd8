"""State that requests use and leave at a provider: stored responses, and items by their ids. Pure.

The ids of both are sealed on their way to the caller (`Shown`) and opened on their way back (`opened`), see
`dialects.sealed_ids`. An item that holds all its content needs no state. So its id is only opened where it came from,
and left out for any other backend.
"""

from __future__ import annotations

from typing import Any

from weir_router.contract import Backend
from weir_router.dialects.ask import Ask
from weir_router.dialects.openai_responses import sealed
from weir_router.dialects.sealed_ids import ITEM, MARK, MAX_ID, RESPONSE, Opened, Seals, State, is_id, is_sealed
from weir_router.errors import BadRequest, StateNotFound

MAX_SEALED_ITEMS = 10_000
"""Items with sealed ids in one request; each costs some microseconds. Conversations of agents have hundreds."""

MAX_REMEMBERED = 1_000
"""Sealed ids of one answer that are remembered. Each of thousands of deltas has the id of one of a few items."""

INSTEAD = "send the whole conversation as `input`, with `store: false`"
"""Remedy where state cannot be used."""

_APPROVAL = "approval_request_id"
_BARE = frozenset({"id", "type", "status", "summary"})
# Fields of an item that say nothing without what the provider keeps of it.

_ONLY_KEPT = {"reasoning": ("encrypted_content", "content"), "compaction": ("encrypted_content",)}
# Types of items that a provider finds by their ids, unless they have one of these fields.


class Shown:
    """Shows the answers of one account to one caller, with sealed ids."""

    __slots__ = ("_account", "_items", "_seals")

    def __init__(self, seals: Seals, account: str) -> None:
        self._seals = seals
        self._account = account
        self._items: dict[str, str] = {}  # sealed ids of this answer's items

    def item(self, id: str) -> str:
        """The sealed id of an item: the same in each event."""
        found = self._items.get(id)
        if found is None:
            found = self._seals.sealed(ITEM, self._account, id)
            if len(self._items) < MAX_REMEMBERED and len(id) <= MAX_ID:
                self._items[id] = found
        return found

    def response(self, id: str) -> str:
        """The sealed id of a response."""
        return self._seals.sealed(RESPONSE, self._account, id)

    def answer(self, payload: dict[str, Any]) -> dict[str, Any]:
        """A whole response."""
        shown = dict(payload)
        for name in ("id", "previous_response_id"):
            if isinstance(id := payload.get(name), str):
                shown[name] = self.response(id)
        if isinstance(output := payload.get("output"), list):
            shown["output"] = [self._item(item) for item in output]
        return shown

    def event(self, payload: dict[str, Any]) -> dict[str, Any]:
        """An event of a stream."""
        shown = dict(payload)
        if isinstance(response := payload.get("response"), dict):
            shown["response"] = self.answer(response)
        if isinstance(id := payload.get("item_id"), str):
            shown["item_id"] = self.item(id)
        if "item" in payload:
            shown["item"] = self._item(payload["item"])
        if isinstance(id := payload.get("response_id"), str):
            shown["response_id"] = self.response(id)
        return shown

    def listing(self, payload: dict[str, Any]) -> dict[str, Any]:
        """A list of items, as of `GET /v1/responses/ID/input_items`."""
        shown = dict(payload)
        if isinstance(items := payload.get("data"), list):
            shown["data"] = [self._item(item) for item in items]
        for name in ("first_id", "last_id"):
            if isinstance(id := payload.get(name), str):
                shown[name] = self.item(id)
        return shown

    def _item(self, item: Any) -> Any:
        if not isinstance(item, dict):
            return item
        names = [name for name in ("id", _APPROVAL) if isinstance(item.get(name), str)]
        return {**item, **{name: self.item(item[name]) for name in names}} if names else item


def shown_of(ask: Ask, backend: Backend) -> Shown | None:
    """Shows the answers to a request, of a backend of the same format; None: they neither leave nor name any state."""
    state = ask.state
    if ask.seals is None or state is None or not backend.account or not (state.stores or state.used):
        return None
    return Shown(ask.seals, backend.account)


def shown_to_caller(payload: dict[str, Any], realm: str, stored: Shown | None) -> dict[str, Any]:
    """A whole answer with the mark of its realm and sealed ids; the same object, if nothing changes."""
    shown = sealed.marked(payload, realm) if realm else payload
    return shown if stored is None else stored.answer(shown)


def is_reference(item: dict[str, Any]) -> bool:
    """Whether an item of a request only names one that is kept."""
    kind = item.get("type")
    if kind == "image_generation_call":
        return not item.get("result")
    return kind == "item_reference" or (kind is None and "role" not in item)


def home_of(state: State, seals: Seals) -> str:
    """The account that holds all that a request uses; empty: it uses nothing. Raises `BadRequest`, `StateNotFound`."""
    named = [("previous_response_id", RESPONSE, state.previous)] if state.previous is not None else []
    named += [(where, ITEM, id) for where, id in state.references]
    if len(named) > MAX_SEALED_ITEMS:
        raise BadRequest(f"The request refers to more than {MAX_SEALED_ITEMS} items. Send the items themselves.")
    found = {proven(seals, purpose, id, where).account for where, purpose, id in named}
    if len(found) > 1:
        raise BadRequest(f"The request refers to state at several providers, which none of them has: {INSTEAD}.")
    return found.pop() if found else ""


def proven(seals: Seals, purpose: str, id: str, where: str) -> Opened:
    """The account and own id behind a caller's id. Raises `BadRequest` for a text that is no id, and `StateNotFound`
    for every id that is not the caller's, in the same words: they must not tell what others have.
    """
    if not is_id(id):
        raise BadRequest(f"`{where}` is not an id: letters, digits, _ and -, 512 at most.", param=where)
    opened = seals.opened(purpose, id)
    if opened is None:
        what = "response" if purpose == RESPONSE else "item"
        raise StateNotFound(
            f"`{where}` names no {what} of yours that can be found. It was not stored (only backends that take the "
            f"Responses API store any), was made for another caller, or is too old: {INSTEAD}.",
            param=where,
        )
    return opened


def opened(fields: dict[str, Any], body: dict[str, Any], seals: Seals | None, account: str, dropped: list[str]) -> None:
    """Puts the provider's own ids into an upstream request in place. Names what it leaves out in `dropped`."""
    previous, items = body.get("previous_response_id"), fields.get("input")
    if isinstance(previous, str) and previous and seals is not None:
        fields["previous_response_id"] = proven(seals, RESPONSE, previous, "previous_response_id").id
    given = items if isinstance(items, list) else body.get("input")
    if not isinstance(given, list):
        return
    ids = [it["id"] for it in given if isinstance(it, dict) and isinstance(it.get("id"), str)]
    if len(ids) > MAX_SEALED_ITEMS and sum([MARK in id for id in ids]) > MAX_SEALED_ITEMS:
        what = f"More than {MAX_SEALED_ITEMS} items have ids of stored items"
        raise BadRequest(f"{what}. Leave the ids out.", param="input")
    made = [_opened(item, seals, account) for item in given]
    if all(new is old for new, old in zip(made, given, strict=True)):
        return
    left = [item for item in made if item is not None]
    if len(left) < len(made):
        dropped.append("reasoning")
        left = [_without_id(item) for item in left]  # a provider that knows an item demands the reasoning before it
    fields["input"] = left


def _opened(item: Any, seals: Seals | None, account: str) -> Any:
    """One item with the provider's ids; None: it says nothing without what another provider keeps of it."""
    if not isinstance(item, dict):
        return item
    id, approval = item.get("id"), item.get(_APPROVAL)
    if isinstance(approval, str) and is_sealed(approval):
        item = {**item, _APPROVAL: _own(approval, seals, account) or approval}
    if not isinstance(id, str):
        return item
    own = _own(id, seals, account) if is_sealed(id) else None
    if own is not None:
        return {**item, "id": own}
    if seals is not None and _is_bare(item):
        return None  # only the provider that keeps it knows it, and any caller could name another's
    return _without_id(item) if is_sealed(id) else item


def _is_bare(item: dict[str, Any]) -> bool:
    """Whether an item has no content, so that its id stands for it. Empty fields are none, and unknown ones neither."""
    contents = _ONLY_KEPT.get(str(item.get("type")))
    names = item.keys() - _BARE if contents is None else contents
    return not is_reference(item) and not any(item.get(name) for name in names)


def _without_id(item: Any) -> Any:
    """An item that holds its content, as a new one. A reference stays."""
    if not isinstance(item, dict) or "id" not in item or is_reference(item):
        return item
    return {name: value for name, value in item.items() if name != "id"}


def _own(id: str, seals: Seals | None, account: str) -> str | None:
    """The provider's own id; None: it is not of this account, or not the caller's."""
    found = None if seals is None else seals.opened(ITEM, id)
    return found.id if found is not None and found.account == account else None
