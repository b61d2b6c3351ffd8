"""The registry of formats and hosts. A new one is a row here, and mypy demands it.

`serve` finds the format of a caller here, and `call.attempt` the format and the host of a backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from weir_router.contract import Dialect
from weir_router.dialects.anthropic.host import HOST as ANTHROPIC
from weir_router.dialects.anthropic.record import RECORD as ANTHROPIC_MESSAGES
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format, Operation
from weir_router.dialects.base import FormatRecord, Host, Pairing
from weir_router.dialects.neutral import translation
from weir_router.dialects.openai_chat.host import HOST as OPENAI
from weir_router.dialects.openai_chat.record import RECORD as OPENAI_CHAT

DEFAULT_PROVIDER = Dialect.OPENAI
"""Provider of a request that names none, e.g. in `weir explain`."""


def record_of(format: Format) -> FormatRecord:
    """The record of this format."""
    match format:
        case Format.OPENAI_CHAT:
            return OPENAI_CHAT
        case Format.ANTHROPIC_MESSAGES:
            return ANTHROPIC_MESSAGES
        case _:
            assert_never(format)


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
"""Records of all formats. The first is the default for callers."""

ANSWER_HEADERS = tuple(dict.fromkeys(name for record in RECORDS for name in record.answer_headers))
"""Headers of an upstream's answer that a caller gets, since the SDKs show them. It gets no quotas and cookies, which
belong to the platform's own account.
"""


def format_at(provider: Dialect, operation: Operation) -> FormatRecord:
    """The format that a provider takes for an operation. If it takes several, the first."""
    paths = host_of(provider).paths
    return next(record for record in RECORDS if record.operation is operation and record.format in paths)


def _pairing(caller: FormatRecord, provider: Dialect) -> Pairing:
    """The caller's own format if the host takes it, since nothing is lost then; otherwise the host's."""
    host = host_of(provider)
    taken = caller if caller.format in host.paths else format_at(provider, caller.operation)
    return Pairing(caller, taken, host, host.paths[taken.format], taken is caller)


_PAIRINGS = {record.format: {provider: _pairing(record, provider) for provider in Dialect} for record in RECORDS}


def pairing_of(caller: Format, provider: Dialect) -> Pairing:
    """A caller's format, and the host and the format of a backend of this provider."""
    return _PAIRINGS[caller][provider]


def caller_of(headers: Mapping[str, str]) -> FormatRecord:
    """The format of a caller on a path that all formats share, by the header that marks it."""
    for record in RECORDS:
        if record.mark is not None and record.mark in headers:
            return record
    return RECORDS[0]


def format_of(path: str, headers: Mapping[str, str]) -> FormatRecord:
    """The format of a caller whose request is not served, by a path like `/v1/messages/count_tokens` or a header."""
    found = (record for record in RECORDS if path == record.path or path.startswith(f"{record.path}/"))
    return next(found, None) or caller_of(headers)


def caller_named(provider: Dialect) -> FormatRecord:
    """The format of a caller whose SDK is made for this provider."""
    return format_at(provider, Operation.CHAT)


def forget_credentials() -> None:
    """Drops headers that are kept for further requests, since a new config may have replaced their credentials."""
    for provider in Dialect:
        host_of(provider).forget()


def untranslatable(ask: Ask, provider: Dialect) -> str | None:
    """The reason why backends of this provider cannot serve the request; None: they can."""
    pairing = _PAIRINGS[ask.format][provider]
    return None if pairing.same else translation.untranslatable(ask, pairing.caller, pairing.format)
