"""The formats and the hosts that there are. A new one is a row here, and mypy asks for it.

`serve` finds the format of a caller here, and `call.attempt` the format and the host of a backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from weir_router.contract import Dialect
from weir_router.dialects import translate
from weir_router.dialects.anthropic.host import HOST as ANTHROPIC
from weir_router.dialects.anthropic.record import RECORD as ANTHROPIC_MESSAGES
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format, Operation
from weir_router.dialects.base import FormatRecord, Host, Upstream
from weir_router.dialects.openai_chat.host import HOST as OPENAI
from weir_router.dialects.openai_chat.record import RECORD as OPENAI_CHAT

DEFAULT_PROVIDER = Dialect.OPENAI
"""Provider of what names none, e.g. a request in `weir explain`."""


def record_of(format: Format) -> FormatRecord:
    """All that depends on this format."""
    match format:
        case Format.OPENAI_CHAT:
            return OPENAI_CHAT
        case Format.ANTHROPIC_MESSAGES:
            return ANTHROPIC_MESSAGES
        case _:
            assert_never(format)


def host_of(provider: Dialect) -> Host:
    """All that depends on where a backend of this provider runs."""
    match provider:
        case Dialect.OPENAI:
            return OPENAI
        case Dialect.ANTHROPIC:
            return ANTHROPIC
        case _:
            assert_never(provider)


RECORDS = tuple(map(record_of, Format))
"""All formats. The first is that of a caller who shows no other."""

ANSWER_HEADERS = tuple(dict.fromkeys(name for record in RECORDS for name in record.answer_headers))
"""Headers of an upstream's answer that a caller gets: the SDKs show them. Quotas and cookies of the platform's own
account are not the caller's business.
"""


def _upstreams(operation: Operation) -> dict[Dialect, Upstream]:
    """The upstream of each provider that offers the operation."""
    return {
        provider: Upstream(record, host, host.paths[record.format])
        for provider, host in ((it, host_of(it)) for it in Dialect)
        for record in RECORDS
        if record.operation is operation and record.format in host.paths
    }


_UPSTREAMS = {operation: _upstreams(operation) for operation in Operation}


def upstream_of(provider: Dialect, operation: Operation) -> Upstream:
    """The host and the format for this operation at a backend of this provider."""
    return _UPSTREAMS[operation][provider]


def caller_of(headers: Mapping[str, str]) -> FormatRecord:
    """The format of a caller on a path that all formats share, by the header that marks it."""
    for record in RECORDS:
        if record.mark is not None and record.mark in headers:
            return record
    return RECORDS[0]


def format_of(path: str, headers: Mapping[str, str]) -> FormatRecord:
    """The format of a caller whose request is not served."""
    return next((record for record in RECORDS if record.path == path), None) or caller_of(headers)


def caller_named(provider: Dialect) -> FormatRecord:
    """The format of a caller whose SDK is made for this provider."""
    return upstream_of(provider, Operation.CHAT).format


def forget_credentials() -> None:
    """Drops headers that are kept for further requests, since a new config may have replaced their credentials."""
    for provider in Dialect:
        host_of(provider).forget()


def untranslatable(ask: Ask, provider: Dialect) -> str | None:
    """Why backends of this provider cannot serve the request; None: they can."""
    return translate.untranslatable(ask, upstream_of(provider, ask.operation).format.format)
