"""A pod's own router: serves what its namespace has the credentials for, and relays the rest. Made by `app`.

A request is served here if every tier that its policy refers to is of the pod's own namespace: then the config server
has sent all of it, and nothing has to travel. Anything else is the gateway's: other namespaces' credentials stay there,
it knows every policy and key, and its answer to what nobody may ask is the right one. So is it while there is no
config here yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from weir_router.config.store import ConfigStore
from weir_router.contract import CompiledConfig, Policy, Secrets
from weir_router.contract.facts import Caller
from weir_router.decide.policy import PolicyIndex, find_policy
from weir_router.dialects.base import FormatRecord
from weir_router.errors import WeirError
from weir_router.identify.identifier import Identifier
from weir_router.serve import bodies
from weir_router.serve.http import Answer, Request
from weir_router.serve.story import Gateway
from weir_router.sidecar.relay import Relay


@dataclass(frozen=True)
class Pod:
    """Whose sidecar a router is."""

    caller: Caller  # whom unauthenticated requests are from: only localhost can send any
    gateway: str  # URL without a path
    token_file: Path  # that the gateway is shown; read for each request


class _Asked(msgspec.Struct):
    """All that has to be known of a request's body."""

    model: str


class Sidecar:
    """Decides between the two."""

    def __init__(
        self, gateway: Gateway, relay: Relay, store: ConfigStore, identifier: Identifier, namespace: str
    ) -> None:
        self._gateway = gateway
        self._relay = relay
        self._identifier = identifier
        self._namespace = namespace
        self._index: PolicyIndex | None = None
        self._here: frozenset[str] = frozenset()
        store.subscribe(self._configured)

    def _configured(self, config: CompiledConfig, _: Secrets) -> None:
        self._index = PolicyIndex(config)
        self._here = frozenset(policy.key for policy in config.policies if is_complete(policy, self._namespace))

    async def complete(self, request: Request, format: FormatRecord) -> Answer | None:
        """`POST /v1/chat/completions` and `POST /v1/messages`."""
        if await self._is_ours(request):
            return await self._gateway.complete(request, format)
        return await self._relay.complete(request, format)

    def knows(self, headers: dict[str, str]) -> bool:
        """Whether a body may be read at once. Always: only the pod itself reaches its sidecar."""
        return True

    async def _is_ours(self, request: Request) -> bool:
        if self._index is None or "content-encoding" in request.headers:
            return False
        try:
            caller = await self._identifier.identify(request.headers)
            model = msgspec.json.decode(await bodies.read(request), type=_Asked).model
        except (WeirError, msgspec.MsgspecError):
            return False  # the gateway may know better; and if not, it says what is wrong
        policy = find_policy(self._index, caller, model)
        return policy is not None and policy.key in self._here


def is_complete(policy: Policy, namespace: str) -> bool:
    """Whether a router of `namespace` has all that `policy` needs: of other namespaces' tiers it may have a part."""
    references = list(policy.references())
    return bool(references) and all(ref.tier.partition("/")[0] == namespace for ref in references)
