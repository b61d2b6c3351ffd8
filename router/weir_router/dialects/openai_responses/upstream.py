"""Requests to an upstream of this format, and renderers of its streams."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from weir_router.contract import Backend
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Outgoing, Pairing, Renderer
from weir_router.dialects.neutral import translation
from weir_router.dialects.neutral.target import realm_of, target_of
from weir_router.dialects.openai_responses import sealed, state
from weir_router.dialects.openai_responses.assemble import ResponsesAssembler
from weir_router.dialects.openai_responses.failures import SUMMARY, TABLE
from weir_router.dialects.openai_responses.fit import fit, without_summary
from weir_router.dialects.openai_responses.relayed import Relayed
from weir_router.dialects.openai_responses.state import shown_of, shown_to_caller
from weir_router.dialects.wire import failures
from weir_router.dialects.wire.fit import leave_out
from weir_router.dialects.wire.headers import extended, path_with
from weir_router.dialects.wire.outgoing import body_of, shown
from weir_router.dialects.wire.relay import Assembled
from weir_router.errors import AttemptFailed

_NOTHING: frozenset[str] = frozenset()
_STREAM = frozenset({"stream"})


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
    dropped: list[str] = []
    target = target_of(backend, pairing.host.platforms)
    if same:
        fields: dict[str, Any] = dict(ask.raw)
        items = ask.body.get("input")
        if isinstance(items, list) and (fitting := sealed.fitting(items, target.realm, dropped)) is not items:
            fields["input"] = fitting
        state.opened(fields, ask.body, ask.seals, backend.account, dropped)
    else:
        fields = translation.request(ask, *pairing.both(), target, dropped)
    stream = ask.stream if "stream" in without else stream
    if stream != ask.stream or not same:
        fields["stream"] = stream
    if not stream:
        fields.pop("stream_options", None)  # refused without a stream
    fields["model"] = backend.model
    dropped += fit(fields, backend, ask.prompt, translated=not same)
    if without:
        dropped += leave_out(fields, without, TABLE.tuning, TABLE.renames)
        if SUMMARY in without:
            dropped += without_summary(fields)
    passed = tuple(ask.headers.items()) if same and ask.headers else ()
    path, extra = pairing.path + ask.below, backend.extra
    if extra is None:
        headers = pairing.host.headers(credential, passed)
    else:
        headers, path = extended(pairing.host.headers, credential, passed, extra), path_with(path, extra.query)
    added = _STREAM if stream and not ask.stream else _NOTHING
    return Outgoing(path, headers, body_of(fields, large=ask.large), added, shown(dropped))


def renderer(ask: Ask, pairing: Pairing, backend: Backend, *, created: int = 0) -> Renderer:
    """See `base.FormatRecord`."""
    realm = realm_of(backend, pairing.host.platforms)
    if pairing.same:
        stored = shown_of(ask, backend)
        if ask.stream:
            return Relayed(realm, created, stored)
        return Assembled(ResponsesAssembler(), partial(shown_to_caller, realm=realm, stored=stored))
    if ask.stream:
        return translation.stream(ask, *pairing.both(), created, realm)
    caller, upstream = pairing.both()
    translated = partial(translation.response, ask=ask, caller=caller, upstream=upstream, created=created, realm=realm)
    return Assembled(ResponsesAssembler(), translated)


def failure(status: int, headers: Mapping[str, str], body: bytes, added: frozenset[str]) -> AttemptFailed:
    """See `base.FormatRecord`."""
    return failures.from_answer(TABLE, status, headers, body, added)
