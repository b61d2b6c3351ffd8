"""The typed look at a request body: it reads the model and nothing that costs memory. Used by `wire.body`.

msgspec checks the rest of the JSON and skips it, so 31 MiB of `{},` cost a fifth of a second and no objects. The
structs live apart from `wire.body` because mypyc cannot compile structs.
"""

from __future__ import annotations

import msgspec

_NULL = msgspec.Raw(b"null")


class Look(msgspec.Struct):
    """Fields of a body that are read before it is decoded, e.g. `{"model": "auto", "stream": true, ...}`."""

    model: str
    stream: bool | None = None


class RawLook(msgspec.Struct):
    """The same fields as JSON, for a body in which one of them has another type."""

    model: msgspec.Raw = _NULL
    stream: msgspec.Raw = _NULL


decode = msgspec.json.Decoder(Look).decode
decode_raw = msgspec.json.Decoder(RawLook).decode
