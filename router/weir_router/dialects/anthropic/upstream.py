"""Requests to an upstream of this format, and renderers of its streams."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from weir_router.contract import Backend, Traits
from weir_router.dialects.anthropic import signatures
from weir_router.dialects.anthropic.assemble import AnthropicAssembler
from weir_router.dialects.anthropic.failures import TABLE
from weir_router.dialects.anthropic.fit import fit_model
from weir_router.dialects.anthropic.host import DEFAULT_VERSION
from weir_router.dialects.anthropic.stream import STOP_EVENT
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Outgoing, Pairing, Renderer
from weir_router.dialects.neutral import translation
from weir_router.dialects.neutral.target import realm_of, target_of
from weir_router.dialects.wire import failures
from weir_router.dialects.wire.fit import EFFORT, fit, leave_out, without_effort
from weir_router.dialects.wire.headers import extended, path_with
from weir_router.dialects.wire.outgoing import body_of, shown
from weir_router.dialects.wire.relay import Assembled, ChangingRelay, Relay
from weir_router.errors import AttemptFailed

UNKNOWN = Traits()

_VERSION = ("anthropic-version", DEFAULT_VERSION)
"""Header that servers demand, beside that of a caller; Anthropic's own host adds it, too."""


def prepare(
    ask: Ask,
    backend: Backend,
    pairing: Pairing,
    credential: str | None,
    *,
    stream: bool,
    without: frozenset[str] = frozenset(),
) -> Outgoing:
    """See `base.Prepare`."""
    same = pairing.same
    dropped: list[str] = []
    target = target_of(backend, pairing.host.platforms)
    if same:
        fields: dict[str, Any] = dict(ask.raw)
        if backend.traits != UNKNOWN:
            dropped += fit_model(fields, ask.body, backend.traits)
        _fit_signatures(fields, ask, target.realm, dropped)
    else:
        fields = translation.request(ask, *pairing.both(), target, dropped)
    stream = ask.stream if "stream" in without else stream
    if stream != ask.stream or not same:
        fields["stream"] = stream
    fields["model"] = backend.model
    dropped += fit(fields, backend, ask.prompt, translated=not same)
    if without:
        dropped += leave_out(fields, without, TABLE.tuning, TABLE.renames)
        if EFFORT in without:
            dropped += without_effort(fields)
    passed = tuple(ask.headers.items()) if same else ()
    if not same or _VERSION[0] not in ask.headers:
        passed = (_VERSION, *passed)
    path, extra = pairing.path, backend.extra
    if extra is None:
        headers = pairing.host.headers(credential, passed)
    else:
        headers, path = extended(pairing.host.headers, credential, passed, extra), path_with(path, extra.query)
    added = frozenset({"stream"}) if stream and not ask.stream else frozenset()
    body = body_of(fields, large=ask.large)
    return Outgoing(path, headers, body, added.intersection(fields), shown(dropped))


def _fit_signatures(fields: dict[str, Any], ask: Ask, realm: str, dropped: list[str]) -> None:
    """Leaves out thought that another realm has signed, and thinking where the model would demand that thought."""
    messages = fields["messages"] if isinstance(fields["messages"], list) else ask.body["messages"]
    fitting = signatures.fitting(messages, realm)
    if fitting is not None:
        fields["messages"] = messages = fitting.messages
        if fitting.lost:
            dropped.append("reasoning")
    thinking = ask.body.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") == "enabled" and signatures.lacking(messages):
        fields.pop("thinking", None)
        dropped.append("thinking")


def renderer(ask: Ask, pairing: Pairing, backend: Backend, *, created: int = 0) -> Renderer:
    """See `base.FormatRecord`."""
    realm = realm_of(backend, pairing.host.platforms)
    if not pairing.same:
        if ask.stream:
            return translation.stream(ask, *pairing.both(), created, realm)
        caller, upstream = pairing.both()
        translated = partial(
            translation.response, ask=ask, caller=caller, upstream=upstream, created=created, realm=realm
        )
        return Assembled(AnthropicAssembler(), translated)
    if not realm:
        return Relay(STOP_EVENT, b"text") if ask.stream else Assembled(AnthropicAssembler())
    if ask.stream:
        return ChangingRelay(STOP_EVENT, b"text", partial(signatures.marked_event, realm=realm))
    return Assembled(AnthropicAssembler(), partial(signatures.marked, realm=realm))


def failure(status: int, headers: Mapping[str, str], body: bytes, added: frozenset[str]) -> AttemptFailed:
    """See `base.FormatRecord`."""
    return failures.from_answer(TABLE, status, headers, body, added)
