"""Wire translation, one module per upstream dialect; `call.attempt` asks here for the one that a backend speaks."""

from __future__ import annotations

from weir_router.call.providers.base import Provider
from weir_router.contract import Dialect


def provider_for(dialect: Dialect) -> Provider:
    """The module that speaks `dialect` to upstreams."""
    return _known.get(dialect) or _all()[dialect]


def _all() -> dict[Dialect, Provider]:
    # Here and not above: the modules import this package's other parts, and so this file, first.
    from weir_router.call.providers import anthropic, openai

    _known.update({Dialect.OPENAI: openai, Dialect.ANTHROPIC: anthropic})
    return _known


_known: dict[Dialect, Provider] = {}
