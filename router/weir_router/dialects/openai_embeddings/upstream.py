"""Requests to an upstream of this format: the caller's own, with the name of the backend's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir_router.contract import Backend
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Outgoing, Pairing
from weir_router.dialects.openai_chat.beyond import beyond
from weir_router.dialects.openai_chat.failures import TABLE
from weir_router.dialects.wire import failures
from weir_router.dialects.wire.fit import adjust, leave_out
from weir_router.dialects.wire.headers import extended, path_with
from weir_router.dialects.wire.outgoing import body_of, shown
from weir_router.errors import AttemptFailed

_NOTHING: frozenset[str] = frozenset()
TUNING = frozenset({"user"})
"""Fields without which the vectors are the same."""


def prepare(
    ask: Ask,
    backend: Backend,
    pairing: Pairing,
    credential: str | None,
    *,
    stream: bool,
    without: frozenset[str] = _NOTHING,
) -> Outgoing:
    """See `base.Prepare`."""
    fields: dict[str, Any] = dict(ask.raw)
    fields["model"] = backend.model
    lost = shown((*adjust(fields, beyond(backend.parameters)), *leave_out(fields, without, TUNING, {})))
    passed, path, extra = tuple(ask.headers.items()), pairing.path, backend.extra
    if extra is None:
        headers = pairing.host.headers(credential, passed)
    else:
        headers, path = extended(pairing.host.headers, credential, passed, extra), path_with(path, extra.query)
    return Outgoing(path, headers, body_of(fields, large=ask.large), _NOTHING, lost)


def failure(status: int, headers: Mapping[str, str], body: bytes, added: frozenset[str]) -> AttemptFailed:
    """See `base.FormatRecord`."""
    return failures.from_answer(TABLE, status, headers, body, added)
