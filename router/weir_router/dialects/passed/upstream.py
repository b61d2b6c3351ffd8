"""Requests to upstreams of passed endpoints: as the caller sent them, with the upstream's name for the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir_router.contract import Backend
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Outgoing, Pairing
from weir_router.dialects.openai_chat.beyond import beyond
from weir_router.dialects.openai_chat.failures import TABLE
from weir_router.dialects.passed.multipart import part_with
from weir_router.dialects.passed.request import AFTER, BEFORE, CONTENT_TYPE
from weir_router.dialects.wire import failures
from weir_router.dialects.wire.fit import adjust, leave_out
from weir_router.dialects.wire.headers import Kept, extended, path_with
from weir_router.dialects.wire.outgoing import Body, Spliced, body_of, shown
from weir_router.errors import AttemptFailed

_NOTHING: frozenset[str] = frozenset()


def prepare(
    ask: Ask,
    backend: Backend,
    pairing: Pairing,
    credential: str | None,
    *,
    stream: bool,
    without: frozenset[str] = _NOTHING,
) -> Outgoing:
    """See `base.Prepare`. The caller's wish for a stream stays as it is. A form gets no `parameters`."""
    form = CONTENT_TYPE in ask.headers
    passed = tuple((name, value) for name, value in ask.headers.items() if name != CONTENT_TYPE)
    path, extra = pairing.path, backend.extra
    if extra is None:
        headers = pairing.host.headers(credential, passed)
    else:
        headers, path = extended(pairing.host.headers, credential, passed, extra), path_with(path, extra.query)
    body: Body
    lost: tuple[str, ...] = ()
    if form:
        headers = Kept({**headers, CONTENT_TYPE: ask.headers[CONTENT_TYPE]})
        body = _form(ask, backend.model)
    else:
        fields: dict[str, Any] = dict(ask.raw)
        fields["model"] = backend.model
        parameters = backend.parameters
        lost = adjust(fields, parameters if ask.format is Format.COMPLETIONS else beyond(parameters))
        if without:
            lost += leave_out(fields, without, TABLE.tuning, TABLE.renames)
        body = body_of(fields, large=ask.large)
    return Outgoing(path, headers, body, _NOTHING, shown(lost) if lost else lost)


def _form(ask: Ask, model: str) -> Body:
    before, after = memoryview(ask.raw[BEFORE]), memoryview(ask.raw[AFTER])
    part = part_with(model, None if len(before) else ask.headers[CONTENT_TYPE])
    parts: list[bytes | memoryview] = [before, part, after]
    return Spliced(parts) if ask.large else b"".join(parts)


def failure(status: int, headers: Mapping[str, str], body: bytes, added: frozenset[str]) -> AttemptFailed:
    """See `base.FormatRecord`. A server that lacks the endpoint stays in use for others."""
    return failures.from_answer(TABLE, status, headers, body, added).at("/")
