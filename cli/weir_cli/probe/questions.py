"""The questions that a backend is asked: one for each wire format of its provider, and for each endpoint that it lists.

Each costs a token or nothing. Pure; `asking` sends them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from weir_operator.kinds.modeltier.dialects import OWN_FORMATS, SPOKEN
from weir_router.contract import Backend, Endpoint, WireFormat
from weir_router.dialects.anthropic.host import DEFAULT_VERSION
from weir_router.dialects.registry import CONVERSATIONS, host_of, pairing_of
from weir_router.dialects.wire.headers import extended, path_with
from weir_router.dialects.wire.outgoing import Body

LEAST_OUTPUT = {WireFormat.CHAT: 1, WireFormat.RESPONSES: 16, WireFormat.MESSAGES: 1}
"""Tokens of the shortest answer that each format lets a request ask for. OpenAI refuses less than 16 in Responses."""

INPUT_TOKENS = 8
"""Tokens of a question, with what a provider adds: servers count 1 to 10 for two letters."""

_HI = [{"role": "user", "content": "Hi"}]
_BODIES: dict[WireFormat, dict[str, Any]] = {
    WireFormat.CHAT: {"messages": _HI, "max_tokens": LEAST_OUTPUT[WireFormat.CHAT]},
    WireFormat.RESPONSES: {"input": "Hi", "max_output_tokens": LEAST_OUTPUT[WireFormat.RESPONSES], "store": False},
    WireFormat.MESSAGES: {"messages": _HI, "max_tokens": LEAST_OUTPUT[WireFormat.MESSAGES]},
}
_ENDPOINTS: dict[Endpoint, tuple[str, dict[str, Any]]] = {
    Endpoint.EMBEDDINGS: ("/embeddings", {"input": "Hi"}),
    Endpoint.COMPLETIONS: ("/completions", {"prompt": "Hi", "max_tokens": 1}),
    Endpoint.MODERATIONS: ("/moderations", {"input": "Hi"}),
    Endpoint.RERANK: ("/rerank", {"query": "Hi", "documents": ["Hi"]}),
    Endpoint.IMAGES: ("/images/generations", {}),
    Endpoint.AUDIO: ("/audio/speech", {}),
}
"""Path and fields of each endpoint. Pictures and speech have a price each: those are asked without a prompt, which a
server refuses that has the endpoint.
"""

_SHOWN = {
    Endpoint.EMBEDDINGS: "data",
    Endpoint.COMPLETIONS: "choices",
    Endpoint.MODERATIONS: "results",
    Endpoint.RERANK: "results",
}
"""The list that an answer of each endpoint has."""


class Question(NamedTuple):
    """One request, ready to be sent. Its headers hold the credential."""

    what: WireFormat | Endpoint
    listed: bool  # whether the manifest says that the backend takes it
    path: str  # below the base URL
    headers: dict[str, str]
    body: Body
    output_tokens: int  # at most
    shown: str | None = None  # list that an answer must have; None: see `refused`, or the format reads it
    refused: bool = False  # a server that has the endpoint refuses the request, and charges nothing

    @property
    def input_tokens(self) -> int:
        """Tokens of the question, about."""
        return 0 if self.refused else INPUT_TOKENS


def listed_formats(backend: Backend) -> tuple[WireFormat, ...]:
    """The wire formats that the manifest says or implies."""
    stated = tuple(WireFormat(name) for name in backend.formats if name in list(WireFormat))
    return stated or SPOKEN[backend.provider][:1]


def _is_for_endpoints(backend: Backend) -> bool:
    """Whether the manifest is about a model for vectors, images or the like, of which nothing says that it converses:
    its formats are those that every server of its kind is taken to have.
    """
    implied = backend.formats in ((), OWN_FORMATS[backend.provider])
    return implied and backend.capabilities is None and any(it != Endpoint.COMPLETIONS for it in backend.endpoints)


def questions(backend: Backend, credential: str | None) -> list[Question]:
    """All questions for a backend: its formats, and the endpoints that it lists."""
    listed = () if _is_for_endpoints(backend) else listed_formats(backend)
    formats = [_conversation(backend, credential, it, listed=it in listed) for it in SPOKEN[backend.provider]]
    return [*formats, *(_endpoint(backend, credential, Endpoint(it)) for it in backend.endpoints)]


def renamed(question: Question, backend: Backend, credential: str | None) -> Question:
    """The same question to a model that knows `max_completion_tokens` only."""
    assert isinstance(question.what, WireFormat)
    again = {"messages": _HI, "max_completion_tokens": LEAST_OUTPUT[WireFormat.CHAT]}
    return _conversation(backend, credential, question.what, listed=question.listed, fields=again)


def _conversation(
    backend: Backend,
    credential: str | None,
    what: WireFormat,
    *,
    listed: bool,
    fields: dict[str, Any] | None = None,
) -> Question:
    """A request like those of a router, with the parameters, headers and query of the backend."""
    record = next(it for it in CONVERSATIONS if it.name is what)
    headers = {record.mark: DEFAULT_VERSION} if record.mark else {}
    ask = record.read(msgspec.json.encode({"model": "probe", **(fields or _BODIES[what])}), headers)
    only = msgspec.structs.replace(backend, formats=(what.value,))
    made = record.prepare(ask, only, pairing_of(ask, only), credential, stream=False)
    return Question(what, listed, made.path, made.headers, made.body, LEAST_OUTPUT[what])


def _endpoint(backend: Backend, credential: str | None, what: Endpoint) -> Question:
    path, fields = _ENDPOINTS[what]
    host, extra = host_of(backend.provider), backend.extra
    if extra is None:
        headers = host.headers(credential, ())
    else:
        headers, path = extended(host.headers, credential, (), extra), path_with(path, extra.query)
    shown = _SHOWN.get(what)
    body = msgspec.json.encode({"model": backend.model, **fields})
    return Question(what, True, path, headers, body, 1 if "max_tokens" in fields else 0, shown, refused=shown is None)
