"""The registry of formats and hosts. A new one is a row here, and mypy demands it.

`serve` finds the format of a caller here, and `call.attempt` the format and the host of a backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from weir_router.contract import Backend, Dialect
from weir_router.dialects.anthropic.host import HOST as ANTHROPIC
from weir_router.dialects.anthropic.record import RECORD as ANTHROPIC_MESSAGES
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import ConversationRecord, FormatRecord, Host, Pairing, StreamedRecord
from weir_router.dialects.neutral import translation
from weir_router.dialects.openai_chat.host import HOST as OPENAI
from weir_router.dialects.openai_chat.record import RECORD as OPENAI_CHAT
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


def _pairing(caller: FormatRecord, provider: Dialect, formats: tuple[str, ...]) -> Pairing:
    """The caller's own format if the backend takes it, since nothing is lost then; a conversation is otherwise
    translated to the backend's first.
    """
    host, format = host_of(provider), caller
    if isinstance(caller, ConversationRecord):
        known = {record.name.value: record for record in _SPOKEN[provider]}
        taken = [known[name] for name in formats if name in known] or [caller_named(provider)]
        format = caller if caller in taken else taken[0]
    streams = format if isinstance(format, StreamedRecord) else None
    return Pairing(caller, format, host, host.paths[format.format], format is caller, streams)


_PAIRINGS: dict[Format, dict[Dialect, dict[tuple[str, ...], Pairing]]] = {
    record.format: {provider: {} for provider in Dialect} for record in RECORDS
}
"""Pairings by the caller's format, the backend's provider and its formats. Each set of formats is paired once."""


def pairing_of(caller: Format, backend: Backend) -> Pairing:
    """A caller's format, and the host and the format of a backend, which lists the operation."""
    pairings = _PAIRINGS[caller][backend.provider]
    try:
        return pairings[backend.formats]
    except KeyError:
        found = pairings[backend.formats] = _pairing(record_of(caller), backend.provider, backend.formats)
        return found


def caller_of(headers: Mapping[str, str]) -> ConversationRecord:
    """The format of a caller on a path that all formats share, by the header that marks it."""
    for record in CONVERSATIONS:
        if record.mark is not None and record.mark in headers:
            return record
    return CONVERSATIONS[0]


def caller_with(provider: Dialect, fields: Mapping[str, object]) -> ConversationRecord:
    """The format of a request whose path is not known, by its fields: that of the provider's SDK, or another one that
    the provider takes, if only that has the field with the conversation.
    """
    usual = caller_named(provider)
    return next((it for it in (usual, *_SPOKEN[provider]) if it.turns in fields), usual)


def forget_credentials() -> None:
    """Drops headers that are kept for further requests, since a new config may have replaced their credentials."""
    for provider in Dialect:
        host_of(provider).forget()


def untranslatable(ask: Ask, pairing: Pairing) -> str | None:
    """The reason why backends of this format cannot serve the request; None: they can."""
    return None if pairing.same else translation.untranslatable(ask, *pairing.both())
