"""Transports: HTTP requests to an upstream, and its answers. Used by `call.attempt`; they know nothing of LLMs.

`base` is the interface. Its siblings implement it: `pool` (our own HTTP/1.1, for nearly every request),
`aiohttp_client` (for proxies and unusual URLs), and `auto`, which picks between them by URL. None of them follows
redirects (a credential must not reach another host) or keeps cookies. `auto` and `aiohttp_client` use the proxies that
the environment names.
"""

from weir_router.call.transport.auto import AutoTransport
from weir_router.call.transport.base import (
    MAX_ASSEMBLED,
    MAX_WHOLE_ANSWER,
    STEP,
    UNBOUNDED,
    Receive,
    Response,
    Transport,
)
from weir_router.call.transport.names import anywhere

__all__ = [
    "MAX_ASSEMBLED",
    "MAX_WHOLE_ANSWER",
    "STEP",
    "UNBOUNDED",
    "AutoTransport",
    "Receive",
    "Response",
    "Transport",
    "anywhere",
]
