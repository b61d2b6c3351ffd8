"""The door: which request is let in before its body is decoded. Used by `serve.story`.

In this order: the policy that serves the caller and its model, the policy's `requestBytes`, its rate and in-flight
limits, and room in the router. The caller is known before, as are the bytes that the body may take. So a body that is
costly to decode costs its sender a request of its limits first, and only as many are decoded as the router has room
for.
"""

from __future__ import annotations

import msgspec

from weir_router.admit.ledger import Hold, Ledger
from weir_router.admit.memory import Memory
from weir_router.admit.queue import WAIT, Room
from weir_router.call.load import Load
from weir_router.contract import CallerKind, CompiledConfig, Policy, PromptLogging
from weir_router.contract.caller import Caller
from weir_router.decide.policy import PolicyIndex, find_policy, largest_request, models_for, prefixes_for
from weir_router.dialects.ask import Ask
from weir_router.dialects.passed.multipart import is_form
from weir_router.dialects.wire import body as wire_body
from weir_router.dialects.wire import items
from weir_router.dialects.wire.body import MAX_ITEMS
from weir_router.dialects.wire.look import Look
from weir_router.errors import PolicyNotReady, RequestTooLarge, UnknownModel
from weir_router.serve import bodies
from weir_router.serve.http import Request
from weir_router.serve.turns import Turns
from weir_router.serve.visit import Visit

UNPACKED_BYTES = 64 * 1024
"""Bytes that a packed body may have unpacked in any case, so that its policy can be found and named in the error."""

MAX_LISTED = 20
"""Models that the answer about an unknown one lists."""

NAMESPACE_HINT = (
    "Callers without a key are of the namespace {}; weir up --namespace NAME makes them callers of another, with its "
    "policies."
)
"""The advice for callers without a key that no policy serves. Only `weir up` has such callers."""

BYTES_PER_ITEM = 64
"""Bytes counted for an item of a body while it is decoded: an empty object of Python. Larger ones have several."""

_KINDS = {kind: kind.value for kind in CallerKind} | {CallerKind.ANONYMOUS: "anonymous"}


class Door:
    """One per router."""

    def __init__(self, ledger: Ledger, room: Room, memory: Memory) -> None:
        self.index = PolicyIndex(CompiledConfig())
        self._ledger = ledger
        self._room = room
        self._memory = memory
        self.turns = Turns()

    def own(self, request: Request, caller: Caller) -> None:
        """Counts the memory of a request for its caller's namespace, as the caller is known. Raises `Overloaded`."""
        if not self._memory.own(request, caller.namespace):
            raise self._memory.used_up("this request", caller.namespace)

    async def unpacked(self, request: Request, body: bytes, coding: str, caller: Caller) -> bytes:
        """`body` without its `coding`, as large as any policy of `caller` accepts. Raises `errors.WeirError`."""
        limit = max(largest_request(self.index, caller), UNPACKED_BYTES)
        return await bodies.unpacked(request, body, coding, limit, self._memory, self.turns)

    def policy(self, visit: Visit, caller: Caller, look: Look, size: int) -> Policy:
        """The policy of a body of `size` bytes. Raises `errors.WeirError`."""
        model = look.model or self._only(caller)
        visit.model, visit.stream = model, look.stream is True
        policy = find_policy(self.index, caller, model)
        if policy is None:
            raise self._unknown(caller, model)
        visit.policy, visit.policy_key = policy, policy.key
        if policy.not_ready is not None:
            raise PolicyNotReady(f"RoutingPolicy {policy.key} is not ready: {policy.not_ready}")
        if size > policy.largest_request:
            raise RequestTooLarge(
                f"The request has {size} bytes; RoutingPolicy {policy.key} accepts {policy.largest_request} "
                "(limits.requestBytes)."
            )
        return policy

    def _only(self, caller: Caller) -> str:
        """The model of a request that names none, of a format that allows it: the only one that its caller may ask for.
        Raises `BadRequest`.
        """
        names = models_for(self.index, caller)
        return names[0] if len(names) == 1 else wire_body.model({"model": None})

    def _unknown(self, caller: Caller, model: str) -> UnknownModel:
        names = [*models_for(self.index, caller), *prefixes_for(self.index, caller)]
        listed = ", ".join(names[:MAX_LISTED]) or "none: no RoutingPolicy names you as a caller"
        more = f" and {len(names) - MAX_LISTED} more, see GET /v1/models" if len(names) > MAX_LISTED else ""
        keyless = caller.kind is CallerKind.ANONYMOUS and not names
        hint = f" {NAMESPACE_HINT.format(caller.namespace)}" if keyless else ""
        return UnknownModel(
            f"No RoutingPolicy lets {caller.namespace}/{caller.name} ask for the model {model!r}. "
            f"Models you may ask for: {listed}{more}.{hint}"
        )

    def weigh(self, request: Request, body: bytes) -> None:
        """Takes memory for the items of a large body, see `wire.items`; a form is not decoded. Raises
        `errors.WeirError`.
        """
        if is_form(body):
            return
        found = items.count(body, MAX_ITEMS)
        if found is None:
            raise RequestTooLarge(
                f"The request has more than {MAX_ITEMS} items (commas, opening brackets and braces). Send fewer or "
                "longer messages."
            )
        size = found * BYTES_PER_ITEM
        self._memory.claim(size, request.namespace, "this request's items")
        request.held += size

    def load(self, request: Request, ask: Ask, body: bytes, policy: Policy) -> Load:
        """The memory of a large request, which keeps the only reference to its body."""
        request.body = None
        return Load(self._memory, request, ask, body, logged=policy.prompt_logging is PromptLogging.FULL)

    def reserve(self, policy: Policy, caller: Caller, apart: str = "") -> Hold:
        """The policy's limits per caller. Requests of a kind `apart` count by themselves. Raises `RateLimited`."""
        limits = policy.limits
        if limits is None:
            return self._ledger.reserve(())
        key = f"{limits.key}/{_KINDS[caller.kind]}/{caller.namespace}/{caller.name}"
        if apart:
            key = f"{apart}/{key}"
        return self._ledger.reserve((msgspec.structs.replace(limits, key=key),), caller.namespace)

    async def room(self, policy: Policy, caller: Caller, size: int) -> None:
        """Waits for room in the router, for one that has none now. Raises `errors.Overloaded`."""
        wait = WAIT if policy.queue.wait is None else policy.queue.wait
        seconds = min(wait, policy.failover.deadline)
        namespace, priority = caller.namespace, policy.queue.priority
        await self._room.wait(namespace=namespace, priority=priority, size=size, seconds=seconds)
