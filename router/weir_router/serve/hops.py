"""Finds requests that this installation has sent itself, because a backend leads back to it. Used by `app`, `story`.

Each request to an upstream has a `via` header with the installation's mark, such as `1.1 weir-3f2a9c0b51d6e874`, after
the marks of other installations that the request has passed: a loop may lead through several. All routers of an
installation have the same mark, so requests that a sidecar relays to its gateway carry none. It is a hash, so that
providers do not learn any name; the entries of other proxies are not sent on.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from urllib.parse import urlsplit

import msgspec

from weir_router.contract import CompiledConfig, TokenTrust
from weir_router.errors import LoopDetected

MARK_BYTES = 8
"""Bytes of a mark: two installations with the same one are not to be expected."""

MAX_HOPS = 16
"""Other installations that a request may have passed: no sensible path has more than two or three. It bounds the header
`via` of requests to upstreams to 26 bytes for each.
"""

_MARK = re.compile(rf"\bweir-[0-9a-f]{{{2 * MARK_BYTES}}}\b")


class Hops:
    """The mark of one router."""

    __slots__ = ("mark",)

    def __init__(self) -> None:
        self.mark = f"weir-{secrets.token_hex(MARK_BYTES)}"

    def configure(self, tokens: TokenTrust | None) -> None:
        """Follows the config. The keys of the cluster and the audience of its tokens are those of one installation."""
        if tokens is not None:
            self.mark = f"weir-{hashlib.sha256(msgspec.json.encode(tokens)).hexdigest()[: 2 * MARK_BYTES]}"

    @property
    def via(self) -> str:
        """The value of the header `via` of requests to upstreams."""
        return f"1.1 {self.mark}"

    def passed(self, headers: dict[str, str], model: str, config: CompiledConfig | None) -> str:
        """The installations that a request with a `via` header has passed, as the beginning of that header; empty:
        none. Raises `LoopDetected` if this one is among them, or if they are too many.
        """
        via = headers["via"]
        marks = _MARK.findall(via)
        if self.mark not in via:
            if len(marks) > MAX_HOPS:
                raise LoopDetected(
                    f"This request has passed {len(marks)} Weir installations, and {MAX_HOPS} are allowed: one of "
                    "their ModelTiers leads back to another."
                )
            return ", ".join(f"1.1 {mark}" for mark in marks)
        host, tiers = headers.get("host", ""), {} if config is None else config.tiers
        leads = [
            key
            for key, tier in tiers.items()
            if any(it.model == model and urlsplit(it.base_url).netloc == host for it in tier.backends)
        ]
        culprit = f"ModelTier {leads[0]}" if leads else f"a ModelTier with a backend for {model!r}"
        raise LoopDetected(
            f"This request has passed this Weir installation already: {culprit} leads back to it ({host}). "
            "Give the tier the baseURL of a model server or provider."
        )
