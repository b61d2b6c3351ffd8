"""HTTP/1.1 towards callers: a server of our own over llhttp, Node's parser. Knows nothing of LLMs.

`server` listens, drains and keeps the clocks; `connection` is one caller's connection; `message` is what passes between
it and a handler. A general web framework needs three times the CPU for the few tasks here: two dozen paths, JSON bodies
that are read whole, and streams that are written as they come.
"""

from weir_router.serve.http.message import (
    MALFORMED,
    NO_MEMORY,
    NO_METHOD,
    Admits,
    Answer,
    Handler,
    NoBody,
    Request,
    Stream,
    fields,
)
from weir_router.serve.http.places import Places
from weir_router.serve.http.server import Server
from weir_router.serve.http.tls import Certificate

__all__ = [
    "MALFORMED",
    "NO_MEMORY",
    "NO_METHOD",
    "Admits",
    "Answer",
    "Certificate",
    "Handler",
    "NoBody",
    "Places",
    "Request",
    "Server",
    "Stream",
    "fields",
]
