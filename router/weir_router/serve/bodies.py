"""Reads the body of a request, or raises the error that says why not. Used by `serve.story` and `sidecar`."""

from __future__ import annotations

from weir_router.admit.memory import PER_BYTE, RETRY_AFTER, Memory
from weir_router.errors import BadRequest, Overloaded, RequestTooLarge
from weir_router.serve.http import MALFORMED, NO_MEMORY, NoBody, Request
from weir_router.serve.inflated import inflated


async def read(request: Request) -> bytes:
    """The body as the caller sent it, read now if it has not come yet. Raises `errors.WeirError`."""
    try:
        return await request.read()
    except NoBody as refusal:
        if refusal.status == NO_MEMORY:
            raise Overloaded(refusal.message, retry_after=RETRY_AFTER) from None
        if refusal.status == MALFORMED:
            raise BadRequest(refusal.message) from None
        raise RequestTooLarge(refusal.message) from None


def unpacked(request: Request, body: bytes, coding: str, limit: int, memory: Memory) -> bytes:
    """`body` without its `coding`, at most `limit` bytes, counted in `memory` in addition to the compressed body.

    Raises `errors.WeirError`.
    """
    most = min(limit, (memory.largest - request.held) // PER_BYTE)
    room = min(most, memory.left(request.namespace) // PER_BYTE)
    plain = inflated(body, coding, room)
    if plain is None:
        if room < most:
            raise memory.used_up("this request's unpacked body", request.namespace)
        raise RequestTooLarge(f"The request is larger than {most} bytes unpacked, the most that you may send here.")
    if plain is not body and memory.take(size := len(plain) * PER_BYTE, request.namespace):
        request.held += size
    return plain
