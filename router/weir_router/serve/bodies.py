"""Reads the body of a request, or raises the error that says why not. Used by `serve.story` and `sidecar`."""

from __future__ import annotations

import msgspec

from weir_router.admit.memory import PER_BYTE, RETRY_AFTER, Memory
from weir_router.dialects.passed import multipart
from weir_router.errors import BadRequest, Overloaded, RequestTooLarge
from weir_router.serve.http import MALFORMED, NO_MEMORY, NoBody, Request
from weir_router.serve.inflated import PART, inflated
from weir_router.serve.turns import Turns


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


async def unpacked(request: Request, body: bytes, coding: str, limit: int, memory: Memory, turns: Turns) -> bytes:
    """`body` without its `coding`, at most `limit` bytes, counted in `memory` in addition to the compressed body.

    Each part takes a turn of the event loop. Raises `errors.WeirError`.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    most = min(limit, (memory.largest - request.held) // PER_BYTE)
    parts, size = [], 0
    for part in inflated(body, coding, min(PART, most + 1)):
        size += len(part)
        if size > most:
            raise RequestTooLarge(f"The request is larger than {most} bytes unpacked, the most that you may send here.")
        memory.claim(len(part) * PER_BYTE, request.namespace, "this request's unpacked body")
        request.held += len(part) * PER_BYTE
        parts.append(part)
        if len(part) == PART:
            await turns.next()
    return b"".join(parts)


def named(body: bytes, model: str) -> bytes:
    """A JSON body that asks for `model`: the last field of a name counts, so one is put at the end. In a form the part
    with the model is replaced. Any other body stays as it is. Raises `BadRequest`.
    """
    if multipart.is_form(body):
        return multipart.named(body, model)
    rest = body.rstrip()
    if not rest.endswith(b"}"):
        return body
    rest = rest[:-1].rstrip()
    return b'%b%b"model":%b}' % (rest, b"" if rest.endswith(b"{") else b",", msgspec.json.encode(model))
