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

FRESH = 10.0
"""Seconds for which a caller's list is kept. Between two configs only the end of an override changes its sizes."""

MAX_KEPT = 100
"""Lists that are kept, of one caller each. A list of thousands of names takes a tenth of a second, and no limit of a
policy counts requests for it.
"""


class Models:
    """The names that callers may ask for. One per router."""

    def __init__(self) -> None:
        self._config: CompiledConfig | None = None  # of which the lists are
        self._kept: dict[Caller, tuple[float, list[Listed]]] = {}

    def answer(
        self,
        request: Request,
        format: ConversationRecord,
        index: PolicyIndex,
        config: CompiledConfig,
        caller: Caller,
        wall: float,
    ) -> bytes:
        """The body for `request` of `caller` at the moment `wall` in seconds since the epoch. Raises `UnknownModel`, or
        `BadRequest` for a query that says no page.
        """
        wanted = named(request.path)
        if wanted:
            return msgspec.json.encode(format.model(_listed(wanted, index, config, caller, wall)))
        return msgspec.json.encode(format.listing(self._all(index, config, caller, wall), request.parameters()))

    def _all(self, index: PolicyIndex, config: CompiledConfig, caller: Caller, wall: float) -> list[Listed]:
        if config is not self._config:
            self._config, self._kept = config, {}
        key = msgspec.structs.replace(caller, pod=None)
        until, names = self._kept.get(key, (0.0, []))
        if until - FRESH <= wall < until:
            return names
        names = [_listed(name, index, config, caller, wall) for name in models_for(index, caller)]
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[key] = wall + FRESH, names
        return names


def _listed(name: str, index: PolicyIndex, config: CompiledConfig, caller: Caller, wall: float) -> Listed:
    policy = find_policy(index, caller, name)
    if policy is None:
        raise UnknownModel(f"You may not ask for a model {name!r}; see GET /v1/models.")
    return listed(name, policy, caller, config, wall)


def named(path: str) -> str:
    """The model that a path names, which may have slashes and percent signs: `a/b` for `/v1/models/a%2Fb` and for
    `/v1/models/a/b`. Empty: none.
    """
    return unquote(path.removeprefix(MODELS).removeprefix("/"), errors="replace")
