"""Bytes to an upstream and back. Used by `call.attempt`; knows HTTP, and nothing of LLMs.

`base` is the interface. Its siblings satisfy it: `pool` (our own HTTP/1.1, nearly every request), `aiohttp_client`
(proxies and whatever else is out of the ordinary), and `auto`, which picks between them by URL. On all of them:
redirects are not followed (a credential must not wander to another host), cookies are not kept, proxies of the
environment are honoured (`auto` and `aiohttp_client`).
"""

from weir_router.call.transport.auto import AutoTransport
from weir_router.call.transport.base import MAX_WHOLE_ANSWER, Receive, Response, Transport

__all__ = ["MAX_WHOLE_ANSWER", "AutoTransport", "Receive", "Response", "Transport"]
