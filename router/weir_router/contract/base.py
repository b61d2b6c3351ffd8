"""The base of every type of the contract, and how its decoders are made ready for threads."""

from __future__ import annotations

import msgspec


class Wire(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """Base of the contract's types: frozen, camelCase in JSON, unknown fields ignored, defaults left out."""


def prepare(*types: type) -> None:
    """Makes the decoders of `types` now. Call it for each type that threads decode.

    msgspec otherwise makes them at the first use, and two threads whose first use is at the same moment crash the
    process (msgspec 0.22).
    """
    for it in types:
        msgspec.json.Decoder(it)
