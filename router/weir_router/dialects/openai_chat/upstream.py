"""Requests to an upstream of this format, which every compatible server accepts, and renderers of its streams."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from weir_router.contract import Backend
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Outgoing, Pairing, Renderer
from weir_router.dialects.neutral import translation
from weir_router.dialects.neutral.target import realm_of, target_of
from weir_router.dialects.openai_chat.assemble import OpenAIAssembler
from weir_router.dialects.openai_chat.failures import TABLE
from weir_router.dialects.openai_chat.stream import DONE_EVENT
from weir_router.dialects.wire import failures
from weir_router.dialects.wire.fit import fit, leave_out
from weir_router.dialects.wire.headers import extended, path_with
from weir_router.dialects.wire.outgoing import body_of, shown
from weir_router.dialects.wire.relay import Assembled, Relay, UsageHidingRelay
from weir_router.errors import AttemptFailed

_NOTHING: frozenset[str] = frozenset()
_STREAM, _USAGE = frozenset({"stream"}), frozenset({"stream_options"})
_BOTH = _STREAM | _USAGE


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
    same = pairing.same
    dropped: list[str] | None = None
    if same:
        fields: dict[str, Any] = dict(ask.raw)
    else:
        dropped = []
        target = target_of(backend, pairing.host.platforms)
        fields = translation.request(ask, *pairing.both(), target, dropped)
    stream = ask.stream if "stream" in without else stream
    added = _NOTHING
    if stream != ask.stream or not same:
        fields["stream"] = stream
        if stream and not ask.stream:
            added = _STREAM
    if stream and "stream_options" not in without:
        if _ask_for_usage(fields, ask.body.get("stream_options") if same else None):
            added = _BOTH if added else _USAGE
    elif not stream and ask.stream:
        fields.pop("stream_options", None)  # refused without a stream
    fields["model"] = backend.model
    lost = fit(fields, backend, ask.prompt)
    if without:
        lost += leave_out(fields, without, TABLE.tuning, TABLE.renames)
    if dropped or lost:
        lost = shown((*(dropped or ()), *lost))
    passed = tuple(ask.headers.items()) if same and ask.headers else ()
    path, extra = pairing.path, backend.extra
    if extra is None:
        headers = pairing.host.headers(credential, passed)
    else:
        headers, path = extended(pairing.host.headers, credential, passed, extra), path_with(path, extra.query)
    body = body_of(fields, large=ask.large)
    return Outgoing(path, headers, body, added.intersection(fields) if added else added, lost)


def _ask_for_usage(fields: dict[str, Any], asked: Any) -> bool:
    """Asks for usage at the end of a stream, since accounting needs it. Returns whether the caller did not ask."""
    if not isinstance(asked, dict):
        fields["stream_options"] = {"include_usage": True}
        return True
    if asked.get("include_usage") is True:
        return False
    fields["stream_options"] = {**asked, "include_usage": True}
    return True


def renderer(ask: Ask, pairing: Pairing, backend: Backend, *, created: int = 0) -> Renderer:
    """See `base.FormatRecord`."""
    if not pairing.same:
        realm = realm_of(backend, pairing.host.platforms)
        if ask.stream:
            return translation.stream(ask, *pairing.both(), created, realm)
        caller, upstream = pairing.both()
        translated = partial(
            translation.response, ask=ask, caller=caller, upstream=upstream, created=created, realm=realm
        )
        return Assembled(OpenAIAssembler(), translated)
    if not ask.stream:
        return Assembled(OpenAIAssembler())
    return (Relay if ask.include_usage else UsageHidingRelay)(DONE_EVENT, b"content")


def failure(status: int, headers: Mapping[str, str], body: bytes, added: frozenset[str]) -> AttemptFailed:
    """See `base.FormatRecord`."""
    return failures.from_answer(TABLE, status, headers, body, added)
