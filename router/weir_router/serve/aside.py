"""Requests that ask no model, such as counts and reads of stored answers: the steps that they share.

They pass the same door as other requests, but a policy's limits count them apart, and they stand aside in the metrics.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from weir_router.contract import Policy
from weir_router.contract.caller import Caller
from weir_router.dialects.base import FormatRecord
from weir_router.errors import WeirError
from weir_router.serve.http import Answer, Request
from weir_router.serve.story import Gateway, bug_in
from weir_router.serve.visit import Visit


async def served_aside(
    gateway: Gateway, request: Request, format: FormatRecord, serve: Callable[[Visit], Awaitable[Answer | None]]
) -> Answer | None:
    """The answer of `serve`, or the answer for its error."""
    visit = Visit(request, format, gateway.clock.monotonic())
    gateway.recorder.started()
    try:
        return await serve(visit)
    except WeirError as error:
        return visit.refuse(error)
    except Exception as bug:
        return visit.refuse(bug_in(bug, visit.id))
    finally:
        gateway.recorder.ended_aside(visit.finished(gateway.clock.monotonic()))


@asynccontextmanager
async def admitted(gateway: Gateway, policy: Policy, caller: Caller, size: int, apart: str) -> AsyncIterator[None]:
    """Room in the router for a request of `size` bytes, within the policy's limits for requests of the kind `apart`.
    Raises `WeirError`.
    """
    hold = gateway.door.reserve(policy, caller, apart)
    try:
        if hold.pending is not None:
            await hold.pending
        if not gateway.room.enter(caller.namespace):
            await gateway.door.room(policy, caller, size)
        try:
            yield
        finally:
            gateway.room.leave(caller.namespace)
    finally:
        hold.release()
