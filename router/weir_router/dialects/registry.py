"""The registry of formats and hosts. A new one is a row here, and mypy demands it.

`serve` finds the format of a caller here, and `call.attempt` the format and the host of a backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from msgspec.structs import force_setattr

from weir_router.contract import Backend, Dialect, Operation
from weir_router.dialects.anthropic.host import HOST as ANTHROPIC
from weir_router.dialects.anthropic.record import RECORD as ANTHROPIC_MESSAGES
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import ConversationRecord, FormatRecord, Host, Pairing, StreamedRecord
from weir_router.dialects.neutral import translation
from weir_router.dialects.openai_chat.host import HOST as OPENAI
from weir_router.dialects.openai_chat.mixed import RECORD as MIXED
from weir_router.dialects.openai_chat.record import RECORD as OPENAI_CHAT
from weir_router.dialects.openai_embeddings.record import RECORD as OPENAI_EMBEDDINGS
from weir_router.dialects.openai_embeddings.request import embeds
from weir_router.dialects.openai_responses.record import RECORD as OPENAI_RESPONSES
from weir_router.dialects.passed.record import PASSED

DEFAULT_PROVIDER = Dialect.OPENAI
"""Provider of a request that names none, e.g. in `weir explain`."""


def record_of(format: Format) -> FormatRecord:
    """The record of this format."""
    match format:
        case Format.OPENAI_CHAT:
            return OPENAI_CHAT
        case Format.ANTHROPIC_MESSAGES:
            return ANTHROPIC_MESSAGES
        case Format.OPENAI_RESPONSES:
            return OPENAI_RESPONSES
        case Format.OPENAI_EMBEDDINGS:
            return OPENAI_EMBEDDINGS
        case _:
            return PASSED[format]


def host_of(provider: Dialect) -> Host:
    """The host of a backend of this provider."""
    match provider:
        case Dialect.OPENAI:
            return OPENAI
        case Dialect.ANTHROPIC:
            return ANTHROPIC
        case _:
            assert_never(provider)


RECORDS = tuple(map(record_of, Format))
"""Records of all formats."""

CONVERSATIONS = tuple([record for record in RECORDS if isinstance(record, ConversationRecord)])
"""Records of the formats of conversations. The first is the default for callers."""

OPERATIONS = {record.format: record.operation for record in RECORDS}
"""The operation of each format's callers."""

ANSWER_HEADERS = tuple(dict.fromkeys(name for record in RECORDS for name in record.answer_headers))
"""Headers of an upstream's answer that a caller gets, since the SDKs show them. It gets no quotas and cookies, which
belong to the platform's own account.
"""


_SPOKEN = {
    provider: [it for it in map(record_of, host_of(provider).paths) if isinstance(it, ConversationRecord)]
    for provider in Dialect
}
"""The formats of conversations that a provider takes, the default first."""


def caller_named(provider: Dialect) -> ConversationRecord:
    """The format of conversations that a provider takes by default: that of a caller whose SDK is made for it."""
    return _SPOKEN[provider][0]


Pairings = tuple[Pairing, ...]
"""The ways to send a caller's request to a backend, the best first."""


def _pairings(caller: FormatRecord, provider: Dialect, formats: tuple[str, ...]) -> Pairings:
    """The caller's own format, if the backend takes it, since nothing is lost then. A conversation can also be
    translated to the others that the backend lists, in its order.
    """
    host = host_of(provider)
    options: list[FormatRecord] = [caller]
    if isinstance(caller, ConversationRecord):
        known = {record.name.value: record for record in _SPOKEN[provider]}
        taken = [known[name] for name in formats if name in known] or [caller_named(provider)]
        options = [*(it for it in taken if it is caller), *(it for it in taken if it is not caller)]
    return tuple([_pairing(caller, it, host) for it in options])


def _pairing(caller: FormatRecord, format: FormatRecord, host: Host) -> Pairing:
    streams = format if isinstance(format, StreamedRecord) else None
    return Pairing(caller, format, host, host.paths[format.format], format is caller, streams)


_PAIRINGS: dict[Format, dict[Dialect, dict[tuple[str, ...], Pairings]]] = {
    record.format: {provider: {} for provider in Dialect} for record in RECORDS
}
"""Pairings by the caller's format, the backend's provider and its formats. Each set of formats is paired once."""

_MIXED: dict[Dialect, dict[tuple[str, ...], Pairings]] = {provider: {} for provider in Dialect}
"""The same for callers whose body is `Ask.mixed`."""


def pairings_of(caller: Format, backend: Backend, mixed: bool = False) -> Pairings:
    """The ways to send a request of a format to a backend, which lists the operation; the best first. `mixed`: see
    `Ask`.
    """
    known = (_MIXED if mixed else _PAIRINGS[caller])[backend.provider]
    try:
        return known[backend.formats]
    except KeyError:
        found = known[backend.formats] = _pairings(
            MIXED if mixed else record_of(caller), backend.provider, backend.formats
        )
        return found


def pairing_of(ask: Ask, backend: Backend) -> Pairing:
    """The way to send this request to a backend: the best one whose format can express it, or else the best."""
    try:  # as `pairings_of` does: each call counts here
        options = (_MIXED if ask.mixed else _PAIRINGS[ask.format])[backend.provider][backend.formats]
    except KeyError:
        options = pairings_of(ask.format, backend, ask.mixed)
    best = options[0]
    if len(options) == 1:
        return best
    wants = backend.traits.tools_without_reasoning and ask.prompt.tools
    if best.same and not wants:
        return best
    if wants:
        options = tuple(sorted(options, key=lambda it: _loses_reasoning(ask, it)))
    for option in options:
        if option.same or untranslatable(ask, option) is None:
            return option
    return options[0]


def _loses_reasoning(ask: Ask, pairing: Pairing) -> bool:
    """Whether the request would have to go without reasoning: models that take tools beside it in one format only."""
    return pairing.format.format is Format.OPENAI_CHAT and ask.body.get("reasoning_effort") != "none"


def caller_of(headers: Mapping[str, str]) -> ConversationRecord:
    """The format of a caller on a path that all formats share, by the header that marks it."""
    for record in CONVERSATIONS:
        if record.mark is not None and record.mark in headers:
            return record
    return CONVERSATIONS[0]


def caller_with(provider: Dialect, fields: Mapping[str, object]) -> FormatRecord:
    """The format of a request whose path is not known, by its fields: that of embeddings if it looks so, that of the
    provider's SDK, or another one that the provider takes, if only that has the field with the conversation.
    """
    if embeds(fields):
        return OPENAI_EMBEDDINGS
    usual = caller_named(provider)
    return next((it for it in (usual, *_SPOKEN[provider]) if it.turns in fields), usual)


def caller_at(operation: Operation) -> FormatRecord:
    """The first format for this operation."""
    return next(record for record in RECORDS if record.operation is operation)


def forget_credentials() -> None:
    """Drops headers that are kept for further requests, since a new config may have replaced their credentials."""
    for provider in Dialect:
        host_of(provider).forget()


def untranslatable(ask: Ask, pairing: Pairing) -> str | None:
    """The reason why backends of this format cannot serve the request; None: they can. Asks once for each format."""
    if pairing.same:
        return None
    known: dict[str, str | None] | None = ask.unable
    if known is None:
        known = {}
        force_setattr(ask, "unable", known)
    format = pairing.format.format
    if format not in known:
        known[format] = translation.untranslatable(ask, *pairing.both())
    return known[format]


def unable(ask: Ask, backend: Backend) -> str | None:
    """The reason why the backend cannot serve the request in any format that it lists; None: it can."""
    if untranslatable(ask, pairing_of(ask, backend)) is None:
        return None
    reasons = [untranslatable(ask, it) for it in pairings_of(ask.format, backend, ask.mixed)]
    return "; ".join(dict.fromkeys([it for it in reasons if it is not None]))
