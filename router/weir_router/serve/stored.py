"""Stored answers: `GET` and `DELETE /v1/responses/ID`, `POST …/cancel` and `GET …/input_items`.

The id says which account holds the answer, and its seal that the caller's namespace made it (`dialects.sealed_ids`). So
any router can serve any id, and the request goes to that account only. It asks no model: it takes no concurrency slot,
has no price, and counts no tokens, which were counted when the answer was made. The policy's limits count it apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from weir_router.call.direct import Errand, direct, direct_stream, granted
from weir_router.contract import CompiledConfig, Policy
from weir_router.contract.caller import Caller
from weir_router.contract.conditions import named
from weir_router.decide.types import Candidate
from weir_router.dialects.base import Signal
from weir_router.dialects.neutral.target import realm_of
from weir_router.dialects.openai_responses import sealed
from weir_router.dialects.openai_responses.failures import TABLE
from weir_router.dialects.openai_responses.record import RECORD
from weir_router.dialects.openai_responses.relayed import Relayed
from weir_router.dialects.openai_responses.state import Shown, proven
from weir_router.dialects.registry import host_of
from weir_router.dialects.sealed_ids import ITEM, RESPONSE, Opened, Seals
from weir_router.dialects.wire.relay import encode
from weir_router.dialects.wire.sse import SSE
from weir_router.errors import AttemptFailed, BadRequest, StreamBroken, Unavailable
from weir_router.serve.answers import STREAM_LINES, json_answer
from weir_router.serve.aside import admitted, served_aside
from weir_router.serve.http import Answer, Request
from weir_router.serve.keys import WITHOUT_KEYS, gone, holders
from weir_router.serve.paths import meant
from weir_router.serve.routes import allow, unknown_to_callers
from weir_router.serve.story import Gateway
from weir_router.serve.visit import Visit

APART = "stored"
"""Name of these requests' own share of a policy's limits: who polls for an answer must not run out of requests."""

MAX_QUERY = 2048
"""Characters of the longest query. Clients send a handful of names and an id."""

ACTIONS = {("GET", ""), ("DELETE", ""), ("POST", "cancel"), ("GET", "input_items")}
"""Methods and last parts of the paths that are served."""


_DOTS = (".", "..")


class Wanted(NamedTuple):
    """The stored answer that a request is about."""

    action: str  # the last part of the path; empty: the answer itself
    opened: Opened
    seals: Seals
    query: str
    stream: bool


class Stored:
    """The handler of requests for stored answers, one per router."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._config: CompiledConfig | None = None  # of which the holders are
        self._holders: dict[str, list[tuple[Policy, Candidate]]] = {}  # by account, of ids that were proven
        # A config may have thousands of policies and tiers, and a tenant may poll as fast as it can.

    async def serve(self, request: Request) -> Answer | None:
        """Handles a request below `/v1/responses/`."""
        if request.method == "HEAD":
            return no_head(request)
        if _action(request) is None:
            return unknown_to_callers(request, 404)
        return await served_aside(self._gateway, request, RECORD, self._serve)

    async def _serve(self, visit: Visit) -> Answer | None:
        gateway, request = self._gateway, visit.request
        visit.caller = caller = await gateway.identify(request.headers)
        gateway.door.own(request, caller)
        wanted = self._wanted(request, caller)
        policy, candidate = self._holder(caller, wanted.opened.account)
        visit.policy, visit.policy_key = policy, policy.key
        visit.tier, visit.backend, visit.stream = candidate.tier, candidate.backend.name, wanted.stream
        async with admitted(gateway, policy, caller, 0, APART):
            grant = await granted(gateway.tools, candidate, APART)
            try:
                return await (self._stream if wanted.stream else self._whole)(visit, candidate, wanted)
            finally:
                grant.release()

    def _wanted(self, request: Request, caller: Caller) -> Wanted:
        id, action = _named(request)
        seals = self._gateway.keys.seals(caller)
        if seals is None:
            raise BadRequest(WITHOUT_KEYS)
        opened = proven(seals, RESPONSE, id, "response_id")
        query = _query(request.query, seals)
        stream = action == "" and ("stream", "true") in query
        return Wanted(action, opened, seals, urlencode(query), stream)

    def _holder(self, caller: Caller, account: str) -> tuple[Policy, Candidate]:
        """The policy of the caller and the backend that hold the answer: the first that is not left alone."""
        gateway = self._gateway
        config, health = gateway.store.config, gateway.tools.board.view()
        assert config is not None
        if config is not self._config:
            self._config, self._holders = config, {}
        found = self._holders.get(account)
        if found is None:
            policies = (it for it in gateway.door.index.policies if it.not_ready is None)
            found = [(policy, it) for policy in policies for it in holders(account, policy, config, RECORD.format)]
            self._holders[account] = found
        found = [(policy, it) for policy, it in found if named(policy.callers, caller)]
        if not found:
            raise gone()
        return min(found, key=lambda it: health[it[1].key].available_at if it[1].key in health else 0.0)

    def _errand(self, visit: Visit, candidate: Candidate, wanted: Wanted) -> tuple[Errand, str | None]:
        id = quote(wanted.opened.id, safe="")
        if id in _DOTS:  # the provider's own id would lead to another of its paths
            raise gone()
        path = f"{host_of(candidate.backend.provider).paths[RECORD.format]}/{id}"
        path += f"/{wanted.action}" if wanted.action else ""
        path += f"?{wanted.query}" if wanted.query else ""
        key = candidate.backend.credential
        credential = None if key is None else self._gateway.store.secrets.credentials[key]
        headers = visit.request.headers
        via = self._gateway.hops.passed(headers, "", self._gateway.store.config) if "via" in headers else ""
        passed = (("via", via),) if via else ()
        return Errand(visit.request.method, path, headers=passed), credential

    async def _whole(self, visit: Visit, candidate: Candidate, wanted: Wanted) -> Answer:
        errand, credential = self._errand(visit, candidate, wanted)
        reply = await direct(self._gateway.tools, candidate, errand, TABLE, credential, visit.request)
        try:
            payload = msgspec.json.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            payload = None
        if not isinstance(payload, dict):
            raise Unavailable(f"{candidate.tier}/{candidate.backend.name} has answered with no JSON object.")
        shown = encode(_shown(payload, candidate, wanted))
        visit.outcome, visit.status = "ok", 200
        return json_answer(200, shown, visit.lines({RECORD.request_id: visit.id, **reply.headers}))

    async def _stream(self, visit: Visit, candidate: Candidate, wanted: Wanted) -> Answer | None:
        errand, credential = self._errand(visit, candidate, wanted)
        flow = await direct_stream(self._gateway.tools, candidate, errand, TABLE, credential, visit.request)
        try:
            lines = visit.lines({RECORD.request_id: visit.id, **flow.headers})
            stream = visit.request.stream(200, STREAM_LINES + lines)
            visit.status = 200
            show = _events(candidate, wanted)
            try:
                await flow.relay(stream, show)
                visit.outcome = "ok"
            except AttemptFailed as failure:
                visit.break_off(stream, StreamBroken(f"The stored answer's stream broke: {failure.message}."))
        finally:
            flow.cancel()
        return None


def _named(request: Request) -> tuple[str, str]:
    """The id and the action of a path, e.g. `resp_1` and `cancel`."""
    id, _, action = meant(request.path).removeprefix(f"{RECORD.path}/").partition("/")
    return id, action


def _action(request: Request) -> str | None:
    """The action that a request asks for; None: there is no such path with this method."""
    _, action = _named(request)
    return action if (request.method, action) in ACTIONS else None


def no_head(request: Request) -> Answer:
    """The answer to HEAD. A stream of events in its place would be read as the answer to the next request of the
    connection, which may be another tenant's behind a proxy.
    """
    answer = unknown_to_callers(request, 405)
    return Answer(answer.status, answer.fields + allow({method for method, _ in ACTIONS}), answer.body)


def _query(text: str, seals: Seals) -> list[tuple[str, str]]:
    """The parameters for the provider, with its own ids. Raises `BadRequest` and `StateNotFound`."""
    if len(text) > MAX_QUERY:
        raise BadRequest(f"The query has more than {MAX_QUERY} characters.")
    given = parse_qsl(text, keep_blank_values=True)
    return [(name, proven(seals, ITEM, it, name).id if name in ("after", "before") else it) for name, it in given]


def _shown(payload: dict[str, Any], candidate: Candidate, wanted: Wanted) -> dict[str, Any]:
    """A whole answer for the caller."""
    backend = candidate.backend
    realm = realm_of(backend, host_of(backend.provider).platforms)
    shown = Shown(wanted.seals, backend.account)
    if wanted.action == "input_items":
        return shown.listing(sealed.marked(payload, realm, "data"))
    return shown.answer(sealed.marked(payload, realm))


def _events(candidate: Candidate, wanted: Wanted) -> Callable[[bytes], bytes]:
    """Turns parts of the provider's stream into the caller's."""
    backend = candidate.backend
    realm = realm_of(backend, host_of(backend.provider).platforms)
    splitter = SSE.splitter()
    relayed = Relayed(realm, 0, Shown(wanted.seals, backend.account), ordered=False)

    def show(part: bytes) -> bytes:
        events = splitter.feed(part) if part else splitter.finish()
        return b"".join([relayed.feed(event, SSE.decode(event), Signal.NONE) for event in events])

    return show
