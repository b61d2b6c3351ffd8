"""One structured line per request on the logger `weir.request`. Never a secret; a prompt only under `promptLogging:
Full`.
"""

from __future__ import annotations

import logging

import msgspec

from weir_router.record.events import RequestRecord

logger = logging.getLogger("weir.request")

_encode = msgspec.json.Encoder(order=None).encode


def log(record: RequestRecord) -> None:
    """Writes `record` as a JSON line."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s", _encode(record).decode())
