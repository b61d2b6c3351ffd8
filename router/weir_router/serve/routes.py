"""Routes from method and path to a handler. Made by `app` for each of the two ports."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from weir_router.dialects.base import FormatRecord
from weir_router.dialects.registry import CONVERSATIONS, RECORDS
from weir_router.errors import BadRequest, WeirError
from weir_router.serve.answers import error_answer, new_request_id
from weir_router.serve.browsers import Gate, preflight
from weir_router.serve.http import NO_METHOD, Answer, Handler, Request, fields
from weir_router.serve.paths import deployment, meant, not_served, shape

UPGRADE_REQUIRED = 426
"""Status of the answer to a WebSocket's handshake: the path is served over plain HTTP only."""

ONLY_HTTP = b"upgrade: HTTP/1.1\r\n"
"""The header line that every 426 has (RFC 9110)."""

Explain = Callable[[Request, int], Answer]
"""Function that makes the answer for an unknown path (status 404) or method (405) from the request and the status."""

Complete = Callable[[Request, FormatRecord], Coroutine[Any, Any, Answer | None]]
"""Handler of a request for a completion."""

Knows = Callable[[dict[str, str]], str | None]
"""Function that gives the namespace of the caller, if a quick look at the headers of a request identifies it."""


def allow(methods: Iterable[str]) -> bytes:
    """The header line with the methods that are served, which every 405 has (RFC 9110)."""
    return fields({"allow": ", ".join(sorted(methods))})


ALLOW = allow(("GET", "HEAD", "OPTIONS", "POST"))
"""The header line of the answer to a method that no path has, such as CONNECT."""


def completing(complete: Complete, record: FormatRecord) -> Handler:
    """The handler of requests for a completion in one format."""
    return lambda request: complete(request, record)


class Routes:
    """A `Handler` that calls other handlers. A path that ends in `/*` matches all paths below."""

    def __init__(
        self, handlers: Mapping[tuple[str, str], Handler], explain: Explain, gate: Gate, knows: Knows | None = None
    ) -> None:
        """`knows` is for handlers of POST, the only ones that need a body; None: there are none."""
        self._explain = explain
        self._gate = gate
        self._knows = knows
        self._exact: dict[str, dict[str, Handler]] = {}  # by path, then by method
        self._below = [(m, path[:-1], handler) for (m, path), handler in handlers.items() if path.endswith("/*")]
        for (method, path), handler in handlers.items():
            if not path.endswith("/*"):
                self._exact.setdefault(path, {})[method] = handler

    def find(self, method: str, path: str) -> Handler | None:
        """The handler; None: there is none. HEAD is served like GET, without the body."""
        wanted = "GET" if method == "HEAD" else method
        at = self._exact.get(path)
        handler = None if at is None else at.get(wanted)
        if handler is not None:
            return handler
        for m, start, below in self._below:
            if m == wanted and len(path) > len(start) and path.startswith(start):
                return below
        return None

    def admits(self, method: str, path: str, headers: dict[str, str]) -> str | None:
        """See `serve.http.Admits`: a namespace if a body is needed, and the headers soon give the caller."""
        if self._knows is None or method != "POST" or (path not in self._exact and meant(path) not in self._exact):
            return None
        return self._knows(headers) if self._gate.is_plain(headers) else None

    def __call__(self, request: Request) -> Coroutine[Any, Any, Answer | None]:
        handler = self.find(request.method, request.path)
        if handler is None:
            handler = self._meant(request)
        if not self._gate.is_plain(request.headers):
            return self._from_browser(request, handler)
        return self._nowhere(request) if handler is None else handler(request)

    def _meant(self, request: Request) -> Handler | None:
        """The handler of the path that the client means, which the request gets. None: there is none."""
        path = meant(request.path)
        if not self._methods(path):
            return None
        request.path, request.deployment = path, deployment(request.path)
        return self.find(request.method, path)

    async def _from_browser(self, request: Request, handler: Handler | None) -> Answer | None:
        """Answers a request that a web page may have sent. A page of an allowed origin may also read the answer."""
        headers = request.headers
        error = self._gate.refusal(request.method, headers)
        if error is not None:
            return error_answer(error, shape(request.sent, headers), new_request_id())
        lines = self._gate.lines(headers)
        if lines and request.method == "OPTIONS" and "access-control-request-method" in headers:
            return Answer(200, lines + preflight(headers), b"")
        if lines:
            request.share(lines)
        answer = await (self._nowhere(request) if handler is None else handler(request))
        return None if answer is None else Answer(answer.status, answer.fields + lines, answer.body)

    async def _nowhere(self, request: Request) -> Answer:
        methods = self._methods(request.path)
        if methods and request.headers.get("upgrade", "").lower() == "websocket":
            # Codex tries one first, and falls back at once only after a 426.
            answer = self._explain(request, UPGRADE_REQUIRED)
            return Answer(answer.status, answer.fields + ONLY_HTTP, answer.body)
        answer = self._explain(request, 405 if methods else 404)
        return Answer(answer.status, answer.fields + allow(methods), answer.body) if methods else answer

    def _methods(self, path: str) -> set[str]:
        """The methods that `path` has a handler for, with HEAD; empty: the path is unknown."""
        methods = set(self._exact.get(path, ())) | {m for m, start, _ in self._below if path.startswith(start)}
        return methods | {"HEAD"} if "GET" in methods else methods


def unknown_to_callers(request: Request, status: int) -> Answer:
    """The answer for a wrong path on the callers' port, in a form that the SDKs understand."""
    served = ", ".join(f"POST {record.path} ({record.title})" for record in CONVERSATIONS)
    routed = ", ".join(record.path for record in RECORDS if record not in CONVERSATIONS)
    instead = not_served(request.path)
    hint = f" {instead}." if instead else ""
    error: WeirError = BadRequest(
        f"Weir does not serve {request.method} {request.path}.{hint} It serves {served} and GET /v1/models, and "
        f"POST to {routed} where a policy routes them: an OpenAI SDK's base URL ends in /v1, an Anthropic SDK's does "
        "not."
    )
    error.status, error.code = status, "unknown_path"
    return error_answer(error, shape(request.sent, request.headers), new_request_id())


def unknown_to_admins(request: Request, status: int) -> Answer:
    """The answer for a wrong path on the admin port: a list of the right ones."""
    return Answer(
        status, b"content-type: text/plain\r\n", b"Weir serves /metrics, /state, /healthz and /readyz here.\n"
    )


def no_http(path: str, headers: dict[str, str], status: int, message: str) -> Answer:
    """The answer to bytes that are not a valid HTTP request, or to HTTP that is not spoken here; see `Refusal`."""
    error = BadRequest(message)
    error.status = status
    answer = error_answer(error, shape(path, headers), new_request_id())
    return Answer(status, answer.fields + ALLOW, answer.body) if status == NO_METHOD else answer
