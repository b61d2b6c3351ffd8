"""Relays requests to the gateway in the pod's name, and its answers back as they come. Used by `sidecar.sidecar`.

The relay changes neither body, path, status nor headers, except for those of one connection. It only puts the pod's
ServiceAccount token in the place of keys, unless the application sends a key or token of Weir's own; the file is read
for each request, since the kubelet renews it. The relay tries once: the gateway has tried every backend already, and
the SDKs retry where that can help.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from weir_router.call.transport import Response, Transport
from weir_router.clock import Clock
from weir_router.dialects.base import FormatRecord
from weir_router.dialects.openai_responses.record import RECORD as RESPONSES
from weir_router.dialects.registry import RECORDS
from weir_router.errors import AttemptFailed, GatewayUnavailable, StreamBroken, WeirError
from weir_router.identify.keys import AZURE_KEY, KEY_PREFIX, is_token, presented_key
from weir_router.record.recorder import Recorder
from weir_router.serve import bodies
from weir_router.serve.http import Answer, Request, fields
from weir_router.serve.stored import no_head
from weir_router.serve.visit import Visit

CONNECT_SECONDS = 5.0
"""Seconds to connect; the gateway is in the same cluster."""

RETRY_AFTER = 1.0
"""Seconds until an SDK should retry when the gateway cannot be reached."""

_HOP = frozenset(
    {
        "connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that belong to one connection, and are not relayed."""

_JUDGED = frozenset({"accept-encoding", "origin"})
"""Headers that are not sent to the gateway. The sidecar itself decides whether a web page may read the answer."""

_SDK_KEYS = (*(record.key for record in RECORDS), AZURE_KEY)
"""Headers, besides `authorization`, that may show the key that `presented_key` finds."""

_KEYS = frozenset({"authorization", "x-api-key", "x-goog-api-key", *_SDK_KEYS})
"""Headers in which SDKs send keys. The gateway gets only the one that proves the caller to it."""

_OURS = frozenset({"server", "date"})
"""Headers that the sidecar's server sets itself."""


class Relay:
    """The relay to one gateway."""

    def __init__(self, url: str, token_file: Path, transport: Transport, recorder: Recorder, clock: Clock) -> None:
        """`url` is the gateway's URL without a path."""
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._transport = transport
        self._recorder = recorder
        self._clock = clock

    async def complete(self, request: Request, format: FormatRecord) -> Answer | None:
        """Asks the gateway; the same handler as `story.Gateway.complete`."""
        visit = Visit(request, format, self._clock.monotonic())
        visit.backend = "gateway"
        self._recorder.started()
        try:
            return await self._complete(visit)
        except WeirError as error:
            return visit.refuse(error)
        finally:
            self._recorder.ended(visit.finished(self._clock.monotonic()))

    async def stored(self, request: Request) -> Answer | None:
        """Asks the gateway for a stored answer, since a sidecar has no keys for ids."""
        if request.method == "HEAD":
            return no_head(request)
        return await self.complete(request, RESPONSES)

    async def _complete(self, visit: Visit) -> Answer | None:
        request = visit.request
        body = await bodies.read(request)
        try:
            response = await self._transport.ask(
                request.method, self._url + request.target, self._headers(request.headers), body, CONNECT_SECONDS
            )
        except AttemptFailed as failure:
            raise self._unavailable(failure.message) from None
        try:
            visit.status, visit.id = response.status, response.headers.get("x-weir-request-id", visit.id)
            head = _relayed(response.headers, _OURS)
            visit.events = response.headers.get("content-type", "").startswith("text/event-stream")
            if visit.events or (response.status < 300 and "content-length" not in response.headers):
                await _stream(visit, response, fields(head))
                return None
            try:
                answer = await response.read_all()
            except AttemptFailed as failure:
                raise self._unavailable(failure.message) from None
            visit.outcome = "ok" if response.status < 400 else "refused" if response.status < 500 else "error"
            return Answer(response.status, fields(head), answer)
        finally:
            response.release()

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        sent = _relayed(headers, _JUDGED | _KEYS)
        shown = presented_key(headers)
        if shown is None or not (shown.startswith(KEY_PREFIX) or is_token(shown)):
            sent["authorization"] = f"Bearer {self._token()}"  # a provider's own key must not leave the pod
        else:
            name = next((it for it in _SDK_KEYS if headers.get(it) == shown), "authorization")
            sent[name] = headers[name]
        return sent

    def _token(self) -> str:
        try:
            token = self._token_file.read_text().strip()
        except (OSError, ValueError):  # the message of a ValueError would quote the file
            token = ""
        if len(token.split()) != 1:
            raise self._unavailable(f"{self._token_file} holds no token of this pod")
        return token

    def _unavailable(self, why: str) -> GatewayUnavailable:
        return GatewayUnavailable(
            f"This pod's sidecar cannot reach Weir's gateway at {self._url}: {why}.", retry_after=RETRY_AFTER
        )


def _relayed(headers: Mapping[str, str], kept_back: frozenset[str]) -> dict[str, str]:
    """The headers without those of one connection, which `connection` may name, and those that are `kept_back`."""
    named = next((value for name, value in headers.items() if name.lower() == "connection"), "")
    dropped = _HOP | kept_back | {it.strip().lower() for it in named.split(",")}
    return {name: value for name, value in headers.items() if name.lower() not in dropped}


async def _stream(visit: Visit, response: Response, head: bytes) -> None:
    """The answer's events, or other bytes such as audio, each in the moment in which it comes."""
    stream = visit.request.stream(response.status, head)

    def receive(part: bytes) -> bool:
        stream.write(part)
        return True

    stream.on_pressure(response.hold)
    try:
        await response.each(receive)
        visit.outcome = "ok"
        stream.end()
    except AttemptFailed as failure:  # content has gone out: an error event or a cut, never a clean close
        visit.break_off(stream, StreamBroken(f"The gateway's stream broke: {failure.message}."))
