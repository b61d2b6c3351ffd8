"""Finds requests that this installation has sent itself, because a backend leads back to it. Used by `app`, `story`.

Each request to an upstream has a `via` header with the installation's mark, such as `1.1 weir-3f2a9c0b51d6e874`. All
routers of an installation have the same mark, so requests that a sidecar relays to its gateway carry none. It is a
hash, so that providers do not learn any name.
"""

from __future__ import annotations

import hashlib
import secrets
from urllib.parse import urlsplit

import msgspec

from weir_router.contract import CompiledConfig, TokenTrust
from weir_router.errors import LoopDetected

MARK_BYTES = 8
"""Bytes of a mark: two installations with the same one are not to be expected."""


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

    def check(self, headers: dict[str, str], model: str, config: CompiledConfig | None) -> None:
        """Raises `LoopDetected` if a request with a `via` header has passed this installation."""
        if self.mark not in headers["via"]:
            return
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
