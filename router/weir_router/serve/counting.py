"""Counts the tokens of a request without an answer: `/v1/messages/count_tokens` and `/v1/responses/input_tokens`.

The provider counts where the request's first candidate takes its format and has the path. Otherwise, or if that fails,
Weir estimates, and says so in a header. A count takes no concurrency slot and has no price. It passes the same door as
other requests, but the limits of the policy and of the tier's grant count it apart, so that a burst of counts never
costs a caller its messages.
"""

from __future__ import annotations

import asyncio

import msgspec

from weir_router.call.direct import Errand, Reply, direct, granted
from weir_router.call.load import LARGE
from weir_router.decide.asked import asked
from weir_router.decide.types import Candidate
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import ConversationRecord, FormatRecord
from weir_router.dialects.counting import Counting, counted, tokens_in
from weir_router.dialects.registry import pairing_of
from weir_router.errors import WeirError
from weir_router.estimate.counting import count
from weir_router.serve.answers import json_answer
from weir_router.serve.aside import admitted, served_aside
from weir_router.serve.http import Answer, Request
from weir_router.serve.story import Gateway
from weir_router.serve.turns import HEAVY
from weir_router.serve.visit import Visit

ESTIMATED = "x-weir-estimated"
"""Answer header that marks an estimate."""

SECONDS = 5.0
"""Seconds until an estimate takes the place of a provider's count: Claude Code waits for one before each turn."""

WITHOUT = 600.0
"""Seconds for which a backend is not asked again after it has said that it has no such path: servers compatible with
Anthropic's or OpenAI's often lack it, and each question would send them a whole prompt.
"""

MAX_WITHOUT = 1_000
"""Such backends that are remembered."""

MISSING = frozenset({404, 405, 501})
"""Statuses of servers without the path."""

LIMITED, PAUSE = 429, 10.0
"""Status of a provider that is asked for too many counts, and seconds for which it is left alone if it names none."""

APART = "counts"
"""Name of the counts' own share of a policy's limits."""


class Counter:
    """The handler of requests to count, one per router."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._without: dict[str, float] = {}  # by backend's key, until when (monotonic) it is not asked

    async def count(self, request: Request, format: FormatRecord) -> Answer | None:
        """Handles `POST` to the path of a format's `counting`."""
        return await served_aside(self._gateway, request, format, self._count)

    async def _count(self, visit: Visit) -> Answer:
        gateway, headers = self._gateway, visit.request.headers
        visit.caller = caller = await gateway.identify(headers)
        door = gateway.door
        door.own(visit.request, caller)
        body = await gateway.body(visit, caller)
        if len(body) >= HEAVY:
            await door.turns.next()
        policy = door.policy(visit, caller, visit.format.look(body), len(body))
        visit.stream = False
        via = gateway.hops.passed(headers, visit.model or "", gateway.store.config) if "via" in headers else ""
        async with admitted(gateway, policy, caller, len(body), APART):
            return await self._answer(visit, body, via)

    async def _answer(self, visit: Visit, body: bytes, via: str) -> Answer:
        gateway, request = self._gateway, visit.request
        assert isinstance(visit.format, ConversationRecord)
        counting = visit.format.counting
        assert counting is not None
        if len(body) >= LARGE:
            gateway.door.weigh(request, body)
        if len(body) >= HEAVY:
            await gateway.door.turns.next()
        ask = counting.read(body, request.headers)
        ask = msgspec.structs.replace(counted(ask, counting.fields), model=visit.model or ask.model, via=via)
        if ask.state is not None and visit.caller is not None and visit.policy is not None:
            ask = gateway.bound(ask, visit.caller, visit.policy)
        reply = await self._native(visit, ask, counting)
        visit.outcome, visit.status = "ok", 200
        if reply is not None:
            own = {visit.format.request_id: visit.id, **reply.headers}
            return json_answer(200, reply.body, visit.lines(own))
        if len(body) >= HEAVY:
            await gateway.door.turns.next()
        tokens = count(ask.prompt, counting.unread(ask))
        lines = visit.lines({visit.format.request_id: visit.id, ESTIMATED: "true"})
        return json_answer(200, msgspec.json.encode(counting.answer(tokens)), lines)

    async def _native(self, visit: Visit, ask: Ask, counting: Counting) -> Reply | None:
        """The answer of the provider; None: it cannot say."""
        candidate = self._asked(visit, ask)
        if candidate is None:
            return None
        tools, credential = self._gateway.tools, candidate.backend.credential
        secret = None if credential is None else self._gateway.store.secrets.credentials[credential]
        try:
            errand = _errand(ask, candidate, counting, secret)
            hold = await granted(tools, candidate, APART)
            try:
                async with asyncio.timeout(SECONDS):
                    reply = await direct(tools, candidate, errand, counting.failures, secret, visit.request)
            finally:
                hold.release()
            if tokens_in(msgspec.json.decode(reply.body)) is None:
                return None
        except (WeirError, TimeoutError, ValueError, RecursionError) as error:
            if isinstance(error, WeirError) and error.trail:
                self._refused(candidate.key, error.trail[-1].status, error.retry_after)
            return None
        visit.tier, visit.backend = candidate.tier, candidate.backend.name
        return reply

    def _refused(self, key: str, status: int | None, retry_after: float | None) -> None:
        """Leaves a backend alone that has no such path, or limits its counts."""
        if status == LIMITED:
            seconds = min(retry_after or PAUSE, WITHOUT)
        elif status in MISSING:
            seconds = WITHOUT
        else:
            return
        if len(self._without) >= MAX_WITHOUT:
            self._without.clear()  # keys of endpoints that have long gone
        self._without[key] = self._gateway.clock.monotonic() + seconds

    def _asked(self, visit: Visit, ask: Ask) -> Candidate | None:
        """The first candidate of the request, if its provider may count."""
        gateway, policy, caller = self._gateway, visit.policy, visit.caller
        assert policy is not None
        assert caller is not None
        choice = gateway.decide(asked(ask, visit.request.headers), caller, policy).choice
        if not choice.candidates:
            return None
        candidate = choice.candidates[0]
        until = self._without.get(candidate.key)
        if until is not None and gateway.clock.monotonic() < until:
            return None
        if until is not None:
            del self._without[candidate.key]
        return candidate if pairing_of(ask, candidate.backend).same else None


def _errand(ask: Ask, candidate: Candidate, counting: Counting, credential: str | None) -> Errand:
    """The request to the provider: as a message would go there, with the fields that are counted."""
    backend = candidate.backend
    pairing = pairing_of(ask, backend)
    plain = msgspec.structs.replace(backend, parameters=msgspec.structs.replace(backend.parameters, defaults={}))
    outgoing = pairing.format.prepare(ask, plain, pairing, credential, stream=False)
    headers = {**ask.headers, "via": ask.via} if ask.via else ask.headers
    return Errand("POST", pairing.path + counting.path, outgoing.body, tuple(headers.items()), SECONDS)
