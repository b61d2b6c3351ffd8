"""Pages of the callers' port that need no key: `/` and `/health`. Made by `app`; they show no name of the config."""

from __future__ import annotations

import msgspec

from weir_router.__about__ import __version__
from weir_router.config.store import ConfigStore
from weir_router.dialects.registry import RECORDS
from weir_router.serve.answers import json_answer
from weir_router.serve.http import Answer, Request, fields
from weir_router.serve.paths import MODELS

HOME_PATH, HEALTH_PATH = "/", "/health"

_HOME = msgspec.json.encode(
    {
        "name": "weir",
        "version": __version__,
        "links": {
            **{record.format.value: record.path for record in RECORDS},
            "models": MODELS,
            "health": HEALTH_PATH,
        },
    }
)
_WAIT = fields({"retry-after": "2"})


class Front:
    """The handlers of one router."""

    def __init__(self, store: ConfigStore) -> None:
        self._store = store

    async def home(self, _: Request) -> Answer:
        """Says to a person or a client that opens the base URL what answers there."""
        return json_answer(200, _HOME)

    async def health(self, _: Request) -> Answer:
        """Says to a load balancer whether requests can be served: 503 until the router has a config."""
        if self._store.config is None:
            return json_answer(503, b'{"status":"waiting for a config"}', _WAIT)
        return json_answer(200, b'{"status":"ok"}')
