"""The answers of `GET /v1/models` and `GET /v1/models/{id}`. Used by `serve.story`; no I/O."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from weir_router.contract import CompiledConfig
from weir_router.contract.caller import Caller
from weir_router.decide.policy import PolicyIndex, find_policy, models_for
from weir_router.decide.sizes import listed
from weir_router.dialects.base import ConversationRecord
from weir_router.dialects.listed import Listed
from weir_router.errors import UnknownModel
from weir_router.serve.http import Request
from weir_router.serve.paths import MODELS


class Models:
    """The names that one caller may ask for, at the moment `wall` in seconds since the epoch."""

    def __init__(self, index: PolicyIndex, config: CompiledConfig, caller: Caller, wall: float) -> None:
        self._index = index
        self._config = config
        self._caller = caller
        self._wall = wall

    def answer(self, request: Request, format: ConversationRecord) -> bytes:
        """The body for `request`. Raises `UnknownModel`, or `BadRequest` for a query that says no page."""
        wanted = named(request.path)
        if wanted:
            return msgspec.json.encode(format.model(self._listed(wanted)))
        names = models_for(self._index, self._caller)
        return msgspec.json.encode(format.listing([self._listed(name) for name in names], request.parameters()))

    def _listed(self, name: str) -> Listed:
        policy = find_policy(self._index, self._caller, name)
        if policy is None:
            raise UnknownModel(f"You may not ask for a model {name!r}; see GET /v1/models.")
        return listed(name, policy, self._caller, self._config, self._wall)


def named(path: str) -> str:
    """The model that a path names, which may have slashes and percent signs: `a/b` for `/v1/models/a%2Fb` and for
    `/v1/models/a/b`. Empty: none.
    """
    return unquote(path.removeprefix(MODELS).removeprefix("/"), errors="replace")
